"""The site: what its hook does to pages, what its navigation and API pages hold, the notebook."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import yaml

import cmad

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
NOTEBOOK = DOCS / "first_steps.ipynb"
CMAD = ROOT / "python" / "cmad"
PACKAGES = [
    ".".join(file.relative_to(CMAD.parent).parent.parts)
    for file in sorted(CMAD.rglob("__init__.py"))
    if "__all__ = [" in file.read_text() and file.parent.name != "cli"
]
"""All that state what is public; the command line has its own help."""


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hook = load("hook")


def shown(path):
    """Return what an API page's directive shows: the deepest module first, then its attributes."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            found = getattr(found, name)
        return found
    raise AttributeError(path)


DIRECTIVES = [
    line.removeprefix("::: ")
    for page in sorted((DOCS / "api").glob("*.md"))
    for line in page.read_text().splitlines()
    if line.startswith("::: ")
]


def test_packages_that_state_what_is_public_are_found():
    assert {"cmad", "cmad.datasets", "cmad.detectors", "cmad.ops", "cmad.report"} <= set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_on_a_page_of_the_api_and_documented(package):
    module = importlib.import_module(package)
    objects = [o for path in DIRECTIVES if callable(o := shown(path))]
    missing, silent = [], []
    for path in (f"{package}.{name}" for name in module.__all__):
        found = getattr(module, path.rsplit(".")[-1])
        if path in PACKAGES:  # has its own names
            continue
        if path not in DIRECTIVES and not any(found is o for o in objects):
            missing.append(path)
        if callable(found):
            text = found.__doc__ or ""
            if not text or (is_dataclass(found) and text.startswith(f"{found.__name__}(")):
                silent.append(path)
    assert missing == [], "no page of docs/api shows these"
    assert silent == [], "these have no docstring"


def test_directives_are_there_once():
    assert len(DIRECTIVES) == len(set(DIRECTIVES)) > 100


@pytest.mark.parametrize("kind", [cmad.detectors.Detector, cmad.Prediction, cmad.Sample])
def test_public_methods_of_what_users_hold_are_documented(kind):
    for name, member in vars(kind).items():
        if not name.startswith("_") and (
            inspect.isfunction(member) or isinstance(member, property)
        ):
            assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def pages(entry):
    """Yield the pages of a navigation, in its order."""
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry:
        if not isinstance(entry, str):
            yield from pages(inner)


def test_every_page_is_in_the_navigation_once():
    navigation = list(pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    written = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(navigation) == sorted([*written, *hook.PAGES.values()])


@pytest.mark.parametrize(
    ("page", "text", "want"),
    [
        ("index.md", "[d](docs/data.md#points)", "[d](data.md#points)"),
        ("index.md", "![a picture](docs/demo.jpg)", "![a picture](demo.jpg)"),
        ("index.md", "[c](CHANGELOG.md)", "[c](changes.md)"),
        ("tour.md", "[`types.py`](../python/cmad/types.py)", "`types.py`"),
        ("tour.md", "[`x.py`](../python/cmad/none.py)", "[`x.py`](../python/cmad/none.py)"),
        ("api/ops.md", "[n](../first_steps.ipynb)", "[n](../first_steps.md)"),
        ("results/cable_gland.md", "[e](../evaluation.md)", "[e](../evaluation.md)"),
        ("first_steps.md", "[w](weights.md), [p](https://a.example/b.md)", None),
        ("tour.md", "[top](#a) and `f[0](x)`\n```python\nf[0](../README.md)\n```\n", None),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(page, text, want):
    assert hook.relinked(text, page, None) == (text if want is None else want)


def test_with_a_repository_links_to_code_lead_there():
    got = hook.relinked("[`b`](../csrc/ops/fps.h)", "tour.md", "https://host.example/cmad/")
    assert got == "[`b`](https://host.example/cmad/blob/main/csrc/ops/fps.h)"


def test_the_notebook_is_kept_without_outputs():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 5
    for cell in code:
        assert (cell["outputs"], cell["execution_count"], cell["metadata"]) == ([], None, {})


def test_the_notebook_becomes_a_page():
    page = hook.notebook({})
    assert page.startswith("# First steps\n")
    assert "```python\nimport numpy as np\n" in page
    links = re.findall(r"\]\(([^)]+\.md)\)", page)
    assert links
    assert all((DOCS / link).exists() for link in links)


def test_pictures_are_small():
    for picture in [*DOCS.rglob("*.jpg"), *DOCS.rglob("*.png"), *DOCS.rglob("*.svg")]:
        assert picture.stat().st_size < 300_000, picture


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_says(tmp_path):
    pytest.importorskip("nbclient", reason="needs the extra docs; .ci/run has it")
    out = tmp_path / "out.ipynb"
    command = [sys.executable, DOCS / "run_notebook.py", out]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert '"image/jpeg"' in out.read_text()
