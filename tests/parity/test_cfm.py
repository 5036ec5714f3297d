"""CFM stage by stage against the published implementation (semantics B, C, K).

Configurations, seeds and sizes come from the files: every `cfm_*.npz` with a `config` key.
"""

import ast

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

import cmad
from cmad import maps, ops
from cmad.nn import cosine_losses
from cmad.rasters import foreground, rows
from cmad.types import Frame, Window

RELATIVE = 1e-5


def close(got, want, relative=RELATIVE, what=""):
    """Compare to a share of the largest magnitude: rounding is relative to sums, not to results."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, what
    np.testing.assert_allclose(got, want, rtol=0, atol=relative * np.abs(want).max(), err_msg=what)


class Stages:
    """One configuration, run once: the detector, its features and the stored arrays."""

    def __init__(self, path, arrays, detweights, published):
        self.path, self.arrays = path, arrays
        self.config = ast.literal_eval(str(arrays["config"]))
        self.detector = published(self.config, arrays["rgb"].shape[0])
        size = arrays["xyz"].shape[0]
        xyz = torch.from_numpy(arrays["xyz"])
        self.frame = Frame(
            rgb=torch.from_numpy(arrays["rgb"]).permute(2, 0, 1).contiguous(),
            xyz=xyz,
            valid=(xyz != 0).all(-1),
            window=Window(size, 0, 0, size, size),
        )
        [self.features] = self.detector.pipeline.features([self.frame])
        self.cell = foreground(self.features, self.detector.raster)
        self.row_of = torch.full((size * size,), -1)
        self.row_of[self.cell] = torch.arange(len(self.cell))
        self.load_mappings(detweights)

    def load_mappings(self, detweights):
        from safetensors.torch import load_file

        stored = self.path.with_suffix(".safetensors")
        if stored.exists():  # small configurations carry fitted mappings
            state = load_file(stored)
            self.mapping_state = {
                n: {k[len(n) + 1 :]: v for k, v in state.items() if k.startswith(n + ".")}
                for n in ("CFM_2Dto3D", "CFM_3Dto2D")
            }
        else:
            d2, d3 = self.config["D2"], self.config["D3"]
            mappings = cmad.nn.Mappings(d2, d3, 0)
            for name in ("CFM_2Dto3D", "CFM_3Dto2D"):
                detweights.fill(getattr(mappings, name), self.config["wseed"], name + ".")
            self.mapping_state = {
                n: getattr(mappings, n).state_dict() for n in ("CFM_2Dto3D", "CFM_3Dto2D")
            }
        self.detector.load_mappings(*self.mapping_state.values())

    def at(self, pixels):
        """Rows of pixels, which must be foreground."""
        return self.row_of[torch.from_numpy(pixels.astype(np.int64))]


_CACHE = {}


@pytest.fixture
def stages(parity_folder, detweights, published):
    """Run every configuration once per session."""
    if not _CACHE:
        for path in sorted(parity_folder.glob("cfm_*.npz")):
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            if "config" in arrays:
                _CACHE[path.stem] = Stages(path, arrays, detweights, published)
    if not _CACHE:
        pytest.skip("no cfm_*.npz with a config in CMAD_FIXTURES")
    return list(_CACHE.values())


def test_foreground_is_the_published_mask(stages):
    for s in stages:
        dropped = np.unpackbits(s.arrays["mask"])[: s.row_of.numel()].astype(bool)
        np.testing.assert_array_equal((s.row_of < 0).numpy(), dropped, err_msg=s.path.stem)


def test_pixel_features_are_the_published_ones(stages):
    for s in stages:
        at = s.at(s.arrays["pix"])
        inside = (at >= 0).numpy()
        assert inside.sum() > 20
        every_row = rows(s.features, s.detector.raster)
        close(every_row["2d"][at[inside]], s.arrays["rgb_patch"][inside], what=s.path.stem)
        # Against the float64 interpolation: in float32 the published one is off by 1e-3 (C12).
        stored = s.arrays["xyz_patch_f64"]
        every = len(at) // len(stored)
        there = inside[::every]
        close(every_row["3d"][at[::every][there]], stored[there], what=s.path.stem)
        beside = s.arrays["xyz_patch"][~inside]
        assert not beside.any()


def test_mapped_features_are_the_published_ones(stages):
    for s in stages:
        at = s.at(s.arrays["pix"])
        inside = (at >= 0).numpy()
        e_2d = torch.from_numpy(s.arrays["rgb_patch"][inside])
        e_3d = torch.from_numpy(s.arrays["xyz_patch"][inside])
        with torch.inference_mode():
            predicted_2d, predicted_3d = s.detector.mappings(e_2d, e_3d)
        close(predicted_2d, s.arrays["rgb_pred"][inside], what=s.path.stem)
        close(predicted_3d, s.arrays["xyz_pred"][inside], what=s.path.stem)


def test_maps_and_scores_are_the_published_ones(stages):
    """The published float32 interpolation alone moves psi by up to 5e-5 here (semantics C12)."""
    for s in stages:
        psi_2d, psi_3d = s.detector.discrepancies(s.features)
        fused = maps.fuse(psi_2d, psi_3d)
        map_, _, score = maps.official_map(fused)
        noise = np.abs(s.arrays["smooth"] - s.arrays["smooth_f64interp"]).max()
        noise = noise / np.abs(s.arrays["smooth"]).max()
        close(psi_2d, s.arrays["psi_2d"], 2e-4, s.path.stem)
        close(psi_3d, s.arrays["psi_3d"], 2e-4, s.path.stem)
        close(ops.box_cascade(fused[None])[0], s.arrays["smooth_f64interp"], 1e-5, s.path.stem)
        close(map_, s.arrays["pred_map"], 1e-5 + 2 * noise, s.path.stem)
        np.testing.assert_allclose(score, s.arrays["image_score_f64interp"], rtol=1e-5)


def test_losses_and_gradients_are_the_published_ones(stages):
    for s in stages:
        e = rows(s.features, s.detector.raster)
        e_2d, e_3d = e["2d"], e["3d"]
        mappings = s.detector.mappings
        mappings.zero_grad()
        loss_2d, loss_3d = cosine_losses(*mappings(e_2d, e_3d), e_2d, e_3d)
        (loss_2d + loss_3d).backward()
        np.testing.assert_allclose(loss_3d.item(), s.arrays["loss_2Dto3D"], rtol=2e-5)
        np.testing.assert_allclose(loss_2d.item(), s.arrays["loss_3Dto2D"], rtol=2e-5)
        for name, parameter in mappings.named_parameters():
            norm = float(s.arrays[f"gradnorm_{name}"])
            np.testing.assert_allclose(float(parameter.grad.norm()), norm, rtol=1e-4, err_msg=name)
            stored = s.arrays[f"grad_{name}"]
            every = -(-parameter.numel() // len(stored))
            # Gradients add thousands of pixels that nearly cancel, in another order than published.
            close(parameter.grad.flatten()[::every], stored, 2e-4, name)
        mappings.zero_grad()


def test_five_training_steps_are_the_published_ones(each_fixture, detweights):
    for _, arrays in each_fixture("cfm_train_step*.npz"):
        d2, d3 = arrays["dims"].tolist()
        mappings = cmad.nn.Mappings(d2, d3, 0)
        for name in ("CFM_2Dto3D", "CFM_3Dto2D"):
            detweights.fill(getattr(mappings, name), int(arrays["seed"]), name + ".")
            want = arrays["checksum_" + name[4:]]
            np.testing.assert_allclose(detweights.checksum(getattr(mappings, name)), want)
        e_2d = torch.from_numpy(arrays["rgb_patch"].astype(np.float32)).flatten(0, 1)
        e_3d = torch.from_numpy(arrays["xyz_patch"].astype(np.float32)).flatten(0, 1)
        used = e_3d.sum(-1) != 0
        assert int(used.sum()) == int(arrays["n_used"])
        e_2d, e_3d = e_2d[used], e_3d[used]
        adam = torch.optim.Adam(mappings.parameters(), lr=1e-3)
        compared = []
        for step in range(len(arrays["losses"])):
            loss_2d, loss_3d = cosine_losses(*mappings(e_2d, e_3d), e_2d, e_3d)
            close([loss_3d.item(), loss_2d.item()], arrays["losses"][step])
            adam.zero_grad()
            (loss_2d + loss_3d).backward()
            if step == 0:
                for name, parameter in mappings.named_parameters():
                    close(parameter.grad, arrays[f"grad_{name}"], what=name)
            adam.step()
            for name, parameter in mappings.named_parameters():
                if (stored := arrays.get(f"step{step + 1}_{name}")) is None:
                    continue
                compared.append((step + 1, name))
                value = parameter.detach().flatten()
                value = value[::5] if value.numel() >= 2000 else value
                # Adam divides by the gradient's size: where that is near rounding error, the
                # step of 1e-3 may differ by a share; 2e-5 of the largest weight covers it.
                close(value, stored, 2e-5, what=name)
        names = [name for name, _ in mappings.named_parameters()]
        assert {step for step, _ in compared} == {1, len(arrays["losses"])}
        assert len(compared) == 2 * len(names)


def test_cosine_loss_is_one_minus_cosine():
    a = torch.tensor([[3.0, 4.0]])
    b = torch.tensor([[4.0, 3.0]])
    loss, other = cosine_losses(a, b, b, b)
    assert float(loss) == pytest.approx(1 - 24 / 25, abs=1e-6)
    assert float(other) == pytest.approx(0, abs=1e-6)
    assert functional.cosine_similarity(a, b).item() == pytest.approx(0.96, abs=1e-6)
