"""`sweep init`: writes a commented sweep.yaml that `sweep check` accepts as it is."""

import argparse
import os
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keepgain.core.config import Scorer
from keepgain.core.errors import EXIT_OK, UserError
from keepgain.core.formats import ALIASES
from keepgain.core.paths import expanded
from keepgain.core.row_files import RowFile, read_row_file, records
from keepgain.core.scorers import SCORERS
from keepgain.sweeps.base_models import HUB_ID
from keepgain.sweeps.draft import draft_rules, quoted, survey
from keepgain.sweeps.spec import load_spec
from keepgain.sweeps.spec_sweep import NAME, SWEEP_NAME_LENGTH

EXAMPLES = """examples:
  sweep init --model Qwen/Qwen3-0.6B --model Qwen/Qwen3-1.7B --data tickets.jsonl
  sweep init --model ./models/small --data tickets.jsonl \\
      --general general.jsonl --general-eval general_eval.jsonl --name ticket-routing
  sweep init --model ./models/small --from-data tickets.jsonl       # with a data_spec drafted
  sweep init --model ./models/small --from-data train.jsonl validation.jsonl test.jsonl
rows of --data: {"prompt", "answer"}, {"messages"}, Alpaca or ShareGPT, one JSON object a line
"""
OTHER: dict[Scorer, Scorer] = {
    "bits_per_byte": "exact_match",
    "multiple_choice": "multiple_choice_normalised",
    "classification": "classification_generated",
}
"""Offered beside the chosen one; of any other, bits per byte."""
OFFERED = tuple(
    name
    for name, s in SCORERS.items()
    if not {"command", "lm_eval"} & set(s.takes)
    and not (s.one_tokenizer or s.behaviour_only or s.facts)
)
"""Scorers that need no further keys, of the suite or of its items, and compare any models."""
FEW_LABELS = 20
ROWS_OF_A_LABEL = 10
"""At most so many different answers, and on average at least so many rows of each, are classes."""
SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""Split → words of a file's name that stand for it."""


@dataclass(frozen=True)
class Choices:
    """What goes into the file."""

    name: str
    models: tuple[str, ...]
    data: dict[str, str]
    """Of the task: `path`, or each split, and its file."""
    scorer: Scorer
    others: dict[str, str]
    """Further sources of rows of the task, and their files."""
    general: str | None = None
    general_eval: str | None = None
    rules: str = ""
    """The block `data_spec`."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "init",
        help="write a commented sweep.yaml for your models and data",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model", action="append", required=True, metavar="M", help="folder or hub id; repeatable"
    )
    rows = parser.add_mutually_exclusive_group(required=True)
    rows.add_argument("--data", type=Path, metavar="FILE", help="rows of the task")
    rows.add_argument(
        "--from-data",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="as --data, and drafts what rows are to be like (data_spec) from them; several files: "
        "named as train, validation and test, or further sources",
    )
    parser.add_argument(
        "--general", type=Path, metavar="FILE", help="general rows to replay in training"
    )
    parser.add_argument(
        "--general-eval",
        type=Path,
        metavar="FILE",
        help="general rows on which forgetting is measured; default: a part of --general",
    )
    parser.add_argument("--name", help="of the sweep; default: from the data's file name")
    parser.add_argument(
        "--scorer",
        choices=OFFERED,
        help="of the task; default: multiple_choice if rows have choices, classification if their "
        "answers are few and repeated, bits_per_byte if they have none, else exact_match",
    )
    parser.add_argument("--out", type=Path, default=Path("sweep.yaml"), help="file to write")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Reads the data, writes the spec, loads it once to be sure of it."""
    out: Path = args.out
    if out.exists() and not args.force:
        raise UserError("the file is there already.", where=str(out), hint="Replace it: --force.")
    if not out.parent.is_dir():
        raise UserError("no such folder.", where=str(out.parent), hint="Create it first.")
    files: list[Path] = args.from_data or [args.data]
    task, others = _layout(files)
    first = next(iter(task.values()))
    choices_wanted = _with_choices(first, args.scorer)
    file = read_row_file(first, choices=choices_wanted)
    scorer, reason = choose_scorer(file, args.scorer)
    rules = ""
    if args.from_data:
        sources = {"task": list(task.values())} | {n: [path] for n, path in others.items()}
        rules = draft_rules(survey(files, choices_wanted), sources)
    general = None if args.general is None else read_row_file(args.general)
    evaluated = None if args.general_eval is None else read_row_file(args.general_eval)
    choices = Choices(
        name=args.name or _name_from(first),
        models=tuple(_model_as_written(m, out.parent) for m in args.model),
        data={key: _as_written(path, out.parent) for key, path in task.items()},
        scorer=scorer,
        others={name: _as_written(path, out.parent) for name, path in others.items()},
        general=None if general is None else _as_written(args.general, out.parent),
        general_eval=None if evaluated is None else _as_written(args.general_eval, out.parent),
        rules=rules,
    )
    _write_checked(out, spec_text(choices))
    print(
        f"wrote {out}: {len(file.rows)} rows of {first} "
        f"read as {file.format}; the task is scored by {scorer} ({reason})"
    )
    if general is None and evaluated is None:
        print("forgetting will not be measured: give general rows with --general FILE")
    print(f"next: sweep check {out}")
    return EXIT_OK


def choose_scorer(file: RowFile, wanted: Scorer | None) -> tuple[Scorer, str]:
    """The scorer asked for, else one that fits the rows; and why."""
    texts = next((i for i, row in enumerate(file.rows) if row.kind == "text"), None)
    if wanted is not None and texts is not None and SCORERS[wanted].fits != "any":
        raise UserError(
            "the row has no answer to match.",
            where=f"{file.path}:{file.lines[texts]}",
            hint="Leave --scorer out, or give rows with an answer.",
        )
    if wanted is not None:
        return wanted, "as asked"
    if texts is not None:
        return "bits_per_byte", "the rows are plain text"
    if all(row.choices for row in file.rows):
        return "multiple_choice", "the rows have choices"
    answers = {row.answer.strip() for row in file.rows}
    if 2 <= len(answers) <= min(FEW_LABELS, len(file.rows) / ROWS_OF_A_LABEL):
        return "classification", f"the answers are {len(answers)} different texts"
    median = statistics.median(len(row.answer) for row in file.rows)
    reason = f"half of the answers have at most {median:.0f} characters"
    return "exact_match", reason


def _with_choices(path: Path, wanted: Scorer | None) -> bool:
    """True if the rows are to be read with their choices: every row has some."""
    if wanted is not None:
        return SCORERS[wanted].fits == "choices"
    return all(any(key in record for key in ALIASES["choices"]) for _, record in records(path))


def spec_text(choices: Choices) -> str:
    """The file: short enough to be read, every line with what it means."""
    c = choices
    forgetting_from, lines = _forgetting(c)
    task = ", ".join(f"{key}: {quoted(path)}" for key, path in c.data.items())
    auto = ", split: auto" if "path" in c.data else ""
    how = "  # 80/10/10 into train/validation/test by a hash of the question\n" if auto else ""
    others = "".join(
        f"  {name}: {{path: {quoted(path)}, role: task}}\n" for name, path in c.others.items()
    )
    replay = c.general is not None
    shares = ["task: [0.5, 1]", *(f"{name}: [0, 0.5]" for name in c.others), "general: [0, 0.5]"]
    mixture = f"  mixture: {{{', '.join(shares)}}}   # shares of the training tokens\n"
    measured = c.general is not None or c.general_eval is not None
    limit = ", max_forgetting: 0.05" if measured else ""
    return f"""\
# Which model size and settings to fine-tune with. Check it: sweep check; run it: sweep run
name: {quoted(c.name)}
models: [{", ".join(quoted(m) for m in c.models)}]   # folders or Hugging Face ids
data:
{how}  task: {{{task}, role: task{auto}}}
{others}{forgetting_from}suites:
  gain: {{from: task, scorer: {c.scorer}}}   # or {OTHER.get(c.scorer, "bits_per_byte")}
{lines}space:
  method: [full, lora]
  learning_rate: {{log: [1e-5, 1e-3]}}
  lora.rank: {{log_int: [4, 64], when: {{method: lora}}}}
{mixture if replay else ""}training:
  epochs: 3                # passes over the training rows of the task
  batch_size: 16
  max_length: 1024         # tokens of a row; `sweep check` counts longer ones
search: {{trials_per_model: 12}}
confirm: {{finalists: 4, seeds: 3}}   # retrained with fresh seeds before the test split is opened
# The smallest model within `delta` of the largest is adequate; `cost` is shown beside it.
question: {{delta: 0.02{limit}, cost: parameters}}
# prices: {{gpu_hour_usd: 2.5}}         # then `cost: usd_per_million_tokens` works
{c.rules}\
profiles:                              # sweep run --profile smoke: a first, small look
  smoke: {{training.epochs: 1, search.trials_per_model: 3, confirm: {{finalists: 1, seeds: 2}}}}
"""


def _layout(files: Sequence[Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Files of the task by their keys in the spec, and further sources by their names.

    Raises:
        UserError: Some splits are named and not all, or two files would have one name.
    """
    splits = {split: path for path in files if (split := _split_of(path)) is not None}
    if len(files) > 1 and len(splits) == len(files):
        if missing := SPLIT_WORDS.keys() - splits.keys():
            raise UserError(
                f"by their names the files are splits, and there is no {' and no '.join(missing)}.",
                where=", ".join(map(str, files)),
                hint="Give train, validation and test, or one file, which is split.",
            )
        return {split: splits[split] for split in SPLIT_WORDS}, {}
    others: dict[str, Path] = {}
    for path in files[1:]:
        name = _name_from(path).replace(".", "-")[:40]
        if name in ("task", "general", *others) or not NAME.fullmatch(name):
            raise UserError(
                f"a source cannot be named '{name}' after its file.",
                where=str(path),
                hint="Rename the file.",
            )
        others[name] = path
    return {"path": files[0]}, others


def _split_of(path: Path) -> str | None:
    words = re.split(r"[^a-z]+", path.name.lower())
    return next((s for s, known in SPLIT_WORDS.items() if set(words) & set(known)), None)


def _forgetting(c: Choices) -> tuple[str, str]:
    """Lines of `data:` and of `suites:` for general rows."""
    if c.general is None and c.general_eval is None:
        return "", (
            "  # Not measured yet; with a file of general rows, or public tasks of lm-eval:\n"
            "  # forgetting: {path: general_eval.jsonl, scorer: bits_per_byte}\n"
            "  # forgetting: {preset: general}\n"
        )
    source = ""
    if c.general is not None:
        split = "" if c.general_eval else ", split: auto"
        source = f"  general: {{path: {quoted(c.general)}, role: replay{split}}}\n"
    origin = f"path: {quoted(c.general_eval)}" if c.general_eval else "from: general"
    return source, f"  forgetting: {{{origin}, scorer: bits_per_byte}}   # of any tokenizer\n"


def _name_from(data: Path) -> str:
    """The file's name with what a sweep's name may not have replaced."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.stem).strip("-._")
    return name[:SWEEP_NAME_LENGTH] or "sweep"


def _model_as_written(given: str, folder: Path) -> str:
    """A folder relative to the spec, or a hub id as it is."""
    if expanded(given).is_dir():
        return _as_written(Path(given), folder)
    if given.startswith((".", "/", "~")) or not HUB_ID.fullmatch(given):
        raise UserError(
            f"no model folder '{given}'.",
            hint="Give a folder with config.json, or a hub id such as Qwen/Qwen3-0.6B.",
        )
    return given


def _as_written(path: Path, folder: Path) -> str:
    """As given if absolute, else relative to the spec's folder: there the spec is read from."""
    if path.is_absolute() or str(path).startswith("~"):
        return str(path)
    return Path(os.path.relpath(path, folder)).as_posix()


def _write_checked(out: Path, text: str) -> None:
    """Writes beside the target, loads it, then moves it: what is there is whole and accepted."""
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        load_spec(partial)
        os.replace(partial, out)
    except UserError as error:  # e.g. a --name that a sweep may not have
        where = (error.where or "").replace(str(partial), str(out))
        raise UserError(error.problem, where=where, hint=error.hint) from None
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror}).", where=str(out)) from None
    finally:
        partial.unlink(missing_ok=True)
