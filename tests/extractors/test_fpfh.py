import json
import sys

import pytest
import torch

from cmad.extractors import FPFH, from_config


def test_fitted_features_have_mean_0_and_deviation_1(open3d, cloud):
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


def test_a_channel_that_never_varies_stays_finite(open3d, cloud):
    extractor = FPFH()
    extractor.fit([cloud(1)])
    assert extractor.statistics["std"].tolist() == [1e-6] * 33
    assert extractor.points(cloud(50)).features.isfinite().all()


def test_every_point_has_its_own_feature(open3d, cloud):
    extractor = FPFH()
    extractor.fit([cloud(50)])
    points = extractor.points(cloud(50))
    assert extractor.dim == 33
    assert points.neighbour[:, 0].tolist() == list(range(50))
    assert points.weight.tolist() == [[1.0]] * 50


def test_the_order_of_the_points_does_not_matter(open3d, cloud):
    xyz, order = cloud(200), torch.randperm(200, generator=torch.Generator().manual_seed(0))
    got, want = FPFH().histograms(xyz[order]), FPFH().histograms(xyz)[order]
    torch.testing.assert_close(got, want)
    assert want.std() > 1


def test_the_radius_matters(open3d, cloud):
    wide, narrow = FPFH().histograms(cloud()), FPFH(radius=0.01).histograms(cloud())
    assert (wide - narrow).abs().max() > 1


def test_an_extractor_is_built_again_from_its_configuration(open3d, cloud):
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


def test_mistakes_are_named(open3d, cloud):
    with pytest.raises(RuntimeError, match="call fit first"):
        FPFH().points(cloud())
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        FPFH(radius=0)
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


def test_without_open3d_the_error_says_what_to_install(monkeypatch, cloud):
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(RuntimeError, match=r'pip install "\.\[fpfh\]".*libusb-1.0-0 libgl1'):
        FPFH().histograms(cloud())


def test_features_that_are_not_standardised_are_the_histograms_and_need_no_fit(open3d, cloud):
    xyz = cloud(60)
    plain = FPFH(standardised=False)
    assert not plain.takes_statistics
    got = plain.points(xyz).features
    assert torch.equal(got, plain.histograms(xyz).float())
    again = from_config(plain.config())
    assert torch.equal(again.points(xyz).features, got)
    assert plain.fingerprint() != FPFH().fingerprint()
