"""What the pages tell people to type exists: commands parse, make targets and files are there."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from keepgain.analysis.cli import _parser as analyze_parser
from keepgain.analysis.contract import Contract
from keepgain.cluster.cli.main import _parser as cluster_parser
from keepgain.sweeps.cli.main import _parser as sweep_parser
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_search import (
    ConfirmSpec,
    LimitsSpec,
    NotifySpec,
    SearchSpec,
    StalledSpec,
    StoppingSpec,
)
from keepgain.sweeps.spec_sweep import SweepSpec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *ROOT.glob("examples/*/*.md")]
PARSERS = {"sweep ": sweep_parser, "analyze ": analyze_parser, "cluster ": cluster_parser}
COMMAND = re.compile(r"(?:^|`|-- )((?:sweep|analyze|cluster) [^`#\n]+)", re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += [(page.name, c.strip()) for c in COMMAND.findall(block) if not kind]
        for inline in re.findall(r"`([^`\n]+)`", text):
            if inline.startswith((*PARSERS, "ray job submit")):
                whole = [c.strip() for c in COMMAND.findall(inline)]
                # `sweep check` in a sentence is a name; with arguments it is a command.
                found += [(page.name, c) for c in whole if len(c.split()) > 2]
    return sorted(set(found))


@pytest.mark.parametrize(("page", "command"), commands())
def test_every_command_of_the_pages_parses(page: str, command: str) -> None:
    if "|" in command:
        pytest.skip("a menu of forms, not one command")
    program, *words = shlex.split(command)
    PARSERS[f"{program} "]().parse_args([w for w in words if w != "..."])


def test_the_pages_hold_commands_at_all() -> None:
    assert len(commands()) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_make_targets_and_relative_links_of_the_pages_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link


def test_the_spec_page_names_every_top_level_key() -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    for name in SweepSpec.model_fields:
        assert re.search(rf"(?:`|^|## |, ){name}\b", text, re.MULTILINE), name


def test_the_spec_of_the_page_is_a_spec(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    example = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0]
    path = tmp_path / "sweep.yaml"
    path.write_text(example, encoding="utf-8")
    assert load_spec(path).spec.name == "ticket-routing"
    assert len(example.splitlines()) <= 25


def yaml_blocks() -> list[str]:
    """That of the spec's page which is a whole spec first, then those of all pages."""
    pages = sorted(PAGES, key=lambda page: page.name != "spec.md")
    texts = [page.read_text(encoding="utf-8") for page in pages]
    return [b for text in texts for b in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize("block", yaml_blocks()[1:])
def test_the_other_examples_of_the_pages_are_parts_of_a_spec(tmp_path: Path, block: str) -> None:
    """Each replaces its keys in the first one."""
    path = tmp_path / "sweep.yaml"
    merged = {**yaml.safe_load(yaml_blocks()[0]), **yaml.safe_load(block)}
    path.write_text(yaml.safe_dump(merged), encoding="utf-8")
    load_spec(path)


def test_the_spec_page_names_every_key_of_search_limits_and_confirmation() -> None:
    text = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
    for model in (SearchSpec, StoppingSpec, StalledSpec, LimitsSpec, NotifySpec, ConfirmSpec):
        for name in model.model_fields:
            assert re.search(rf"[`{{ ]{name}[`:,}} ]", text), f"{model.__name__}.{name}"


def test_the_json_page_names_every_key_of_the_contract() -> None:
    text = (ROOT / "docs" / "analyze-json.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[`.]([a-z_]+)(?:\[\])?(?=[`.])", text))
    schema = Contract.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    keys = {key for part in parts for key in part.get("properties", {})}
    assert len(keys) > 50
    assert {key.rstrip("_") for key in keys} <= named
