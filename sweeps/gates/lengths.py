"""Rows that do not fit: cut prompts, cut answers, more positions than a model has."""

from collections.abc import Mapping, Sequence

from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.gates.material import RowSet
from keepgain.sweeps.gates.row_list import found_in
from keepgain.sweeps.gates.tokens import TokenStats


def check_lengths(
    sets: Sequence[RowSet],
    stats: Mapping[tuple[str, str], TokenStats],
    max_length: int,
    positions: Mapping[str, int | None],
) -> list[Finding]:
    """Findings on files whose rows are longer than `max_length` or than a model's context.

    Args:
        sets: The rows.
        stats: (model, label) → lengths.
        max_length: Tokens that a row may have.
        positions: Model → `max_position_embeddings` of its configuration.
    """
    of_label = {s.label: s for s in sets}
    findings = []
    said: set[tuple[str, TokenStats]] = set()
    for (model, label), lengths in stats.items():
        if (label, lengths) in said:  # another model with the same tokenizer
            continue
        said.add((label, lengths))
        about = "about " if lengths.is_sample else ""
        about = "at most " if lengths.unwritten else about
        if lengths.cut_answers:
            findings.append(
                Finding(
                    code="answers_cut",
                    severity="warning",
                    where=label,
                    message=f"{about}{lengths.cut_answers} of {lengths.rows} answers are longer "
                    f"than max_length {max_length} and are cut (tokens of {model}).",
                    all_rows=found_in(of_label[label], lengths.cut_rows),
                    hint=f"Raise training.max_length; the longest row has {lengths.longest}.",
                )
            )
        if prompts := lengths.over_length - lengths.cut_answers:
            findings.append(
                Finding(
                    code="prompts_cut",
                    severity="warning",
                    where=label,
                    message=f"{about}{prompts} of {lengths.rows} rows are longer than max_length "
                    f"{max_length}: their prompts are cut at the left (tokens of {model}).",
                    all_rows=found_in(of_label[label], lengths.long_rows),
                    hint=f"Raise training.max_length; the longest row has {lengths.longest}.",
                )
            )
    return findings + _beyond_context(stats, max_length, positions) + _no_room(stats, positions)


def _beyond_context(
    stats: Mapping[tuple[str, str], TokenStats],
    max_length: int,
    positions: Mapping[str, int | None],
) -> list[Finding]:
    findings = []
    for model, limit in positions.items():
        longest = max((s.longest for (m, _), s in stats.items() if m == model), default=0)
        if limit is not None and min(longest, max_length) > limit:
            findings.append(
                Finding(
                    code="beyond_context",
                    severity="warning",
                    where=model,
                    message=f"rows of up to {min(longest, max_length)} tokens are trained on, and "
                    f"the model has {limit} positions.",
                    hint=f"Set training.max_length to at most {limit}.",
                )
            )
    return findings


def _no_room(
    stats: Mapping[tuple[str, str], TokenStats], positions: Mapping[str, int | None]
) -> list[Finding]:
    """Answers of a base that fill all its positions."""
    return [
        Finding(
            code="no_room_for_prompts",
            severity="error",
            where=model,
            message=f"the base is to write up to {lengths.unwritten} tokens for each row of "
            f"{label}, and has {limit} positions for prompt and answer.",
            hint=f"Lower data.{label.split('/')[0]}.max_new_tokens.",
        )
        for (model, label), lengths in stats.items()
        if (limit := positions.get(model)) is not None and lengths.unwritten >= limit
    ]
