import pytest
import torch

from cmad.ops._call import expect, finite

F32 = torch.float32


def test_a_side_may_be_one_more_than_a_letter():
    got = expect("op", p=(torch.zeros(4), "B+1", F32), q=(torch.zeros(3, 4), "B B+1", F32))
    assert got == {"B": 3}


def test_sizes_are_returned_by_letter():
    got = expect("op", x=(torch.zeros(2, 5, 3), "B N 3", F32), y=(torch.zeros(2, 7), "B K", F32))
    assert got == {"B": 2, "N": 5, "K": 7}


@pytest.mark.parametrize(
    ("shape", "x", "said"),
    [
        ("B N 3", torch.zeros(4, 3), r"\(B, N, 3\), got \(4, 3\)"),
        ("B N 3", torch.zeros(1, 4, 2), r"\(B, N, 3\), got \(1, 4, 2\)"),
        ("S S", torch.zeros(3, 4), r"\(S, S\), got \(3, 4\)"),
        ("K 2", torch.zeros(4, 2), r"\(K=7, 2\), got \(4, 2\)"),
        ("K+1", torch.zeros(7), r"\(K\+1=8\), got \(7,\)"),
        ("B+1", torch.zeros(0), r"\(B\+1\), got \(0,\)"),
        ("K", torch.zeros(7, device="meta"), "on cpu, got meta"),
    ],
)
def test_another_shape_or_device_is_named(shape, x, said):
    with pytest.raises(ValueError, match=f"^op: x must be {said}$"):
        expect("op", k=(torch.zeros(7), "K", F32), x=(x, shape, F32))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([1.0], "a torch tensor, got list"),
        (torch.zeros(4, dtype=torch.float64), "torch.float32, got torch.float64"),
    ],
)
def test_another_type_is_named(x, said):
    with pytest.raises(TypeError, match=f"^op: x must be {said}$"):
        expect("op", x=(x, "N", F32))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_coordinate_that_is_not_finite_is_named(value):
    bad = torch.zeros(2, 3)
    bad[1, 2] = value
    with pytest.raises(ValueError, match=r"^op: y must be finite, got NaN or infinity$"):
        finite("op", x=torch.zeros(2, 3), y=bad)
