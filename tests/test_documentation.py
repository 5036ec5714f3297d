"""What the documentation says exists, exists: links, and the README's Python example runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text()
    links = [t for t in re.findall(r"\]\(([^)#\s]+)", text) if not t.startswith("http")]
    missing = [t for t in links if not (page.parent / t).exists()]
    assert not missing


def test_every_page_is_linked_from_another():
    linked = set()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if not target.startswith("http"):
                linked.add((page.parent / target).resolve())
    assert [p for p in PAGES[1:] if p.resolve() not in linked] == []


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S).group(1)
    ran = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"\d+\.\d+ \(400, 400\)", ran.stdout.strip())
    assert (tmp_path / "part.cmad").stat().st_size > 1000


def test_the_pro_curve_in_the_documentation_is_what_its_script_draws():
    ran = subprocess.run(
        [sys.executable, ROOT / "docs/pro_curve.py"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == (ROOT / "docs/pro_curve.svg").read_text()
    page = (ROOT / "docs/evaluation.md").read_text()
    exact, grid = re.findall(r"AUPRO@1% (0\.\d+),", ran.stdout)
    assert f"have {exact} by every threshold and {grid} on the grid" in " ".join(page.split())


@pytest.mark.slow
def test_the_example_on_metrics_runs(tmp_path):
    page = (ROOT / "docs/evaluation.md").read_text()
    example = re.search(r"```python\n(.*?)```", page, re.S).group(1)
    example += "print(aupro(maps, masks), fpr[0], pro[-1])"
    ran = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().endswith(" 1.0")


DATA = re.findall(r"```python\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.S)


@pytest.mark.parametrize("example", [e for e in DATA if "tempfile" in e or "register" in e])
def test_an_example_on_data_runs_and_prints_what_it_says(example, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    wanted = re.findall(r"^print\(.*\)  # (.*)$", example, re.M)
    assert len(wanted) == 1
    assert ran.stdout.startswith(wanted[0]), ran.stdout


def test_three_examples_on_data_are_run():
    assert sum("tempfile" in e or "register" in e for e in DATA) == 3
