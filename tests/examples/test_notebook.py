"""The shipped notebook runs, and shows what it gives."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook" / "compare.ipynb"


def test_the_notebook_runs_and_its_shipped_outputs_are_what_it_gives() -> None:
    shipped = nbformat.read(NOTEBOOK, as_version=4)
    executed = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(executed, timeout=250).execute()
    assert _texts(executed) == _texts(shipped)
    kinds = {kind for o in _outputs(executed) for kind in o.get("data", {})}
    assert {"image/png", "text/html"} <= kinds  # a figure and a table


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def _texts(notebook: nbformat.NotebookNode) -> list[str]:
    return [o.get("text") or o["data"]["text/plain"] for o in _outputs(notebook)]
