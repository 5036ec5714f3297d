"""AST: shares of the map, the published preparation, its extractors, stopping and going on."""

import numpy as np
import pytest
import torch

import cmad
from cmad import checkpoint
from cmad.detectors import _ast_training
from cmad.extractors import DepthBlocks
from cmad.extractors.depth_blocks import soft_mask
from cmad.nn.student import distances

SMALL = {"image_size": 48, "teacher_width": 8, "student_width": 16}
HOW = {"epochs": 3, "teacher_epochs": 2, "batch_size": 2, "progress": False}


def build(make, **options):
    return cmad.AST(**{"rgb": make["vit"](), "xyz": "depth_blocks", **SMALL, **options})


@pytest.fixture(scope="module")
def fitted(make, parts):
    return build(make).fit(parts, **{**HOW, "epochs": 10, "learning_rate": 2e-3})


def features_of(detector, part):
    [features] = detector.pipeline.features([detector.pipeline.frame(part)])
    return features


def test_a_dent_is_found_in_the_depth(fitted, make):
    good = [fitted.predict(p.rgb, p.xyz) for p in map(make["part"], range(20, 24))]
    part = make["part"](31, "dent")
    dented = fitted.predict(part.rgb, part.xyz)
    assert float(dented) > max(map(float, good))
    at = np.unravel_index(dented.map.argmax(), dented.map.shape)
    assert np.abs(np.subtract(at, (22.5, 20.5))).max() < 8


def test_the_input_is_colour_then_depth_on_the_tokens_grid(fitted, parts):
    features = features_of(fitted, parts[0])
    x, mask = fitted.inputs(features)
    assert x.shape == (32 + 64, 12, 12)
    assert mask.shape == (1, 12, 12)
    assert torch.equal(x[:32], features.tokens["rgb"].permute(2, 0, 1))
    assert (x[32:, 0] == 0).all()  # no part in the first row of cells
    assert mask[0, 0, 0] == 0
    assert mask[0, 6, 6] == 1
    # In centimetres from the part's mean: its relief is 3 mm in each direction.
    assert 0.2 < x[32:, 6, 6].abs().max() < 0.45


def test_the_maps_of_both_modalities_add_up_to_the_map(fitted, make):
    features = features_of(fitted, make["part"](31, "dent"))
    x, mask = fitted.inputs(features)
    teacher, student = fitted.networks
    with torch.no_grad():
        z, out = teacher(x[None])[0], student(x[None])
        apart = distances(z, out, mask[None])[0]
        back = teacher.source.argsort()  # channels as in the input
        shares = [apart[back][of].sum(0) / len(apart) for of in (slice(32), slice(32, None))]
    grid = fitted.maps(features)
    for modality, share in zip(("2d", "3d"), shares, strict=True):
        own = torch.nn.functional.interpolate(share[None, None], (48, 48), mode="bicubic")
        # Sums of float32 over channels, in another order.
        np.testing.assert_allclose(grid.maps[modality], own[0, 0].clamp_min(0), atol=1e-5)
    total = grid.maps["2d"] + grid.maps["3d"]
    kept = (grid.maps["2d"] > 0) & (grid.maps["3d"] > 0)  # where none is cut off at 0
    assert kept.mean() > 0.1
    np.testing.assert_allclose(total[kept], grid.map[kept], atol=1e-5)
    assert grid.map.min() == 0


def test_scores_are_the_largest_value_or_the_mean_of_all_cells(fitted, make):
    features = features_of(fitted, make["part"](31, "dent"))
    x, mask = fitted.inputs(features)
    teacher, student = fitted.networks
    with torch.no_grad():
        apart = distances(teacher(x[None])[0], student(x[None]), mask[None]).mean(1)
    up = torch.nn.functional.interpolate(apart[None], scale_factor=8, mode="bicubic")
    assert fitted.maps(features).score == pytest.approx(float(up.max()))
    by_mean = build({"vit": lambda: fitted.pipeline.extractors["rgb"]}, score="mean")
    by_mean.take(fitted.tensors())
    assert by_mean.maps(features).score == pytest.approx(float(apart.mean()))


def test_official_masks_the_map_again_and_finds_the_part_from_the_corners(make, parts):
    detector = build(make, preset="official").fit(parts, **HOW)
    assert detector.pipeline.preprocessing.background.kind == "none"
    assert detector.pipeline.of_points["xyz"].config()["from_corners"] is True
    frame, features = detector.pipeline.frame(parts[0]), features_of(detector, parts[0])
    assert frame.valid.sum() == 23 * 23  # all of what is seen, in a square of 100 pixels
    x, mask = detector.inputs(features)
    stands = frame.valid & (frame.xyz[..., 2] < 0.49)
    assert torch.equal(mask[0], soft_mask(stands, 12))
    assert 0 < mask.mean() < 0.2
    teacher, student = detector.networks
    with torch.no_grad():
        apart = distances(teacher(x[None])[0], student(x[None]), mask[None]).mean(1)
    twice = torch.nn.functional.interpolate((apart * mask)[None], 48, mode="bicubic")[0, 0]
    # Of values around 1 in float32.
    np.testing.assert_allclose(detector.maps(features).map, twice.clamp_min(0), atol=1e-6)
    told = build(make, preset="official", background=0.004)
    assert told.pipeline.of_points["xyz"].config()["from_corners"] is False


def test_a_scene_without_a_part_is_refused_in_official(make, parts):
    detector = build(make, preset="official").fit(parts[:2], **HOW)
    flat = parts[0].xyz.copy()
    flat[..., 2] = 0.5
    with pytest.raises(ValueError, match="no part in view: every point lies within 7 mm"):
        detector.predict(parts[0].rgb, flat)


def test_its_extractors_are_the_papers_where_none_are_named():
    detector = cmad.AST(weights="random", student_width=8)
    assert detector.channels == {"2d": 304, "3d": 64}
    assert detector.cells == 24
    assert detector.pipeline.preprocessing.rgb_size == 768
    assert detector.pipeline.preprocessing.image_size == 224
    assert detector.get_params()["rgb"] == "tf_efficientnet_b5.aa_in1k"
    small = cmad.AST(weights="random", student_width=8, rgb_size=256)
    assert small.cells == small.pipeline.of_points["xyz"].grid[0] == 8


def test_blocks_of_another_grid_are_refused(make):
    with pytest.raises(ValueError, match=r"AST: xyz must have as many cells .*, 12, got 10"):
        build(make, xyz=DepthBlocks(10))


def test_wrong_options_and_arguments_are_named(make, parts):
    with pytest.raises(ValueError, match="AST: score must be one of 'max', 'mean', got 'least'"):
        build(make, score="least")
    with pytest.raises(ValueError, match="AST: student_width must be a whole number from 1"):
        build(make, student_width=0)
    with pytest.raises(ValueError, match="fit: learning_rate must be above 0, got 0"):
        build(make).fit(parts, learning_rate=0)
    with pytest.raises(ValueError, match="fit: teacher_epochs must be a whole number from 1"):
        build(make).fit(parts, teacher_epochs=0)


def test_the_teacher_learns_before_the_student_and_held_out_parts_change_nothing(make, parts):
    watched = build(make).fit(parts[:4], validation=parts[4:], **HOW)
    alone = build(make).fit(parts[:4], **HOW)
    assert len(alone.losses) == (2 + 3) * 2
    assert {k: len(v) for k, v in alone.curves.items()} == {"teacher": 2, "student": 3}
    assert {k: len(v) for k, v in watched.curves.items()} == {
        "teacher": 2,
        "teacher held out": 2,
        "student": 3,
        "student held out": 3,
    }
    steps = np.array(alone.losses)[:, 0].reshape(5, 2).mean(1)
    assert alone.curves["teacher"] + alone.curves["student"] == pytest.approx(steps.tolist())
    for name, tensor in alone.tensors().items():
        assert torch.equal(tensor, watched.tensors()[name])


def test_the_parts_that_fill_no_batch_are_left_out_unless_there_are_no_others(make, parts):
    assert len(build(make).fit(parts[:5], **HOW).losses) == 5 * 2
    assert len(build(make).fit(parts[:1], **HOW).losses) == 5


@pytest.mark.parametrize("steps", [3, 8])  # of 10: in an epoch of the teacher, of the student
def test_a_continued_training_gives_bit_for_bit_the_same(make, parts, tmp_path, monkeypatch, steps):
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    path, done, loss = tmp_path / "part.checkpoint", [0], _ast_training._loss

    def pressed(*args):
        done[0] += 1
        if done[0] > steps:
            raise KeyboardInterrupt
        return loss(*args)

    with monkeypatch.context() as patch:
        patch.setattr(_ast_training, "_loss", pressed)
        with pytest.raises(KeyboardInterrupt):
            build(make).fit(parts[:4], checkpoint=path, **HOW)
    assert path.exists()
    done[0] = -100
    with monkeypatch.context() as patch:
        patch.setattr(_ast_training, "_loss", pressed)
        again = build(make).fit(parts[:4], checkpoint=path, **HOW)
    assert done[0] == -100 + 10 - steps // 2 * 2  # only the epochs that were left
    whole = build(make).fit(parts[:4], **HOW)
    assert again.losses == whole.losses
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name


def test_weights_that_do_not_fit_are_named(make, fitted):
    other = build(make, teacher_width=4)
    with pytest.raises(ValueError, match="AST: weights must fit features 32 and 64 wide"):
        other.take(fitted.tensors())
