"""What raters send back: checked whole, un-blinded, and turned into figures worked by hand."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keepgain.analysis.analyze import analyze
from keepgain.analysis.contract import to_json
from keepgain.core.errors import UserError
from keepgain.core.later import read_later
from keepgain.core.record import Question
from keepgain.core.review_record import reviews_of
from keepgain.core.store.reader import open_reader
from keepgain.sweeps.cli.main import main
from keepgain.sweeps.review.bundle import Key, KeyItem, read_key
from keepgain.sweeps.review.export import Wanted, export
from keepgain.sweeps.review.figures import Reviewed, review
from keepgain.sweeps.review.ratings import Rated, read_ratings
from keepgain.sweeps.stages.decide import write_decision
from tests.sweeps.review.world import BASE, SWEEP, TRIAL, evidence_of, store_with


def key(
    leads: Iterable[int],
    *,
    weights: Iterable[float] = (),
    identical: int = 0,
    rubric: tuple[str, ...] = (),
    clusters: tuple[str | None, ...] = (),
    identical_clusters: tuple[str, ...] = (),
) -> Key:
    """Items i0, i1, ...; a stands left on the even ones. All asked about unless `weights` says."""
    leads = list(leads)
    n = len(leads) + identical
    given = list(weights) or [1 / n] * len(leads)
    items = {
        f"i{k}": KeyItem(
            suite="s",
            item=f"row{k}",
            left="a" if k % 2 == 0 else "b",
            lead=lead,
            stratum="all",
            weight=given[k],
            cluster=clusters[k] if clusters else None,
        )
        for k, lead in enumerate(leads)
    }
    return Key(
        export="abc",
        sweep="x-1",
        split="test",
        suites=("s",),
        a="A",
        b="B",
        a_run="A-s0",
        b_run="B-s0",
        a_label="m A",
        b_label="m base",
        seed="secret",
        rubric=dict.fromkeys(rubric, "?"),
        identical=identical,
        identical_clusters=identical_clusters,
        of=n,
        items=items,
    )


def rated(of: Key, **by_rater: str) -> Reviewed:
    """`ann="a t b"`: what she prefers, item by item."""
    names = {"a": "a", "t": "tie", "b": "b"}
    ratings = [
        Rated(rater, item, names[word], {}, {})  # type: ignore[arg-type]
        for rater, words in by_rater.items()
        for item, word in zip(of.items, words.split(), strict=True)
    ]
    return review(of, ratings)


# -- figures by hand --------------------------------------------------------------------------


def test_win_rate_ties_alpha_and_the_scorer_by_hand() -> None:
    """Means over raters 1, .75, .5, 0 and one item alike: (2.25 + .5) / 5 = .55.

    Deviations .45, .2, -.05, -.55, -.05: squares .55 in all, times .2^2 and 5/4: variance .0275,
    t(3) = 3.182446, reach .527747. Alpha: values aa at tt bb, n = 8 with 3, 3, 2 of each:
    D_o = 2/8, D_e = 42/56, alpha = 2/3. The scorer tells items 0, 2, 3 apart, people 0, 3 of these,
    and they agree on item 0.
    """
    found = rated(key([1, 0, 1, 1], identical=1), ann="a a t b", bo="a t t b")
    record = found.record
    assert record.win_rate.value == pytest.approx(0.55)
    assert record.win_rate.low == pytest.approx(0.55 - 3.182446 * 0.0275**0.5, abs=1e-6)
    assert record.win_rate.high == 1.0  # 1.078, and no share is more
    assert record.ties == pytest.approx((0 + 0.5 + 1 + 0 + 1) / 5)
    assert [f.value for f in record.by_rater] == pytest.approx([0.6, 0.5])
    assert record.alpha == pytest.approx(2 / 3)
    assert found.disputed == (("s/row1", ("a", "tie")),)
    assert record.metric_agreement is not None
    assert (record.metric_agreement.value, record.metric_agreement.items) == (0.5, 2)
    assert (record.items, record.of, record.identical, record.raters) == (4, 5, 1, 2)


def test_items_count_with_their_sampling_weights() -> None:
    """Two of 6 items stand for 3 each in one stratum, two of 2 for themselves: .375 + 0 + .125."""
    found = rated(key([0] * 4, weights=[0.375, 0.375, 0.125, 0.125]), ann="a b a b").record
    assert found.win_rate.value == pytest.approx(0.5)
    other = rated(key([0] * 4, weights=[0.375, 0.375, 0.125, 0.125]), ann="a a b b").record
    assert other.win_rate.value == pytest.approx(0.75)
    # Deviations .25, .25, -.75, -.75: 2 (.375 * .25)^2 + 2 (.125 * .75)^2, times 4/3
    reach = 3.182446 * (4 / 3 * (2 * 0.09375**2 + 2 * 0.09375**2)) ** 0.5
    assert other.win_rate.low == pytest.approx(0.75 - reach, abs=1e-6)


def test_items_of_a_cluster_are_one_draw() -> None:
    """Six items, each twice: as three clusters of the same variance as three items."""
    single = rated(key([0] * 3), ann="a b t").record.win_rate
    clusters = ("x", "x", "y", "y", "z", "z")
    twice = rated(key([0] * 6, clusters=clusters), ann="a a b b t t").record.win_rate
    assert (twice.value, twice.low, twice.high) == pytest.approx(
        (single.value, single.low, single.high)
    )
    apart = rated(key([0] * 6), ann="a a b b t t").record.win_rate
    assert apart.low is not None and twice.low is not None and apart.low > twice.low


def test_items_answered_alike_are_drawn_with_their_cluster() -> None:
    """Three items, each beside one that both answered alike: three draws, not six."""
    clusters = ("x", "y", "z")
    of = key([0] * 3, identical=3, clusters=clusters, identical_clusters=clusters)
    found = rated(of, ann="a a t").record.win_rate
    # Mean (1 + 1 + .5 + 1.5) / 6 = 2/3; by cluster the deviations are 1/3 - 1/6 twice and -1/3.
    sums = np.array([1 / 6, 1 / 6, -1 / 3]) / 6
    assert found.value == pytest.approx(2 / 3)
    assert found.low == pytest.approx(2 / 3 - 4.302653 * (1.5 * sums @ sums) ** 0.5, abs=1e-6)
    apart = rated(key([0] * 3, identical=3, clusters=clusters), ann="a a t").record.win_rate
    each = np.array([1 / 3, 1 / 3, *[-1 / 6] * 4]) / 6
    assert apart.low == pytest.approx(2 / 3 - 4.302653 * (1.2 * each @ each) ** 0.5, abs=1e-6)


def test_all_wins_get_the_exact_bound_and_not_an_interval_of_no_width() -> None:
    """20 wins of 20: by Clopper and Pearson at least .025^(1/20) = .8316 of items like these."""
    found = rated(key([0] * 20), ann=" ".join("a" * 20)).record
    assert found.win_rate.value == 1.0
    assert found.win_rate.low == pytest.approx(0.025 ** (1 / 20))
    assert found.win_rate.high == 1.0 and found.wins == 1
    assert found.alpha is None  # one rater
    half = rated(key([0] * 20, identical=20), ann=" ".join("a" * 20)).record
    assert half.win_rate.low == pytest.approx(0.25 + 0.025 ** (1 / 20) / 2)
    ties = rated(key([0] * 20), ann=" ".join("t" * 20)).record
    assert ties.win_rate.low == pytest.approx(0.025 ** (1 / 20) / 2) and ties.wins == 0


def test_draws_that_are_all_alike_get_no_interval_of_no_width() -> None:
    """Two clusters, each of a win and a tie: they differ by nothing, and say little."""
    found = rated(key([0] * 4, clusters=("x", "x", "y", "y")), ann="a t a t").record.win_rate
    reach = 1 - 0.025 ** (1 / 2)
    assert found.value == 0.75
    assert (found.low, found.high) == pytest.approx((0.75 * (1 - reach), 0.75 + reach / 4))


def test_one_draw_says_nothing_of_others() -> None:
    of = key([0] * 2, identical=3, clusters=("x", "x"))
    found = rated(of, ann="a b").record
    assert (found.win_rate.value, found.win_rate.low, found.wins) == (0.5, None, 0)


def test_an_interval_that_holds_a_half_resolves_nothing() -> None:
    assert rated(key([0] * 6), ann="a a a b b t").record.wins == 0
    assert rated(key([0] * 9), ann="b b b b b b b b t").record.wins == -1


def test_raters_who_say_opposite_things_come_first_among_what_to_adjudicate() -> None:
    found = rated(key([0] * 3), ann="a a a", bo="a t b")
    assert [item for item, _ in found.disputed] == ["s/row2", "s/row1"]
    assert found.record.disputed == 2


def test_the_rubric_is_told_by_arm_with_the_paired_difference() -> None:
    """a: 4, 5, 3 (one rater); b: 2, 5, 1. Differences 2, 0, 2: mean 4/3, s^2 = 4/3, SE 2/3."""
    of = key([0] * 3, rubric=("clear",))
    scores = [({"clear": a}, {"clear": b}) for a, b in ((4, 2), (5, 5), (3, 1))]
    one = [Rated("ann", i, "a", a, b) for i, (a, b) in zip(of.items, scores, strict=True)]
    found = review(of, one).record.rubric["clear"]
    assert (found.a, found.b, found.alpha) == (pytest.approx(4), pytest.approx(8 / 3), None)
    assert found.difference.value == pytest.approx(4 / 3)
    assert found.difference.low == pytest.approx(4 / 3 - 4.302653 * 2 / 3, abs=1e-6)
    # A second rater who says the same of all but one answer: ordinal alpha of 12 values.
    two = [*one, *(replace(r, rater="bo") for r in one)]
    assert review(of, two).record.rubric["clear"].alpha == pytest.approx(1.0)
    two[-1] = replace(two[-1], b={"clear": 2})
    # As the library krippendorff 0.9.0 gives it.
    assert review(of, two).record.rubric["clear"].alpha == pytest.approx(0.9728395061728395)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of 400 reviews of 40 items (and 20 alike) by two raters, drawn from known preferences."""
    rng = np.random.default_rng(5)
    words = np.array(["a", "t", "b"])
    truth = 40 / 60 * (0.5 + 0.2 / 2) + 20 / 60 * 0.5
    held = 0
    for _ in range(400):
        alike = int(rng.binomial(60, 20 / 60))  # which items are alike is chance too
        first = rng.choice(words, 60 - alike, p=[0.5, 0.2, 0.3])
        second = np.where(rng.random(60 - alike) < 0.7, first, rng.choice(words, 60 - alike))
        second = np.where(second == first, second, rng.choice(words, 60 - alike, p=[0.5, 0.2, 0.3]))
        of = key([0] * (60 - alike), identical=alike)
        found = rated(of, ann=" ".join(first)).record.win_rate
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    assert 0.92 <= held / 400 <= 0.99


# -- files ------------------------------------------------------------------------------------


def line(item: str, preference: str = "left", rater: str = "ann", **more: Any) -> dict[str, Any]:
    return {"export": "abc", "rater": rater, "item": item, "preference": preference, **more}


def written(path: Path, lines: Iterable[Mapping[str, Any] | str]) -> Path:
    texts = (text if isinstance(text, str) else json.dumps(text) for text in lines)
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def test_sides_are_turned_back_into_arms(tmp_path: Path) -> None:
    of = key([0, 0, 0], rubric=("clear",))
    scores = {"left": {"clear": 5}, "right": {"clear": 1}}
    lines = [line("i1", "left", scores=scores), line("i0", "left", scores=scores)]
    lines += [line("i2", "tie", scores=scores)]
    found = read_ratings([written(tmp_path / "r.jsonl", lines)], of)
    assert [r.prefers for r in found] == ["a", "b", "tie"]  # a stands left on the even ones
    assert [(r.a["clear"], r.b["clear"]) for r in found] == [(5, 1), (1, 5), (5, 1)]


GOOD = [line("i0"), line("i1")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*GOOD, "{"], r"r.jsonl:3: not JSON"),
        ([*GOOD, line("i9")], r"r.jsonl:3: the page has no item 'i9'"),
        ([*GOOD, line("i1")], r"r.jsonl:3: ann has rated item i1 at .*r.jsonl:2 already"),
        ([*GOOD, line("i1", rater="  ann ")], r"r.jsonl:3: ann has rated item i1"),
        ([line("i0"), line("i1", export="other")], r"r.jsonl:2: a rating of page other"),
        ([line("i0"), line("i1", "both")], r"r.jsonl:2:preference"),
        ([line("i0"), line("i1", rater=" ")], r"r.jsonl:2: the rater has no name"),
        ([line("i0"), line("i1", partial=True)], r"r.jsonl:2: ann was not done"),
        ([line("i0"), line("i1", scores={"left": {"x": 1}})], r"r.jsonl:2: the rubric of the left"),
        ([line("i0"), {"item": "i1"}], r"r.jsonl:2:"),
        ([line("i0")], r"r.jsonl: ann has not rated 1 of 2 items \(i1\)"),
        ([*GOOD, line("i0", rater="bo")], r"r.jsonl: bo has not rated 1 of 2 items \(i1\)"),
        ([], r"no ratings"),
    ],
)
def test_files_that_are_not_whole_are_refused_by_their_line(
    lines: list[Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read_ratings([written(tmp_path / "r.jsonl", lines)], key([0, 0]))


@pytest.mark.parametrize("score", [0, 6])
def test_scores_beyond_the_scale_are_refused(score: int, tmp_path: Path) -> None:
    given = line("i0", scores={"left": {"clear": score}, "right": {"clear": 3}})
    with pytest.raises(UserError, match=rf"r.jsonl:1: clear of the left answer is {score}"):
        read_ratings([written(tmp_path / "r.jsonl", [given])], key([0], rubric=("clear",)))


# -- with the sweep ---------------------------------------------------------------------------


N = 40


def swept(folder: Path, *, require: bool = False) -> tuple[list[str], Path]:
    """A decided sweep with an export of the trial against its base: words for the command."""
    rng = np.random.default_rng(1)
    right = {
        BASE: [int(i % 4 == 0) for i in range(N)],
        TRIAL: [[1, int(i > 1)] for i in rng.permutation(N).tolist()],
    }
    base = [f"I think that the answer is {i}." for i in range(N)]
    trial = [f"{i}" if i % 2 else text for i, text in enumerate(base)]
    question = Question(require_review=require)
    location = store_with(folder, evidence_of(right, question=question), {BASE: base, TRIAL: trial})
    made = export(location, SWEEP, Wanted(TRIAL, "base"), folder / "out", seed="a secret")
    write_decision(open_reader(location).load(SWEEP), location.sweep_folder(SWEEP))
    words = ["--store", str(folder / ".keepgain"), "--key", str(made.folder / "key.json")]
    return words, location.sweep_folder(SWEEP)


def ratings(folder: Path, rater: str, prefers: str) -> Path:
    """All items: the one arm always better."""
    of = read_key(folder / "out" / "key.json")
    lines = [
        {
            "export": of.export,
            "rater": rater,
            "item": item,
            "preference": "left" if one.left == prefers else "right",
        }
        for item, one in of.items.items()
    ]
    return written(folder / f"{rater}.jsonl", lines)


def test_a_review_is_recorded_and_analyze_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, folder = swept(tmp_path)
    files = [str(ratings(tmp_path, "ann", "a")), str(ratings(tmp_path, "bo", "a"))]
    assert main(["review", "import", *files, *words]) == 0
    said = capsys.readouterr().out
    # 20 wins and 20 ties: (20 + 10) / 40
    assert "win rate of acme-nano 3f9a1c over acme-nano base: 75.0 %" in said
    assert "by ann: 75.0 %" in said and "people prefer acme-nano 3f9a1c" in said
    (entry,) = read_later(folder, "review")
    assert "ann" not in json.dumps(entry.data)  # names stay with the sender
    evidence = open_reader(_location(tmp_path)).load(SWEEP)
    (part,) = json.loads(to_json(analyze(evidence)))["reviews"]
    assert part["win_rate"]["value"] == pytest.approx(0.75)
    assert part["raters"] == 2 and "ratings" not in part
    kept = json.loads((folder / "decision" / "decision.json").read_text())
    assert kept["reviews"] == [part]


def test_a_page_is_imported_once_and_again_by_force_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, folder = swept(tmp_path)
    ann, bo = (str(ratings(tmp_path, *who)) for who in (("ann", "a"), ("bo", "b")))
    assert main(["review", "import", ann, *words]) == 0
    before = (folder / "later.jsonl").read_bytes()
    assert main(["review", "import", ann, bo, *words]) == 2
    assert "are recorded already. --force replaces them" in capsys.readouterr().err
    assert (folder / "later.jsonl").read_bytes() == before
    assert main(["review", "import", ann, bo, *words, "--force", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["raters"] == ["ann", "bo"] and len(printed["disputed"]) == 20
    assert (folder / "later.jsonl").read_bytes().startswith(before)  # nothing is taken away
    (one,) = reviews_of(read_later(folder))
    assert one.raters == 2 and one.win_rate.value == pytest.approx(0.5)
    assert one.alpha is not None and one.alpha < 0


def test_a_faulty_file_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, folder = swept(tmp_path)
    path = ratings(tmp_path, "ann", "a")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    assert main(["review", "import", str(path), *words]) == 2
    assert "ann has not rated 1 of 20 items" in capsys.readouterr().err
    assert not (folder / "later.jsonl").exists()


def test_a_key_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="the key cannot be read"):
        read_key(tmp_path / "key.json")


def test_a_key_that_names_no_id_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, folder = swept(tmp_path)
    place = tmp_path / "out" / "key.json"
    ann = str(ratings(tmp_path, "ann", "a"))
    place.write_text(place.read_text().replace(f'"{SWEEP}"', '"last"'))
    assert main(["review", "import", ann, *words]) == 2
    assert f"the key is of 'last', and what lies there is sweep '{SWEEP}'" in (
        capsys.readouterr().err
    )
    assert not (folder / "later.jsonl").exists()


def test_the_key_is_looked_for_beside_the_first_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, _ = swept(tmp_path)
    path = ratings(tmp_path, "ann", "a")
    assert main(["review", "import", str(path), *words[:2]]) == 2
    assert "--key FILE" in capsys.readouterr().err
    path.rename(tmp_path / "out" / path.name)
    assert main(["review", "import", str(tmp_path / "out" / path.name), *words[:2]]) == 0


def test_a_decision_that_requires_a_review_is_provisional_until_there_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, folder = swept(tmp_path, require=True)
    place = folder / "decision" / "decision.json"
    before = json.loads(place.read_text())["decision"]
    assert (before["status"], before["awaits_review"]) == ("provisional", True)
    assert "until then the decision is provisional" in before["reason"]
    assert main(["review", "import", str(ratings(tmp_path, "ann", "a")), *words]) == 0
    assert "decision is now: recommended" in capsys.readouterr().out
    after = json.loads(place.read_text())["decision"]
    assert (after["status"], after["awaits_review"]) == ("recommended", False)
    assert after["trial"] == before["trial"] == TRIAL


def test_people_who_prefer_the_base_are_heard_in_the_reason(tmp_path: Path) -> None:
    words, folder = swept(tmp_path, require=True)
    assert main(["review", "import", str(ratings(tmp_path, "ann", "b")), *words]) == 0
    decision = json.loads((folder / "decision" / "decision.json").read_text())["decision"]
    assert decision["status"] == "recommended"
    assert "But people prefer its base: by 1 person its answers win 25.0 %" in decision["reason"]


def _location(folder: Path) -> Any:
    from keepgain.core.store.location import resolve_store

    return resolve_store(str(folder / ".keepgain"))
