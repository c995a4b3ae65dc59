"""`sweep judge` against real endpoints on the loopback, over a sweep written as a driver writes it:
figures by hand, people's labels, replies that cannot be read, endpoints that are not there."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from keepgain.analysis.behaviour.judged import judged_figures
from keepgain.analysis.table import build_table
from keepgain.core.judged import read_judged, read_judged_items
from keepgain.core.later import read_later
from keepgain.core.store.location import StoreLocation
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import load_folder
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.prepare import prepare
from keepgain.sweeps.spec import load_spec
from tests.core.endpoint.server import OK, Reply, serving
from tests.sweeps.judging.judges import (
    BASE,
    GIVEN,
    ITEMS,
    ONE,
    SWEEP,
    TWO,
    always_first,
    by_length,
    labels,
    sweep_with_answers,
)
from tests.sweeps.tiny_models import make_world

JUDGE: dict[str, Any] = {"endpoint": "grader", "rubric": "Longer is better.", "pairs": "base"}
QUESTIONS = 130
"""70 different answers to items, and 30 pairs in two orders."""
REACH = 1 - 0.025 ** (1 / 20)
"""Of the exact bound of 20 clusters that are all alike: no interval here is narrower."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def judge(*options: str) -> int:
    return main(["judge", SWEEP, "--store", "store", *options])


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Of one suite, as JSON."""
    (suite,) = json.loads(capsys.readouterr().out)["suites"]
    assert isinstance(suite, dict)
    return suite


def figure(suite: dict[str, Any], trial: str, name: str) -> dict[str, Any]:
    (who,) = [c for c in suite["configurations"] if c["trial"] == trial]
    (found,) = [f for f in who["figures"] if f["name"] == name]
    assert isinstance(found, dict)
    return found


SCORE, WON, BIAS = "judge's score", "win rate against the base", "order decides"


def test_scores_and_wins_are_those_of_the_judges_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(says=by_length) as server:
        location = sweep_with_answers(tmp_path / "store", JUDGE, server.url)
        assert judge("--json") == 0
        assert len(server.asked) == QUESTIONS, "equal answers are asked once"
        assert judge() == 0
        assert len(server.asked) == QUESTIONS, "a rerun asks nothing"
    out = capsys.readouterr().out
    document, text = out[: out.index("\n}\n") + 3], out[out.index("\n}\n") + 3 :]
    (suite,) = json.loads(document)["suites"]
    score = figure(suite, "abc123", SCORE)
    # 30 answers of 3 and 10 of 1 points; the base's have 1 each.
    assert score["estimate"]["value"] == pytest.approx(2.5)
    assert score["base"]["value"] == 1.0
    assert score["change"]["value"] == pytest.approx(1.5)
    assert score["change"]["low"] == pytest.approx(1.5 - 4 * REACH)
    assert (score["estimate"]["n_items"], score["estimate"]["n_seeds"]) == (40, 2)
    # 30 wins, and 10 equal texts that nobody was asked about.
    won = figure(suite, "abc123", WON)
    assert won["estimate"]["value"] == pytest.approx((30 + 10 * 0.5) / 40)
    bias = figure(suite, "abc123", BIAS)
    assert bias["estimate"]["value"] == 0 and bias["estimate"]["n_items"] == 30
    assert "20 of 80 pairs are equal texts" in bias["note"]
    assert "not validated: no labels by people: may not enter the decision" in text
    assert text.index("not validated") < text.index("win rate"), "first who may be believed"
    assert "0 replies asked for (130 were known)" in text and "in the record already" in text

    folder = location.sweep_folder(SWEEP)
    assert len(read_later(folder, "judged")) == 1, "the same is recorded once"
    log = [json.loads(line) for line in (folder / "judged" / "log.jsonl").open()]
    assert [(x["answers"], x["cached"]) for x in log] == [(QUESTIONS, 0), (0, QUESTIONS)]
    (judged,) = read_judged(folder)
    items = read_judged_items(folder, judged)
    assert set(items.scores) == set(GIVEN) and set(items.pairs) == {ONE, TWO}
    before = load_folder(folder / RECORD_FOLDER)
    assert {s.metric for _, s in before.items} == {"exact_match"}, "the record stays as it was"
    table = build_table(before, ("gain",))
    by_id = {c.trial_id: c for c in table.configurations}
    folders = dict.fromkeys(GIVEN, folder)
    shown = judged_figures(folders, by_id["abc123"], by_id["base"], "test")
    assert [(suite, f.name) for suite, f in shown] == [("gain", n) for n in (SCORE, WON, BIAS)]
    change = shown[0][1].change
    assert change is not None and change.value == pytest.approx(1.5)
    assert judged_figures({}, by_id["abc123"], by_id["base"], "test") == []


def test_a_judge_that_likes_the_first_place_prefers_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(says=always_first) as server:
        sweep_with_answers(tmp_path / "store", JUDGE, server.url)
        assert judge("--json") == 0
    suite = said(capsys)
    assert figure(suite, "abc123", WON)["estimate"]["value"] == 0.5
    bias = figure(suite, "abc123", BIAS)["estimate"]
    assert bias["value"] == 1 and bias["low"] == pytest.approx(1 - (1 - 0.025 ** (1 / 15)))


def test_what_cannot_be_read_is_asked_once_more_and_then_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_long_ones(user: str) -> str:
        return "It is good!" if json.loads(user).get("answer") == "xxx" else by_length(user)

    with serving(says=no_long_ones) as server:
        location = sweep_with_answers(tmp_path / "store", {**JUDGE, "pairs": "none"}, server.url)
        assert judge("--json") == 0
        assert len(server.asked) == 70 + 30
        again = [a for a in server.asked if "could not be read" in a["messages"][0]["content"]]
        assert len(again) == 30
        assert judge("--json") == 0
        assert len(server.asked) == 100, "nor is what could not be read asked for ever"
    out = capsys.readouterr().out
    suite = json.loads(out[out.index("\n}\n") + 3 :])["suites"][0]
    assert suite["scores"] == {"questions": 70, "unreadable": 30, "missing": 30}
    score = figure(suite, "abc123", SCORE)
    assert score["estimate"]["value"] == 1.0 and score["estimate"]["n_items"] == 10
    assert score["base"]["n_items"] == 10, "the pair is of the same items"
    assert "30 of 70 questions got no readable reply: left out" in score["note"]
    folder = location.sweep_folder(SWEEP)
    items = read_judged_items(folder, read_judged(folder)[0])
    assert items.scores[ONE].item_ids.tolist() == list(ITEMS[30:])
    assert len(items.scores[BASE].item_ids) == 40


def test_a_judge_without_a_readable_word_is_not_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(says=str.upper) as server:
        location = sweep_with_answers(tmp_path / "store", JUDGE, server.url)
        assert judge() == 0
        assert len(server.asked) == 2 * QUESTIONS
    err = capsys.readouterr().err
    assert "warning: gain is not judged" in err and f"none of its {QUESTIONS} replies" in err
    own = location.sweep_folder(SWEEP)
    assert _nothing_recorded(location) and not list((own / "judged").glob("*.parquet"))
    assert (own / "judged" / "log.jsonl").exists(), "what it took is kept"


def _nothing_recorded(location: StoreLocation) -> bool:
    return not read_later(location.sweep_folder(SWEEP), "judged")


def test_without_its_endpoint_a_suite_is_skipped_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    location = sweep_with_answers(tmp_path / "store", JUDGE, None)
    assert judge() == 0
    err = capsys.readouterr().err
    assert "warning: gain is not judged" in err and "no endpoint 'grader'" in err
    assert _nothing_recorded(location)


@pytest.mark.parametrize("broken", ["nobody", "key", "refuses"])
def test_an_endpoint_that_cannot_be_used_skips_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    with serving(Reply(status=400, body=b"{}")) as server:
        url = server.url if broken == "refuses" else "http://127.0.0.1:9/v1"
        more: dict[str, Any] = {"api_key_env": "NO_SUCH_KEY"} if broken == "key" else {}
        location = sweep_with_answers(tmp_path / "store", JUDGE, url, **more)
        assert judge("--json") == 0
    out, err = capsys.readouterr()
    words = {"nobody": "cannot be reached", "key": "NO_SUCH_KEY", "refuses": "takes no request"}
    assert words[broken] in err and words[broken] in json.loads(out)["suites"][0]["skipped"]
    assert _nothing_recorded(location)


def test_an_interrupted_judging_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = [OK] * 50 + [Reply(status=500)]
    with serving(*plan, says=by_length) as server:
        location = sweep_with_answers(tmp_path / "store", JUDGE, server.url)
        assert judge() == 1
        assert "Run again" in capsys.readouterr().err and _nothing_recorded(location)
        first, server.plan[:] = len(server.asked), [OK]
        assert judge("--json") == 0
        suite = said(capsys)
        assert suite["usage"]["cached"] == 50 and suite["usage"]["answers"] == QUESTIONS - 50
        assert len(server.asked) - first == QUESTIONS - 50
    assert not _nothing_recorded(location)


def test_the_limit_of_cost_holds_and_a_dry_run_sends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices: dict[str, Any] = {
        "usd_per_million_input_tokens": 1.0,
        "usd_per_million_output_tokens": 1.0,
    }
    with serving(says=by_length) as server:
        location = sweep_with_answers(
            tmp_path / "store", JUDGE, server.url, **prices, max_usd=0.001
        )
        assert judge("--dry-run") == 0
        assert server.asked == [] and not (location.sweep_folder(SWEEP) / "judged").exists()
        assert "130 questions, 0 replies known" in capsys.readouterr().out
        assert judge() == 2
    assert "max_usd" in capsys.readouterr().err and _nothing_recorded(location)


def test_people_who_agree_let_the_judge_be_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels(tmp_path / "labels.jsonl", len)
    strange = json.dumps({"id": "of another suite", "answer": "x", "score": 1})
    with (tmp_path / "labels.jsonl").open("a") as file:
        file.write(strange + "\n")
    spec = {**JUDGE, "labels": "labels.jsonl", "pairs": "none"}
    with serving(says=by_length) as server:
        sweep_with_answers(tmp_path / "store", spec, server.url)
        assert judge() == 0
    out = capsys.readouterr().out
    low = 0.025 ** (1 / 40)
    assert f"alpha 1.00 [{low:.2f}, 1.00], 40 labels of 40 items" in out
    assert "1 labels are of items that this suite does not have" in out


def test_labels_of_pairs_are_asked_about_only_where_pairs_are(tmp_path: Path) -> None:
    line = {"id": ITEMS[0], "first": "qq", "second": "zzzz", "preferred": "second"}
    (tmp_path / "labels.jsonl").write_text(json.dumps(line) + "\n")
    for pairs, more in (("none", 0), ("base", 2)):
        spec = {**JUDGE, "labels": "labels.jsonl", "pairs": pairs}
        with serving(says=by_length) as server:
            location = sweep_with_answers(tmp_path / f"store-{pairs}", spec, server.url)
            assert main(["judge", SWEEP, "--store", f"store-{pairs}"]) == 0
            assert sum("qq" in json.dumps(a) for a in server.asked) == more
        (judged,) = read_judged(location.sweep_folder(SWEEP))
        assert (len(judged.labelled), judged.strange_labels) == (more // 2, 0)


@pytest.mark.parametrize("key", ["labels", "cache"])
def test_the_home_folder_of_nobody_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    nobody = {key: "~no-such-user/x"}
    spec, more = ({**JUDGE, **nobody}, {}) if key == "labels" else (JUDGE, nobody)
    sweep_with_answers(tmp_path / "store", spec, "http://127.0.0.1:9/v1", **more)
    assert judge("--dry-run") == 2
    assert "'~no-such-user/x': there is no such home folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (40, "people disagree with it: alpha -0.9"),
        (29, "not validated: 29 labels by people, 30 are needed"),
    ],
)
def test_people_who_disagree_or_are_too_few_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, says: str
) -> None:
    # 30 units (people 1, judge 3), 10 units (people 3, judge 1): by hand, mean square 4; of the
    # 80 values 40 are 1 and 40 are 3: variance 80/79. 1 - 4 / (2 * 80/79) = -0.975.
    labels(tmp_path / "labels.jsonl", lambda a: 4 - len(a), count)
    with serving(says=by_length) as server:
        sweep_with_answers(tmp_path / "store", {**JUDGE, "labels": "labels.jsonl"}, server.url)
        assert judge("--json") == 0
    assert (said(capsys)["people"]["scores"]["not_usable"] or "").startswith(says)


def test_a_second_rubric_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(says=by_length) as server:
        location = sweep_with_answers(tmp_path / "store", JUDGE, server.url)
        assert judge("--json") == 0
        spec = location.sweep_folder(SWEEP) / "spec.resolved.json"
        spec.write_text(spec.read_text().replace("Longer is better", "Be kind"))
        capsys.readouterr()
        assert judge("--json") == 0
    suite = said(capsys)
    assert suite["judges_tried"] == 2
    assert "newest of 2 judges or rubrics" in figure(suite, "abc123", SCORE)["note"]


def test_an_entry_that_was_changed_by_hand_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(says=by_length) as server:
        location = sweep_with_answers(tmp_path / "store", JUDGE, server.url)
        entry = {"kind": "judged", "time": "x", "data": {"suite": "gain", "split": "test"}}
        (location.sweep_folder(SWEEP) / "later.jsonl").write_text(json.dumps(entry) + "\n")
        assert judge() == 2
    assert "required key 'judge' is missing" in capsys.readouterr().err


def test_what_is_kept_is_its_owners_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = os.umask(0o022)
    try:
        with serving(says=by_length) as server:
            location = sweep_with_answers(tmp_path / "store", JUDGE, server.url)
            assert judge() == 0
    finally:
        os.umask(before)
    judged = location.sweep_folder(SWEEP) / "judged"
    assert [p.stat().st_mode & 0o077 for p in (judged, *judged.iterdir())] == [0, 0, 0, 0]


def test_a_suite_without_a_judge_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep_with_answers(tmp_path / "store", None, None)
    assert judge() == 2
    assert "no suite names a judge" in capsys.readouterr().err


def test_a_judge_leaves_the_sweeps_id_alone(tmp_path: Path) -> None:
    make_world(tmp_path, models=1)
    path = tmp_path / "sweep.yaml"
    before = prepare(load_spec(path), None).sweep_id
    spec = yaml.safe_load(path.read_text())
    gain = next(s for n, s in spec["suites"].items() if n.startswith("gain"))
    gain["judge"] = JUDGE
    spec["endpoints"] = {"grader": {"base_url": "http://localhost:8000/v1", "model": "m-1"}}
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    loaded = load_spec(path)
    assert any(s.judge is not None for s in loaded.spec.suites.values())
    assert prepare(loaded, None).sweep_id == before
