"""`.cmad` files: what comes back is what was saved, and nothing is lost on the way."""

import copy
import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import cmad
from cmad import model_file
from cmad.calibrate import SCORES, Calibration


@pytest.fixture
def saved(trained, tmp_path):
    """A file with the extractors in it."""
    path = tmp_path / "part.cmad"
    trained.save(path, include_extractors=True)
    return path


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["cmad"])


def test_a_loaded_detector_predicts_the_same(trained, parts, tmp_path):
    path = tmp_path / "part.cmad"
    trained.save(path)
    loaded = cmad.load(
        path, rgb=trained.pipeline.extractors["rgb"], xyz=trained.pipeline.extractors["xyz"]
    )
    a, b = (d.predict(parts[0].rgb, parts[0].xyz) for d in (trained, loaded))
    assert a.score == b.score
    assert (a.map == b.map).all()


def test_a_tilde_is_the_home_folder(trained, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    trained.save("~/part.cmad")
    assert (tmp_path / "part.cmad").is_file()
    assert cmad.load("~/part.cmad", **trained.pipeline.extractors).who == "CFM"
    assert list(work.iterdir()) == []


CUT_SHORT = """
import os, sys
import cmad
from cmad import model_file

path = sys.argv[1]
part = cmad.datasets.Synthetic("train", good=1, size=(64, 64))[0]
before = float(cmad.load(path).predict(part.rgb, part.xyz))
_, tensors = model_file.read(path)
detector = cmad.load(path)
os.truncate(path, 0)
assert all((tensor == tensor).all() for tensor in tensors.values())
assert float(detector.predict(part.rgb, part.xyz)) == before
"""


def test_a_file_cut_short_after_loading_harms_nothing(saved):
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CUT_SHORT, saved],  # the part is another one
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ran.returncode, ran.stderr) == (0, "")  # a map of the file ends in SIGBUS, -7


def test_a_file_with_extractors_needs_nothing_else(trained, parts, make, tmp_path):
    detector = cmad.CFM(
        rgb=cmad.extractors.ViT("vit_tiny_patch16_224", block=1, weights="random"),
        xyz=make["point_mae"](),
    ).fit(parts[:2], epochs=2, pixels_per_image=50)
    calibration = Calibration(0.05, (0.125, 0.25), 0.25, 0.1, {"2d": 0.5, "3d": 1 / 3})
    detector.calibrations = {"2d+3d": calibration}
    detector.save(tmp_path / "part.cmad", include_extractors=True)
    loaded = cmad.load(tmp_path / "part.cmad")
    assert loaded.calibration == calibration
    assert (loaded.threshold, loaded.false_reject_rate) == (0.25, 0.05)
    assert float(loaded.predict(parts[3].rgb, parts[3].xyz)) == float(
        detector.predict(parts[3].rgb, parts[3].xyz)
    )


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, r"written by an older cmad \(file format 2, this version reads 3\); fit it again"),
        (4, r"written by a newer cmad \(file format 4, this version reads 3\); update cmad"),
    ],
)
def test_a_file_of_another_format_is_refused_in_one_line(trained, tmp_path, version, message):
    path = tmp_path / "old.cmad"
    trained.save(path)
    header, tensors = model_file.read(path)
    model_file.write(path, {**header, "format": version}, tensors)
    with pytest.raises(ValueError, match=rf"old\.cmad: {message}") as error:
        cmad.load(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": "high"}, "a rate or threshold must be a number, got 'high'"),
        ({"pixel_threshold": []}, r"a rate or threshold must be a number, got \[\]"),
        ({"map_thresholds": {"2d": None}}, "a rate or threshold must be a number, got None"),
        ({"map_thresholds": 0.5}, "map_thresholds must be numbers by name, got 0.5"),
    ],
)
def test_a_calibration_that_holds_no_numbers_is_refused(trained, tmp_path, change, message):
    path = tmp_path / "odd.cmad"
    trained.save(path)
    header, tensors = model_file.read(path)
    given = {"threshold": 0.5, "false_reject_rate": 0.05, "pixel_threshold": 0.5}
    given = {"2d+3d": {**given, "map_thresholds": {}, **change}}
    scores = {SCORES.format("2d+3d"): torch.tensor([0.5])}
    model_file.write(path, {**header, "calibration": given}, {**tensors, **scores})
    with pytest.raises(ValueError, match=rf"odd\.cmad: {message}"):
        cmad.load(
            path, rgb=trained.pipeline.extractors["rgb"], xyz=trained.pipeline.extractors["xyz"]
        )


def test_random_extractors_are_rebuilt_from_their_seed(parts, make, tmp_path):
    detector = cmad.CFM(
        rgb=cmad.extractors.ViT("vit_tiny_patch16_224", block=1, weights="random", seed=3),
        xyz=make["point_mae"](seed=4),
    ).fit(parts[:2], epochs=2, pixels_per_image=50)
    detector.save(tmp_path / "part.cmad")
    loaded = cmad.load(tmp_path / "part.cmad")
    assert float(loaded.predict(parts[3].rgb, parts[3].xyz)) == float(
        detector.predict(parts[3].rgb, parts[3].xyz)
    )


def test_the_header_names_configuration_versions_and_hashes(saved, trained):
    header = header_of(saved)
    assert header["format"] == model_file.FORMAT
    assert header["method"] == "CFM"
    assert header["preset"] == "paper"
    assert header["extractors"]["rgb"]["sha256"] == trained.pipeline.extractors["rgb"].fingerprint()
    assert header["versions"]["torch"] == torch.__version__


def test_extractors_passed_in_and_not_saved_are_asked_for(trained, tmp_path):
    path = tmp_path / "part.cmad"
    trained.save(path)
    with pytest.raises(RuntimeError, match=r"part\.cmad: the rgb .*include_extractors=True"):
        cmad.load(path)


def test_extractors_with_other_weights_are_refused(trained, make, tmp_path):
    path = tmp_path / "part.cmad"
    trained.save(path)
    with pytest.raises(ValueError, match="trained with other rgb weights than those found now"):
        cmad.load(path, rgb=make["vit"](seed=1), xyz=trained.pipeline.extractors["xyz"])


def test_extractors_that_are_not_available_are_named(parts, make, tmp_path):
    detector = cmad.CFM(
        rgb=cmad.extractors.ViT("vit_tiny_patch16_224", block=1, weights="random"),
        xyz=make["point_mae"](),
    ).fit(parts[:1], epochs=1, pixels_per_image=10)
    path = tmp_path / "part.cmad"
    detector.save(path)
    header, tensors = model_file.read(path)
    header["extractors"]["rgb"]["model"] = "vit_of_tomorrow"
    model_file.write(path, header, tensors)
    said = r"part\.cmad: the rgb extractor .* not available: .*vit_of_tomorrow.* cmad\.load as rgb"
    with pytest.raises(RuntimeError, match=said):
        cmad.load(path, xyz=detector.pipeline.extractors["xyz"])


def test_weights_of_a_file_are_found_from_another_folder(parts, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = cmad.extractors.ViT("vit_tiny_patch16_224", block=1, weights="random")
    save_file(random.state_dict(), "vit.safetensors")
    vit = cmad.extractors.ViT("vit_tiny_patch16_224", block=1, weights="vit.safetensors")
    detector = cmad.CFM(rgb=vit, xyz=make["point_mae"]())
    detector.fit(parts[:1], epochs=1, pixels_per_image=10).save("part.cmad")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    cmad.load("../part.cmad")
    (tmp_path / "vit.safetensors").unlink()
    with pytest.raises(RuntimeError, match=r"not available: .*vit\.safetensors.*as rgb$"):
        cmad.load("../part.cmad")


def test_a_model_of_other_preprocessing_constants_is_refused(saved, trained):
    header, tensors = model_file.read(saved)
    header["preprocessing"]["cluster_eps"] = 0.01
    model_file.write(saved, header, tensors)
    with pytest.raises(ValueError, match=r"trained on parts prepared with .*0\.01.*train it again"):
        cmad.load(saved)


def test_thresholds_of_another_arithmetic_are_told(trained, tmp_path):
    calibrated = copy.copy(trained)
    calibrated.calibrations = {"2d+3d": Calibration(0.5, (1.0,), 1.0, 1.0, {"2d": 1.0, "3d": 1.0})}
    path = tmp_path / "part.cmad"
    calibrated.save(path)
    loaded = cmad.load(path, **trained.pipeline.extractors)
    assert loaded.calibrated_in == "float32 on cpu"
    calibrated.calibrated_in = "float16 on cuda"
    calibrated.save(path)
    with pytest.warns(UserWarning, match="calibrated in float16 on cuda, this is float32 on cpu"):
        loaded = cmad.load(path, **trained.pipeline.extractors)
    assert loaded.calibrated_in == "float16 on cuda"


def test_numbers_of_numpys_types_are_saved_as_numbers(make, parts, tmp_path):
    rate, share = np.float32(0.4), np.float32(0.25)
    detector = cmad.PatchCore(
        rgb=make["vit"](), xyz=None, image_size=48, modalities="2d", fraction=share
    )
    detector.fit(parts[:2], progress=False).calibrate(parts[2:5], rate, progress=False)
    detector.save(tmp_path / "part.cmad")
    loaded = cmad.load(tmp_path / "part.cmad", rgb=detector.pipeline.extractors["rgb"])
    assert loaded.options == detector.options
    assert loaded.calibrations == detector.calibrations


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.cmad: no such file or folder"):
        cmad.load(tmp_path / "none.cmad")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"part\.cmad: not a complete \.cmad file, truncated"):
        cmad.load(saved)


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "foreign.cmad"
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    with pytest.raises(
        ValueError, match=r"not a complete \.cmad file, truncated or of another kind"
    ):
        cmad.load(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"a safetensors file, but not a \.cmad model"):
        cmad.load(path)


def test_a_file_of_a_newer_version_or_another_method_is_refused(saved):
    header, tensors = model_file.read(saved)
    model_file.write(saved, {**header, "format": model_file.FORMAT + 1}, tensors)
    with pytest.raises(ValueError, match="written by a newer cmad"):
        cmad.load(saved)
    model_file.write(saved, {**header, "format": model_file.FORMAT, "method": "X"}, tensors)
    with pytest.raises(ValueError, match="made by method 'X'"):
        cmad.load(saved)


def test_a_file_with_a_tensor_missing_is_refused(saved, trained):
    header, tensors = model_file.read(saved)
    del tensors["learnt.CFM_2Dto3D.input.weight"]
    model_file.write(saved, header, tensors)
    with pytest.raises(ValueError, match=r"part\.cmad: .*mapping weights must fit.*Missing key"):
        cmad.load(
            saved, rgb=trained.pipeline.extractors["rgb"], xyz=trained.pipeline.extractors["xyz"]
        )


FULL_DISK = """
import resource, signal, sys
import cmad
detector = cmad.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # no file beyond 20 kB, as on a disk without room
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    {work}
except OSError as error:
    print(error)
"""


def on_a_full_disk(work, path):
    """Run a line in a process of its own, whose limit touches no other file, such as a log."""
    command = [sys.executable, "-c", FULL_DISK.format(work=work), str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_a_full_disk_while_saving_leaves_the_old_file(saved):
    before = saved.read_bytes()
    said = on_a_full_disk("detector.save(sys.argv[1], include_extractors=True)", saved)
    assert re.search(r"part\.cmad: could not be saved .*unchanged", said)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_a_full_disk_while_keeping_features_is_explained(saved):
    parts = "cmad.datasets.Synthetic('train', good=1, size=(64, 64))"
    said = on_a_full_disk(f"detector.fit({parts}, epochs=1, memory_limit=0)", saved)
    assert re.search(r"features could not be kept in .*TMPDIR, or raise memory_limit", said)


def test_a_folder_that_does_not_exist_is_named(trained, tmp_path):
    with pytest.raises(OSError, match=r"nowhere.part\.cmad: could not be saved"):
        trained.save(tmp_path / "nowhere" / "part.cmad")


def test_saved_files_have_the_permissions_of_any_new_file(saved, tmp_path):
    other = tmp_path / "other"
    other.touch()
    assert saved.stat().st_mode == other.stat().st_mode


def test_published_mapping_names_are_taken(trained, untrained, parts):
    detector = untrained()
    detector.pipeline.extractors["xyz"].load_statistics(
        trained.pipeline.extractors["xyz"].statistics
    )  # its own extractor
    detector.load_mappings(
        trained.mappings.CFM_2Dto3D.state_dict(), trained.mappings.CFM_3Dto2D.state_dict()
    )
    layers = ("input", "projection", "output")
    names = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert set(trained.mappings.CFM_2Dto3D.state_dict()) == names
    assert float(detector.predict(parts[0].rgb, parts[0].xyz)) == float(
        trained.predict(parts[0].rgb, parts[0].xyz)
    )


def test_published_mapping_files_are_read(trained, untrained, parts, tmp_path):
    detector = untrained()
    detector.pipeline.extractors["xyz"].load_statistics(
        trained.pipeline.extractors["xyz"].statistics
    )
    paths = [tmp_path / f"{name}.pth" for name in ("CFM_2Dto3D_part", "CFM_3Dto2D_part")]
    for path in paths:
        torch.save(getattr(trained.mappings, path.stem[:10]).state_dict(), path)
    detector.load_mappings(*paths)
    assert float(detector.predict(parts[0].rgb, parts[0].xyz)) == float(
        trained.predict(parts[0].rgb, parts[0].xyz)
    )
    with pytest.raises(ValueError, match="mapping weights must fit features 32 and 12 wide"):
        detector.load_mappings(*paths[::-1])
