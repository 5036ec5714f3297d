"""The mistakes of the first hour, typed as docs/troubles.md shows them: the page is what is said.

Each ``console`` block of its section is a command and all that the command writes to its error
output; a new one is tested by being written there.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import tifffile

import cmad
from cmad.cli._words import in_options

PAGE = Path(__file__).parents[2] / "docs" / "troubles.md"
SECTION = PAGE.read_text(encoding="utf-8").split("\n## Natural mistakes\n")[1].split("\n## ")[0]
TYPED = re.findall(r"```console\n\$ (cmad [^\n]*)\n(.*?)```", SECTION, re.S)


def words(text):
    """The text without line breaks, frames, and the threshold, which training on noise makes."""
    text = re.sub(r"threshold \d[\d.]*", "threshold 0.2", text)
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@pytest.fixture
def here(data, model, tmp_path, monkeypatch):
    """The folder that the commands are typed in."""
    good = data / "cover" / "test" / "good"
    shutil.copy(model, tmp_path / "part.cmad")
    for name in ("good", "incoming", "mixed", "swapped", "mm"):
        shutil.copytree(good, tmp_path / name)
    shutil.copytree(data / "cover", tmp_path / "data" / "cover")
    shutil.copytree(data / "cover", tmp_path / "data" / "bagel")
    for number, path in enumerate(sorted((tmp_path / "mixed" / "xyz").iterdir()), 1):
        path.rename(path.with_name(f"{number}.tiff"))
    (tmp_path / "swapped" / "rgb").rename(tmp_path / "swapped" / "other")
    (tmp_path / "swapped" / "xyz").rename(tmp_path / "swapped" / "rgb")
    (tmp_path / "swapped" / "other").rename(tmp_path / "swapped" / "xyz")
    (tmp_path / "mm" / "rgb" / "001.png").unlink()
    (tmp_path / "mm" / "xyz" / "001.tiff").unlink()
    points = tmp_path / "mm" / "xyz" / "000.tiff"
    tifffile.imwrite(points, 1000 * tifffile.imread(points), photometric="rgb")
    (tmp_path / "locked").mkdir()
    lock(tmp_path / "locked", monkeypatch)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lock(folder, monkeypatch):
    """Refuse to write in a folder, for the administrator too, who tests where others may not."""
    touch, access = Path.touch, os.access

    def refuse(path, *arguments, **settings):
        if path.absolute().parent == folder:
            raise PermissionError(13, "Permission denied", str(path))
        touch(path, *arguments, **settings)

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr("os.access", lambda path, mode: path != folder and access(path, mode))


@pytest.mark.parametrize(("typed", "said"), TYPED, ids=[typed for typed, _ in TYPED])
def test_the_page_has_what_is_said_after_a_mistake(run, here, typed, said):
    files = sorted(here.rglob("*"))
    result = run(*shlex.split(typed)[1:])
    printed = words(result.err.replace(f"{here}/", ""))
    if result.code == 2:  # whose usage and frame come before and around
        assert words(said) in printed
    else:
        assert (result.code, printed) == (1, words(said))
    written = {f.relative_to(here).parts[0] for f in set(here.rglob("*")) - set(files)}
    assert written <= {"scores"}


def test_every_mistake_of_the_list_is_on_the_page():
    told = re.findall(r"^\*\*(.*?)\.?\*\*", SECTION, re.M)
    wanted = ["The wrong folder", "Mixed names", "Forgotten `--out`", "Scored before fitted"]
    wanted += ["Swapped rgb and xyz", "A rate too small for the parts", "A typo", "A missing model"]
    wanted += ["Fitted over an existing file"]
    wanted += ["A folder without write permission", "Millimetres for metres"]
    assert [name for name in wanted if name not in told] == []
    assert len(TYPED) >= len(wanted)


def test_what_python_says_of_a_detector_that_was_not_fitted_is_on_the_page(data):
    parts = cmad.datasets.MVTec3D(data, "cover", "test")
    with pytest.raises(RuntimeError) as refused:
        detector().predict(parts[0].rgb, parts[0].xyz)
    assert f"`{refused.value}`" in " ".join(SECTION.split())


def test_what_python_says_of_swapped_arrays_is_on_the_page(data, model):
    part = cmad.datasets.MVTec3D(data, "cover", "test")[0]
    with pytest.raises(ValueError, match="swapped") as refused:
        cmad.score(part.xyz, part.rgb, model)
    assert f"`{refused.value}`" in " ".join(SECTION.split())
    assert in_options(str(refused.value)) == str(refused.value)


def detector():
    return cmad.CFM(
        rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
        xyz=cmad.extractors.PointMAE(
            groups=32, group_size=8, dim=24, heads=2, depth=1, weights="random"
        ),
        image_size=64,
    )
