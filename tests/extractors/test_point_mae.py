import json

import pytest
import torch

from cmad import ops
from cmad.extractors import PointMAE, from_config
from cmad.extractors.point_mae_network import Network


def plain_encoder(encoder, groups):
    """The encoder as its definition reads, on (G, K, 3)."""
    local = encoder.first_conv(groups.transpose(1, 2))
    whole = local.amax(2, keepdim=True).expand_as(local)
    return encoder.second_conv(torch.cat([whole, local], 1)).amax(2)


@pytest.fixture
def groups():
    return torch.randn(700, 16, 3, generator=torch.Generator().manual_seed(1)) * 0.01


@pytest.fixture
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = Network(24, 3, 2).requires_grad_(False)
        for norm in network.encoder.norms:
            for tensor in (norm.running_mean, norm.bias):
                tensor.normal_(0, 0.1)
            for tensor in (norm.running_var, norm.weight):
                tensor.uniform_(0.5, 2)
    return network


def test_the_encoder_computes_its_definition(network, groups):
    got, want = network.encoder(groups), plain_encoder(network.eval().encoder, groups)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


def test_batch_statistics_are_those_of_training_mode(network, groups):
    groups = 100 * groups  # well above BatchNorm's epsilon, where rounding is not amplified
    got = network.encoder(groups, True)
    want = plain_encoder(network.train().encoder, groups)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_the_position_is_added_before_every_block(network, groups):
    centre = groups[:, 0]
    x, position = network.encoder(groups)[None], network.pos_embed(centre)
    for block in network.blocks["blocks"]:
        x = block(x + position)
    torch.testing.assert_close(network(groups[None], centre[None]), network.norm(x))


@pytest.mark.parametrize(
    ("blocks", "taps"),
    [(None, (4, 8, 12)), (12, (4, 8, 12)), (8, (2, 5, 8)), (4, (2, 3, 4)), (1, (1,)), (6, (6,))],
)
def test_features_come_from_the_blocks_that_are_fetched(small_point_mae, cloud, blocks, taps):
    extractor = small_point_mae(blocks=blocks)
    network, outputs = extractor.network, []
    for block in network.blocks["blocks"]:
        block.register_forward_hook(lambda *a: outputs.append(a[2]))
    features = extractor.points(cloud()).features
    assert extractor.dim == 24 * len(taps) == features.shape[1]
    want = torch.cat([network.norm(outputs[t - 1][0]) for t in taps], -1)
    torch.testing.assert_close(features, want)
    assert len(outputs) == (blocks or 12)


def test_pruning_keeps_the_first_blocks(small_point_mae, cloud):
    whole = small_point_mae()
    pruned = small_point_mae(blocks=1, weights=whole.state_dict())
    outputs = []
    whole.network.blocks["blocks"][0].register_forward_hook(lambda *a: outputs.append(a[2][0]))
    whole.points(cloud())
    want = whole.network.norm(outputs[0])
    torch.testing.assert_close(pruned.points(cloud()).features, want)


def test_groups_do_not_depend_on_where_the_part_is_but_positions_do(small_point_mae, cloud):
    extractor = small_point_mae()
    seen = []
    extractor.network.encoder.register_forward_hook(lambda *a: seen.append(a[1][0]))
    xyz = cloud()
    moved = extractor.points(xyz + 0.25).features
    still = extractor.points(xyz).features
    assert seen[0].shape == (32, 8, 3)
    assert (seen[1] ** 2).sum(-1).min(1).values.max() == 0, "a centre is in its own group"
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-6)
    assert (moved - still).abs().max() > 1e-3


def test_each_point_is_interpolated_from_its_three_nearest_centres(small_point_mae, cloud):
    xyz = cloud()
    points = small_point_mae().points(xyz)
    centre = xyz[ops.fps(xyz, torch.tensor([0, len(xyz)]), 32)[0]]
    want = torch.cdist(xyz.double(), centre.double()).topk(3, largest=False).indices
    assert points.neighbour.dtype == torch.int64
    torch.testing.assert_close(points.neighbour.sort().values, want.sort().values)
    torch.testing.assert_close(points.weight.sum(1), torch.ones(400))


def test_the_published_choice_of_centres_skips_points_at_the_origin(small_point_mae, cloud):
    xyz = cloud() - torch.tensor([0, 0, 0.5])
    inside = (xyz.double() ** 2).sum(-1) <= 1e-3
    xyz = torch.cat([xyz[~inside], xyz[inside]])
    published, paper = small_point_mae(published=True), small_point_mae()
    assert inside.any()
    nearest = [
        extractor._grouped([xyz], *extractor._sizes(xyz))[1].norm(dim=-1).min()
        for extractor in (published, paper)
    ]
    assert nearest[0] > 0.0316 > nearest[1]


def test_a_small_cloud_falls_back_to_fewer_groups_with_a_warning(small_point_mae, cloud):
    extractor = small_point_mae()
    with pytest.warns(
        UserWarning, match="5 points, too few for 32 groups of 8: using 5 groups of 5"
    ):
        points = extractor.points(cloud(5))
    assert points.features.shape == (5, 72)
    assert points.features.isfinite().all()
    with pytest.warns(UserWarning, match="using 1 groups of 1"):
        assert extractor.points(cloud(1)).weight.tolist() == [[1, 0, 0]]


@pytest.mark.parametrize("batchnorm", ["eval", "batch"])
def test_clouds_of_several_sizes_in_one_call_give_what_each_gives_alone(
    small_point_mae, cloud, batchnorm
):
    extractor = small_point_mae(batchnorm=batchnorm)
    clouds = [cloud(n, seed=n) for n in (400, 39, 5, 120, 7)]  # two are too small for 32 groups
    calls = []
    extractor.network.register_forward_hook(lambda _, inputs, out: calls.append(out.shape[0]))
    with pytest.warns(UserWarning, match="too few"):
        together = extractor.batch(clouds)
    assert calls == [3, 1, 1]  # those with equally many groups at once
    with pytest.warns(UserWarning, match="too few"):
        alone = [extractor.points(xyz) for xyz in clouds]
    for want, got in zip(alone, together, strict=True):
        assert all(torch.equal(a, vars(want)[name]) for name, a in vars(got).items())
    assert extractor.batch([]) == []


def test_fit_estimates_the_exact_statistics_of_the_clouds(small_point_mae, cloud):
    extractor, clouds = small_point_mae(), [cloud(seed=s) for s in range(3)]
    assert extractor.takes_statistics
    extractor.fit(iter(clouds))
    assert extractor.fingerprint() == small_point_mae().fingerprint()
    every = []
    for xyz in clouds:
        every.append(extractor._grouped([xyz], *extractor._sizes(xyz))[0][0])
    every = torch.cat(every)
    # All groups of all clouds as one batch: its own statistics are those of fit.
    encoder = extractor.network.encoder
    with torch.no_grad():
        # Groups of millimetres: their variance divides, so the stored mean's rounding shows.
        torch.testing.assert_close(encoder(every), encoder(every, True), rtol=1e-4, atol=1e-4)
    inputs = {}
    hook = encoder.first_conv[1].register_forward_hook(lambda *a: inputs.update(x=a[1][0]))
    plain_encoder(encoder, every)
    hook.remove()
    variance, mean = torch.var_mean(inputs["x"].double(), (0, 2), correction=0)
    torch.testing.assert_close(encoder.norms[0].running_mean.double(), mean, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(encoder.norms[0].running_var.double(), variance, rtol=1e-4, atol=0)


def test_fit_starts_afresh_and_is_only_for_random_weights(small_point_mae, cloud):
    extractor, fresh = small_point_mae(), small_point_mae()
    extractor.fit([cloud()])
    first = {k: v.clone() for k, v in extractor.statistics.items()}
    extractor.fit([cloud(seed=1)])
    fresh.fit([cloud(seed=1)])
    assert all(torch.equal(fresh.statistics[k], v) for k, v in extractor.statistics.items())
    assert not all(torch.equal(first[k], v) for k, v in extractor.statistics.items())
    real = small_point_mae(weights=small_point_mae().state_dict())
    before = real.points(cloud()).features
    real.fit([cloud(seed=1)])
    assert not real.takes_statistics
    assert real.statistics == {}
    torch.testing.assert_close(real.points(cloud()).features, before, rtol=0, atol=0)
    assert not small_point_mae(batchnorm="batch").takes_statistics


def test_statistics_make_an_unfitted_extractor_a_fitted_one(small_point_mae, cloud):
    fitted, fresh = small_point_mae(), small_point_mae()
    fitted.fit([cloud(seed=1)])
    fresh.load_statistics(fitted.statistics)
    want = fitted.points(cloud()).features
    torch.testing.assert_close(fresh.points(cloud()).features, want, rtol=0, atol=0)
    with pytest.raises(ValueError, match="statistics must be named"):
        fresh.load_statistics({})


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone(small_point_mae):
    before = torch.get_rng_state()
    first, again, other = (small_point_mae(seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert "random weights (seed 1)" in first.describe()


def test_an_extractor_is_built_again_from_its_configuration(small_point_mae, cloud):
    extractor = small_point_mae(seed=3, blocks=4, batchnorm="eval", published=True)
    extractor.fit([cloud(seed=1)])
    config = json.loads(json.dumps(extractor.config()))
    again = from_config(config)
    assert again.config() == config
    again.load_statistics(extractor.statistics)
    stored = from_config(config, extractor.state_dict())
    want = extractor.points(cloud()).features
    for built in (again, stored):
        assert built.fingerprint() == extractor.fingerprint()
        assert built.describe() == extractor.describe()
        torch.testing.assert_close(built.points(cloud()).features, want, rtol=0, atol=0)


def test_given_weights_must_be_given_again(small_point_mae):
    extractor = small_point_mae(weights=small_point_mae().state_dict())
    assert extractor.config()["weights"] == "given"
    with pytest.raises(
        RuntimeError, match=r"passed in: save .*include_extractors=True, .* as xyz$"
    ):
        from_config(extractor.config())
    again = from_config(extractor.config(), extractor.state_dict())
    assert again.fingerprint() == extractor.fingerprint()
    assert again.config() == extractor.config()


@pytest.mark.parametrize("prefix", ["", "MAE_encoder.", "module.MAE_encoder.", "base_model."])
@pytest.mark.parametrize("wrapper", [None, "base_model"])
def test_published_checkpoints_load_with_their_wrappers(small_point_mae, tmp_path, prefix, wrapper):
    source = small_point_mae()
    state = {f"{prefix}{k}": v for k, v in source.state_dict().items()}
    front = prefix.removesuffix("MAE_encoder.")
    state |= {
        f"{front}{name}": torch.zeros(2)
        for name in ("mask_token", "MAE_decoder.blocks.0.norm1.weight", "MAE_decoder.norm.weight")
    }
    state |= {
        f"{front}decoder_pos_embed.0.weight": torch.zeros(2),
        "increase_dim.0.bias": torch.zeros(2),
    }
    path = tmp_path / "pretrain.pth"
    torch.save({wrapper: state, "epoch": 300, "metrics": {"acc": 0.0}} if wrapper else state, path)
    loaded = small_point_mae(weights=path)
    assert loaded.fingerprint() == small_point_mae(weights=source.state_dict()).fingerprint()
    assert str(path) in loaded.describe()
    assert loaded.config()["weights"] == str(path)


def test_mistakes_are_named(small_point_mae, cloud):
    with pytest.raises(ValueError, match="groups and group_size must be at least 1, got 0 and 8"):
        small_point_mae(groups=0)
    with pytest.raises(ValueError, match="dim must be a multiple of heads, got 24 and 5"):
        small_point_mae(heads=5)
    with pytest.raises(ValueError, match=r"blocks must be in \[1, depth=12\], got 13"):
        small_point_mae(blocks=13)
    with pytest.raises(ValueError, match="batchnorm must be 'eval' or 'batch', got 'train'"):
        small_point_mae(batchnorm="train")
    extractor = small_point_mae()
    with pytest.raises(ValueError, match="xyz must have at least one point"):
        extractor.points(torch.zeros(0, 3))
    with pytest.raises(ValueError, match=r"xyz must be \(N, 3\), got \(1, 4, 3\)"):
        extractor.points(torch.zeros(1, 4, 3))
    with pytest.raises(TypeError, match=r"xyz must be torch.float32, got torch.float64"):
        extractor.points(cloud().double())
    with pytest.raises(ValueError, match="xyz must be finite"):
        extractor.points(torch.full((40, 3), torch.nan))
    with pytest.raises(ValueError, match="clouds must hold at least one cloud"):
        extractor.fit([])
    with pytest.raises(ValueError, match=r"PointMAE: weights must fit the model: .* and \d+ more"):
        small_point_mae(weights={"norm.weight": torch.zeros(24)})
    kinds = "vit, pyramid, efficientnet, point_mae, fpfh, normals, depth, geometry, depth_blocks"
    with pytest.raises(ValueError, match=f"kind must be one of {kinds}, got 'dgcnn'"):
        from_config({"kind": "dgcnn"})


def test_offline_without_files_says_what_is_missing_and_what_helps(no_weights):
    with pytest.raises(RuntimeError) as caught:
        PointMAE()
    for part in (
        "point_mae.safetensors or point_mae.pth or pretrain.pth in CMAD_WEIGHTS (not set)",
        "https://github.com/Pang-Yatian/Point-MAE/releases/download/main/pretrain.pth",
        'xyz="normals" needs no Point-MAE',
        "no route to host",
        'weights="random"',
    ):
        assert part in str(caught.value)
