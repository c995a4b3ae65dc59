"""The model card of an exported model: what was measured, on what, and what was not.

Every figure is one of the record; a section with nothing measured says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from keepgain.analysis import words
from keepgain.analysis.analyze import analyze
from keepgain.analysis.measures import Measures
from keepgain.analysis.result import Analysis, Row
from keepgain.analysis.served_text import HEADER, served_row
from keepgain.analysis.served_text import said as served_lines
from keepgain.analysis.stats import Estimate
from keepgain.analysis.table import build_table
from keepgain.core.config import has_adapter
from keepgain.core.items import MIN_SLICE_ITEMS
from keepgain.core.record import Evidence
from keepgain.sweeps.exported import Exported

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COSTS = (
    "parameters", "active_parameters", "trainable_parameters", "weight_bytes",
    "kv_cache_bytes_per_token", "forward_flops_per_token", "train_flops", "train_seconds",
    "peak_memory_bytes", "prefill_tokens_per_second", "decode_tokens_per_second",
    "answer_tokens_p50", "answer_tokens_p95", "seconds_per_answer_p50", "seconds_per_answer_p95",
    "usd_per_answer_p50", "usd_per_answer_p95", "gpu_seconds", "energy_joules", "usd",
)  # fmt: skip


def model_card(evidence: Evidence, exported: Exported) -> str:
    """Markdown with Hugging Face's front matter."""
    analysis = analyze(evidence)
    trial = exported.start.trial_id
    row = next((r for r in analysis.rows if r.who.trial_id == trial), None)
    sections = [
        _front_matter(exported),
        _title(analysis, exported),
        _decision(analysis, trial),
        _scores(evidence, row, exported),
        _served(analysis, trial, refit=exported.refit is not None),
        _guards(analysis, row),
        _groups(row),
        _untested(analysis, row, exported),
        _data(exported),
        _training(exported),
        _costs(row),
        _provenance(analysis),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(exported: Exported) -> str:
    adapter = has_adapter(exported.start.method) and not exported.merged
    facts: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["keepgain"],
    }
    base = exported.start.base
    if _HUB_ID.fullmatch(base.name):
        facts["base_model"] = base.name
        facts["base_model_relation"] = "adapter" if adapter else "finetune"
    known = _licence(Path(base.path))[0]
    if known is not None:
        facts["license"] = known
    return f"---\n{yaml.safe_dump(facts, sort_keys=False)}---"


def _title(analysis: Analysis, exported: Exported) -> str:
    start, run = exported.start, exported.run
    base = start.base
    what = "a whole model"
    if has_adapter(start.method):
        what = "an adapter merged into its base" if exported.merged else "an adapter for its base"
    named = Path(base.path)
    licence = _licence(named)[1]
    return "\n".join(
        [
            f"# {_text(analysis.sweep.name)}: {_text(start.model)} {start.trial_id[:6]}",
            "",
            f"{_text(base.name)}, tuned by the method `{start.method}`: {what}.",
            "",
            f"- sweep `{analysis.sweep.id}`, trial `{start.trial_id}`, run `{run.run_key}`",
            *_refit(exported),
            f"- base model {_text(base.name)}, digest `{base.digest}`"
            + (f", revision `{_text(base.revision)}`" if base.revision else ""),
            f"- licence of the base: {licence}",
        ]
    )


def _refit(exported: Exported) -> list[str]:
    if exported.refit is None:
        return []
    added = ", ".join(f"{n} of {_text(name)}" for name, n in exported.refit.added.items())
    return [
        f"- refitted: these weights are of a further training with the run's settings, on training "
        f"rows and on the validation rows that it was chosen by ({added}). The decision and the "
        "intervals below are of the trial, not of this refit."
    ]


def _licence(folder: Path) -> tuple[str | None, str]:
    """(identifier as the base's own card gives it, what to say)."""
    found = None
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        if text.startswith("---"):
            found = (yaml.safe_load(text.split("---", 2)[1]) or {}).get("license")
    except (OSError, ValueError, IndexError, AttributeError, yaml.YAMLError):
        found = None
    files = sorted({p.name for n in ("LICENSE*", "LICENCE*") for p in folder.glob(n)})
    said = [f"`{_text(found)}`, by its model card"] if isinstance(found, str) else []
    said += [f"its file {_text(name)} lies beside this card" for name in files]
    return (found if isinstance(found, str) else None), "; ".join(said) or "its folder names none"


def _decision(analysis: Analysis, trial: str) -> str:
    decision = analysis.decision
    if decision.trial == trial:
        this = "This trial is the one that it decided for."
    elif trial in decision.tied_with:
        this = "This trial cannot be told from the one that it decided for."
    elif decision.trial is None:
        this = "It decided for no trial; this one was chosen by hand."
    else:
        this = f"It decided for another one, `{decision.trial}`; this one was chosen by hand."
    status = decision.status.replace("_", " ")
    return (
        f"## Decision\n\nThe sweep's decision on {decision.split} items: **{status}**. {this}\n\n"
        f"> {_text(decision.reason)}"
    )


def _scores(evidence: Evidence, row: Row | None, exported: Exported) -> str:
    if row is None or row.split is None:
        return "## Scores\n\nThis trial has no scores that count."
    measures = Measures(build_table(evidence))
    who = next(c for c in measures.table.configurations if c.trial_id == row.who.trial_id)
    base, split = measures.base(who.model), row.split
    seeds = who.seeds(split)
    own = exported.own_scores()
    lines = []
    for name, suite in measures.table.suites[split].items():
        scores = [c.scores[split].get(name) if c and c.has(split) else None for c in (base, who)]
        levels = [
            "–"
            if s is None
            else f"{float((s.mean(axis=1) @ suite.weights) / suite.weights.sum()):.3f}"
            for s in scores
        ]
        drop = measures.drop(who, split, name) if suite.info.measures == "forgetting" else None
        run = own.get(f"{split}/{name}")
        lines.append(
            (
                name,
                suite.info.measures,
                suite.info.scorer,
                f"{len(suite.item_ids)}",
                *levels,
                "–" if run is None else f"{run:.3f}",
                _interval(drop.estimate() if drop else None),
            )
        )
    header = ("suite", "measures", "metric", "items", "base", "tuned", "these weights", "drop")
    summary = [
        (name.replace("_", " "), _interval(e), f"{e.n_items}", f"{e.n_seeds}")
        for name, e in row.estimates.items()
        if e.value is not None
    ]
    return "\n\n".join(
        [
            "## Scores",
            f"On {split} items, with 95 % intervals. The trial was trained with "
            f"{words.count(seeds, 'seed')}; figures are means over them, and these weights are of "
            f"one, seed {exported.seed}.",
            _table(("", "value [95 %]", "items", "seeds"), summary),
            _table(header, lines),
        ]
    )


def _guards(analysis: Analysis, row: Row | None) -> str:
    limit = analysis.question.max_forgetting
    worst = row.estimates.get("max_forgetting") if row else None
    found = "was not measured" if worst is None or worst.value is None else f"is {worst.value:.3f}"
    said = [
        "No limit on forgetting was set."
        if limit is None
        else f"Limit on the drop of any forgetting suite: {limit:g}.",
        f"The largest drop {found} (a maximum of noisy figures, without an interval).",
    ]
    said += [_text(g) for g in analysis.decision.guards] or ["No other guards were declared."]
    return "## Guards\n\n" + "\n".join(f"- {s}" for s in said)


def _served(analysis: Analysis, trial: str, *, refit: bool) -> str:
    mine = [s for s in analysis.served if s.trial == trial]
    models = {s.model for s in mine}
    bases = [s for s in analysis.served if s.kind == "base" and s.model in models]
    if not mine:
        return "## As served\n\nScored as the sweep computes, and in no other form."
    lines = [served_row(s) for s in (*mine, *bases)]
    notes = "\n\n".join(_text(line) for line in served_lines([*mine, *bases]))
    seeds = words.join([str(n) for n in sorted({s.seed for s in mine})])
    of = f"On test items, weights of seed {seeds}."
    if refit:
        of += " Not of this refit."
    return "\n\n".join(["## As served", of, _table(HEADER, lines), notes])


def _groups(row: Row | None) -> str:
    slices = row.slices if row else ()
    if not slices:
        return "## Groups\n\nNo figures by group: the items carry none, or were not scored."
    lines = [
        (s.of.suite, s.of.field, s.of.value, str(s.score.n_items), _interval(s.score),
         _interval(s.gain))
        for s in slices
    ]  # fmt: skip
    few = [s for s in slices if s.score.n_items < MIN_SLICE_ITEMS]
    names = ", ".join(f"{_text(s.of.suite)} {_text(s.of.value)} ({s.score.n_items})" for s in few)
    return "\n\n".join(
        [
            "## Groups",
            f"Too few items to say anything (below {MIN_SLICE_ITEMS}): {names or 'none'}.",
            _table(("suite", "field", "value", "items", "score", "gain over the base"), lines),
        ]
    )


def _untested(analysis: Analysis, row: Row | None, exported: Exported) -> str:
    said = ["Whatever no suite above measures, such as safety, bias and other languages."]
    if row is None or row.split != "test":
        said.append("Test items: trials were chosen on what is shown here, which favours them.")
    elif analysis.sweep.test_opened > 1:
        said.append(f"Fresh test items: these were opened {analysis.sweep.test_opened} times.")
    if not any(s.measures == "forgetting" for s in analysis.sweep.suites):
        said.append("Forgetting: no suite measures it.")
    report = exported.report
    dtype = (report.numerics.get("dtype") if report else None) or "the dtype of the sweep"
    trial = exported.start.trial_id
    forms = [s.form for s in analysis.served if s.trial == trial and not s.failure]
    quantised = "" if {"int8", "nf4"} & {*forms} else " quantised serving,"
    said.append(
        f"Other numerics than {words.join([dtype, *forms])},{quantised} and sampled decoding."
    )
    if exported.merged:
        said.append("The merged weights: scored was the adapter on its base.")
    if exported.refit is not None:
        said.append("This refit on validation items of what it was trained on: it has seen them.")
    said += [f"Warning of the sweep: {_text(w)}" for w in analysis.warnings]
    return "## What was not tested\n\n" + "\n".join(f"- {s}" for s in said)


def _data(exported: Exported) -> str:
    config = exported.config
    mixture = config.get("mixture", {})
    sources = [
        (s["name"], s["role"], str(s["rows"]), f"{mixture.get(s['name'], 0):g}", s["digest"])
        for s in config.get("sources", ())
    ]
    suites = list(config.get("suites", ()))
    if exported.test is not None and exported.refit is None:
        suites += exported.test.asked.config.get("suites", ())
    scored = [(s["name"], s["split"], str(s["items"]), s["digest"]) for s in suites]
    written = [_written(s, exported) for s in config.get("sources", ()) if s.get("answers")]
    return "\n\n".join(
        [
            "## Data",
            _table(("source", "role", "rows", "share of tokens", "digest"), sources),
            *written,
            _table(("suite", "split", "items", "digest"), scored),
        ]
    )


def _written(source: Mapping[str, Any], exported: Exported) -> str:
    how = source["answers"]
    drawn = f"drawn at temperature {how['temperature']:g}" if how["temperature"] else "greedy"
    return (
        f"The answers in {_text(source['name'])} were written by the base itself, "
        f"{_text(exported.start.base.name)} ({drawn}, at most {how['max_new_tokens']} tokens); its "
        "rows above are prompts, and the digest is theirs."
    )


def _training(exported: Exported) -> str:
    report, config = exported.report, dict(exported.config)
    if trainer := config.get("trainer"):
        config["trainer"] = {k: v for k, v in trainer.items() if k != "path"}
    apart = ("model", "sources", "suites", "mixture", "runtime")
    lines = [("seed", str(exported.seed))]
    lines += [
        (k, f"{v:.6g}" if isinstance(v, float) else str(v))
        for k, v in config.items()
        if k not in apart and v is not None
    ]
    if report is not None:
        lines += [("tokens seen", str(report.tokens)), ("rows seen", str(report.examples))]
        lines += [(f"numerics: {k}", v) for k, v in report.numerics.items()]
        lines += [("hardware", report.hardware or "not recorded")]
    return "## Training\n\n" + _table(("setting", "value"), lines)


def _costs(row: Row | None) -> str:
    cost = row.who.cost if row else {}
    lines = [(n, f"{cost[n]:.6g}") for n in _COSTS if n in cost]
    missing = ", ".join(n for n in _COSTS if n not in cost)
    return "## Costs\n\n" + "\n\n".join(
        [_table(("", "mean over runs"), lines), f"Unknown or not measured: {missing or 'none'}."]
    )


def _provenance(analysis: Analysis) -> str:
    facts = {k: v for k, v in analysis.sweep.provenance.items() if k not in ("host", "cluster")}
    lines = [(k, v) for k, v in sorted(facts.items())]
    return "## Provenance\n\n" + (_table(("", "value"), lines) if lines else "Not recorded.")


def _interval(e: Estimate | None) -> str:
    if e is None or e.value is None:
        return "–"
    if e.low is None or e.high is None:
        return f"{e.value:.3f} (no interval)"
    return f"{e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_text(c) for c in line) + " |" for line in lines)


def _text(value: object) -> str:
    """On one line, and no sign of it is taken for a table or for HTML."""
    escaped = words.clean(str(value).replace("\n", " ")).replace("|", "\\|")
    return escaped.replace("<", "&lt;")
