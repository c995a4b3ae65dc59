"""Plants faults in prose found on this machine and counts which ones `sweep check` finds.

    python -m benchmarks.data_gates.planted --work /tmp/planted
    python -m benchmarks.data_gates.planted --kinds near leak_near --rows 1000 --seed 3
    python -m benchmarks.data_gates.planted --write           # into docs/data-gates.md

Each kind of fault is planted at each of its rates in a data set of its own, and the gates of the
kind's codes are run on it; clean data sets come first and see all gates, and an error in one of
them makes the exit code 1. The generator (`prose`, `worlds`, `edits`, `personal`, `foreign`,
`repeats`, `faults`) was written without looking at the gates; `codes` alone ties the two together.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.data_gates.codes import CODES
from benchmarks.data_gates.faults import Kind, kinds
from benchmarks.data_gates.prose import Paragraph, find_prose
from benchmarks.data_gates.scoring import (
    Checked,
    Score,
    clean_table,
    read_truth,
    rows_table,
    run_check,
    score,
    sets_table,
    subs_table,
)
from benchmarks.data_gates.worlds import GENERAL, Family, World, clean_world, write_world
from keepgain.core.errors import UserError

DOCUMENT = Path(__file__).parents[2] / "docs" / "data-gates.md"
BEGIN, END = "<!-- planted: begin -->", "<!-- planted: end -->"
FILLER = 500
"""Paragraphs that no clean data set uses."""
CLEAN_SEEDS = 3
FAMILIES: tuple[Family, ...] = ("topics", "answers")


@dataclass(frozen=True)
class Benchmark:
    """What all data sets of a run have in common."""

    work: Path
    rows: int
    seed: int
    base: tuple[Paragraph, ...]
    kinds: tuple[Kind, ...]

    def clean(self, family: Family, seed: int) -> World:
        """A data set without faults."""
        return clean_world(self.base, family, self.rows, seed)

    def planted(self, kind: Kind, rate: float, family: Family) -> Path:
        """Writes a data set with one kind of fault; returns its spec."""
        name = f"{kind.name}-{rate:.3f}-{family}"
        world = self.clean(family, self.seed).copied()
        truth = kind.plant(world, rate, random.Random(f"{name} {self.seed}"))
        return write_world(world, truth, self.work / name, self.seed)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def load_paragraphs(work: Path, least: int) -> list[Paragraph]:
    """The machine's prose, kept in the work folder for the next run."""
    kept = work / "prose.jsonl"
    if not kept.exists():
        _say("looking for prose (a minute or two)")
        prose = find_prose(least)
        _say(f"paragraphs: {json.dumps(prose.counts)}")
        lines = [json.dumps(asdict(p)) for p in prose.paragraphs]
        kept.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with kept.open(encoding="utf-8") as handle:
        return [Paragraph(**json.loads(line)) for line in handle]


def _check_clean(benchmark: Benchmark) -> dict[tuple[Family, int], Checked]:
    checked = {}
    for family in FAMILIES:
        for seed in range(benchmark.seed, benchmark.seed + CLEAN_SEEDS):
            world = benchmark.clean(family, seed)
            spec = write_world(world, (), benchmark.work / f"clean-{family}-{seed}", seed)
            checked[family, seed] = run_check(spec)
            codes = checked[family, seed].codes()
            _say(f"clean {family} {seed}: {', '.join(sorted(codes)) or 'nothing'}")
    return checked


def _check_planted(benchmark: Benchmark, clean: dict[tuple[Family, int], Checked]) -> list[Score]:
    scores = []
    cases = [(k, f, r) for k in benchmark.kinds for f in k.families for r in k.rates]
    for number, (kind, family, rate) in enumerate(cases, 1):
        began = time.monotonic()
        spec = benchmark.planted(kind, rate, family)
        usual = clean[family, benchmark.seed].codes()
        checked = run_check(spec, CODES[kind.name])
        one = score(kind, rate, family, read_truth(spec.parent), checked, usual)
        scores.append(one)
        _say(
            f"{number}/{len(cases)} {spec.parent.name}: {one.found} of {one.planted} found, "
            f"{one.right} of {one.flagged} right ({time.monotonic() - began:.1f} s)"
        )
    return scores


def report(
    benchmark: Benchmark, clean: Sequence[Checked], scores: Sequence[Score], seconds: float
) -> str:
    """All tables as Markdown."""
    topics = Counter(p.topic for p in benchmark.base)
    parts = [
        f"`python -m benchmarks.data_gates.planted --rows {benchmark.rows} --seed "
        f"{benchmark.seed}`: {benchmark.rows} rows of a data set (60 % training, 20 % validation, "
        f"20 % test) and {2 * GENERAL} general items out of {len(benchmark.base)} distinct "
        f"paragraphs of {len(topics)} collections; {len(scores)} data sets with faults, "
        f"{len(clean)} without; {seconds / 60:.0f} minutes. Shares with 95 % Wilson intervals.",
        "\n".join(rows_table(benchmark.kinds, scores)),
        "Kinds that have no rows of their own:",
        "\n".join(sets_table(benchmark.kinds, scores)),
        "By variant:",
        "\n".join(subs_table(benchmark.kinds, scores)),
        "Data sets without a fault:",
        "\n".join(clean_table(clean)),
    ]
    return "\n\n".join(parts) + "\n"


def write_report(text: str, document: Path) -> None:
    """Puts it between the marks of a document.

    Raises:
        UserError: The document has not both marks.
    """
    whole = document.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UserError(f"it lacks the marks {BEGIN} and {END}.", where=str(document))
    document.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def run(work: Path, args: argparse.Namespace) -> int:
    """The benchmark in a folder; returns the exit code."""
    began = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    paragraphs = load_paragraphs(work, args.rows + 2 * GENERAL + FILLER)
    all_kinds = kinds(paragraphs[:FILLER])
    unknown = sorted(set(args.kinds or ()) - {k.name for k in all_kinds})
    if unknown:
        known = ", ".join(k.name for k in all_kinds)
        raise UserError(f"unknown kinds: {', '.join(unknown)}.", hint=f"Known: {known}.")
    chosen = tuple(k for k in all_kinds if not args.kinds or k.name in args.kinds)
    benchmark = Benchmark(work, args.rows, args.seed, tuple(paragraphs[FILLER:]), chosen)
    if args.generate_only:
        for kind in chosen:
            for family in kind.families:
                for rate in kind.rates:
                    _say(str(benchmark.planted(kind, rate, family)))
        return 0
    clean = _check_clean(benchmark)
    scores = _check_planted(benchmark, clean)
    text = report(benchmark, list(clean.values()), scores, time.monotonic() - began)
    print(text)
    if args.write:
        write_report(text, DOCUMENT)
    failed = [key for key, one in clean.items() if one.codes(("error",))]
    for family, seed in failed:
        _say(f"a clean data set has an error: {family}, seed {seed}")
    return 1 if failed else 0


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", metavar="KIND", help="only these")
    parser.add_argument("--rows", type=int, default=2000, help="rows of a data set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="folder to keep prose and data sets in")
    parser.add_argument("--generate-only", action="store_true", help="write the data sets only")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {DOCUMENT.name}")
    args = parser.parse_args()
    try:
        if args.work is not None:
            return run(args.work, args)
        with tempfile.TemporaryDirectory() as folder:
            return run(Path(folder), args)
    except UserError as error:
        _say(f"error: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
