"""What the tests of faults found: kept as JSON, shown as the table of `docs/reliability.md`."""

import ast
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.faults.catalogue import GROUPS, Fault, faults

ROOT = Path(__file__).parents[2]
FILE = Path(__file__).with_name("results.json")
PAGE = ROOT / "docs" / "reliability.md"
BEGIN = "<!-- made by `make test-faults`: begin -->"
END = "<!-- made by `make test-faults`: end -->"


@dataclass(frozen=True)
class Result:
    """The last run of one test."""

    faults: tuple[str, ...]
    outcome: str
    """passed, failed, skipped, or `not run`."""
    tries: int = 0
    """How often the fault was put in: 1 unless the test says otherwise."""
    seconds: float = 0.0
    reason: str = ""
    """Why it was skipped."""
    day: str = ""
    """When it was run."""
    figures: str = ""
    """What it measured, in words."""


Results = Mapping[str, Result]
"""By the test's node id."""


def read_results(path: Path = FILE) -> dict[str, Result]:
    """What `write_results` wrote; empty if there is nothing."""
    if not path.exists():
        return {}
    return {
        node: Result(**{**one, "faults": tuple(one["faults"])})
        for node, one in json.loads(path.read_text(encoding="utf-8")).items()
    }


def write_results(results: Results, path: Path = FILE) -> None:
    """Ordered by test, one a line, so that changes can be read."""
    lines = [
        f" {json.dumps(node)}: {json.dumps(asdict(results[node]), ensure_ascii=False)}"
        for node in sorted(results)
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def merged(old: Results, new: Results, collected: Mapping[str, tuple[str, ...]] | None) -> Results:
    """The results after a run.

    Args:
        old: Before it.
        new: Of the tests that ran.
        collected: Every marked test that there is, with its faults, where the run collected all;
            None: it was a part, and what it leaves out is kept unless the test is gone.
    """
    both = {**old, **new}
    if collected is None:
        return {node: r for node, r in both.items() if exists(node)}
    known = {n: r for n, r in both.items() if n in collected}
    return {n: known.get(n, Result(f, "not run")) for n, f in collected.items()}


def exists(node: str) -> bool:
    """Whether there is a function for a node id, with parameters or without."""
    file, _, name = node.partition("[")[0].partition("::")
    return name.rpartition("::")[2] in _functions(ROOT / file)


@cache
def _functions(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


def table(results: Results) -> str:
    """The part of the page between its two comments."""
    by_fault: dict[str, dict[str, list[Result]]] = defaultdict(lambda: defaultdict(list))
    for node, result in sorted(results.items()):
        for fault in result.faults:
            by_fault[fault][node.partition("[")[0]].append(result)
    rows = [r for tests in by_fault.values() for many in tests.values() for r in many]
    lines = [_summary(by_fault, results), ""]
    for name, group in GROUPS.items():
        lines += [f"### {name}", "", "| | fault | what must hold | tests | tried | outcome |"]
        lines += ["|---|---|---|---|---:|---|"]
        lines += [_row(fault, by_fault.get(fault.id, {})) for fault in group]
        lines.append("")
    figures = sorted({f"{', '.join(r.faults)}: {r.figures}" for r in rows if r.figures})
    if figures:
        lines += ["### Measured", "", *(f"- {one}" for one in figures), ""]
    skipped = sorted({f"{', '.join(r.faults)}: {r.reason}" for r in rows if r.reason})
    if skipped:
        lines += ["### Skipped", "", *(f"- {one}" for one in skipped), ""]
    return "\n".join(lines)


def _summary(by_fault: Mapping[str, object], results: Results) -> str:
    outcomes = [r.outcome for r in results.values()]
    days = sorted({r.day for r in results.values() if r.day})
    ran = f" Run {' to '.join(dict.fromkeys((days[0], days[-1])))}." if days else ""
    total = sum(1 for _ in faults())
    counts = ", ".join(
        f"{outcomes.count(o)} {o}" for o in ("passed", "failed", "skipped", "not run")
    )
    return f"{len(by_fault)} of {total} faults have tests. Tests: {counts}.{ran}"


def _row(fault: Fault, tests: Mapping[str, Iterable[Result]]) -> str:
    names: dict[str, list[str]] = defaultdict(list)
    for node in tests:
        file, _, name = node.removeprefix("tests/").partition("::")
        names[file].append(name)
    shown = "; ".join(
        f"`{file}`: " + ", ".join(f"`{n}`" for n in found) for file, found in names.items()
    )
    results = [r for many in tests.values() for r in many]
    tried = sum(r.tries for r in results)
    return (
        f"| {fault.id} | {_cell(fault.injected)} | {_cell(fault.holds)} | {shown} | {tried} "
        f"| {outcome(results)} |"
    )


def outcome(results: Iterable[Result]) -> str:
    """Of all tests of one fault together."""
    found = [r.outcome for r in results]
    if not found:
        return "no test"
    if failed := found.count("failed"):
        return f"**{failed} failed**"
    rest = [f"{n} {o}" for o in ("skipped", "not run") if (n := found.count(o))]
    held = ["held"] if "passed" in found else []
    return ", ".join(held + rest)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write_page(results: Results, page: Path = PAGE) -> None:
    """Puts the table into the page."""
    head, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    page.write_text(f"{head}{BEGIN}\n{table(results)}\n{END}{tail}", encoding="utf-8")


def table_of(page: Path = PAGE) -> str:
    """What the page has between its comments."""
    _, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    return rest.partition(END)[0].strip("\n")
