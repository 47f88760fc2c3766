"""The course notebooks run without an error, and what is kept of their outputs is theirs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
SCRIPTS = sorted(path for path in NOTEBOOKS.glob("*.py") if path.name != "render.py")


def code_of(script):
    """The cells of code of a script in the percent format, without blank lines at their ends."""
    cells = f"\n{script.read_text()}".split("\n# %%")[1:]
    code = [cell for cell in cells if not cell.startswith(" [markdown]")]
    return [cell.partition("\n")[2].strip() for cell in code]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_runs(script, tmp_path):
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONWARNINGS": "default"}
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_is_kept_beside_it_is_of_this_script(script):
    notebook = json.loads(script.with_suffix(".ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]).strip() for cell in cells] == code_of(script)
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert any(output["output_type"] != "error" for output in outputs)
    for cell in cells:
        told = [o["text"] for o in cell["outputs"] if o["output_type"] == "stream"]
        said = "".join(line for text in told for line in text)
        assert not told or said.strip(), f"nothing is to be seen of what {cell['source']} prints"
    assert script.with_suffix(".ipynb").stat().st_size < 3_000_000
