"""What G2SF would have learnt, had its training stopped earlier (the learning curve)."""

import itertools

import pytest
import torch

import cmad
from cmad.detectors import _g2sf_learning

HOW = {"synthetic_parts": 6, "patches_per_part": 30, "batch_size": 16, "progress": False}


@pytest.fixture
def untrained(make):
    def made():
        options = {"cells": 12, "fraction": 0.3, "image_size": 48}
        return cmad.G2SF(rgb=make["vit"](), xyz=make["point_mae"](), **options)

    return made


def test_an_earlier_stop_is_a_shorter_training(untrained, parts, monkeypatch):
    better = itertools.count(0, -1)  # each epoch is the best so far
    monkeypatch.setattr(_g2sf_learning, "validated", lambda *args: float(next(better)))
    detector = untrained()
    detector.stops = {2, 8}
    detector.fit(parts[:3], epochs=9, **HOW)
    assert set(detector.stopped) == {2, 8}
    network = {}
    for epochs, tensors in detector.stopped.items():
        short = untrained().fit(parts[:3], epochs=epochs, **HOW)
        assert short.tensors().keys() == tensors.keys()
        for name, tensor in short.tensors().items():
            assert torch.equal(tensor, tensors[name]), (epochs, name)
        network[epochs] = torch.cat([t.flatten() for n, t in tensors.items() if "lspn" in n])
    assert not torch.equal(network[2], network[8])


def test_without_asking_nothing_is_kept(untrained, parts):
    assert untrained().fit(parts[:3], epochs=3, **HOW).stopped == {}
