"""Licences of weights, as far as they are known."""

import pytest

import cmad
from cmad.extractors import licences
from cmad.extractors.licences import licence_of


@pytest.mark.parametrize(
    ("config", "licence"),
    [
        ({"kind": "vit", "model": "vit_base_patch8_224.dino", "weights": None}, "apache-2.0"),
        ({"kind": "vit", "model": "vit_base_patch16_dinov3", "weights": None}, "dinov3-license"),
        ({"kind": "vit", "model": "vit_base_patch8_224.dino", "weights": "random"}, "none needed"),
        ({"kind": "vit", "model": "vit_base_patch8_224.dino", "weights": "/a/file"}, "not known"),
        ({"kind": "vit", "model": {"depth": 3}, "weights": "given"}, "not known"),
        ({"kind": "vit", "model": None, "weights": None}, "not known"),
        ({"kind": "point_mae", "weights": None}, "MIT"),
        ({"kind": "point_mae", "weights": "random"}, "none needed"),
        ({"kind": "fpfh"}, "none needed"),
        ({"kind": "geometry"}, "none needed"),
        ({"kind": "normals", "vit": {"kind": "vit", "weights": "random"}}, "none needed"),
        ({"kind": "normals", "vit": {"kind": "vit", "weights": "given"}}, "not known"),
        ({"kind": "own"}, "not known"),
        ({}, "not known"),
    ],
    ids=str,
)
def test_the_licence_is_that_of_the_weights(config, licence):
    assert licence_of(config) == licence


def test_a_model_without_a_stated_licence_is_not_known(monkeypatch):
    class Timm:
        def get_pretrained_cfg(self, name):
            return None

    monkeypatch.setattr(licences, "timm", Timm)
    assert licence_of({"kind": "vit", "model": "vit_of_mine", "weights": None}) == "not known"


def test_the_extractors_own_configurations_are_understood():
    vit = cmad.extractors.ViT("test_vit", weights="random")
    points = cmad.extractors.PointMAE(weights="random", depth=1, dim=12, heads=2)
    assert {licence_of(e.config()) for e in (vit, points)} == {"none needed"}
    weights = vit.state_dict()
    assert licence_of(cmad.extractors.ViT("test_vit", weights=weights).config()) == "not known"
