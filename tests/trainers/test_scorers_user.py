"""Programs and functions of the user."""

import json
import os
import sys
import time

import numpy as np
import pytest

from keepgain.core.errors import UserError
from keepgain.core.rows import Row
from keepgain.core.scorer_options import ScorerOptions
from keepgain.core.users_code import code_digest, load_function
from keepgain.trainers.scorers.program import isolation, verdict, without_verdict
from keepgain.trainers.scorers.user import users_score

ROW = Row("r1", "pair", prompt="add 1 to 2", answer="3", group="sums")


def judge(tmp_path, text: str, **options) -> ScorerOptions:
    """A program of the spec's folder, in the shell: starting Python would take most of the time."""
    (tmp_path / "judge.sh").write_text(text)
    return ScorerOptions(command=("sh", "judge.sh"), path=str(tmp_path), **options)


def test_the_program_gets_row_and_answer_and_its_last_line_is_the_verdict(tmp_path):
    seen = tmp_path / "seen.json"
    options = judge(tmp_path, f"cat > {seen}; echo note; echo '{{\"score\": 0.25}}'")
    assert verdict("1 + 2 = 3\n", ROW, options) == 0.25
    assert json.loads(seen.read_text()) == {**ROW.to_json(), "generated": "1 + 2 = 3\n"}


def test_a_program_in_python_judges_code(tmp_path):
    (tmp_path / "judge.py").write_text(
        "import json, sys\n"
        "given = json.load(sys.stdin)\n"
        "space = {}\n"
        "exec(given['generated'], space)\n"
        "sys.exit(0 if space['f'](1, 2) == int(given['answer']) else 1)\n"
    )
    options = ScorerOptions(command=(sys.executable, "judge.py"), path=str(tmp_path))
    assert verdict("def f(a, b):\n    return a + b", ROW, options) == 1
    assert verdict("def f(a, b):\n    return a - b", ROW, options) == 0
    assert verdict("def f(", ROW, options) == 0


@pytest.mark.parametrize(
    ("text", "score"), [("exit 0", 1), ("exit 1", 0), ("exit 127", 0), ("kill -9 $$", 0)]
)
def test_without_a_score_the_exit_code_is_the_verdict(tmp_path, text, score):
    assert verdict("x", ROW, judge(tmp_path, text)) == score


def test_a_program_that_cannot_be_started_is_an_error(tmp_path):
    with pytest.raises(UserError, match="could not be started"):
        verdict("x", ROW, ScorerOptions(command=("no-such-program",), path=str(tmp_path)))
    (tmp_path / "judge.sh").write_text("exit 0")  # not executable
    with pytest.raises(UserError, match="could not be started"):
        verdict("x", ROW, ScorerOptions(command=("judge.sh",), path=str(tmp_path)))


@pytest.mark.parametrize("score", ["1.5", "-1", "true", '"high"'])
def test_a_score_outside_0_and_1_is_an_error(tmp_path, score):
    with pytest.raises(UserError, match=r"item 'r1' is .*; it must be in \[0, 1\]"):
        verdict("x", ROW, judge(tmp_path, f"echo '{{\"score\": {score}}}'"))


def test_an_endless_program_is_ended_with_what_it_started(tmp_path):
    left = tmp_path / "left"
    text = f"sleep 60 & echo $! > {left}; sleep 60"
    began = time.perf_counter()
    assert verdict("x", ROW, judge(tmp_path, text, timeout_seconds=0.5)) == 0
    assert time.perf_counter() - began < 20
    pid = int(left.read_text())
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
        if "Z" in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1][:3]:
            break  # ended, and waits for its new parent to notice
        time.sleep(0.05)
    else:
        assert not os.path.exists(f"/proc/{pid}")


def test_memory_beyond_the_limit_is_a_failure(tmp_path):
    text = f'{sys.executable} -c "x = bytearray(400 << 20)"'
    assert verdict("x", ROW, judge(tmp_path, text, memory_mb=200)) == 0
    assert verdict("x", ROW, judge(tmp_path, text, memory_mb=2000)) == 1


def test_it_runs_in_an_empty_folder_without_our_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "secret")
    text = 'test -z "$SOME_TOKEN" && test -z "$(ls -A)" && test "$HOME" = "$PWD" && touch x'
    options = judge(tmp_path, text)
    assert verdict("x", ROW, options) == 1
    assert verdict("x", ROW, options) == 1, "each answer has a folder of its own"


def test_it_has_no_network_where_the_system_allows(tmp_path):
    if not isolation():
        pytest.skip("no network namespaces here")
    text = "test \"$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ')\" = lo"
    assert verdict("x", ROW, judge(tmp_path, text)) == 1
    assert verdict("x", ROW, judge(tmp_path, 'test -z "$(tail -n +2 /proc/net/route)"')) == 1


def test_the_share_of_zeros_is_told():
    assert without_verdict(["a", "b"], [], np.array([0.0, 0.5]), ScorerOptions()) == {
        "zero_share": 0.5
    }


def test_a_function_gets_prompt_reference_answer_and_fields():
    seen = []

    def function(*given):
        seen.append(given)
        return np.float64(0.5)

    assert users_score(function, "m:f", "answer", ROW) == 0.5
    assert seen == [("add 1 to 2", "3", "answer", ROW.to_json())]


@pytest.mark.parametrize("value", [None, "1", float("nan"), float("inf"), [1.0]])
def test_what_a_function_returns_must_be_a_finite_number(value):
    with pytest.raises(UserError, match=r"m:f, item 'r1': .* must be a finite number"):
        users_score(lambda *_: value, "m:f", "answer", ROW)


def test_a_function_that_raises_is_named_with_the_item():
    with pytest.raises(UserError, match=r"m:f, item 'r1': .* raised ZeroDivisionError"):
        users_score(lambda *_: 1 / 0, "m:f", "answer", ROW)


def test_a_function_is_found_beside_the_spec_and_known_by_its_content(tmp_path):
    module = tmp_path / "own_scorer_of_this_test.py"
    module.write_text("def share(prompt, reference, answer, fields):\n    return 1\n")
    entry, folder = "own_scorer_of_this_test:share", str(tmp_path)
    path = list(sys.path)
    assert load_function(entry, folder)("", "", "", {}) == 1
    assert sys.path == path
    first = code_digest(entry, (), folder)
    module.write_text("def share(prompt, reference, answer, fields):\n    return 2\n")
    assert code_digest(entry, (), folder) != first
    with pytest.raises(UserError, match="no function 'other'"):
        load_function("own_scorer_of_this_test:other", folder)
    with pytest.raises(UserError, match="cannot be imported"):
        load_function("no_module_of_this_name:f", folder)
    with pytest.raises(UserError, match="there is no module 'no_module_of_this_name'"):
        code_digest("no_module_of_this_name:f", (), folder)


def test_a_program_is_known_by_the_content_of_its_files(tmp_path):
    command = ("python", "judge.py")
    assert code_digest(None, command, str(tmp_path)) is None
    (tmp_path / "judge.py").write_text("1")
    first = code_digest(None, command, str(tmp_path))
    (tmp_path / "judge.py").write_text("2")
    assert first is not None and code_digest(None, command, str(tmp_path)) != first
