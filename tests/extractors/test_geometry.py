"""Local geometry: planes by hand and by least squares, what bends, and the standard channels."""

import numpy as np
import pytest
import torch

import cmad
from cmad.extractors import Geometry, from_config


def grid(size=24, z=lambda x, y: 0.5 + 0 * x, missing=()):
    v, u = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x, y = (u - size / 2) * 1e-3, (v - size / 2) * 1e-3
    xyz = torch.stack([x, y, z(x, y)], -1)
    for pixel in missing:
        xyz[pixel] = torch.nan
    return xyz


def test_a_plane_has_its_normal_everywhere_and_neither_bends_nor_is_rough():
    xyz = grid(z=lambda x, y: 0.5 + 0.3 * x - 0.2 * y, missing=[(0, 0), (5, 6), (5, 7)])
    got = Geometry(radii=(2, 4)).measures(xyz)
    assert got.shape == (24 * 24 - 3, 10)
    normal = torch.tensor([0.3, -0.2, -1]).double()
    want = torch.cat([normal / normal.norm(), torch.zeros(2, dtype=torch.float64)]).repeat(2)
    # float32 has 0.5 m to 3e-8 m, beside a millimetre between pixels.
    torch.testing.assert_close(got, want.expand_as(got), atol=2e-4, rtol=0)


@pytest.mark.parametrize("radius", [2, 3])
def test_squares_are_fitted_by_least_squares(radius):
    g = torch.Generator().manual_seed(2)
    xyz = grid(12, missing=[(3, 3), (3, 4), (0, 11)]) + 2e-4 * torch.randn(12, 12, 3, generator=g)
    known = ~xyz[..., 0].isnan()
    got = Geometry(radii=(radius,)).measures(xyz)
    for row, (v, u) in zip(got.numpy(), known.nonzero().tolist(), strict=True):

        def around(r, v=v, u=u):
            some = slice(max(v - r, 0), v + r + 1), slice(max(u - r, 0), u + r + 1)
            return xyz[some][known[some]].double().numpy()

        points = around(radius)
        design = np.column_stack([points[:, :2], np.ones(len(points))])
        plane, *_ = np.linalg.lstsq(design, points[:, 2], rcond=None)
        normal = np.array([*plane[:2], -1]) / np.sqrt(1 + (plane[:2] ** 2).sum())
        extent = np.sqrt(points[:, :2].var(0).sum())
        middle = around(1).mean(0)
        bend = (middle - [0, 0, plane[2]]) @ normal / extent  # the plane goes through (0, 0, c)
        rough = (points[:, 2] - design @ plane).std() * -normal[2] / extent
        # Sums of squares in float64, around the mean of all points.
        np.testing.assert_allclose(row, [*normal, bend, rough], atol=1e-6)


def test_a_bump_towards_the_camera_bends_one_way_and_a_dent_the_other():
    bump, dent = (grid(z=lambda x, y, s=s: 0.5 + s * (x * x + y * y)) for s in (5, -5))
    middle = 12 * 24 + 12
    for radius in (2, 5):
        bends = [float(Geometry(radii=(radius,)).measures(g)[middle, 3]) for g in (bump, dent)]
        assert bends[0] > 0.001
        assert bends[1] == pytest.approx(-bends[0], rel=1e-2)


def test_single_points_and_lines_have_the_normal_of_sight():
    xyz = torch.full((9, 9, 3), torch.nan)
    xyz[1, 1] = torch.tensor([0.1, 0.2, 0.5])
    xyz[6, 2:6] = grid(9)[6, 2:6]
    got = Geometry(radii=(2,)).measures(xyz)
    assert torch.equal(got[:, :3], torch.tensor([0.0, 0.0, -1.0]).double().expand(5, 3))
    assert got.isfinite().all()


def test_channels_are_standard_over_training_surfaces_and_pixels_their_own():
    g = torch.Generator().manual_seed(0)
    clouds = [grid(missing=[(2, 2)]) + 1e-4 * torch.randn(24, 24, 3, generator=g) for _ in "ab"]
    extractor = Geometry(radii=(2, 3))
    with pytest.raises(RuntimeError, match="Geometry: the mean and deviation are not known"):
        extractor.points(clouds[0])
    made = extractor.fit(clouds)
    rows = torch.cat([p.features for p in made])
    assert rows.shape == (2 * 575, 10)
    torch.testing.assert_close(rows.mean(0), torch.zeros(10), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones(10), atol=1e-4, rtol=0)
    assert torch.equal(made[0].neighbour[:, 0], torch.arange(575))
    again = from_config(extractor.config())
    again.load_statistics(extractor.statistics)
    assert again.fingerprint() == extractor.fingerprint()
    for one, cloud in zip(again.batch(clouds), clouds, strict=True):
        assert torch.equal(one.features, extractor.points(cloud).features)


def test_the_height_is_one_more_channel_where_wanted():
    xyz = torch.cat([grid(missing=[(2, 2)]), torch.linspace(0, 1, 576).view(24, 24, 1)], -1)
    xyz[2, 2, 3] = torch.nan
    extractor = Geometry(radii=(2,), heights=True)
    got = extractor.measures(xyz)
    assert got.shape == (575, extractor.dim) == (575, 6)
    assert torch.equal(got[:, 5], xyz[..., 3][~xyz[..., 3].isnan()].double())
    assert torch.equal(got[:, :5], Geometry(radii=(2,)).measures(xyz[..., :3]))
    assert from_config(extractor.config()).heights
    assert "heights" in extractor.describe()
    assert extractor.fingerprint() != Geometry(radii=(2,)).fingerprint()
    with pytest.raises(ValueError, match=r"xyz must be \(S, S2, 4\), got \(24, 24, 3\)"):
        extractor.measures(grid())


def test_wrong_input_is_refused(small_vit):
    for radii in ((), (1, 2)):
        with pytest.raises(ValueError, match="radii must be 2 or more, at least one"):
            Geometry(radii=radii)
    with pytest.raises(ValueError, match="at least one point"):
        Geometry().measures(torch.full((4, 4, 3), torch.nan))
    with pytest.raises(ValueError, match=r"mean must be \(20,\), got \(3,\)"):
        Geometry().load_statistics({"mean": torch.zeros(3), "std": torch.ones(20)})
    vit = cmad.extractors.ViT(small_vit())
    detector = cmad.CFM(rgb=vit, xyz="geometry", image_size=32)
    assert detector.pipeline.dims()["3d"] == 20
    with pytest.raises(ValueError, match="geometry has none"):
        cmad.CFM(rgb=vit, xyz="geometry", xyz_weights="random")
