import re

import numpy as np
import pytest
import tifffile
from PIL import Image

import cmad
from cmad.datasets import Folder, Synthetic
from cmad.report import page


@pytest.mark.slow
def test_the_demo_finds_the_planted_defects_and_its_files_work(run, tmp_path):
    out = tmp_path / "demo"
    result = run("demo", "--out", out)
    assert result.code == 0, result.err
    figure = {
        name: float(re.search(rf"{re.escape(name)}\s+(\d\.\d+)", result.out)[1])
        for name in ("I-AUROC", "AUPRO@30%", "AUPRO@1%")
    }
    assert figure["I-AUROC"] >= 0.95
    assert figure["AUPRO@30%"] >= 0.9
    assert "random weights (seed" in result.out
    assert "seed of parts and training: 0" in result.out
    assert all(kind in result.out for kind in ("hole", "bump", "stain", "scratch"))
    # On a slow machine there are lines of progress.
    progress = re.compile(r"(extracting features|training|calibrating|scoring): \d+ (of|done)")
    assert [line for line in result.err.splitlines() if not progress.match(line)] == []

    picture = np.asarray(Image.open(out / "picture.png"))
    assert picture.shape[0] > 1000
    assert picture.shape[1] > 1000

    assert (out / "report.html").is_file() == page.available()
    assert "report.html" in result.out
    assert page.available() != ("needs Jinja2" in result.out)

    parts = Folder(out / "parts")
    assert sorted(s.defect for s in parts) == ["bump", "good", "hole", "scratch", "stain"]
    made = Synthetic("test", good=1)[0]
    kept = next(s for s in parts if s.defect == "good")
    np.testing.assert_array_equal(kept.rgb, made.rgb)
    np.testing.assert_array_equal(kept.xyz, made.xyz)

    model = cmad.load(out / "demo.cmad")
    assert model.false_reject_rate == 0.05
    scored = run("score", out / "demo.cmad", out / "parts", "--out", out / "scores")
    assert scored.code == 0, scored.err
    map_ = tifffile.imread(out / "scores" / "maps" / "good" / "000.tiff")
    np.testing.assert_array_equal(map_, model.predict(made.rgb, made.xyz).map)
