"""The curves of a training, and that nothing is learnt from held-out parts."""

import numpy as np
import pytest
import torch

import cmad
from cmad.checkpoint import Checkpoint
from cmad.rasters import foreground, rows

HOW = {"epochs": 4, "pixels_per_image": 60, "batch_size": 2, "progress": False}


@pytest.fixture(scope="module")
def held_out(make):
    return [make["part"](seed) for seed in (60, 61)]


@pytest.fixture(scope="module")
def watched(make, parts, held_out):
    detector = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
    return detector.fit(parts[:4], validation=held_out, **HOW)


def test_an_epochs_value_is_the_mean_of_its_steps(watched):
    assert list(watched.curves) == ["2d", "3d", "2d held out", "3d held out"]
    steps = np.reshape(watched.losses, (4, 2, 2))  # epochs, steps, modalities
    for i, name in enumerate(("2d", "3d")):
        assert watched.curves[name] == pytest.approx(steps[:, :, i].mean(1).tolist(), rel=1e-6)


def test_held_out_parts_change_nothing(watched, untrained, parts):
    alone = untrained().fit(parts[:4], **HOW)
    assert list(alone.curves) == ["2d", "3d"]
    assert alone.losses == watched.losses
    for name, tensor in alone.tensors().items():
        assert torch.equal(tensor, watched.tensors()[name])


def test_their_loss_is_that_of_the_networks_at_the_epochs_end(watched, held_out):
    frames = [watched.pipeline.frame(part) for part in held_out]
    e_2d, e_3d = [], []
    for features in watched.pipeline.features(frames):
        e = rows(features, watched.raster, foreground(features, watched.raster))
        e_2d.append(e["2d"])
        e_3d.append(e["3d"])
    e_2d, e_3d = torch.cat(e_2d), torch.cat(e_3d)
    assert len(e_2d) < 8192  # so that all pixels are taken
    with torch.no_grad():
        of_2d, of_3d = watched.mappings(e_2d, e_3d)
    for name, predicted, seen in (("2d", of_2d, e_2d), ("3d", of_3d, e_3d)):
        want = 1 - torch.cosine_similarity(predicted, seen).mean()
        # Features are kept in half precision for the training.
        assert watched.curves[f"{name} held out"][-1] == pytest.approx(float(want), abs=1e-3)


def test_convolutions_are_watched_too(make, parts, held_out):
    detector = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48, mapping="conv")
    detector.fit(parts[:2], validation=held_out, **{**HOW, "epochs": 1})
    assert all(0 < values[0] < 2 for values in detector.curves.values())
    assert len(detector.curves) == 4


def test_several_extractors_have_curves_each(make, parts, held_out):
    detector = cmad.CFM(rgb=make["vit"](), xyz=[make["point_mae"](), "geometry"], image_size=48)
    detector.fit(parts[:4], validation=held_out, **{**HOW, "epochs": 2})
    names = [f"{n}: {m}" for n in detector.fusion.members for m in watchable()]
    assert list(detector.curves) == names
    assert {len(values) for values in detector.curves.values()} == {2}


def watchable():
    return ("2d", "3d", "2d held out", "3d held out")


def test_a_model_file_keeps_them_and_other_weights_have_none(watched, tmp_path):
    watched.save(tmp_path / "part.cmad")
    loaded = cmad.load(tmp_path / "part.cmad", **watched.pipeline.extractors)
    assert loaded.curves == watched.curves
    own = {
        n: {k.split(".", 1)[1]: t for k, t in loaded.tensors().items() if k.startswith(n)}
        for n in ("CFM_2Dto3D", "CFM_3Dto2D")
    }
    loaded.load_mappings(*own.values())
    assert loaded.curves == {}


def test_a_stopped_training_has_the_curves_of_one_that_was_not(
    watched, make, parts, held_out, tmp_path
):
    class StopError(Exception):
        pass

    def stopped(epoch_to_stop):
        detector = cmad.CFM(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
        kept = Checkpoint(tmp_path / "kept", every=0.0)
        if epoch_to_stop:
            usual = kept._keep

            def keep(epoch, *rest):
                usual(epoch, *rest)
                if epoch == epoch_to_stop:
                    raise StopError

            kept._keep = keep
        return detector.fit(parts[:4], validation=held_out, checkpoint=kept, **HOW)

    with pytest.raises(StopError):
        stopped(2)
    again = stopped(None)
    assert again.curves == watched.curves
    assert again.losses == watched.losses


def test_a_defective_part_is_no_validation(untrained, parts, make):
    with pytest.raises(ValueError, match="only good parts may be used, part70"):
        untrained().fit(parts[:2], validation=[make["part"](70, "dent")], **HOW)


def test_g2sfs_are_its_loss_and_that_of_its_validation(make, parts):
    detector = cmad.G2SF(rgb=make["vit"](), xyz=make["point_mae"](), image_size=48)
    detector.fit(parts[:4], synthetic_parts=8, epochs=3, progress=False)
    assert list(detector.curves) == ["loss", "validation"]
    assert {len(values) for values in detector.curves.values()} == {3}
    steps = len(detector.losses) // 3
    want = [np.sum(detector.losses[steps * i : steps * (i + 1)]) / steps for i in range(3)]
    assert detector.curves["loss"] == pytest.approx(want)
