"""`cmad show` and `--background`: what of a part is looked at, seen and chosen."""

import numpy as np
import pytest
import tifffile
from PIL import Image

import cmad
from cmad import model_file
from cmad.background import Background
from cmad.cli._background import background_of
from cmad.datasets import Folder
from cmad.preprocess import Preprocessing, look
from cmad.report import Looked, contact_sheet, looked_at

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20"]


@pytest.fixture
def washers(tmp_path):
    """Five washers 3 mm thick, grey on a black table half a metre away."""
    row, column = np.mgrid[:80, :100]
    for i in range(5):
        disc = (row - 40) ** 2 + (column - 48 - i) ** 2 < 25**2
        noise = 1e-4 * np.random.default_rng(i).standard_normal((80, 100))
        xyz = cmad.xyz_from_depth(0.5 - 0.003 * disc + noise, (350, 350, 49.8, 39.6))
        for name in ("rgb", "xyz"):
            (tmp_path / "good" / name).mkdir(parents=True, exist_ok=True)
        rgb = np.where(disc[..., None], 120 + i, 10).repeat(3, -1).astype(np.uint8)
        Image.fromarray(rgb).save(tmp_path / "good" / "rgb" / f"{i}.png")
        tifffile.imwrite(tmp_path / "good" / "xyz" / f"{i}.tiff", xyz, photometric="rgb")
    return tmp_path / "good"


def test_show_draws_what_is_looked_at_and_says_how_much(run, data, tmp_path):
    out = tmp_path / "a.png"
    result = run("show", data, "--category", "cover", "--split", "test", "--out", out)
    assert result.code == 0, result.err
    shares = []
    for sample in Folder(data / "cover" / "test"):
        valid, part = look(sample, cmad.checks.checked(sample)[1], Preprocessing())
        assert part.keep.sum() <= valid.sum()
        shares.append(float(part.keep.double().mean()))
    low, high, middle = min(shares), max(shares), np.median(shares)
    assert f"of each part {low:.0%} to {high:.0%} of the pixels are looked at" in result.out
    assert f"(median {middle:.0%}); 0 notes; drawn in {out}" in result.out
    with Image.open(out) as sheet:
        assert sheet.size[0] == 8 + 2 * (640 + 8)  # two parts side by side


def test_show_says_what_is_left_out_and_what_a_background_changes(run, washers, tmp_path):
    out = tmp_path / "a.png"
    result = run("show", washers, "--out", out)
    assert result.code == 0
    assert result.out.count("no part in view: every valid point lies within 5 mm") == 5
    assert "0% to 0% of the pixels are looked at (median 0%); 5 notes" in result.out
    thin = run("show", washers, "--out", out, "--background", "1.5mm", "--limit", "2")
    assert "24% to 24% of the pixels are looked at (median 24%); 0 notes" in thin.out
    assert "no part" not in thin.out


def test_a_part_that_cannot_be_used_is_named_and_the_others_are_drawn(run, washers, tmp_path):
    (washers / "rgb" / "1.png").write_bytes(b"no picture")
    tifffile.imwrite(
        washers / "xyz" / "2.tiff", np.zeros((80, 100, 3), np.float32), photometric="rgb"
    )
    result = run("show", washers, "--out", tmp_path / "a.png", "--background", "none")
    assert result.code == 0
    assert "1: cannot be used:" in result.out
    assert "2: cannot be used: xyz has no valid point" in result.out
    assert "100% to 100%" in result.out
    assert "2 notes" in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{tmp}/a.jpg"], "--out must name a PNG file"),
        (["--out", "{tmp}/no/a.png"], "--out: there is no folder"),
        (["--preset", "mine"], "--preset must be one of paper, official, got 'mine'"),
        (["--background", "floor"], "--background must be plane, none, a distance such as 2mm"),
        (["--good", "fine"], "--good must be the name of a folder of parts"),
    ],
)
def test_wrong_arguments_are_named(run, washers, tmp_path, arguments, message):
    given = [a.format(tmp=tmp_path) for a in arguments]
    result = run(
        "show", washers, *([] if "--out" in given else ["--out", tmp_path / "a.png"]), *given
    )
    assert result.code == 1
    assert message in result.err
    assert not list(tmp_path.glob("*.png"))


def test_a_part_is_dark_where_nothing_is_looked_at():
    rng = np.random.default_rng(0)
    rgb = rng.integers(100, 200, (40, 50, 3)).astype(np.uint8)
    xyz = np.dstack([*np.indices((40, 50)) * 1e-3, np.full((40, 50), 0.5)]).astype(np.float32)
    keep = np.zeros((40, 50), bool)
    keep[10:30, 20:40] = True
    drawn = np.asarray(looked_at(Looked("a/0", rgb, xyz, keep), width=50))
    assert drawn.shape[1] == 100
    np.testing.assert_array_equal(drawn[10:30, 20:40], rgb[10:30, 20:40])
    away = np.ones_like(keep)
    away[8:32, 18:42] = False
    np.testing.assert_array_equal(drawn[:40, :50][away], (0.3 * rgb[away]).astype(np.uint8))
    relief = drawn[:40, 50:].mean(-1)
    assert relief[keep].mean() > 3 * relief[away].mean()
    said = Looked("a/0", rgb, xyz, keep).describe()
    assert said == "a/0: 20% of the pixels, 100% have a point; 19 x 19 x 0 mm at 0.5 m"


def test_a_contact_sheet_has_rows_as_high_as_their_highest_picture():
    cells = [Image.new("RGB", (30, h), (h, 0, 0)) for h in (10, 20, 15)]
    sheet = np.asarray(contact_sheet(cells, "three", columns=2))
    assert sheet.shape == (30 + 20 + 8 + 15 + 8, 8 + 2 * 38, 3)
    for (top, left), h in (((30, 8), 10), ((30, 46), 20), ((58, 8), 15)):
        assert (sheet[top : top + h, left : left + 30, 0] == h).all()


def test_each_kind_of_background_can_be_said(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3:6] = 255
    Image.fromarray(mask).save(tmp_path / "roi.png")
    assert background_of("plane") == Background()
    assert background_of("none") == Background("none")
    assert background_of("0.002") == background_of("2mm") == background_of("0.002m")
    assert background_of("2mm") == Background("distance", 0.002)
    assert background_of("0,0,-1,500mm") == Background.of((0, 0, -1, 0.5))
    assert background_of("10,20 300,20 300,240.5").polygon == ((10, 20), (300, 20), (300, 240.5))
    assert background_of(str(tmp_path / "roi.png")) == Background.of(mask)
    for wrong in ("", "2 mm", "1,2,3", "1,2 3,4", "a,b,c,d", "-0.1"):
        with pytest.raises(ValueError, match=r"--background must be .*, got"):
            background_of(wrong)
    for missing in ("x.png", "masks/x"):
        with pytest.raises(FileNotFoundError, match=f"--background: {missing}: no such file"):
            background_of(missing)


def test_what_fit_is_told_of_the_background_is_in_the_model_and_used_by_score(
    run, washers, tmp_path
):
    out = tmp_path / "m.cmad"
    plain = run("fit", washers, "--out", out, *QUICK)
    assert plain.code == 1
    assert "no part in view" in plain.err
    fitted = run("fit", washers, "--out", out, "--background", "1.5mm", *QUICK)
    assert fitted.code == 0, fitted.err
    assert "up to 1.5 mm from the plane under the outermost points" in run("info", out).out
    header, _ = model_file.read(out)
    assert header["background"]["distance"] == 0.0015
    scored = run("score", out, washers, "--out", tmp_path / "s", "--no-overlays", "--no-maps")
    assert scored.code == 0, scored.err
    assert "scored 5 of 5 parts" in scored.out
