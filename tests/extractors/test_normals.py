"""The surface as a picture of its normals: what is drawn, and how pixels read the tokens."""

import pytest
import torch

import cmad
from cmad.extractors import Normals, ViT, from_config
from cmad.pipeline import Pipeline
from cmad.preprocess import Preprocessing, prepare
from cmad.rasters import Raster, Smoothing, token_taps
from cmad.types import Points


@pytest.fixture
def extractor(small_vit):
    return Normals(ViT(small_vit()), sigma=0)


def surface(size=32, seed=0):
    """A tilted plane, a square of it the part, two of whose pixels have no point."""
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = (u - size / 2) * 1e-3, (v - size / 2) * 1e-3
    xyz = torch.stack([x, y, 0.5 + 0.5 * x], -1)
    part = torch.zeros(size, size, dtype=torch.bool)
    part[8:24, 8:24] = True
    part[12, 13] = part[20, 8] = False
    return torch.where(part[..., None], xyz, torch.nan)


def test_a_picture_has_the_normals_colour_on_the_part_and_grey_beside_it(extractor):
    picture = extractor.picture(surface())
    assert (picture.shape, picture.dtype) == ((3, 32, 32), torch.uint8)
    x, _, z = torch.tensor([0.5, 0, -1]) / 1.25**0.5
    want = torch.tensor([127.5 * (x + 1), 127.5, 127.5 * (z + 1)])
    got = picture[:, 9:23, 9:23].flatten(1).T.float()
    assert (got - want).abs().max() <= 1  # the gap's pixels too
    assert (picture[:, :7].float() - 127.5).abs().max() <= 0.5


def test_pixels_read_the_tokens_as_those_of_an_image(extractor, small_vit):
    xyz = surface()
    points = extractor.points(xyz)
    known = ~xyz[..., 0].isnan()
    tokens = ViT(small_vit()).tokens(extractor.picture(xyz)[None])[0].permute(1, 2, 0)
    got = (points.features[points.neighbour] * points.weight[..., None]).sum(1)
    taps = token_taps(4, Raster(32, Smoothing()), torch.device("cpu"))
    weight = torch.zeros(32, 4)
    for tap in range(2):
        weight[torch.arange(32), taps.first + tap] += taps.tap[:, tap]
    want = torch.einsum("rh,cw,hwd->rcd", weight, weight, tokens)[known]
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)  # sums of four in another order


def test_the_pipeline_gives_the_grid_with_nan_beside_the_part():
    seen = []

    class Recorder:
        kind, dim, organised, statistics, takes_statistics = "points", 1, True, {}, False

        def batch(self, clouds):
            seen.extend(clouds)
            n = [int((~c[..., 0].isnan()).sum()) for c in clouds]
            return [
                Points(torch.zeros(1, 1), torch.zeros(k, 1).long(), torch.ones(k, 1)) for k in n
            ]

    frame = prepare(
        next(iter(cmad.datasets.Synthetic(good=1, size=(64, 64)))), Preprocessing(64, 64)
    )
    Pipeline({"own": Recorder()}, Preprocessing(64, 64)).features([frame])
    assert not frame.valid.all()
    assert frame.xyz[~frame.valid].isfinite().any()  # the background has points, too
    assert torch.equal(seen[0].isnan().all(-1), ~frame.valid)
    assert torch.equal(seen[0][frame.valid], frame.xyz[frame.valid])


def test_several_surfaces_at_once_are_those_one_by_one(extractor):
    clouds = [surface(), surface().roll(3, 0)]
    for one, cloud in zip(extractor.batch(clouds), clouds, strict=True):
        alone = extractor.points(cloud)
        assert all(torch.equal(getattr(one, k), v) for k, v in vars(alone).items())
    assert extractor.batch([]) == []


def test_it_is_built_again_from_its_description_and_weights(extractor):
    again = from_config(extractor.config(), extractor.state_dict())
    assert isinstance(again, Normals)
    assert again.fingerprint() == extractor.fingerprint()
    a, b = (e.points(surface()).features for e in (again, extractor))
    assert torch.equal(a, b)
    assert "normals, smoothed by 0 pixels, through ViT" in again.describe()
    with pytest.raises(RuntimeError, match="a 2D extractor of a user's own"):
        from_config({**extractor.config(), "vit": {"kind": "own"}})


def test_other_smoothing_is_another_extractor(extractor, small_vit):
    assert Normals(ViT(small_vit()), sigma=1).fingerprint() != extractor.fingerprint()


def test_wrong_input_is_refused(extractor, small_vit):
    with pytest.raises(ValueError, match="sigma must be 0 or more, got -1"):
        Normals(ViT(small_vit()), sigma=-1)
    with pytest.raises(ValueError, match="at least one point"):
        extractor.points(torch.full((8, 8, 3), torch.nan))
    with pytest.raises(ValueError, match="must be a square"):
        extractor.points(torch.ones(8, 9, 3))
    with pytest.raises(ValueError, match="statistics must be none"):
        extractor.load_statistics({"mean": torch.zeros(3)})


def test_given_by_name_it_shares_the_images_transformer(small_vit):
    vit = ViT(small_vit())
    detector = cmad.CFM(rgb=vit, xyz="normals", image_size=32)
    assert detector.pipeline.dims() == {"2d": 24, "3d": 24}
    assert detector.pipeline.extractors["xyz"]._vit is vit
    alone = cmad.PatchCore(rgb=vit, xyz="normals", image_size=32, modalities="3d")
    assert alone.pipeline.extractors["xyz"]._vit is vit
    with pytest.raises(ValueError, match="normals has the 2D extractor's"):
        cmad.CFM(rgb=vit, xyz="normals", xyz_weights="random")
