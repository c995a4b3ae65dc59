"""`sweep check --rows FILE`: every row of every finding, one JSON object a line."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from keepgain.core.errors import UserError
from keepgain.sweeps.gates.findings import Finding
from keepgain.sweeps.located import store_lines


def row_lines(findings: Iterable[Finding]) -> Iterator[str]:
    """In the order of the findings: `code`, `severity` and `where` of one, `file`, `line` and `id`
    of the row, and what `RowList.entry` adds. Rows are read while the lines are taken."""
    for finding in findings:
        about = {"code": finding.code, "severity": finding.severity, "where": finding.where}
        for rows in finding.all_rows:
            for k in range(len(rows)):
                line = json.dumps(about | rows.entry(k), ensure_ascii=False)
                # Names of files need not be UTF-8; what is left over is an escape of JSON, too.
                yield line.encode("utf-8", "backslashreplace").decode() + "\n"


def write_row_lines(findings: Iterable[Finding], path: Path) -> None:
    """Writes them whole or not at all.

    Raises:
        UserError: They cannot be written.
    """
    try:
        store_lines(path, (line.encode() for line in row_lines(findings)))
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror}).", where=str(path)) from None


def refuse_row_file(path: Path, read: Iterable[Path]) -> None:
    """Before the work is done.

    Args:
        path: To be written.
        read: Files that the check reads.

    Raises:
        UserError: It cannot be written, or is one of them.
    """
    if path.exists() and not path.is_file():
        raise UserError("is no file.", where=str(path), hint="Name one that is to be written.")
    folder = path.parent
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}.", where=str(path), hint="Make it first.")
    if not os.access(folder, os.W_OK):
        raise UserError(f"the folder {folder} cannot be written to.", where=str(path))
    if path.exists() and any(other.exists() and path.samefile(other) for other in read):
        raise UserError("is read by the check.", where=str(path), hint="Name another file.")
