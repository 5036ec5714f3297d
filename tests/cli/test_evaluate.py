"""`cmad evaluate`: end to end, resumed, and with wrong input."""

import csv
import json
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import tifffile
import timm
from safetensors.torch import save_file

import cmad
from cmad.evaluate import METRICS
from cmad.testing import eyecandies

QUICK = ["--weights", "random", "--rgb", "vit_tiny_patch16_224", "--variant", "tiny"]
QUICK += ["--image-size", "112", "--epochs", "1", "--pixels-per-image", "20", "--seed", "3"]


@pytest.fixture(scope="module")
def candies(tmp_path_factory):
    """Two categories in the layout of Eyecandies."""
    root = tmp_path_factory.mktemp("Eyecandies")
    for name, seed in (("CandyCane", 0), ("Lollipop", 1)):
        eyecandies.write(root, name, train=2, validation=2, good=1, size=160, seed=seed)
    return root


@pytest.fixture(scope="module")
def done(run, candies, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated")
    result = run("evaluate", candies, "--out", out, "--maps", out / "maps", "-r", "0.4", *QUICK)
    assert result.code == 0, result.err
    return out, result


def rows(out):
    lines = (out / "evaluation.csv").read_text().splitlines()
    return {r["category"]: r for r in csv.DictReader(x for x in lines if x[0] != "#")}


def test_all_categories_are_evaluated_and_written_in_three_formats(done):
    out, result = done
    table = rows(out)
    assert list(table) == ["CandyCane", "Lollipop", "mean"]
    for row in table.values():
        assert all(0 <= float(row[name]) <= 1 for name in METRICS)
    assert all(table[name]["defective"] == "3" for name in ("CandyCane", "Lollipop"))
    data = json.loads((out / "evaluation.json").read_text())
    assert data["about"]["seed"] == 3
    assert data["about"]["versions"]["torch"]
    page = (out / "evaluation.md").read_text()
    title = "CFM-T, random weights, vit_tiny_patch16_224, 112x112 pixels, 2 training parts per cat"
    assert page.startswith(f"# {title}")
    assert "| CFM (paper: CFM, Table 13) |" in page
    assert "## Beside the papers (not comparable)" in page
    assert "- epochs 1, by default 250\n" in page
    assert title in result.out
    assert "note: not comparable with the papers' numbers: the weights of the 2D" in result.out
    assert f"{float(table['mean']['P-AUROC']):.3f}" in result.out
    assert "random weights" in result.out


def test_the_command_line_and_the_date_are_on_the_page(done, candies):
    out, _ = done
    page = (out / "evaluation.md").read_text()
    command = ["cmad", "evaluate", candies, "--out", out, "--maps", out / "maps", "-r", "0.4"]
    assert f"```bash\n{shlex.join(map(str, [*command, *QUICK]))}\n```" in page
    dates = [r["date"] for r in json.loads((out / "evaluation.json").read_text())["results"]]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", date) for date in dates)
    assert re.search(rf'\| date \| `"{min(dates)}.* UTC"` \|', page)


def test_further_seeds_go_on_from_the_first_and_are_kept_too(done, run, candies, tmp_path):
    out, _ = done
    first = rows(out)
    shutil.copytree(out, tmp_path / "out")
    command = ["evaluate", candies, "--out", tmp_path / "out", "-r", "0.4", *QUICK]
    result = run(*command, "--seeds", "2")
    assert result.code == 0, result.err
    assert "results with seed 3 kept from before: CandyCane, Lollipop" in result.out
    assert "Lollipop, seed 4: check" in result.out
    assert "CandyCane, seed 3: check" not in result.out
    data = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert data["about"]["seeds"] == [3, 4]
    assert "random weights (seed 4)" in data["about"]["extractors"]["4"]["2D"]
    by_seed = {s: {r["category"]: r for r in of["results"]} for s, of in data["seeds"].items()}
    for name in METRICS:
        values = [by_seed[seed]["Lollipop"]["metrics"][name] for seed in ("3", "4")]
        assert values[0] == float(first["Lollipop"][name])
        row = rows(tmp_path / "out")["Lollipop"]
        assert float(row[name]) == pytest.approx(sum(values) / 2)
        spread = abs(values[0] - values[1]) / 2**0.5
        assert float(row[f"{name} deviation"]) == pytest.approx(spread, abs=1e-12)
    assert by_seed["3"]["Lollipop"]["metrics"] != by_seed["4"]["Lollipop"]["metrics"]
    assert "Lollipop, seed 4 |" in (tmp_path / "out/evaluation.md").read_text()  # its verdicts
    # Interrupted in the second seed: the same command goes on there.
    (tmp_path / "out/seeds/4/categories/Lollipop.json").write_text("{")
    result = run(*command, "--seeds", "2")
    assert "results with seed 4 kept from before: CandyCane\n" in result.out
    again = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert again["mean"]["deviations"] == data["mean"]["deviations"]
    # One seed of the same folder is as it was.
    assert run(*command).code == 0
    assert rows(tmp_path / "out") == first


def test_each_seed_draws_its_own_shots_and_the_first_writes_the_maps(
    run, candies, tmp_path, monkeypatch
):
    plans = []

    def record(_, categories, make, plan):
        plans.append((plan.seed, make().seed, plan.shots, plan.maps))
        if len(plans) == 2:
            raise RuntimeError("that is enough")
        return iter(())

    monkeypatch.setattr(sys.modules["cmad.cli.evaluate"], "run_evaluation", record)
    maps = tmp_path / "maps"
    command = ["evaluate", candies, "--out", tmp_path / "out", "--shots", "1", "--maps", maps]
    assert run(*command, *QUICK, "--seeds", "2").code == 1
    assert plans == [(3, 3, 1, maps), (4, 4, 1, None)]


def test_a_real_vit_beside_a_random_point_mae_is_told_so(run, candies, tmp_path, monkeypatch):
    state = timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()
    save_file(dict(state), tmp_path / "vit_tiny_patch16_224.safetensors")
    monkeypatch.setenv("CMAD_WEIGHTS", str(tmp_path))
    options = ["--xyz-weights", "random", *QUICK[2:], "--category", "Lollipop"]
    result = run("evaluate", candies, "--out", tmp_path / "out", *options)
    assert result.code == 0, result.err
    page = (tmp_path / "out/evaluation.md").read_text()
    assert page.startswith("# CFM-T, random 3D weights, vit_tiny_patch16_224, ")
    assert "the weights of the 2D extractor" not in page
    model = tmp_path / "part.cmad"
    fit = ["fit", candies, "--category", "Lollipop", "--out", model]
    assert run(*fit, *options[:-2]).code == 0
    said = run("info", model).out
    assert "random" not in next(line for line in said.splitlines() if "extractor rgb" in line)
    assert "random" in next(line for line in said.splitlines() if "extractor xyz" in line)


def test_maps_are_written_for_every_test_part_at_its_size(done, candies):
    out, _ = done
    test = cmad.datasets.open(candies).split("Lollipop", "test")
    maps = sorted((out / "maps" / "Lollipop" / "test").rglob("*.tiff"))
    assert {path.parent.name for path in maps} == {"good", "bump", "dent", "colour"}
    assert len(maps) == len(test) == 4
    assert all(tifffile.imread(path).shape == (160, 160) for path in maps)


def test_the_same_command_runs_nothing_again(done, run, candies):
    out, _ = done
    before = (out / "categories/Lollipop.json").stat().st_mtime_ns
    result = run("evaluate", candies, "--out", out, "-r", "0.4", *QUICK)
    assert result.code == 0
    assert "results kept from before: CandyCane, Lollipop" in result.out
    assert (out / "categories/Lollipop.json").stat().st_mtime_ns == before


def test_an_interrupted_run_goes_on_at_the_category_it_was_in(done, run, candies, tmp_path):
    out, _ = done
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out/categories/Lollipop.json").write_text('{"config": ')  # cut in the middle
    kept = (tmp_path / "out/categories/CandyCane.json").read_text()
    result = run("evaluate", candies, "--out", tmp_path / "out", "-r", "0.4", *QUICK)
    assert result.code == 0
    assert "results kept from before: CandyCane\n" in result.out
    assert (tmp_path / "out/categories/CandyCane.json").read_text() == kept
    again, before = rows(tmp_path / "out"), rows(out)
    for name in METRICS:  # seeded: the same figures
        assert again["Lollipop"][name] == before["Lollipop"][name]


def test_another_configuration_does_not_mix_with_earlier_results(done, run, candies):
    out, _ = done
    result = run("evaluate", candies, "--out", out, "-r", "0.4", *QUICK[:-1], "4")
    assert result.code == 1
    assert "another configuration (seed: 3 then, 4 now; " in result.err


@pytest.mark.filterwarnings("default:.*left out:RuntimeWarning")
def test_an_unreadable_part_is_named_and_with_skip_bad_left_out(run, candies, tmp_path):
    shutil.copytree(candies / "Lollipop", tmp_path / "data/Lollipop")
    broken = tmp_path / "data/Lollipop/train/data/1_depth.png"
    broken.write_bytes(b"broken")
    command = ["evaluate", tmp_path / "data", *QUICK, "--out"]
    result = run(*command, tmp_path / "a")
    assert result.code == 1
    assert "1_depth.png" in result.err
    result = run(*command, tmp_path / "b", "--skip-bad")
    assert result.code == 0, result.err
    assert "Lollipop: left out train/1" in result.out
    assert "- train/1: " in (tmp_path / "b/evaluation.md").read_text()
    assert rows(tmp_path / "b")["Lollipop"]["train"] == "1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--method", "magic"],
            "--method must be one of cfm, patchcore, g2sf, btf, m3dm, ast, got 'magic'",
        ),
        (["--category", "tire"], "--category must be one of CandyCane, Lollipop, got 'tire'"),
        (["--shots", "9"], r"--shots must be in \[1, 2\] for CandyCane, got 9"),
        (["-r", "0.01"], "CandyCane: .* needs at least 99 good parts, got 2"),
        (["-r", "2"], r"--false-reject-rate must be in \(0, 1\), got 2"),
        (["--variant", "huge"], "--variant must be one of"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--xyz", "fpfh", "--xyz-weights", "random"], "--xyz-weights is for .*; fpfh has none"),
        (["--maps", "/proc/maps"], "--maps: /proc/maps: cannot be written to"),
    ],
)
def test_wrong_options_are_told_before_any_work(run, candies, tmp_path, options, message):
    result = run("evaluate", candies, "--out", tmp_path / "out", *QUICK, *options)
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert re.search(message, result.err)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_a_folder_is_named(run, candies, tmp_path):
    (tmp_path / "file").touch()
    result = run("evaluate", candies, "--out", tmp_path / "file", *QUICK)
    assert result.code == 1
    assert f"--out: {tmp_path / 'file'} is a file, not a folder" in result.err


def test_results_of_other_data_do_not_count(run, tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        eyecandies.write(
            tmp_path / name, "Drop", train=1, validation=1, good=1, seed=seed, size=160
        )
    command = ["--out", tmp_path / "out", *QUICK]
    assert run("evaluate", tmp_path / "a", *command).code == 0
    first = rows(tmp_path / "out")["Drop"]
    result = run("evaluate", tmp_path / "b", *command)
    assert result.code == 0
    assert "kept" not in result.out
    assert rows(tmp_path / "out")["Drop"]["P-AUROC"] != first["P-AUROC"]
    about = json.loads((tmp_path / "out/evaluation.json").read_text())["about"]
    assert about["data"] == str(tmp_path / "b")


def test_maps_asked_for_later_are_written(done, run, candies, tmp_path):
    out, _ = done
    shutil.copytree(out, tmp_path / "out")
    maps = tmp_path / "later"
    command = ["evaluate", candies, "--category", "Lollipop", "--out", tmp_path / "out"]
    for _ in ("none there", "one lost, as by an interruption"):
        result = run(*command, "--maps", maps, "-r", "0.4", *QUICK)
        assert result.code == 0
        assert "kept" not in result.out
        files = sorted((maps / "Lollipop").rglob("*.tiff"))
        assert len(files) == 4
        files[0].unlink()


def test_results_of_another_machine_keep_its_name(done, run, candies, tmp_path):
    out, _ = done
    shutil.copytree(out, tmp_path / "out")
    path = tmp_path / "out/categories/CandyCane.json"
    values = json.loads(path.read_text())
    values["environment"]["cpu"] = "another one"
    path.write_text(json.dumps(values))
    assert run("evaluate", candies, "--out", tmp_path / "out", "-r", "0.4", *QUICK).code == 0
    about = json.loads((tmp_path / "out/evaluation.json").read_text())["about"]
    assert about["environments"]["CandyCane"]["cpu"] == "another one"
    assert about["environments"]["Lollipop"]["cpu"] != "another one"


def test_a_folder_that_is_no_data_set_says_what_was_looked_for(run, tmp_path):
    result = run("evaluate", tmp_path, *QUICK)
    assert result.code == 1
    assert "no data set is recognised" in result.err
    for kind in ("MVTec 3D-AD", "Eyecandies", "Folder3D"):
        assert kind in result.err


def test_the_cache_gives_the_same_figures(done, run, candies, tmp_path):
    out, _ = done
    before = rows(out)["Lollipop"]
    command = ["evaluate", candies, "--category", "Lollipop", "-r", "0.4", *QUICK]
    for name in ("cold", "warm"):
        result = run(*command, "--cache", tmp_path / "cache", "--out", tmp_path / name)
        assert result.code == 0, result.err
        got = rows(tmp_path / name)["Lollipop"]
        assert {n: got[n] for n in METRICS} == {n: before[n] for n in METRICS}
    assert any((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_real_parts_with_a_real_extractor(run, tmp_path):
    """A few parts of cable_gland, ViT-S/14 with its weights, and FPFH."""
    for variable in ("CMAD_MVTEC3D", "CMAD_WEIGHTS"):
        if not os.environ.get(variable):
            pytest.skip(f"{variable} names no folder")
    source = Path(os.environ["CMAD_MVTEC3D"]) / "cable_gland"
    chosen = {"train/good": 8, "validation/good": 4, "test/good": 3}
    chosen |= {f"test/{kind}": 2 for kind in ("bent", "cut", "hole", "thread")}
    for folder, count in chosen.items():
        for name in ("rgb", "xyz", "gt"):
            (tmp_path / "cable_gland" / folder / name).mkdir(parents=True)
            for file in sorted((source / folder / name).glob("*"))[:count]:
                (tmp_path / "cable_gland" / folder / name / file.name).symlink_to(file)
    extractors = ["--rgb", "vit_small_patch14_dinov2", "--rgb-size", "392", "--xyz", "fpfh"]
    training = ["--variant", "medium", "--epochs", "150", "--pixels-per-image", "100"]
    out = tmp_path / "out"
    result = run(
        *("evaluate", tmp_path / "cable_gland", "--out", out, "-r", "0.2", "--batch-size", "8"),
        *(*extractors, *training),
    )
    assert result.code == 0, result.err
    row = rows(out)["cable_gland"]
    assert (row["train"], row["good"], row["defective"]) == ("8", "3", "8")
    # The foreground alone has .933 and .772: more than that takes finding the defects.
    assert float(row["P-AUROC"]) > 0.95
    assert float(row["AUPRO@30%"]) > 0.82
    page = (out / "evaluation.md").read_text()
    assert "| CFM-M (cmad), vit_small_patch14_dinov2, FPFH, 8 training parts, grid |" in page
    assert "| CFM-M (paper: CFM, Table 11) |" in page
    assert "## Beside the papers (not comparable)" in page
