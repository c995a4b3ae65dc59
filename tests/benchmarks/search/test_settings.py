"""`near` stays closed until the constants are chosen and committed."""

import subprocess
from pathlib import Path

import pytest
from settings import Constants, check_may_look, chosen_constants

from keepgain.core.errors import UserError

CHOSEN = "date: 2026-01-02\ngeneration_size: 9\nstopping: {keep: 0.5, grace: 0.25}\n"


@pytest.fixture
def chosen(tmp_path: Path) -> Path:
    """Where `chosen.yaml` belongs, in a repository with one commit that lacks it."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "README").write_text("An empty project.\n")
    commit(tmp_path, "README")
    return tmp_path / "chosen.yaml"


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, name: str) -> None:
    git(folder, "add", name)
    git(folder, "commit", "--quiet", "-m", name)


def refused(path: Path) -> bool:
    try:
        check_may_look("near", path)
    except UserError as error:
        assert error.exit_code == 2
        assert "commit" in str(error)
        return True
    return False


def test_the_domain_of_the_choice_is_always_open(chosen: Path) -> None:
    check_may_look("far", chosen)


def test_near_is_refused_until_the_choice_is_committed_as_it_stands(chosen: Path) -> None:
    assert refused(chosen)  # not written
    chosen.write_text(CHOSEN)
    assert refused(chosen)  # written only
    git(chosen.parent, "add", chosen.name)
    assert refused(chosen)  # staged only
    commit(chosen.parent, chosen.name)
    assert not refused(chosen)
    chosen.write_text(CHOSEN.replace("0.5", "0.4"))
    assert refused(chosen)  # changed afterwards
    commit(chosen.parent, chosen.name)
    assert not refused(chosen)


def test_near_is_refused_outside_a_repository(tmp_path: Path) -> None:
    path = tmp_path / "chosen.yaml"
    path.write_text(CHOSEN)
    assert refused(path)


def test_the_chosen_constants_are_read_and_ours_hold_without_them(chosen: Path) -> None:
    assert chosen_constants(None, chosen) == Constants()
    chosen.write_text(CHOSEN)
    found = chosen_constants(None, chosen)
    assert (found.generation_size, found.stopping.keep, found.stopping.grace) == (9, 0.5, 0.25)


def test_a_key_that_does_not_exist_is_named_with_its_line(chosen: Path) -> None:
    chosen.write_text(CHOSEN + "generation: 3\n")
    with pytest.raises(UserError, match="generation") as caught:
        chosen_constants(None, chosen)
    assert "line 4" in str(caught.value)
