"""What the documentation says exists, exists: links, names and options; and its code runs."""

import importlib
import json
import re
import shlex
import subprocess
import sys
import textwrap
from dataclasses import fields, is_dataclass
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from PIL import Image

from cmad.cli import _group
from cmad.datasets import Synthetic

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOTEBOOK = ROOT / "docs" / "first_steps.ipynb"
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?^ *```(?P<kind>\w*)\n(?P<code>.*?)^ *```$", re.M | re.S
)


def named(page):
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
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


def test_the_pro_curve_in_the_documentation_is_what_its_script_draws():
    ran = subprocess.run(
        [sys.executable, ROOT / "docs/pro_curve.py"], capture_output=True, text=True, check=True
    )
    assert ran.stdout == (ROOT / "docs/pro_curve.svg").read_text()
    page = (ROOT / "docs/evaluation.md").read_text()
    exact, grid = re.findall(r"AUPRO@1% (0\.\d+),", ran.stdout)
    assert f"have {exact} by every threshold and {grid} on the grid" in " ".join(page.split())


EPOCHS = ROOT / "benchmarks/results/epochs-intel-xeon-processor-bdb83ba.json"


def test_the_picture_of_epochs_in_the_documentation_is_what_its_benchmark_draws(tmp_path):
    script = [sys.executable, ROOT / "benchmarks/epochs.py", "--results", EPOCHS]
    subprocess.run([*script, "--picture", tmp_path / "epochs"], check=True)
    assert (tmp_path / "epochs.svg").read_text() == (ROOT / "docs/epochs.svg").read_text()


def test_the_table_of_epochs_in_the_documentation_has_the_numbers_of_its_picture():
    page = (ROOT / "docs/training.md").read_text()
    for row in json.loads(EPOCHS.read_text())["rows"]:
        found, losses = np.array(row["found"]), np.array(row["losses"])
        both = zip(found.mean(0)[[2, 4, 6]], found.std(0, ddof=1)[[2, 4, 6]], strict=True)
        cells = [f"{row['epochs']} | {row['pixels']} | {12 * row['epochs']}"]
        cells += [f"{np.mean(row['min']):.1f}", *(f"{loss:.3f}" for loss in losses.mean(0))]
        cells += [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in both]
        assert f"| {' | '.join(cells)} |".replace(" 0.", " .") in page.replace(" 0.", " .")


def resolve(path):
    """Return what a dotted path names: modules first, then attributes and fields."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for name in parts[end:]:
            if is_dataclass(found) and name in {f.name for f in fields(found)}:
                return None
            found = getattr(found, name)
        return found
    raise AttributeError(path)


@pytest.mark.parametrize("page", [*PAGES, NOTEBOOK], ids=named)
def test_names_of_the_package_exist(page):
    paths = set(re.findall(r"(?<![\w./-])cmad(?:\.[A-Za-z_]\w*)+", page.read_text()))
    unknown = []
    for path in sorted(paths):
        try:
            resolve(path)
        except AttributeError:
            unknown.append(path)
    assert unknown == []


def test_a_name_that_does_not_exist_is_noticed():
    assert resolve("cmad.ops.smooth")
    assert resolve("cmad.Prediction.map") is None  # a field without default is no attribute
    for path in ("cmad.nothing", "cmad.ops.nothing", "cmad.Prediction.nothing"):
        with pytest.raises(AttributeError):
            resolve(path)


COMMANDS = {name: _group.load(name) for name in _group.COMMANDS}


def command_lines(page):
    """Yield the words of each shell command: whole ones of blocks, and of words in the text."""
    text = page.read_text()
    for block in BLOCK.finditer(text):
        if block["kind"] == "bash":
            for line in block["code"].replace("\\\n", " ").splitlines():
                yield True, shlex.split(line, comments=True)
    for words in re.findall(r"`((?:cmad|python) [^`]+)`", BLOCK.sub("", text)):
        yield False, shlex.split(words)


def wrong_in(whole, words):
    """Say what is wrong with a command line of ours; parsed as a shell would give it, not run."""
    words = words[next((i for i, w in enumerate(words) if "=" not in w), len(words)) :]
    options = {w.split("=")[0] for w in words if re.match(r"--?[A-Za-z]", w)}
    if words[:1] == ["python"] and words[1].endswith(".py"):
        script = ROOT / words[1]
        known = set(re.findall(r'"(--?[\w-]+)"', script.read_text())) if script.exists() else None
        return "no such script" if known is None else ", ".join(sorted(options - known))
    if words[:1] != ["cmad"] or not words[1:] or words[1].startswith("-"):
        return ""
    if words[1] not in COMMANDS:
        return f"no such command: {words[1]}"
    command = COMMANDS[words[1]]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"-h", "--help"}
    if whole and options <= known:
        try:
            command.make_context(words[1], words[2:])
        except click.UsageError as error:
            return error.message
    return ", ".join(sorted(options - known))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_the_documentation_have_their_options(page):
    lines = list(command_lines(page))
    assert {
        shlex.join(words): wrong for whole, words in lines if (wrong := wrong_in(whole, words))
    } == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("cmad score m.cmad part --out o", ""),
        ("CMAD_WEIGHTS=w cmad demo --method patchcore", ""),
        ("cmad judge part", "no such command: judge"),
        ("cmad demo --metod patchcore", "--metod"),
        ("python benchmarks/real.py --xyz fpfh", ""),
        ("python benchmarks/real.py --zyx fpfh", "--zyx"),
        ("python benchmarks/unreal.py", "no such script"),
    ],
)
def test_a_wrong_command_is_noticed(line, wrong):
    for whole in (True, False):
        assert wrong_in(whole, shlex.split(line)) == wrong


def python_blocks(page):
    """Return the code of a page's Python blocks that run, without the indentation of a list."""
    found = []
    for block in BLOCK.finditer(page.read_text()):
        if block["kind"] == "python" and not (block["mark"] or "").startswith("not run: "):
            found.append(
                re.sub(r"^" + re.match(" *", block["code"])[0], "", block["code"], flags=re.M)
            )
    return found


CHECKS = {
    "README.md": """
assert prediction.map.shape == (400, 400) and prediction.score > 0
assert cmad.load("part.cmad").predict(parts[0].rgb, parts[0].xyz).score == prediction.score""",
    "docs/calibration.md": """
assert prediction.rejected and prediction.p_value == 0.05
top, left, bottom, right = prediction.regions[0].box
assert top < 108 < bottom and left < 88 < right and prediction.regions[0].area > 0""",
    "docs/cfm.md": """
assert detector.pipeline.dims()["3d"] == 384 and detector.options.aggregation == "max"
assert len(detector.losses) == 4 and "CFM_2Dto3D.bottleneck.weight" in detector.tensors()""",
    "docs/drift.md": """
[moved] = cmad.drift.Monitor.load("line.drift").moved
assert moved.stream in ("brightness", "sharpness") and not moved.higher and monitor.parts < 20""",
    "docs/repeat.md": """
assert found.categories == 13""",
    "docs/data.md": """
assert len(five) == 5 and len(train) == 5 and train[0].xyz.shape == (72, 96, 3)
assert abs(points.xyz[40, 40] - [0.04, 0.04, 0.5]).max() < 1e-6
assert from_depth.xyz[0, 0, 2] == 0.5 and sample.rgb.shape == sample.xyz.shape == (96, 128, 3)""",
    "docs/evaluation.md": """
assert result.category == data.categories[-1] and 0 <= result.grid["AUPRO@1%"] <= 1
assert aupro(maps, masks)[0] == pooled.aupro()[0] and (fpr[0], pro[-1]) == (0, 1)""",
    "docs/looked-at.md": """
assert 0 < frame.valid.float().mean() < 1 and len(frame.plane) == 4 and both.distance == 0.001""",
    "docs/training.md": """
assert scores.shape == (5,) and scores[0] == detector.predict(train[0].rgb, train[0].xyz).score
assert not other.tensors() and detector.tensors() and detector.card.trained.parts == 5
assert not cmad.paths.user_path("bagel.checkpoint").exists()""",
    "docs/synthesis.md": """
assert part.sample.mask.any() and (part.sample.xyz != part.good.xyz).any(-1).sum() > 0
assert (part.sample.rgb == part.good.rgb).all()""",
}
"""What a page's code has made when it ran, by page."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the data that the pages name: three categories, and frames of a camera."""
    folder = tmp_path_factory.mktemp("pages")
    for category in ("bagel", "cable_gland", "tire"):
        for split, good, defective in (("train", 5, 0), ("validation", 1, 0), ("test", 1, 1)):
            for s in Synthetic(split, good=good, defective=defective, size=(72, 96)):
                _, kind, number = s.name.split("/")
                root = folder / "mvtec_3d_anomaly_detection" / category / split / kind
                for name in ("rgb", "xyz", "gt"):
                    (root / name).mkdir(parents=True, exist_ok=True)
                Image.fromarray(s.rgb).save(root / "rgb" / f"{number}.png")
                tifffile.imwrite(root / "xyz" / f"{number}.tiff", s.xyz, photometric="rgb")
                Image.fromarray(s.mask).save(root / "gt" / f"{number}.png")
    Image.new("RGB", (96, 72), "grey").save(folder / "a.png")
    Image.new("RGB", (1280, 720), "grey").save(folder / "d.png")
    Image.fromarray(np.full((720, 1280), 500, np.uint16)).save(folder / "d_depth.png")
    head = (
        "ply\nformat ascii 1.0\nobj_info num_cols 96\nobj_info num_rows 72\nelement vertex 6912\n"
    )
    axes = "".join(f"property float {axis}\n" for axis in "xyz")
    rows = "".join(f"{x} {y} 500\n" for y in range(72) for x in range(96))
    (folder / "a.ply").write_text(f"{head}{axes}end_header\n{rows}")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if python_blocks(p)], ids=named)
def test_code_in_the_documentation_runs(page, folder):
    code = "\n".join([*python_blocks(page), CHECKS[named(page)]])
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    printed = iter(ran.stdout.splitlines())
    for said in re.findall(r"^print\(.*\)  # (.*)$", code, re.M):  # in this order
        wanted = re.escape(said).replace(r"\.\.\.", ".*")
        assert any(re.match(wanted, line) for line in printed), f"{said} in:\n{ran.stdout}"


def test_code_that_does_not_run_says_why_and_compiles():
    marked = [
        (named(page), block)
        for page in PAGES
        for block in BLOCK.finditer(page.read_text())
        if block["kind"] == "python" and (block["mark"] or "").startswith("not run")
    ]
    for page, block in marked:
        assert re.match(r"not run: it (needs|is) \w+", block["mark"]), page
        compile(textwrap.dedent(block["code"]), page, "exec")
    assert len(marked) <= 5, "most code runs"
