import json

import numpy as np
import pytest
import torch

from cmad.extractors import FPFH, from_config
from cmad.testing.inputs import surface


def test_fitted_features_have_mean_0_and_deviation_1(cloud):
    extractor, clouds = FPFH(), [cloud(300, s) for s in range(3)]
    assert extractor.takes_statistics
    extractor.fit(iter(clouds))
    features = torch.cat([extractor.points(xyz).features for xyz in clouds])
    assert (features.shape, features.dtype) == ((900, 33), torch.float32)
    torch.testing.assert_close(features.mean(0), torch.zeros(33), rtol=0, atol=1e-5)
    varies = extractor.statistics["std"] > 1e-6
    assert varies.sum() > 20
    deviation = features.std(0, correction=0)
    torch.testing.assert_close(deviation[varies], torch.ones(int(varies.sum())))


def test_a_channel_that_never_varies_stays_finite(cloud):
    extractor = FPFH()
    extractor.fit([cloud(1)])
    assert extractor.statistics["std"].tolist() == [1e-6] * 33
    assert extractor.points(cloud(50)).features.isfinite().all()


def test_every_point_has_its_own_feature(cloud):
    extractor = FPFH()
    extractor.fit([cloud(50)])
    points = extractor.points(cloud(50))
    assert extractor.dim == 33
    assert points.neighbour[:, 0].tolist() == list(range(50))
    assert points.weight.tolist() == [[1.0]] * 50


def test_the_order_of_the_points_does_not_matter(cloud):
    xyz, order = cloud(200), torch.randperm(200, generator=torch.Generator().manual_seed(0))
    got, want = FPFH().histograms(xyz[order]), FPFH().histograms(xyz)[order]
    torch.testing.assert_close(got, want)
    assert want.std() > 1


def test_the_radius_matters(cloud):
    wide, narrow = FPFH().histograms(cloud()), FPFH(radius=0.01).histograms(cloud())
    assert (wide - narrow).abs().max() > 1


def test_an_extractor_is_built_again_from_its_configuration(cloud):
    extractor = FPFH(normal_radius=0.05, neighbours=40)
    config = json.loads(json.dumps(extractor.config()))
    again = from_config(config)
    assert again.config() == config
    assert again.fingerprint() == extractor.fingerprint() != FPFH().fingerprint()
    assert again.state_dict() == {}
    extractor.fit([cloud(seed=1)])
    again.load_statistics(extractor.statistics)
    want = extractor.points(cloud()).features
    torch.testing.assert_close(again.points(cloud()).features, want, rtol=0, atol=0)


def test_mistakes_are_named(cloud):
    with pytest.raises(RuntimeError, match="call fit first"):
        FPFH().points(cloud())
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        FPFH(radius=0)
    with pytest.raises(ValueError, match="neighbours must be normal_neighbours or more, got 20"):
        FPFH(neighbours=20)
    with pytest.raises(ValueError, match="clouds must hold at least one cloud, got none"):
        FPFH().fit([])
    with pytest.raises(ValueError, match="at least one point"):
        FPFH().histograms(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="finite"):
        FPFH().histograms(torch.full((4, 3), torch.inf))
    with pytest.raises(ValueError, match="must be mean and std, got"):
        FPFH().load_statistics({"mean": torch.zeros(33)})
    with pytest.raises(ValueError, match=r"std must be \(33,\), got \(3,\)"):
        FPFH().load_statistics({"mean": torch.zeros(33), "std": torch.ones(3)})


def test_histograms_are_open3ds_but_where_neighbours_are_equally_near(open3d):
    """Of 100 neighbours the last may be another where float32 rounds two distances to one."""
    xyz = torch.from_numpy(surface(np.random.default_rng(0), 64, 2000)[0])
    points = open3d.utility.Vector3dVector(xyz.double().numpy())
    around = open3d.geometry.KDTreeSearchParamHybrid
    cloud = open3d.geometry.PointCloud(points)
    cloud.estimate_normals(around(radius=0.10, max_nn=30))
    compute = open3d.pipelines.registration.compute_fpfh_feature
    want = torch.from_numpy(compute(cloud, around(radius=0.25, max_nn=100)).data.T.copy())
    off = (FPFH().histograms(xyz) - want).abs()
    assert (off.amax(1) > 1e-8).float().mean() < 0.02
    assert off.max() < 5
    assert off.sum(1).mean() < 0.01  # of 600


def test_features_that_are_not_standardised_are_the_histograms_and_need_no_fit(cloud):
    xyz = cloud(60)
    plain = FPFH(standardised=False)
    assert not plain.takes_statistics
    got = plain.points(xyz).features
    assert torch.equal(got, plain.histograms(xyz).float())
    again = from_config(plain.config())
    assert torch.equal(again.points(xyz).features, got)
    assert plain.fingerprint() != FPFH().fingerprint()
