"""The surface as a picture of its heights: what is drawn, above which plane, and in a detector."""

import pytest
import torch

import cmad
from cmad import surface
from cmad.extractors import Depth, Normals, ViT, from_config
from cmad.pipeline import Pipeline
from cmad.preprocess import Preprocessing, prepare


@pytest.fixture
def extractor(small_vit):
    made = Depth(ViT(small_vit()))
    made.load_statistics({"mean": torch.tensor([0.01]), "std": torch.tensor([0.002])})
    return made


def steps(size=32):
    """A part of three steps, 4, 10 and 13 mm high, with two pixels that have no point."""
    xyz = torch.full((size, size, 4), torch.nan)
    xyz[8:24, 8:24] = torch.tensor([0, 0, 0.5, 0.010])
    xyz[8:24, 8:12, 3] = 0.004
    xyz[8:24, 18:24, 3] = 0.013
    xyz[12, 14] = xyz[20, 8] = torch.nan
    return xyz


def test_one_grey_is_one_height_and_beside_the_part_is_the_middle(extractor):
    picture = extractor.picture(steps())
    assert (picture.shape, picture.dtype) == ((3, 32, 32), torch.uint8)
    assert torch.equal(picture[0], picture[1])
    assert torch.equal(picture[0], picture[2])
    grey = picture[0].float()
    assert (grey[9:23, 9:11] - 0).abs().max() <= 1  # 3 deviations lower
    assert (grey[9:23, 13:17] - 127.5).abs().max() <= 1  # the gap too
    assert (grey[9:23, 19:23] - 127.5 * 1.5).abs().max() <= 1
    assert (grey[:7] - 127.5).abs().max() <= 0.5
    higher = steps()
    higher[..., 3] += 0.001
    assert (extractor.picture(higher)[0, 9:23, 13:17].float() - 127.5 * 7 / 6).abs().max() <= 1
    higher[..., 3] += 1
    assert (extractor.picture(higher)[:, 9:23, 9:23] == 255).all()  # no wrapping around


def test_heights_are_above_the_plane_that_the_part_was_found_with():
    part = next(iter(cmad.datasets.Synthetic(good=1, size=(64, 64))))
    frame = prepare(part, Preprocessing(64, 64))
    got = surface.heights(frame.xyz, frame.valid, frame.plane)
    n, d = torch.tensor(frame.plane[:3]), frame.plane[3]
    want = (frame.xyz[frame.valid] * n).sum(1) + d
    torch.testing.assert_close(got[frame.valid], want, atol=1e-6, rtol=0)
    assert got[~frame.valid].isnan().all()
    assert got[frame.valid].min() > 0.001  # what is nearer to the plane is background

    seen = []

    class Recorder(Depth):
        def batch(self, clouds):
            seen.extend(clouds)
            raise KeyboardInterrupt

    pipeline = Pipeline({"own": Recorder.__new__(Recorder)}, Preprocessing(64, 64))
    with pytest.raises(KeyboardInterrupt):
        pipeline.features([frame])
    assert torch.equal(seen[0][frame.valid][:, 3], got[frame.valid])
    assert torch.equal(seen[0][frame.valid][:, :3], frame.xyz[frame.valid])


def test_without_a_plane_heights_are_over_the_median():
    xyz = torch.zeros(4, 4, 3)
    xyz[..., 2] = 0.5
    xyz[0, 0, 2], xyz[0, 1, 2] = 0.47, 0.51
    valid = torch.ones(4, 4, dtype=torch.bool)
    valid[3] = False
    got = surface.heights(xyz, valid, None)
    want = torch.zeros(4, 4)
    want[0, 0], want[0, 1] = 0.03, -0.01
    torch.testing.assert_close(got[:3], want[:3])
    assert got[3].isnan().all()


def test_the_scale_is_that_of_the_training_parts(small_vit):
    extractor = Depth(ViT(small_vit()))
    with pytest.raises(RuntimeError, match="Depth: the mean and deviation are not known"):
        extractor.points(steps())
    clouds = [steps(), steps().nan_to_num(nan=torch.nan)]
    clouds[1][..., 3] += 0.002
    extractor.fit(clouds)
    height = torch.cat([c[..., 3][~c[..., 3].isnan()] for c in clouds]).double()
    assert extractor.statistics["mean"] == pytest.approx(float(height.mean()))
    assert extractor.statistics["std"] == pytest.approx(float(height.std(correction=0)))
    again = from_config(extractor.config(), extractor.state_dict())
    again.load_statistics(extractor.statistics)
    assert isinstance(again, Depth)
    assert again.fingerprint() == extractor.fingerprint() != Normals(ViT(small_vit())).fingerprint()
    for one, cloud in zip(again.batch(clouds), clouds, strict=True):
        assert torch.equal(one.features, extractor.points(cloud).features)
    assert "depth, standardised, through ViT" in again.describe()


def test_wrong_input_is_refused(extractor):
    with pytest.raises(ValueError, match=r"Depth: xyz must be \(S, S2, 4\), got \(8, 8, 3\)"):
        extractor.picture(torch.zeros(8, 8, 3))
    with pytest.raises(ValueError, match="Depth: xyz must be a square with at least one point"):
        extractor.points(torch.full((8, 8, 4), torch.nan))
    with pytest.raises(RuntimeError, match=r"pass cmad\.extractors\.Depth of it again"):
        from_config({"kind": "depth", "vit": {"kind": "own"}})


def test_a_detector_learns_with_it_alone_and_fused_and_is_saved(small_vit, tmp_path):
    parts = [*cmad.datasets.Synthetic(good=4, size=(64, 64))]
    vit = ViT(small_vit())
    for xyz in ("depth", "normals+depth"):
        detector = cmad.PatchCore(rgb=vit, xyz=xyz, image_size=32, modalities="3d", fraction=0.5)
        given = [*detector.pipeline.extractors.values()]
        assert all(e._vit is vit for e in given)
        detector.fit(parts)
        want = detector.predict(parts[0].rgb, parts[0].xyz)
        depth = [*detector.pipeline.of_points.values()][-1]
        assert isinstance(depth, Depth)
        assert depth.statistics["std"] > 1e-4
        detector.save(tmp_path / "model.cmad")
        own = [Depth(vit)] if xyz == "depth" else [Normals(vit), Depth(vit)]
        again = cmad.load(tmp_path / "model.cmad", rgb=vit, xyz=own if len(own) > 1 else own[0])
        got = again.predict(parts[0].rgb, parts[0].xyz)
        assert got.score == want.score > 0
    with pytest.raises(ValueError, match="depth has the 2D extractor's"):
        cmad.CFM(rgb=vit, xyz="depth", xyz_weights="random")
