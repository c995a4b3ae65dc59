"""The codes of the source, of the catalogue and of the docs are the same."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from keepgain.sweeps.check import GATES
from keepgain.sweeps.gates.catalogue import CODES

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "data-gates.md"


def given_codes() -> Iterator[str]:
    """What the source passes as `code=`, where it is written out there."""
    for path in sorted((ROOT / "sweeps").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Finding"):
                for keyword in node.keywords:
                    if keyword.arg == "code":
                        yield from (
                            n.value
                            for n in ast.walk(keyword.value)
                            if isinstance(n, ast.Constant)
                            and isinstance(n.value, str)
                            and not n.value.endswith("_")
                        )


def written() -> list[re.Pattern[str]]:
    """Strings of the source but the catalogue's; those with fields match whatever fills them."""
    found = set()
    for path in sorted((ROOT / "sweeps").rglob("*.py")):
        if path.name == "catalogue.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.escape(node.value))
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else None for p in node.values]
                if any(parts) and all(p is None or re.fullmatch("[a-z_]+", str(p)) for p in parts):
                    found.add("".join("[a-z_]+" if p is None else str(p) for p in parts))
    return [re.compile(text) for text in found]


def test_every_code_of_the_source_stands_in_the_catalogue() -> None:
    assert set(given_codes()) - CODES.keys() == set()


def test_the_catalogue_has_no_code_that_nothing_gives() -> None:
    texts = written()
    assert [code for code in CODES if not any(t.fullmatch(code) for t in texts)] == []


def test_every_gate_has_codes_and_every_code_a_gate() -> None:
    assert {c.gate for c in CODES.values()} - {"waivers", "drift"} == {gate.name for gate in GATES}


def test_the_docs_explain_every_code_and_no_other() -> None:
    explained = re.findall(r"^- `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(explained) == sorted(CODES)
