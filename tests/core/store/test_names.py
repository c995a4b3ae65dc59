import posixpath
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keepgain.core.errors import UserError
from keepgain.core.store.names import (
    MAX_KEY,
    TAG_KEY,
    check_id,
    is_long,
    key_digest,
    mlflow_key,
    original_key,
)

# Letters that meet in escapes, path oddities, and anything at all.
KEYS = st.one_of(
    st.text(alphabet="_x2CsF0/.a, @:", max_size=14), st.text(max_size=40), st.text(min_size=240)
)


def accepted_by_mlflow(key: str) -> bool:
    """MLflow's own two rules for metric, parameter and tag names."""
    whole = posixpath.normpath(key)
    leads_out = whole != key or whole == "." or whole.startswith(("..", "/"))
    return bool(re.match(r"^[/\w.\- :]*$", key)) and not leads_out and len(key) <= MAX_KEY


@pytest.mark.fault("N4")
@given(KEYS)
@example("..0")
@example("a/...b")
def test_every_key_becomes_legal_and_comes_back(key: str) -> None:
    encoded = mlflow_key(key)
    assert accepted_by_mlflow(encoded)
    tags = {TAG_KEY + key_digest(key): key} if is_long(encoded) else {}
    assert original_key(encoded, tags) == key


@pytest.mark.fault("N4")
@given(KEYS, KEYS)
def test_no_two_keys_meet(a: str, b: str) -> None:
    assert (mlflow_key(a) == mlflow_key(b)) == (a == b)


@pytest.mark.parametrize(
    "key", ["validation/gain", "train/loss", "lora.rank", "größe 1:2", "a-b_c"]
)
def test_ordinary_keys_stay_readable(key: str) -> None:
    assert mlflow_key(key) == key


def test_known_troublemakers() -> None:
    assert mlflow_key("acc,none") == "acc_x2C_none"
    assert mlflow_key("recall@5") == "recall_x40_5"
    assert mlflow_key("a//b") == "a_x2F__x2F_b"
    assert mlflow_key("../x") == "_x2E_./x"
    assert mlflow_key("max_x") == "max_x5F_x"


@pytest.mark.fault("N4")
def test_mlflow_itself_agrees_with_the_rules() -> None:
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    for key in ("acc,none", "recall@5", "acc(norm)", "😀", "../x", "a//b", "/a/", "", "é" * 300):
        _validate_metric_name(mlflow_key(key))
        _validate_param_name(mlflow_key(key))


@pytest.mark.parametrize("bad", ["", "..", "../x", "a' OR 1=1", "x" * 65, "a/b", "tіckets", "a\n"])
def test_ids_that_could_leave_their_place_are_refused(bad: str) -> None:
    with pytest.raises(UserError, match="cannot be a sweep id"):
        check_id(bad)


def test_ordinary_ids_pass() -> None:
    assert check_id("ticket-routing-7f3a2c") == "ticket-routing-7f3a2c"
