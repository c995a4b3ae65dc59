"""What a new sweep learns of a finished one, and which sweeps it refuses to learn from."""

from pathlib import Path

import pytest

from keepgain.core.errors import UserError
from keepgain.core.status import Stage
from keepgain.core.store.names import RECORD_FOLDER
from keepgain.core.store.record_files import save_folder
from keepgain.sweeps.openings import note_opening, opening
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.run import make_search
from keepgain.sweeps.search.ledger import Ledger, SearchStarted
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.warm_start import learned_trials
from tests.sweeps.test_program import Sweep, edit
from tests.sweeps.tiny_models import make_model, make_world

TRIALS = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sweep]:
    """A world with its spec, and a sweep of it that has ended, in a store's folder."""
    folder = tmp_path_factory.mktemp("world")
    make_model(folder / "m9", hidden=40)
    spec = make_world(folder)
    edit(spec, "search: {trials_per_model: 12}", f"search: {{trials_per_model: {TRIALS}}}")
    edit(spec, "confirm: {finalists: 4, seeds: 3}", "confirm: {finalists: 1, seeds: 2}")
    edit(spec, "prices:", "training: {budget_tokens: 1000, rungs: [0.5, 1]}\nprices:")
    first = Sweep(spec, folder / "work" / "first").run()
    save_folder(first.folder / RECORD_FOLDER, first.evidence())
    return spec, first


@pytest.fixture
def warm(made: tuple[Path, Sweep], tmp_path: Path) -> Path:
    """A copy of the spec that starts from the finished sweep, beside the same files."""
    spec, _ = made
    text = spec.read_text().replace("search: {", "search: {warm_start: first, ", 1)
    path = spec.with_name(f"{tmp_path.name}.yaml")
    path.write_text(text)
    return path


def prepared(spec: Path, *edits: tuple[str, str]) -> Prepared:
    for old, new in edits:
        edit(spec, old, new)
    return prepare(load_spec(spec), None)


def test_a_sweep_without_a_warm_start_learns_nothing(made: tuple[Path, Sweep]) -> None:
    spec, first = made
    assert learned_trials(prepare(load_spec(spec), None), first.folder.parent, print) == {}


def test_completed_trials_are_learned_with_their_gain_and_forgetting(
    made: tuple[Path, Sweep], warm: Path
) -> None:
    _, first = made
    said: list[str] = []
    found = learned_trials(prepared(warm), first.folder.parent, said.append)
    assert {m: len(trials) for m, trials in found.items()} == {"m0": TRIALS, "m1": TRIALS}
    assert said == ["warm start from first: trials 3 of m0, 3 of m1"]
    by_id = {r.asked.trial_id: r for r in first.by_stage(Stage.SEARCH)}
    for model, trials in found.items():
        for learned in trials:
            sweep, _, trial = learned.source.partition("/")
            run = by_id[trial]
            assert (sweep, run.asked.model) == ("first", model)
            assert learned.params == run.asked.params
            result = first.program.results.result(run)
            assert result is not None and learned.values == result.values
            assert learned.constraints == result.constraints


def test_the_limit_of_the_new_question_holds(made: tuple[Path, Sweep], warm: Path) -> None:
    _, first = made
    old = learned_trials(prepared(warm), first.folder.parent, print)["m0"]
    new = learned_trials(
        prepared(warm, ("max_forgetting: 0.03", "max_forgetting: 0.23")), first.folder.parent, print
    )["m0"]
    for a, b in zip(old, new, strict=True):
        name = "forgetting_over_limit"
        assert b.constraints[name] == pytest.approx(a.constraints[name] - 0.2)


def test_the_search_begins_with_what_was_learned_and_keeps_it(
    made: tuple[Path, Sweep], warm: Path, tmp_path: Path
) -> None:
    _, first = made
    learned = learned_trials(prepared(warm), first.folder.parent, print)
    search = make_search(prepared(warm), tmp_path, learned)
    known = search.studies["m0"].get_trials()
    assert [t.user_attrs["learned_from"] for t in known] == [t.source for t in learned["m0"]]
    with Ledger.open(tmp_path / "ledger.jsonl") as ledger:
        ledger.append(search.started())
        (event,) = ledger.events()
    assert isinstance(event, SearchStarted) and event.learned["m0"] == tuple(learned["m0"])


def test_a_parameter_that_was_fixed_is_filled_in(made: tuple[Path, Sweep], warm: Path) -> None:
    wider = ("  mixture:", "  batch_size: {ordered: [8, 16]}\n  duration: [0.5, 1]\n  mixture:")
    found = learned_trials(prepared(warm, wider), made[1].folder.parent, print)
    assert [(t.params["batch_size"], t.params["duration"]) for t in found["m1"]] == [(16, 1.0)] * 3


def test_trials_of_whole_sources_are_trials_without_a_filter(
    made: tuple[Path, Sweep], warm: Path
) -> None:
    filters = ("role: replay", "role: replay, filters: {few: {max_words: 3}, all: {min_words: 1}}")
    choice = ("  mixture:", "  filter.general: [none, few]\n  mixture:")
    found = learned_trials(prepared(warm, filters, choice), made[1].folder.parent, print)
    assert [t.params["filter.general"] for t in found["m0"]] == ["none"] * TRIALS
    with pytest.raises(UserError, match=r"could be one of this sweep .*filter\.general = 'none'"):
        fixed = ("filter.general: [none, few]", "filter.general: all")
        learned_trials(prepared(warm, fixed), made[1].folder.parent, print)


def test_trials_outside_a_narrower_space_are_left_out(made: tuple[Path, Sweep], warm: Path) -> None:
    said: list[str] = []
    rates = sorted(r.asked.params["learning_rate"] for r in made[1].by_stage(Stage.SEARCH))
    narrow = ("learning_rate: {log: [1e-5, 1e-3]}", f"learning_rate: {{log: [1e-5, {rates[1]}]}}")
    found = learned_trials(prepared(warm, narrow), made[1].folder.parent, said.append)
    inside = [t.params["learning_rate"] for trials in found.values() for t in trials]
    assert sorted(inside) == rates[:2]
    assert sum("left out: not of this space" in line for line in said) == len(rates) - 2


def test_a_base_model_that_is_new_learns_nothing(made: tuple[Path, Sweep], warm: Path) -> None:
    make_model(warm.parent / "m2", hidden=24)
    found = learned_trials(
        prepared(warm, ("[m0, m1]", "[m2, {name: other, path: m1}]")),
        made[1].folder.parent,
        print,
    )
    assert {m: len(t) for m, t in found.items()} == {"m2": 0, "other": TRIALS}


def test_earlier_openings_of_the_test_items_are_said(
    made: tuple[Path, Sweep], warm: Path, tmp_path: Path
) -> None:
    _, first = made
    work = tmp_path / "work"
    work.mkdir()
    (work / "first").symlink_to(first.folder)
    suites = first.prepared.score_suites("test")
    note_opening(work, "first", opening(["a"], suites), suites)
    said: list[str] = []
    learned_trials(prepared(warm), work, said.append)
    assert said[-1] == "  test items of this sweep were opened 1 time before"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "warm_start: first",
            "warm_start: frist",
            "no sweep 'frist' in this store.* It has: first",
        ),
        ("warm_start: first", "warm_start: ../first", "no sweep '../first'"),
        (
            "budget_tokens: 1000",
            "budget_tokens: 2000",
            "none of the 6 finished trials of first .*6 times: budget is 1000 there and 2000 here",
        ),
        (
            "prices:",
            "reference_arms: []\nprices:",  # changes nothing that scores depend on
            None,
        ),
        (
            "general_eval.jsonl,",
            "general_eval.jsonl, limit: 250,",
            r"suite 'forgetting' differs: first has forgetting by bits_per_byte on \d+ items "
            r"[0-9a-f]{12}; this sweep has forgetting by bits_per_byte on \d+ items",
        ),
        (
            "path: general.jsonl,",
            "path: general.jsonl, limit: 90,",
            r"source 'general' differs: first has replay rows [0-9a-f]{12}; this sweep has replay",
        ),
        (
            "forgetting: {path: general_eval.jsonl, scorer: bits_per_byte}",
            "other: {path: general_eval.jsonl, scorer: bits_per_byte, measures: behaviour}",
            "searched for gain and forgetting, this sweep for gain",
        ),
        ("[m0, m1]", "[m9]", r"no base model is in both sweeps: first has m0 [0-9a-f]{12}, m1"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_sides(
    made: tuple[Path, Sweep], warm: Path, old: str, new: str, words: str | None
) -> None:
    here = prepared(warm, (old, new))
    work = made[1].folder.parent
    if words is None:
        assert learned_trials(here, work, print)
        return
    with pytest.raises(UserError, match=words) as error:
        learned_trials(here, work, print)
    assert "search.warm_start" in (error.value.where or "")


def test_another_version_of_a_metric_is_refused(made: tuple[Path, Sweep], warm: Path) -> None:
    _, first = made
    path = first.folder / RECORD_FOLDER / "record.json"
    before = path.read_text()
    path.write_text(before.replace('"metric_version": 1', '"metric_version": 0', 1))
    try:
        with pytest.raises(
            UserError, match="version of suite 'gain' differs: first has 0; this sweep has 1"
        ):
            learned_trials(prepared(warm), first.folder.parent, print)
    finally:
        path.write_text(before)


def test_a_sweep_whose_search_goes_on_is_refused(
    made: tuple[Path, Sweep], warm: Path, tmp_path: Path
) -> None:
    Sweep(made[0], tmp_path / "work" / "open").run(steps=4)
    with pytest.raises(UserError, match="the search of open has not ended"):
        learned_trials(prepared(warm, ("first", "open")), tmp_path / "work", print)
