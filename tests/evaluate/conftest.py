import pytest

import cmad


@pytest.fixture(scope="session")
def make():
    """Makes quick untrained detectors with random weights; takes CFM's other options."""

    def detector(**options):
        return cmad.CFM(
            rgb=cmad.extractors.ViT("test_vit", block=1, image_size=64, weights="random"),
            xyz=cmad.extractors.PointMAE(
                groups=32, group_size=8, dim=24, heads=2, depth=1, weights="random"
            ),
            image_size=64,
            **options,
        )

    return detector
