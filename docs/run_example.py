"""Run the notebook of the documentation, and write its outputs into it: ``python docs/run_example.py``.

Requires the extra ``notebook``. Times of cells are not written, so that only results change.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent / "example.ipynb"


def run_example() -> Any:
    """The notebook with the outputs of this machine.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # tqdm's, of a Jupyter without widgets
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, record_timing=False).execute()
    notebook.metadata.language_info = {"name": "python"}  # without the version of this machine
    return notebook


if __name__ == "__main__":
    import nbformat

    nbformat.write(run_example(), NOTEBOOK)
