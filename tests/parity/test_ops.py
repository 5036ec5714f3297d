"""Native ops against arrays that the published implementations produced."""

import re

import numpy as np
import pytest
import torch

from cmad import ops


def arrays(path):
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def whole(points):
    """Where one cloud begins and ends."""
    return torch.tensor([0, len(points)])


@pytest.fixture(scope="module")
def files(fixtures_dir):
    """Find the fixture files that have all the given keys; skip where there is none."""

    def find(pattern, *keys):
        found = {}
        for path in sorted(fixtures_dir.glob(pattern)):
            with np.load(path, allow_pickle=False) as file:
                if set(keys) <= set(file.files):
                    found[path.name] = arrays(path)
        if not found:
            pytest.skip(f"no {pattern} with {', '.join(keys)} in CMAD_FIXTURES")
        return found

    return find


def cases(files, pattern):
    """Yield the FPS cases of all files: a name, the points and the published indices."""
    for name, data in files(pattern, "seed").items():
        for key in data:
            if match := re.fullmatch(r"(.+)_pts", key):
                case = match[1]
                want = data[f"{case}_idx"], data[f"{case}_idx_noskip"]
                yield f"{name} {case}", torch.from_numpy(data[key]), *want


def test_fps_without_skip_picks_the_published_indices(files):
    checked = 0
    for name, xyz, _, want in cases(files, "fps*.npz"):
        got = ops.fps(xyz, whole(xyz), len(want), ties="published")[0]
        np.testing.assert_array_equal(got, want, err_msg=name)
        checked += 1
    assert checked


def test_fps_with_skip_picks_the_published_indices(files):
    checked = 0
    for name, xyz, want, _ in cases(files, "fps*.npz"):
        got = ops.fps(xyz, whole(xyz), len(want), ties="published", skip=1e-3)[0]
        # Distances without fused multiply-adds, as the op has them on every device.
        np.testing.assert_array_equal(got, want, err_msg=name)
        checked += 1
    assert checked


def test_fps_of_the_configurations_picks_the_published_centres(files):
    for name, data in files("cfm_*.npz", "config", "fps_idx", "nonzero_indices").items():
        xyz = torch.from_numpy(data["xyz"].reshape(-1, 3)[data["nonzero_indices"]])
        want = data["fps_idx"].astype(np.int64)
        got = ops.fps(xyz, whole(xyz), len(want), ties="published", skip=1e-3)[0]
        np.testing.assert_array_equal(got, want, err_msg=name)


def test_groups_of_the_configurations_are_the_published_sets(files):
    for name, data in files("cfm_*.npz", "config", "group_idx", "nonzero_indices").items():
        xyz = torch.from_numpy(data["xyz"].reshape(-1, 3)[data["nonzero_indices"]])
        centre = xyz[torch.from_numpy(data["fps_idx"].astype(np.int64))]
        want = data["group_idx"].astype(np.int64)
        got = ops.group(xyz, whole(xyz), centre, whole(centre), want.shape[1])
        np.testing.assert_array_equal(got.sort().values, np.sort(want), err_msg=name)
        # The stored groups are the neighbours relative to their centre, in published order.
        at = torch.from_numpy(data["group_sel_small"].astype(np.int64))
        groups = xyz[torch.from_numpy(want)[at]] - centre[at, None]
        np.testing.assert_array_equal(groups, data["groups"], err_msg=name)


def test_three_nn_has_the_exact_indices_and_weights(files):
    for name, data in files("interp*.npz", "idx_exact", "w_exact", "center_idx").items():
        xyz = torch.from_numpy(data["xyz"])
        centre = xyz[torch.from_numpy(data["center_idx"].astype(np.int64))]
        index, weight = ops.three_nn(xyz, whole(xyz), centre, whole(centre))
        np.testing.assert_array_equal(index, data["idx_exact"], err_msg=name)
        # Squared distances and weights are rounded to float32: a few units in the last place.
        np.testing.assert_allclose(weight, data["w_exact"], rtol=1e-6, err_msg=name)


def test_three_nn_of_the_configurations_has_the_exact_indices_and_weights(files):
    for name, data in files("cfm_*.npz", "config", "nn3_idx_exact", "nn3_w_exact").items():
        xyz = torch.from_numpy(data["xyz"].reshape(-1, 3)[data["nonzero_indices"]])
        centre = xyz[torch.from_numpy(data["fps_idx"].astype(np.int64))]
        at = torch.from_numpy(data["pt_sel"].astype(np.int64))
        index, weight = ops.three_nn(xyz[at], whole(at), centre, whole(centre))
        want = data["nn3_idx_exact"].astype(np.int64)
        # The points lie on a grid, so centres tie; the published order of ties is not defined.
        differ = (index.numpy() != want).any(-1)
        d2 = [((xyz[at, None] - centre[i]).double() ** 2).sum(-1) for i in (index, want)]
        np.testing.assert_array_equal(d2[0][differ], d2[1][differ], err_msg=name)
        np.testing.assert_allclose(weight, data["nn3_w_exact"], rtol=1e-6, err_msg=name)


def test_interpolated_features_are_the_exact_ones(files):
    for name, data in files("interp*.npz", "feat", "out_exact").items():
        xyz = torch.from_numpy(data["xyz"])
        centre = xyz[data["center_idx"].astype(np.int64)]
        index, weight = ops.three_nn(xyz, whole(xyz), centre, whole(centre))
        start = torch.arange(0, index.numel() + 1, 3)
        feature = torch.from_numpy(data["feat"].T.copy())
        got = ops.interpolate(feature, start, index.int().reshape(-1), weight.reshape(-1))
        # Sums of three float32 products of size 1, with weights good to 1e-6.
        np.testing.assert_allclose(got.T, data["out_exact"], atol=2e-6, err_msg=name)


def test_box_cascade_smooths_as_published(files):
    for name, data in files("smoothing*.npz", "map_in", "map_box").items():
        got = ops.box_cascade(torch.from_numpy(data["map_in"])[None])[0]
        np.testing.assert_allclose(got, data["map_box"], rtol=1e-5, atol=1e-7, err_msg=name)


def test_box_cascade_spreads_impulses_as_published(files):
    for name, data in files("smoothing*.npz", "impulse_centre").items():
        for key in (key for key in data if key.startswith("impulse_")):
            want = data[key]
            # The cascade reaches 19 pixels, which tells where the impulse was.
            seen = np.argwhere(want > 0)
            at = [
                high - 19 if high < size - 1 else low + 19
                for low, high, size in zip(seen.min(0), seen.max(0), want.shape, strict=True)
            ]
            impulse = torch.zeros(1, *want.shape)
            impulse[0, at[0], at[1]] = 1
            got = ops.box_cascade(impulse)[0]
            np.testing.assert_allclose(got, want, atol=1e-8, err_msg=f"{name} {key}")
