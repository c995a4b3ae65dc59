"""Collects what the tests marked `fault` found; `--fault-results` writes it and the page's table.

Part of `tests/conftest.py`, so that marks are checked in every run.
"""

import datetime
from collections.abc import Iterator

import pytest

from tests.faults.catalogue import IDS
from tests.faults.results import Result, merged, read_results, write_page, write_results

OPTION = "--fault-results"
FAULTS, TRIES, FIGURES = "faults", "tries", "figures"
"""Properties of a test's report; `record_property("tries", n)` says how often it tried, "figures"
what it measured, in words."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        OPTION, action="store_true", help="write tests/faults/results.json and the page's table"
    )


class FaultResults:
    """Listens to one run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._new: dict[str, Result] = {}
        self._collected: dict[str, tuple[str, ...]] = {}

    @pytest.hookimpl(tryfirst=True)  # before anything is deselected
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if found := tuple(_ids(item)):
                item.user_properties.append((FAULTS, found))
                self._collected[item.nodeid] = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        said = dict(report.user_properties)
        if FAULTS not in said:
            return
        before = self._new.get(report.nodeid)
        bad = report.outcome != "passed"
        if before is not None and before.outcome != "passed":
            return  # what failed in its set-up or its call is not mended by its end
        if not bad and report.when == "setup":
            return
        seconds = report.duration + (before.seconds if before else 0.0)
        self._new[report.nodeid] = Result(
            faults=tuple(said[FAULTS]),
            outcome=report.outcome,
            tries=0 if report.outcome == "skipped" else int(said.get(TRIES, 1)),
            seconds=round(seconds, 1),
            reason=_reason(report) if report.outcome == "skipped" else "",
            day=datetime.date.today().isoformat(),
            figures=str(said.get(FIGURES, "")),
        )

    def pytest_sessionfinish(self) -> None:
        config = self._config
        if not config.getoption(OPTION) or hasattr(config, "workerinput"):
            return
        whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        # Empty in the process that spreads tests over others.
        all_of_them = self._collected if whole and self._collected else None
        results = merged(read_results(), self._new, all_of_them)
        write_results(results)
        write_page(results)


def _ids(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("fault"):
        for one in mark.args:
            if one not in IDS:
                raise pytest.UsageError(
                    f"{item.nodeid}: no fault '{one}' in tests/faults/catalogue"
                )
            yield one


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
