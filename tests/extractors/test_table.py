"""The table of 2D extractors in docs/weights.md is what timm says of them."""

import re
from pathlib import Path

import pytest
import timm
import torch

import cmad
from cmad.extractors import ViT
from cmad.extractors.licences import licence_of

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
ROWS = re.findall(
    r"^\| `(\w+\.\w+)` \| [^|]+ \| (\d+) \| (\d+)x(\d+) \| (\d+) \| (\S+) \|$", PAGE, re.M
)


@pytest.fixture
def bare():
    """Make a timm model without memory for its weights."""

    def make(name, **size):
        with torch.device("meta"):
            return timm.create_model(name, num_classes=0, **size)

    return make


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_of_the_table_is_true(row, bare):
    name, patch, height, width, dim, licence = row
    extractor = ViT(bare(name, img_size=224))
    assert extractor.grid == (int(height), int(width))
    assert 224 // int(patch) == extractor.grid[0]
    assert extractor.dim == int(dim)
    assert licence_of({"kind": "vit", "model": name, "weights": None}) == licence


def test_the_table_has_those_of_the_paper():
    assert len(ROWS) == 7
    paper = {a.made["rgb"] for a in cmad.CFM.ablations if a.table == "8"}
    assert paper <= {row[0] for row in ROWS}
