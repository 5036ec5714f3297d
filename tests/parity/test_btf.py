"""BTF's patches, score and map against the published code's (semantics I)."""

import numpy as np
import torch

from cmad import maps
from cmad.bank import Bank
from cmad.detectors._memory import Memory
from cmad.extractors import FPFH, Pyramid
from cmad.presets import PRESETS
from cmad.rasters import Raster, everything, rows
from cmad.types import Features, Window


def test_histograms_on_the_grid_of_patches_are_the_published_ones(each_fixture):
    for _, arrays in each_fixture("btf.npz"):
        xyz = torch.from_numpy(arrays["xyz0"])
        valid = (xyz != 0).all(-1)
        points = FPFH(standardised=False).points(xyz[valid])
        features = Features({}, {"xyz": points}, valid, len(xyz), Window(0, 0, 224, 224, 224))
        raster = Raster(28, PRESETS["official"].smoothing)
        got = rows(features, raster, everything(features, raster))["3d"]
        want = arrays["fpfh28"][0]
        # Ours are float32, values reach some 200.
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * np.abs(want).max())


def test_the_layers_have_the_published_shapes(each_fixture):
    for _, arrays in each_fixture("btf.npz"):
        shapes = arrays["wrn_shapes"].tolist()
        net = Pyramid("wide_resnet50_2", weights="random")
        assert net.grid == tuple(shapes[0][2:])
        assert net.dim == sum(shape[1] for shape in shapes)
        image = torch.zeros(1, 3, 224, 224)
        layers = net._net.forward_intermediates(image, indices=[2, 3], intermediates_only=True)
        assert [list(layer.shape) for layer in layers] == shapes


def test_the_map_is_the_published_one_but_for_its_bank(each_fixture):
    """The file has neither the bank nor which rows are in it.

    The published picks are by distances rounded to float16; what their bank would have to be for
    this map is not known, so only what holds for any bank of these parts is compared.
    """
    for _, arrays in each_fixture("btf.npz"):
        assert arrays["concat_dtype"] == "torch.float64"
        joined = np.concatenate([arrays["rgb_standin"].astype(np.float64), arrays["fpfh28"]], 2)
        good, patch = torch.from_numpy(joined[:2]).flatten(0, 1), torch.from_numpy(joined[2])
        memory = Memory(Bank.build(good.float(), fraction=0.1), 1.0, 1.0)
        distance, index = memory.nearest(patch.float())
        grid = maps.enlarged(maps.on_grid(distance, torch.arange(784), 28), 224)
        map_, want = maps.smoothed(grid, PRESETS["official"].scaling), arrays["score_map"]
        peaks = [np.array(np.unravel_index(m.argmax(), m.shape)) for m in (map_.numpy(), want)]
        assert np.abs(peaks[0] - peaks[1]).max() <= 8  # a cell
        score = memory.image_score(patch.float(), distance, index)
        np.testing.assert_allclose(score, arrays["score"], rtol=0.05)
