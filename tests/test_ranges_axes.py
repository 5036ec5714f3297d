"""Exchanged axes are told apart: of both arrays, of one of them, of coordinates, of the part."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmad.ranges import Ranges, look
from cmad.ranges.axes import STILL, Exchange, exchanges, undone
from cmad.ranges.looks import TURNS, turned
from cmad.types import Frame, Window

S = 64
TURNED = range(1, 8)
PLANE = np.array([0.11, -0.36, -0.92])


def smooth(rng, size=S):
    """Draw a field of a few bumps, without symmetry, in [-1, 1]."""
    row, column = np.indices((size, size)) / size
    field = np.zeros((size, size))
    for _ in range(6):
        r, c, width = rng.uniform([0.2, 0.2, 0.08], [0.8, 0.8, 0.2])
        field += rng.choice([-1, 1]) * np.exp(-((row - r) ** 2 + (column - c) ** 2) / width**2)
    return field / np.abs(field).max()


def arrays(design=0, noise=0, follows=False):
    """Return image (S, S), points (S, S, 3) and the part's pixels of a part as it should be.

    Args:
        design: seed of what the part looks like.
        noise: seed of what differs between parts.
        follows: whether the image shows where the part is, and nothing else.

    """
    rng, other = np.random.default_rng([1, design]), np.random.default_rng([2, noise])
    paint, outline, relief = smooth(rng), smooth(rng), smooth(rng)
    row, column = np.indices((S, S))
    valid = (outline > 0.1) | (np.hypot(row - 34, column - 36) < 9)
    light = 60.0 + 120 * valid if follows else 120 + 60 * paint
    z = 0.5 + 1e-3 * relief + 2e-5 * other.standard_normal((S, S))
    xyz = np.stack([1e-3 * (column - 20), 1e-3 * (row - 40), z], -1)
    return light + 3 * other.standard_normal((S, S)), xyz, valid


def seen(light, xyz, valid, plane=PLANE):
    """Look at a part."""
    rgb = torch.from_numpy(np.repeat(light[None], 3, 0).clip(0, 255).astype(np.uint8))
    points = torch.from_numpy(np.where(valid[..., None], xyz, 0).astype(np.float32))
    frame = Frame(rgb, points, torch.from_numpy(valid.copy()), Window(S, 0, 0, S, S))
    plane = None if plane is None else (*(plane / np.linalg.norm(plane)), 0.6)
    return look(replace(frame, plane=plane))


def happened(exchange, light, xyz, valid):
    """Turn a part's arrays, and write its coordinates otherwise."""
    turn = TURNS[exchange.xyz]
    xyz = np.stack([s * turned(xyz[..., i], turn) for i, s in exchange.signs], -1)
    return turned(light, TURNS[exchange.rgb]).copy(), xyz, turned(valid, turn).copy()


def written(exchange, vector=PLANE):
    """Write a vector as the points are."""
    return np.array([s * vector[i] for i, s in exchange.signs])


@pytest.fixture(scope="module")
def alike():
    """Ranges of parts that lie alike."""
    return Ranges.of([seen(*arrays(noise=n)) for n in range(8)])


@pytest.fixture(scope="module")
def anyhow():
    """Ranges of parts that lie anyhow, whose image shows where they are."""
    return Ranges.of([seen(*arrays(n, n, follows=True)) for n in range(8)])


def test_parts_like_training_have_nothing_exchanged(alike, anyhow):
    for n in range(20, 30):
        assert exchanges(seen(*arrays(noise=n)), alike) == []
        assert exchanges(seen(*arrays(n, n, follows=True)), anyhow) == []


KINDS = {
    "both": [Exchange(t, t) for t in TURNED],
    "xyz": [Exchange(STILL, t) for t in TURNED],
    "rgb": [Exchange(t, STILL) for t in TURNED],
    "coordinates": [
        Exchange(signs=((2, 1), (1, 1), (0, 1))),
        Exchange(signs=((1, 1), (2, 1), (0, 1))),
        Exchange(signs=((2, -1), (0, 1), (1, 1))),
        Exchange(signs=((0, -1), (1, 1), (2, 1))),
        Exchange(signs=((0, 1), (1, -1), (2, -1))),
    ],
    "arrays and coordinates": [Exchange(1, 1, ((2, 1), (1, 1), (0, 1)))],
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_exchange_is_found_where_parts_lie_alike(kind, alike):
    for exchange in KINDS[kind]:
        part = seen(*happened(exchange, *arrays(noise=50)), plane=written(exchange))
        assert exchanges(part, alike) == [exchange], exchange


@pytest.mark.parametrize("kind", ["both", "xyz", "rgb"])
def test_what_does_not_fit_is_found_where_parts_lie_anyhow(kind, anyhow):
    for design in range(60, 64):
        for exchange in KINDS[kind]:
            part = seen(*happened(exchange, *arrays(design, 50, follows=True)))
            assert exchanges(part, anyhow) == [exchange], exchange


def test_a_part_that_is_turned_is_told_from_turned_arrays(alike):
    for turn in (3, 5, 6):
        both = Exchange(turn, turn)
        light, xyz, valid = happened(both, *arrays(noise=50))
        xyz[..., :2] = arrays()[1][..., :2]  # the coordinates run as ever
        assert exchanges(seen(light, xyz, valid), alike) == [Exchange(turn, turn, turned=True)]
        # The image alone is another matter, the points alone are not seen to be wrong.
        assert exchanges(seen(arrays()[0], xyz, valid), alike) == []


def test_an_image_that_is_turned_over_a_symmetric_shape_is_no_turned_part(alike):
    symmetric = replace(alike, leads={**alike.leads, "shape": [0.0] * 8})
    for exchange in KINDS["rgb"]:
        part = seen(*happened(exchange, *arrays(noise=50)))
        assert exchanges(part, symmetric) == [exchange]


def test_pictures_alone_say_nothing_where_shapes_differ_in_training(alike):
    rgb = Exchange(3, STILL)
    part = seen(*happened(rgb, *arrays(noise=50)))
    assert exchanges(part, alike) == [rgb]
    assert exchanges(part, replace(alike, likes={**alike.likes, "shape": 0.6})) == []


def test_without_points_it_takes_more_training_parts(alike):
    light, _, _ = happened(Exchange(1, 1), *arrays(noise=50))
    rgb = torch.from_numpy(np.repeat(light[None], 3, 0).astype(np.uint8))
    part = look(Frame(rgb, None, None, Window(S, 0, 0, S, S)))
    known = replace(alike, likes={"rgb": alike.likes["rgb"]}, directions={})
    assert exchanges(part, known) == []
    assert exchanges(part, replace(known, parts=16)) == [Exchange(1, 1, turned=True)]


def test_another_image_is_not_a_turned_one(alike):
    for design in range(70, 80):
        other = arrays(design, 50)[0]
        assert exchanges(seen(other, *arrays(noise=50)[1:]), alike) == []


def test_without_pictures_all_that_cannot_be_told_apart_is_named_and_no_more(alike):
    blind = replace(alike, leads={}, registered=())
    light, xyz, valid = arrays(noise=50)
    negated = Exchange(signs=((0, -1), (1, 1), (2, 1)))
    part = seen(light, xyz * [-1, 1, 1], valid, written(negated))
    assert exchanges(part, blind) == [negated]  # the background's normal tells
    middle = replace(blind, directions={n: blind.directions[n] for n in ("column", "row")})
    found = exchanges(part, middle)
    assert negated in found
    assert Exchange(1, 1) in found
    assert Exchange(STILL, 1) in found
    assert len(found) == 3


def test_points_that_no_exchange_explains_are_none(alike):
    light, xyz, valid = arrays(noise=50)
    slanted = xyz @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    assert exchanges(seen(light, slanted, valid), alike) is None


def test_an_exchange_is_undone_for_directions_as_for_arrays(alike):
    for exchange in [e for kind in KINDS.values() for e in kind]:
        part = seen(*happened(exchange, *arrays(noise=50)), plane=written(exchange))
        back = undone(part.directions, exchange)
        for name, known in alike.directions.items():
            np.testing.assert_allclose(back[name], known.mean, atol=0.05)


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        (Exchange(1, 1), "the arrays are mirrored left-right"),
        (Exchange(2, STILL), "rgb alone is mirrored top-bottom (it does not fit xyz)"),
        (Exchange(STILL, 4), "xyz alone is transposed, rows for columns (it does not fit rgb)"),
        (Exchange(3, 3, turned=True), "the part, the camera or the image is turned by 180 degrees"),
        (Exchange(signs=((0, -1), (1, 1), (2, -1))), "x and z are negated"),
        (Exchange(signs=((0, 1), (1, -1), (2, 1))), "y is negated"),
        (Exchange(signs=((2, 1), (0, -1), (1, 1))), "x, y, z are written as z, -x, y"),
        (
            Exchange(2, 2, ((2, 1), (1, 1), (0, 1))),
            "the arrays are mirrored top-bottom, and x, y, z are written as z, y, x",
        ),
    ],
)
def test_an_exchange_is_described(exchange, said):
    assert exchange.describe() == said


def test_turns_are_named_as_numpy_turns():
    names = {
        "mirrored left-right": np.fliplr,
        "mirrored top-bottom": np.flipud,
        "turned by 180 degrees": lambda a: np.rot90(a, 2),
        "transposed, rows for columns": np.transpose,
        "turned by 90 degrees": np.rot90,
    }
    array = np.arange(9.0).reshape(3, 3)
    for name, turn in names.items():
        own = [t for t in TURNED if (turned(array, TURNS[t]) == turn(array)).all()]
        assert len(own) == 1
        assert f"arrays are {name}" in Exchange(own[0], own[0]).describe()
    assert (turned(array, TURNS[STILL]) == array).all()
