"""Every notebook runs from top to bottom, without a key and without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import ROOT, name_of

NOTEBOOKS = sorted((ROOT / "docs").rglob("*.ipynb"))
# In a process of its own: a kernel brings its own loops, threads and warnings.
EXECUTE = """
import sys
import nbclient
import nbformat

notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_the_notebook_runs(notebook: Path, tmp_path: Path) -> None:
    done = tmp_path / "done.ipynb"
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    keyless = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
    ran = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(notebook), str(done)],
        env={**keyless, **nowhere, "NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    cells = json.loads(done.read_text("utf-8"))["cells"]
    said = [output for cell in cells for output in cell.get("outputs", [])]
    assert said
    assert not [each for each in said if each.get("name") == "stderr"], said
    (bar,) = [each["data"]["text/plain"] for each in said if each["output_type"] == "display_data"]
    assert "40/40" in "".join(bar)
    assert "1 failed" in "".join(bar)


def test_notebooks_are_kept_without_what_they_printed() -> None:
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
