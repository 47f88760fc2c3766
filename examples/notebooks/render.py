"""Runs every notebook and writes it with its outputs beside its script: `make notebooks`."""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def render(script: Path) -> None:
    """Runs a script as a notebook, cell by cell, and writes it with its outputs."""
    notebook = jupytext.read(script)
    notebook.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=300, kernel_name="python3")
        client.execute(cwd=folder)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # the same at every run
        cell.metadata.pop("execution", None)
    nbformat.write(notebook, script.with_suffix(".ipynb"))
    print(f"{script.stem:16} {time.perf_counter() - start:5.1f} s")


if __name__ == "__main__":
    for path in sorted(HERE.glob("*.py")):
        if path.name != "render.py" and (not sys.argv[1:] or path.stem in sys.argv[1:]):
            render(path)
