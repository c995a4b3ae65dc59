"""`sweep add`: have configurations of your own tried next by a sweep that is open."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepgain.core.errors import UserError
from keepgain.sweeps.cli.common import add_store
from keepgain.sweeps.cli.steer import EXIT_CODES

if TYPE_CHECKING:
    from keepgain.sweeps.search.space import Space
    from keepgain.sweeps.steering import Listed

EPILOG = f"""examples:
  sweep add ticket-routing-7f3a2c params.yaml

params.yaml is a list; each entry has the settings of one trial, named as in `space:`, and may name
its base model (default: every one):
  - {{method: lora, learning_rate: 2e-4, lora.rank: 8, mixture: {{task: 0.8, general: 0.2}}}}
  - {{model: small, method: full, learning_rate: 5e-5, mixture: {{task: 1, general: 0}}}}
They are tried before anything else is drawn, and cost the sampler no trial of its own. Without a
running driver they are kept for the next `sweep run`.

{EXIT_CODES}"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "add",
        help="have configurations of your own tried next",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sweep", metavar="ID", help="of the sweep; `last` is the newest")
    parser.add_argument("params", type=Path, metavar="FILE", help="a YAML list of settings")
    add_store(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Checks the file against the sweep's space, then hands it over."""
    from keepgain.core.store.location import resolve_store
    from keepgain.sweeps.cli.steer import give
    from keepgain.sweeps.overview import find_sweep

    folder = find_sweep(resolve_store(args.store), args.sweep)
    space, models = _open_search(folder)
    return give(folder, "add", configs=tuple(read_configs(args.params, space, models)))


def read_configs(path: Path, space: "Space", models: Sequence[str]) -> list["Listed"]:
    """The configurations of a file, one a base model.

    Raises:
        UserError: Not a list of mappings, an unknown base model, or settings that the space does
            not have; as `file:row (line n)`, rows counted from 0 as in the file's keys.
    """
    from keepgain.core.yaml_io import load_yaml_list
    from keepgain.sweeps.search.given import raw_of
    from keepgain.sweeps.steering import Listed

    rows, lines = load_yaml_list(path)
    if not rows:
        raise UserError("the list is empty.", where=str(path))
    found: list[Listed] = []
    for index, row in enumerate(rows):
        where = f"{path}:{index} (line {lines[str(index)]})"
        if not isinstance(row, dict):
            raise UserError(f"must be a mapping of settings (given: {row!r}).", where=where)
        params: dict[str, Any] = {k: v for k, v in row.items() if k != "model"}
        model = row.get("model")
        if model is not None and model not in models:
            raise UserError(
                f"unknown base model {model!r}.", where=where, hint=f"Known: {', '.join(models)}."
            )
        try:
            settings = space.resolve(raw_of(space, params))
        except UserError as error:
            raise UserError(error.problem, where=where, hint=error.hint) from None
        found += [Listed(model=m, params=settings) for m in ([model] if model else models)]
    return found


def _open_search(folder: Path) -> tuple["Space", list[str]]:
    """The space and the base models of a sweep whose search is not over."""
    from keepgain.core.status import Stage
    from keepgain.core.yaml_io import load_yaml
    from keepgain.sweeps.reuse import LEDGER_NAME
    from keepgain.sweeps.search.ledger import SearchStarted, read_events
    from keepgain.sweeps.search.replay import replay
    from keepgain.sweeps.search.space import parse_space

    events = read_events(folder / LEDGER_NAME)
    started = next((e for e in events if isinstance(e, SearchStarted)), None)
    if started is None:
        raise UserError(f"the search of {folder.name} has not begun.", hint="Run it first.")
    if Stage.SEARCH in replay(events).stages:
        raise UserError(
            f"the search of {folder.name} is over, so nothing can be added.",
            hint="A sweep with another name reuses its trials.",
        )
    spec, _ = load_yaml(folder / "spec.resolved.json")  # JSON is YAML
    space = parse_space(spec["space"], sources=list(spec["data"]), where=str(folder))
    return space, list(started.settings["models"])
