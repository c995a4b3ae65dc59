"""Home folders in paths."""

from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.paths import expanded


def test_a_home_folder_is_written_out_and_other_paths_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert expanded("~/rows.jsonl") == Path("/home/anna/rows.jsonl")
    assert expanded("rows~/a.jsonl") == Path("rows~/a.jsonl")


def test_the_home_of_nobody_is_refused_with_its_key() -> None:
    with pytest.raises(
        UserError, match="'~no-such-user/x': there is no such home folder"
    ) as caught:
        expanded("~no-such-user/x", "sweep.yaml:data.mine")
    assert caught.value.where == "sweep.yaml:data.mine"
