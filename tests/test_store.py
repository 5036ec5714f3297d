"""Kept features: what goes in comes out, from memory and from disk; no file stays behind."""

import glob
import tempfile

import pytest
import torch

from cmad.store import FeatureStore
from cmad.types import Features, PixelWeights, Window


def features(seed):
    g = torch.Generator().manual_seed(seed)
    weights = PixelWeights(
        pixel=torch.tensor([3, 7]),
        start=torch.tensor([0, 1, 3]),
        index=torch.tensor([0, 1, 2], dtype=torch.int32),
        weight=torch.rand(3, generator=g),
    )
    tokens, centres = torch.rand(2, 2, 5, generator=g), torch.rand(3, 7, generator=g)
    return Features(tokens, centres, weights, 4, Window(9, 1, 0, 7, 9), f"part {seed}")


@pytest.mark.parametrize("limit", [1 << 30, 0, 250])
def test_features_come_back_as_they_went_in(limit):
    kept = [features(seed) for seed in range(4)]
    with FeatureStore(torch.float32, limit) as store:
        for f in kept:
            store.append(f)
        assert len(store) == 4
        assert store.nbytes <= limit
        for want, got in zip(kept, store, strict=True):
            assert torch.equal(want.tokens, got.tokens)
            assert torch.equal(want.centres, got.centres)
            for name, tensor in vars(want.weights).items():
                assert torch.equal(tensor, getattr(got.weights, name))
            assert (got.image_size, got.window, got.name) == (4, want.window, want.name)


def test_half_precision_halves_the_features():
    with FeatureStore() as store:
        store.append(features(0))
        assert store[0].tokens.dtype == store[0].centres.dtype == torch.float16
        assert store[0].weights.weight.dtype == torch.float32


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
