"""Keeps what a model answered beside its item scores."""

from collections.abc import Sequence
from pathlib import Path

from keepgain.core.answers import keep_texts, write_answers
from keepgain.trainers.scoring import SuiteResult


def keep_answers(path: Path, results: Sequence[SuiteResult], sweep: Path) -> str | None:
    """Writes the answers of all suites that ask for some, and the texts of their items.

    Args:
        path: The file to write.
        sweep: The sweep's folder.

    Returns:
        The file relative to `sweep`; None if there is nothing to keep.
    """
    kept = [(r.answers, r.rows) for r in results if r.answers is not None]
    if not kept:
        return None
    for answers, rows in kept:
        keep_texts(sweep, answers.digest, rows)
    write_answers(path, [answers for answers, _ in kept])
    return str(path.relative_to(sweep))
