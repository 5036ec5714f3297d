"""M3DM's fusion, its banks' sizes and its decision layers against the published code's (H)."""

import numpy as np
import pytest
import torch

from cmad.bank import Bank
from cmad.detectors._m3dm_learning import decision
from cmad.detectors._memory import chosen, moments
from cmad.nn.fusion import FeatureFusion


def filled(arrays, detweights):
    dim_3d, dim_2d = arrays["uff_dims"].tolist()
    return detweights.fill(FeatureFusion(dim_2d, dim_3d, 0), int(arrays["seed"]), "uff.")


def test_fused_rows_the_loss_and_its_gradients_are_the_published_ones(each_fixture, detweights):
    for _, arrays in each_fixture("m3dm.npz"):
        fusion = filled(arrays, detweights)
        xyz, rgb = (torch.from_numpy(arrays[f"uff_{m}"]) for m in ("xyz", "rgb"))
        assert (xyz == 0).any(-1).sum() > 0  # some patches have no shape
        np.testing.assert_allclose(
            fusion(xyz, rgb).detach(), arrays["uff_fused"], rtol=1e-5, atol=1e-5
        )
        loss = fusion.loss(xyz, rgb)
        assert loss.item() == pytest.approx(float(arrays["uff_loss"]), rel=1e-6)
        loss.backward()
        norms = {name: p.grad.norm().item() for name, p in fusion.named_parameters()}
        want = {
            k.removeprefix("uff_gradnorm_"): float(v) for k, v in arrays.items() if "norm_" in k
        }
        want = {name: value for name, value in want.items() if name in norms}
        assert norms.keys() == want.keys()
        assert norms == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("of", ["detect", "seg"])
def test_the_decision_layers_weigh_the_banks_as_published(each_fixture, of):
    for _, arrays in each_fixture("m3dm.npz"):
        values = torch.from_numpy(arrays[f"ocsvm_{of}_X"])
        weights = decision(values)
        np.testing.assert_allclose(weights, arrays[f"ocsvm_{of}_coef"], rtol=1e-6)
        scores = values.double() @ weights
        np.testing.assert_allclose(scores, arrays[f"ocsvm_{of}_score"], rtol=1e-6)


def test_the_banks_have_the_published_sizes_and_scale(each_fixture):
    for _, arrays in each_fixture("m3dm.npz"):
        library = {
            m: torch.from_numpy(arrays[f"lib_{m}"].astype(np.float32))
            for m in ("xyz", "rgb", "fusion")
        }
        mean, deviation = moments([library["xyz"]])[0], moments([library["rgb"]])[1]
        # Published: of the sample, over 21600 entries.
        want = arrays["triple_stats"]
        np.testing.assert_allclose([mean, deviation], want[:2], rtol=5e-5)
        np.testing.assert_array_equal(want, np.tile(want[:2], 3))
        shape = chosen([library["xyz"]], 0, fraction=0.1)
        others = [chosen([library[m]], 0, count=int(0.1 * len(shape))) for m in ("rgb", "fusion")]
        asked = arrays["triple_coreset_requests"][:, 2].tolist()
        assert [len(bank) for bank in (shape, *others)] == asked
        assert len(shape) + 1 == arrays["triple_xyz_bank_rows"]
        assert isinstance(shape, Bank)
