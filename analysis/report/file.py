"""`analyze --report FILE`: which report, for which store."""

import sys
from collections.abc import Sequence
from pathlib import Path

from keepgain.analysis.report.links import NO_LINKS, Links, links_of
from keepgain.analysis.result import Analysis
from keepgain.core.errors import UserError
from keepgain.core.record import Evidence


def write(
    evidence: Evidence,
    analysis: Analysis,
    path: Path,
    *,
    store: str | None = None,
    words: Sequence[str] = (),
) -> None:
    """Writes `path`, Markdown if it ends with `.md`, else HTML.

    Args:
        store: What `--store` says.
        words: What names the sweep, where it is not one sweep of a store.

    Raises:
        UserError: The file cannot be written.
    """
    if path.suffix.lower() == ".md":
        from keepgain.analysis.report.markdown import write_markdown

        write_markdown(evidence, analysis, path, words)
        return
    from keepgain.analysis.report.html import write_report

    links = NO_LINKS if words else _links(store, evidence.sweep.id)
    write_report(evidence, analysis, path, links, words)


def _links(store: str | None, sweep_id: str) -> Links:
    """Those of the store's server; a server that does not answer costs the links alone."""
    from keepgain.core.store.location import resolve_store

    try:
        return links_of(resolve_store(store), sweep_id)
    except UserError as error:
        print(f"analyze: the report has no links to MLflow: {error}", file=sys.stderr)
        return NO_LINKS
