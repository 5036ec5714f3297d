"""Run docs/first_steps.ipynb, check what it shows, and write it with its outputs.

    python docs/run_notebook.py OUT.ipynb

Needs the extra "docs". The site shows what is written to build/first_steps.ipynb.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

NOTEBOOK = Path(__file__).with_name("first_steps.ipynb")
SECONDS = 180
"""For each cell; all of it takes half of that on one free core."""
# The reader is told so; run in the notebook's own kernel, behind its last cell.
CHECKS = """
assert threshold == detector.threshold
assert [p.rejected for p in predictions] == [False, True, True, True]
assert not predictions[0].regions
for sample, prediction in zip(shown[1:], predictions[1:], strict=True):
    assert sample.mask[prediction.mask].any(), sample.name
    assert prediction.regions[0].area > 1, sample.name
assert predictions[2].regions[0].modality == "2d"  # the stain changes the colour alone
assert again.score == predictions[1].score
"""


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook and the checks; return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS, id="checks"))
    quiet = Config({"KernelManager": {"transport": "ipc"}})  # no ports, and no warning about them
    NotebookClient(notebook, timeout=SECONDS, config=quiet).execute()
    notebook.cells.pop()
    for cell in notebook.cells:
        cell.metadata.clear()  # nbclient notes the time of day
        if cell.get("source", "").splitlines()[-1:] == [")"] and "sheet(" in cell.source:
            assert any("image/png" in o.get("data", {}) for o in cell.outputs), cell.source
    return notebook


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    done = run(NOTEBOOK)
    out.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(done, out)
    print(f"{NOTEBOOK.name}: every cell ran and shows what it should")
