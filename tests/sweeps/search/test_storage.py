"""Optuna's studies in a database: the same as in the journal, ours alone are replaced."""

import optuna
import pytest

from keepgain.core.errors import UserError
from keepgain.sweeps.search.storage import check_url
from tests.sweeps.search.searches import (
    SPACE,
    facts,
    history,
    make_search,
    mixed,
    result_of,
    run,
    space_of,
    through_json,
    trials,
)

NAME = "sweep-1a2b3c/xs"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/optuna.db"


def make(folder, url, **more):
    return make_search(
        folder,
        storage=url,
        **{"models": ["xs"], "trials_per_model": 4, "generation_size": 2} | more,
    )


def test_a_database_and_memory_hold_what_the_journal_would(tmp_path, url):
    found = [
        trials(search)
        for storage, journal in ((url, None), (None, None), (None, tmp_path / "journal"))
        if run(search := make(tmp_path, storage, journal=journal), mixed)
    ]
    assert found[0] == found[1] == found[2]
    study = optuna.load_study(study_name=NAME, storage=url)
    assert len(study.trials) == 4
    assert not list(tmp_path.glob("journal.*"))


def test_a_continued_search_replaces_its_studies_and_no_others(tmp_path, url):
    whole = make(tmp_path, url)
    events = history(whole, mixed, shuffle=1)
    expected = trials(whole)
    others = ["sweep-1a2b3c-2/xs", "sweep-1a2b3c", "mine"]
    for name in others:
        optuna.create_study(storage=url, study_name=name)
    again = make(tmp_path, url)
    again.restore(through_json(events[:4]), result_of)
    run(again, mixed)
    assert trials(again) == expected
    assert facts(optuna.load_study(study_name=NAME, storage=url)) == expected["xs"]
    assert set(optuna.get_all_study_names(url)) == {NAME, *others}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"objectives": {"gain": "maximize"}}, "another directions"),
        ({"objectives": {"gain": "minimize", "forgetting": "minimize"}}, "another directions"),
        ({"space": space_of({**SPACE, "batch_size": 8})}, "another space"),
    ],
)
def test_a_study_of_another_search_is_refused_and_kept(change, named, tmp_path, url):
    run(make(tmp_path, url, rungs=2), mixed)
    before = optuna.get_all_study_names(url)
    with pytest.raises(UserError, match=named) as caught:
        make(tmp_path, url, **change)
    assert caught.value.where == "search.storage"
    assert optuna.get_all_study_names(url) == before


def test_a_study_that_keepgain_did_not_make_is_refused(tmp_path, url):
    optuna.create_study(storage=url, study_name=NAME, directions=["maximize", "minimize"])
    with pytest.raises(UserError, match="another space"):
        make(tmp_path, url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("optuna.db", "not the URL"),
        ("nosuch://host/x", "not the URL"),
        ("sqlite:////no/such/folder/x.db", "no folder /no/such/folder"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url, words):
    with pytest.raises(UserError, match=words) as caught:
        check_url(url, "sweep.yaml:search.storage", connect=True)
    assert caught.value.where == "sweep.yaml:search.storage"


def test_checking_a_file_does_not_make_it(tmp_path):
    check_url(f"sqlite:///{tmp_path}/x.db", "here", connect=True)
    assert not list(tmp_path.iterdir())
