"""Random weights for one of the two extractors, the other's are real."""

import pytest
import timm
from safetensors.torch import save_file

import cmad

VIT = "test_vit"


@pytest.fixture
def own_weights(tmp_path, monkeypatch):
    """A folder of weights with the ViT's and not Point-MAE's."""
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(
        dict(timm.create_model(VIT, num_classes=0).state_dict()), folder / f"{VIT}.safetensors"
    )
    monkeypatch.setenv("CMAD_WEIGHTS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def build(**options):
    return cmad.CFM(rgb=VIT, variant="tiny", image_size=64, **options)


def test_the_real_vit_stays_real_beside_a_random_point_mae(own_weights):
    said = build(xyz_weights="random").pipeline.describe()
    assert "random" not in said["2d"]
    assert f"{VIT}.safetensors" in said["2d"]
    assert "random weights (seed 0)" in said["3d"]


def test_a_random_vit_stands_beside_fpfh(own_weights):
    detector = cmad.CFM(rgb=VIT, xyz="fpfh", image_size=64, rgb_weights="random", seed=4)
    assert "random weights (seed 4)" in detector.pipeline.describe()["2d"]


def test_weights_of_both_and_of_one_may_be_asked_for_together():
    both = build(weights="random").pipeline.describe()
    assert build(weights="random", rgb_weights="random").pipeline.describe() == both
    assert build(rgb_weights="random", xyz_weights="random").pipeline.describe() == both


def test_a_saved_model_knows_which_extractor_was_random(own_weights, make, tmp_path):
    detector = build(xyz_weights="random")
    parts = [make["part"](s) for s in range(3)]
    detector.fit(parts[:2], epochs=1, pixels_per_image=50, progress=False)
    detector.save(tmp_path / "part.cmad")
    again = cmad.load(tmp_path / "part.cmad")
    assert again.pipeline.describe() == detector.pipeline.describe()
    want = detector.predict(parts[2].rgb, parts[2].xyz)
    assert again.predict(parts[2].rgb, parts[2].xyz).score == want.score


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"xyz_weights": "huge"}, "CFM: xyz_weights must be one of None, 'random', got 'huge'"),
        ({"xyz": "fpfh", "xyz_weights": "random"}, "xyz_weights is for .*; fpfh has none"),
        (
            {"xyz": cmad.extractors.FPFH(), "xyz_weights": "random", "variant": "full"},
            "xyz_weights is for .*; xyz is an object, which brings its own",
        ),
    ],
)
def test_weights_that_cannot_be_drawn_are_told(own_weights, options, message):
    with pytest.raises(ValueError, match=message):
        cmad.CFM(**{"rgb": VIT, "variant": "tiny", "image_size": 64, **options})


def test_weights_of_an_extractor_that_is_not_there_are_told(own_weights):
    with pytest.raises(ValueError, match="PatchCore has no xyz extractor here"):
        cmad.PatchCore(modalities="2d", rgb=VIT, image_size=64, xyz_weights="random")


def test_missing_weights_say_how_to_draw_those_of_one_extractor(own_weights, monkeypatch):
    monkeypatch.setattr(cmad.extractors.weights, "POINT_MAE_URL", "http://127.0.0.1:9/none")
    with pytest.raises(RuntimeError, match='xyz_weights="random"'):
        build()
