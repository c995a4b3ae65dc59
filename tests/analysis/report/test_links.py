"""Addresses of runs: of one run, of several seeds, and none without a server."""

from pathlib import Path
from urllib.parse import unquote

from keepgain.analysis.analyze import analyze
from keepgain.analysis.report.links import NO_LINKS, Links, _without_user, by_name, links_of
from keepgain.core.store.location import resolve_store
from tests.analysis.evidence import Trial, base, build


def test_one_run_is_linked_itself_and_several_seeds_as_a_search() -> None:
    analysis = analyze(build([base("m"), Trial("big", "m", 0.8, seeds=2)], n_items=50))
    links = Links(
        "http://h:5000",
        "3",
        "toy-123456",
        {"base-m-s0": "r/0", "big-s0": "r1", "big-s100": "r2", "big-s101": "r3"},
    )
    first, trial = (links.trial(r.who) or "" for r in analysis.rows)
    assert first == "http://h:5000/#/experiments/3/runs/r%2F0"
    address, _, query = trial.partition("?searchFilter=")
    assert address == "http://h:5000/#/experiments/3/runs" and "`" not in query
    assert unquote(query) == (
        "tags.`keepgain.sweep_id` = 'toy-123456' AND tags.`keepgain.trial_id` = 'big'"
    )
    assert unquote((links.sweep() or "").partition("=")[2]) == (
        "tags.`keepgain.sweep_id` = 'toy-123456'"
    )
    assert by_name(analysis, links)["big"] == trial
    assert NO_LINKS.trial(analysis.rows[0].who) is None and by_name(analysis, NO_LINKS) == {}


def test_a_name_of_two_configurations_is_not_linked() -> None:
    trials = [base("m"), Trial("abcdef11", "m", 0.8), Trial("abcdef22", "m", 0.7)]
    analysis = analyze(build(trials, n_items=50))
    named = by_name(analysis, Links("http://h", "3", "toy-123456", {}))
    assert "abcdef" not in named and "m abcdef" not in named and "abcdef11" in named


def test_addresses_hold_no_password_and_local_stores_have_none(tmp_path: Path) -> None:
    assert _without_user("https://me:secret@h:8/mlflow/?token=x") == "https://h:8/mlflow"
    store = resolve_store(str(tmp_path / ".keepgain"), create=True)
    assert links_of(store, "toy-123456") is NO_LINKS
