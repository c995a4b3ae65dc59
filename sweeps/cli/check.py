"""`sweep check`: the spec and the data, before any spend; only `--report` and `--rows` write."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepgain.core.errors import EXIT_BAD_INPUT, EXIT_OK, UserError
from keepgain.core.terminal import shown as printable
from keepgain.core.units import human_count, human_seconds
from keepgain.sweeps.check import check_sweep, chosen_gates
from keepgain.sweeps.check_progress import CheckProgress
from keepgain.sweeps.check_rows import refuse_row_file, row_lines, write_row_lines
from keepgain.sweeps.checked import Checked
from keepgain.sweeps.cli.common import add_spec
from keepgain.sweeps.data_card import card_lines
from keepgain.sweeps.gates.findings import (
    Finding,
    count_findings,
    has_errors,
    render_findings,
    strict,
)
from keepgain.sweeps.loaded_spec import LoadedSpec
from keepgain.sweeps.named_files import named_files
from keepgain.sweeps.prepare import Prepared, prepare
from keepgain.sweeps.show import ShownRow, render_rows, shown_rows
from keepgain.sweeps.spec import load_spec

EXAMPLES = """examples:
  sweep check sweep.yaml
  sweep check sweep.yaml --profile smoke
  sweep check sweep.yaml --show 3          # rows as they are trained on, the loss marked
  sweep check sweep.yaml --show 3 --model Qwen3-1.7B
  sweep check sweep.yaml --strict          # warnings are errors, but for those that `allow:` names
  sweep check sweep.yaml --only leakage,near_duplicates    # gates or codes; also --skip
  sweep check sweep.yaml --report data.html
  sweep check sweep.yaml --rows flagged.jsonl  # every row of every finding; - for stdout
  sweep check sweep.yaml --against new.jsonl   # what has changed to newer rows; nothing else
  sweep check sweep.yaml --json | jq .findings
exit code: 0 no errors (warnings are allowed), 2 otherwise; docs/data-gates.md explains each code
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "check",
        help="check the spec and the data; nothing is written",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_spec(parser)
    parser.add_argument(
        "--show",
        type=int,
        default=0,
        metavar="N",
        help="print N training rows of each source after the chat template, the loss marked",
    )
    parser.add_argument(
        "--model", metavar="NAME", help="of --show: whose tokenizer; default: the first model's"
    )
    parser.add_argument("--strict", action="store_true", help="warnings are errors")
    for name, what in (("only", "the only ones to run"), ("skip", "not to run")):
        parser.add_argument(
            f"--{name}", type=_names, default=(), metavar="NAMES", help=f"gates or codes {what}"
        )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write findings and data as one HTML page"
    )
    parser.add_argument(
        "--rows",
        metavar="FILE",
        help="write each row that a finding is about as a line of JSON; -: to stdout, alone",
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="compare the sweep's rows with newer ones, labelled or not, and check nothing else",
    )
    parser.add_argument(
        "--source",
        metavar="NAME",
        help="of --against: the data source in whose form the file is; default: of the task",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints findings and a summary; see `EXAMPLES` for the exit code."""
    if args.rows == "-" and args.json:
        raise UserError("stdout is either rows or JSON.", where="--rows", hint="Name a file.")
    loaded = load_spec(args.spec, args.profile)
    if args.rows not in (None, "-"):
        refuse_row_file(Path(args.rows), _read(loaded, args.against))
    say = _say if not args.json else None
    if args.against is not None:
        return _against(args, loaded, CheckProgress(say))
    gates = chosen_gates(args.only, args.skip)
    prepared = prepare(loaded, None, say)
    checked = check_sweep(prepared, progress=CheckProgress(say), gates=gates)
    kept = tuple(f for f in checked.findings if f.code not in args.skip)
    checked = checked.model_copy(update={"findings": kept})
    if args.strict:
        checked = checked.model_copy(update={"findings": tuple(strict(checked.findings))})
    shown = _shown(prepared, args.show, args.model) if args.show > 0 else {}
    if args.report is not None:
        from keepgain.sweeps.check_report import write_report

        write_report(checked, args.report)
        _say(f"written: {args.report}")
    _write_rows(checked.findings, args.rows)
    if args.json:
        facts = summary(prepared, checked)
        if shown:
            facts["shown"] = {n: [row.to_json() for row in rows] for n, rows in shown.items()}
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _say(f"checked in {human_seconds(checked.seconds)}")  # the same input, the same output
        _print(render(prepared, checked, shown, args.model), args.rows)
    return EXIT_BAD_INPUT if has_errors(checked.findings) else EXIT_OK


def _against(args: argparse.Namespace, loaded: LoadedSpec, progress: CheckProgress) -> int:
    """`--against`: see `EXAMPLES` for the exit code."""
    from keepgain.sweeps.against import compare, drift_lines

    for option in ("show", "report", "only", "skip"):
        if getattr(args, option):
            raise UserError("goes with a whole check, not with --against.", where=f"--{option}")
    drift, unread = compare(loaded, args.against, args.source, progress)
    if args.strict:
        drift = drift.model_copy(update={"findings": tuple(strict(drift.findings))})
    _write_rows(drift.findings, args.rows)
    if args.json:
        facts = {"schema": 1, "against": str(args.against), "answers_not_read": unread}
        print(json.dumps(facts | drift.model_dump(mode="json"), indent=2, ensure_ascii=False))
    else:
        if unread is not None:
            _say(f"answers are not read: {unread}")
        lines = [*render_findings(drift.findings), "", *drift_lines(drift), ""]
        lines.append(count_findings(drift.findings))
        _print("\n".join(map(printable, lines)), args.rows)
    return EXIT_BAD_INPUT if has_errors(drift.findings) else EXIT_OK


def summary(prepared: Prepared, checked: Checked) -> dict[str, Any]:
    """All that check knows, as plain data."""
    models = [m.ref.name for m in prepared.models]
    return {
        "schema": 1,
        "sweep": prepared.sweep_id,
        "findings": [f.model_dump(mode="json") for f in checked.findings],
        "models": [m.model_dump(mode="json") for m in prepared.model_infos],
        "sources": [
            {
                "name": s.name,
                "role": s.role,
                "format": s.format,
                "rows": {
                    "train": len(s.train.rows),
                    "validation": len(s.validation.rows),
                    "test": len(s.test.rows),
                },
                "filters": {
                    v.name: {"rows": int(v.kept.sum()), "left_out": v.counts, "note": v.note}
                    for v in prepared.variants.values()
                    if v.source.name == s.name
                },
                "train_tokens": {
                    m: prepared.token_stats[m, f"{s.name}/train"].tokens for m in models
                },
                "cut_rows": {
                    m: prepared.token_stats[m, f"{s.name}/train"].over_length for m in models
                },
            }
            for s in prepared.sources.values()
        ],
        "suites": [
            {
                "name": v.name,
                "measures": v.measures,
                "scorer": v.scorer,
                "items": {"validation": v.items, "test": t.items},
            }
            for v, t in zip(
                prepared.suite_refs["validation"], prepared.suite_refs["test"], strict=True
            )
        ],
        "budget": {"amount": prepared.budget, "unit": prepared.budget_unit},
        "reference_arms": [arm.label for arm in prepared.arms],
        "data_card": checked.card.model_dump(mode="json"),
        "seconds": round(checked.seconds, 3),
    }


def render(
    prepared: Prepared,
    checked: Checked,
    shown: Mapping[str, list[ShownRow]] | None = None,
    model: str | None = None,
) -> str:
    """The same for people.

    Args:
        shown: Source → rows to print.
        model: Whose tokens they are; None: the first model's.
    """
    facts = summary(prepared, checked)
    lines = [printable(text) for text in render_findings(checked.findings)]
    lines += [""] if lines else []
    lines.append(f"sweep {prepared.sweep_id}")
    for base in facts["models"]:
        lines.append(f"  model   {base['name']:<16} {human_count(base['parameters'])} parameters")
    lines += [_source_line(prepared, source) for source in facts["sources"]]
    lines += [f"  filter  {v.source.name:<16} {v.said}" for v in prepared.variants.values()]
    for suite in facts["suites"]:
        items = suite["items"]
        lines.append(
            f"  suite   {suite['name']:<16} measures {suite['measures']} by {suite['scorer']}: "
            f"{items['validation']} validation, {items['test']} test items"
        )
    arms = ", ".join(["base", *facts["reference_arms"]])
    lines.append(f"  arms    {arms}")
    lines.append(
        f"  budget  {human_count(prepared.budget)} {prepared.budget_unit} a trial{_why(prepared)}"
    )
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for name, rows in (shown or {}).items():
        source, tokens_of = prepared.sources[name], model or prepared.models[0].ref.name
        title = f"{name} ({source.format}), the first rows as {tokens_of} is trained on them"
        if source.answers:
            title = f"{name} ({source.format}), the first prompts as {tokens_of} answers them"
        width = shutil.get_terminal_size((100, 24)).columns
        lines += ["", render_rows(title, rows, colour, width)]
    lines += [""] if shown else []
    lines += [*(f"  {line}" for line in card_lines(checked.card)), ""]
    lines.append(count_findings(checked.findings))
    return "\n".join(lines)


def _source_line(prepared: Prepared, source: dict[str, Any]) -> str:
    rows, tokens = source["rows"], source["train_tokens"]
    first = prepared.models[0].ref.name
    stats = prepared.token_stats[first, f"{source['name']}/train"]
    text = f"{human_count(tokens[first])} tokens"
    if not prepared.one_tokenizer:
        text = ", ".join(f"{human_count(n)} tokens of {m}" for m, n in tokens.items())
    if stats.is_sample:
        text = f"about {text}, from {stats.sampled:,} rows"
    if stats.unwritten:
        text = f"at most {text}: the base writes up to {stats.unwritten} each"
    split = "".join(f", {rows[s]} {s}" for s in ("validation", "test") if rows[s])
    name, role = source["name"], source["role"]
    return f"  source  {name:<16} {role}: {rows['train']} training rows ({text}){split}"


def _why(prepared: Prepared) -> str:
    training = prepared.spec.training
    if training.budget_tokens or training.budget_examples:
        return ", as given"
    why = f" = {training.epochs or 3.0:g} × the training rows of the task"
    if not prepared.one_tokenizer:
        why += "; in examples, because tokenizers or chat templates differ"
    return why


def _shown(prepared: Prepared, count: int, model: str | None) -> dict[str, list[ShownRow]]:
    names = [m.ref.name for m in prepared.models]
    if model is not None and model not in names:
        raise UserError(f"no model '{model}' in this sweep.", hint=f"Known: {', '.join(names)}.")
    of = prepared.model(model or names[0])
    training = prepared.spec.training
    return {
        s.name: shown_rows(s, of, training.max_length, training.loss, count)
        for s in prepared.sources.values()
    }


def _read(loaded: LoadedSpec, against: Path | None) -> list[Path]:
    """Files that a check reads."""
    named = [file for one in named_files(loaded) for file in one.files()]
    return [loaded.path, *named, *([against] if against is not None else [])]


def _write_rows(findings: Sequence[Finding], rows: str | None) -> None:
    """`--rows`."""
    if rows == "-":
        sys.stdout.writelines(row_lines(findings))
    elif rows is not None:
        write_row_lines(findings, Path(rows))
        count = sum(len(found) for finding in findings for found in finding.all_rows)
        _say(f"written: {rows} ({count:,} rows)")


def _print(text: str, rows: str | None) -> None:
    """To stdout, unless the rows go there."""
    print(text, file=sys.stderr if rows == "-" else sys.stdout)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := part.strip()))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
