"""Kept features: what goes in comes out, from memory and from disk; no file stays behind."""

import glob
import tempfile

import pytest
import torch

from cmad.rasters import only
from cmad.store import FeatureStore
from cmad.types import Features, Points, Window


def features(seed, depth=True):
    g = torch.Generator().manual_seed(seed)
    points = {
        name: Points(
            torch.rand(3, 7, generator=g),
            torch.tensor([[0, 1], [2, 0]]),
            torch.rand(2, 2, generator=g),
        )
        for name in ("xyz", "views/of the surface")
    }
    valid = torch.zeros(4, 4, dtype=torch.bool)
    valid[1, 2] = valid[3, 0] = True
    return Features(
        tokens={"rgb": torch.rand(2, 2, 5, generator=g)},
        points=points,
        valid=valid,
        image_size=4,
        window=Window(9, 1, 0, 7, 9),
        name=f"part {seed}",
        depth=torch.rand(4, 4, generator=g) if depth else None,
        region=torch.rand(4, 4, generator=g) > 0.5 if depth else None,
    )


def tensors(f):
    """All tensors, in an order."""
    found = [*f.tokens.values(), *(t for p in f.points.values() for t in vars(p).values())]
    return [*found, f.valid, *(t for t in (f.depth, f.region) if t is not None)]


@pytest.mark.parametrize("limit", [1 << 30, 0, 800])
@pytest.mark.parametrize("depth", [True, False])
def test_features_come_back_as_they_went_in(limit, depth):
    kept = [features(seed, depth) for seed in range(4)]
    with FeatureStore(torch.float32, limit) as store:
        for f in kept:
            store.append(f)
        assert len(store) == 4
        assert store.nbytes <= limit
        assert (store.nbytes > 0) == (limit > 0)
        for want, got in zip(kept, store, strict=True):
            assert list(got.tokens) == list(want.tokens)
            assert list(got.points) == list(want.points)  # channels lie in this order
            for a, b in zip(tensors(want), tensors(got), strict=True):
                assert torch.equal(a, b)
            assert (got.image_size, got.window, got.name) == (4, want.window, want.name)


def test_features_of_one_modality_come_back_without_the_other():
    with FeatureStore(torch.float32, 0) as store:
        store.append(only(features(0), ("2d",)))
        store.append(only(features(0), ("3d",)))
        assert [f.modalities for f in store] == [("2d",), ("3d",)]
        assert store[0].valid is None


def test_half_precision_halves_the_features():
    with FeatureStore() as store:
        store.append(features(0))
        assert store[0].tokens["rgb"].dtype == torch.float16
        assert store[0].points["xyz"].features.dtype == torch.float16
        assert store[0].points["xyz"].weight.dtype == torch.float32


def test_files_are_deleted_at_the_end_even_after_an_error():
    pattern = f"{tempfile.gettempdir()}/cmad-features-*"
    before = set(glob.glob(pattern))

    def fails_halfway():
        with FeatureStore(limit=0) as store:
            store.append(features(0))
            assert set(glob.glob(pattern)) - before
            raise KeyError

    with pytest.raises(KeyError):
        fails_halfway()
    assert set(glob.glob(pattern)) == before
