"""Training and prediction in blocks: nothing is lost at their edges, nor in half precision."""

import numpy as np
import pytest
import torch

from cmad.detectors import _extraction
from cmad.detectors._training import train
from cmad.nn import Mappings
from cmad.ops import discrepancy
from cmad.pipeline import Pipeline
from cmad.rasters import Raster, foreground, rows
from cmad.store import FeatureStore
from cmad.types import Features, Points, Window

SIZE = 160


def whole_frame(seed, channels=(32, 48)):
    """Features of a frame that the part fills: 25,600 pixels, each with a point of its own."""
    g = torch.Generator().manual_seed(seed)
    n, (d2, d3) = SIZE * SIZE, channels
    tokens = torch.randn(20, 20, d2, generator=g)
    wide = torch.nn.functional.interpolate(tokens.permute(2, 0, 1)[None], (SIZE, SIZE))[0]
    mixed = wide.flatten(1).T @ torch.randn(d2, d3, generator=torch.Generator().manual_seed(9))
    points = Points(mixed, torch.arange(n)[:, None], torch.ones(n, 1))
    valid = torch.ones(SIZE, SIZE, dtype=torch.bool)
    window = Window(SIZE, 0, 0, SIZE, SIZE)
    return Features({"rgb": tokens}, {"xyz": points}, valid, SIZE, window)


def losses_in(precision, epochs=8):
    mappings = Mappings(32, 48, 0)
    with FeatureStore(torch.float16) as store:
        for seed in range(2):
            store.append(whole_frame(seed))
        losses, _ = train(
            mappings,
            store,
            Raster(SIZE),
            epochs=epochs,
            pixels_per_image=None,
            batch_size=2,
            shuffle=False,
            seed=0,
            precision=precision,
            step=lambda note="": None,
        )
        return losses


@pytest.mark.slow
def test_training_in_half_precision_learns_as_in_full_from_as_many_pixels_as_parts_have():
    """The gradients of a mean over 51,200 pixels are below float16's smallest number."""
    full, half, brain = (losses_in(p) for p in (torch.float32, torch.float16, torch.bfloat16))
    assert sum(full[-1]) < 0.97 * sum(full[0])
    assert half == full
    assert sum(brain[-1]) == pytest.approx(sum(full[-1]), rel=0.02)


def test_discrepancies_are_those_of_the_networks_as_they_were_trained(trained, parts):
    [features] = trained.pipeline.features([trained.pipeline.frame(parts[0])])
    raster = trained.raster
    cell = foreground(features, raster)
    e = rows(features, raster, cell)
    with torch.no_grad():
        predicted = trained.mappings(e["2d"], e["3d"])
    for psi, f, observed in zip(
        trained.discrepancies(features), predicted, (e["2d"], e["3d"]), strict=True
    ):
        want = discrepancy(f, observed)[0]
        # float32, multiplied out in another order.
        torch.testing.assert_close(psi.flatten()[cell], want, rtol=0, atol=2e-6)
        assert int((psi != 0).sum()) == len(cell)


def test_frames_beyond_those_for_the_statistics_are_trained_on_too(untrained, parts, monkeypatch):
    monkeypatch.setattr(_extraction, "STATISTICS_FRAMES", 2)
    detector = untrained()
    with FeatureStore(torch.float32) as store:
        pipeline, ranges = _extraction.extract(
            detector.pipeline, iter(parts[:5]), store, None, False, []
        )
        assert [features.name for features in store] == [part.name for part in parts[:5]]
        assert ranges.parts == 5
        alone = pipeline.features([pipeline.frame(part) for part in parts[:5]])
        for kept, want in zip(store, alone, strict=True):
            assert torch.equal(kept.tokens["rgb"], want.tokens["rgb"])
            for field, tensor in vars(kept.points["xyz"]).items():
                assert torch.equal(tensor, vars(want.points["xyz"])[field])
    frames = [detector.pipeline.frame(part) for part in parts[:2]]
    first, _ = detector.pipeline.with_statistics(frames)
    for name, value in first.extractors["xyz"].statistics.items():
        assert torch.equal(value, pipeline.extractors["xyz"].statistics[name])


@pytest.mark.parametrize("count", [7, 8, 9, 17])
def test_every_part_of_a_batch_is_predicted_in_its_place(count, trained, make):
    parts = [make["part"](seed) for seed in range(count)]  # around the size of a block of parts
    got = trained.predict([p.rgb for p in parts], [p.xyz for p in parts])
    assert [p.name for p in got] == [f"frame {i}" for i in range(count)]
    want = [trained.predict(p.rgb, p.xyz) for p in parts]
    assert [p.score for p in got] == [p.score for p in want]
    assert all(np.array_equal(a.map, b.map) for a, b in zip(got, want, strict=True))


def test_a_large_batch_goes_through_the_extractors_in_blocks(trained, parts, monkeypatch):
    sizes, features = [], Pipeline.features

    def counted(self, frames):
        sizes.append(len(frames))
        return features(self, frames)

    monkeypatch.setattr(Pipeline, "features", counted)
    trained.predict([parts[0].rgb] * 19, [parts[0].xyz] * 19)
    assert sizes == [8, 8, 3]


def test_tokens_are_kept_by_row_and_column(trained, parts):
    pipeline = trained.pipeline
    frame = pipeline.frame(parts[0])
    [made] = pipeline.features([frame])
    [want] = pipeline.extractors["rgb"].tokens(frame.rgb[None])
    assert not torch.equal(want[:, 3, 7], want[:, 7, 3])
    torch.testing.assert_close(made.tokens["rgb"][3, 7], want[:, 3, 7])


def test_features_hold_the_depth_of_the_frame_where_a_method_asks_for_it(trained, make, parts):
    assert trained.pipeline.features([trained.pipeline.frame(parts[0])])[0].depth is None
    pipeline = Pipeline({"rgb": make["vit"]()}, trained.pipeline.preprocessing, depth=True)
    frame = pipeline.frame(parts[0])  # with points, though no extractor takes them
    [made] = pipeline.features([frame])
    assert torch.equal(made.depth, frame.xyz[..., 2])
    assert torch.equal(made.valid, frame.valid)
