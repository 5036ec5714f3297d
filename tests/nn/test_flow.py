"""AST's networks: a coupling by hand, the way back, the determinant, what a channel comes from."""

import math

import numpy as np
import pytest
import torch

from cmad.nn.flow import POSITIONS, Coupling, Teacher, positions, teacher_loss
from cmad.nn.student import Student, distances


@pytest.fixture
def shaken():
    """A small teacher whose blocks do something, in double precision."""
    teacher = Teacher(7, hidden=5, seed=1).double()
    generator = torch.Generator().manual_seed(2)
    for name, p in teacher.named_parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator, dtype=torch.float64)
        if name.endswith("gamma"):
            p.data = torch.full_like(p, 0.1)
    return teacher


def maps(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_a_coupling_by_hand():
    """One channel in each half, one cell, and networks that give constants."""
    block = Coupling(2, hidden=3, kernel=3)
    for subnet, s, t in ((block.s2, 1.9, 0.5), (block.s1, -1.9, 2.0)):
        for p in subnet.parameters():
            p.data.zero_()
        subnet.gamma.data.fill_(1)
        subnet.conv2.bias.data = torch.tensor([s, t])
    x = torch.tensor([3.0, 5.0]).view(1, 2, 1, 1)
    y, logdet = block(x, torch.zeros(1, POSITIONS, 1, 1))
    # atan(1) is pi / 4.
    e = math.exp(1.9 * 0.636 * math.pi / 4)
    assert y.flatten().tolist() == pytest.approx([3 * e + 0.5, 5 / e + 2])
    assert logdet.item() == pytest.approx(0.0, abs=1e-6)
    assert block.inverse(y, torch.zeros(1, POSITIONS, 1, 1)).flatten().tolist() == pytest.approx(
        [3, 5]
    )


def test_the_second_half_sees_the_first_ones_new_value():
    block = Coupling(2, hidden=1, kernel=3)
    for p in block.parameters():
        p.data.zero_()
    block.s2.gamma.data.fill_(1)
    block.s2.conv2.bias.data = torch.tensor([0.0, 4.0])  # y1 = x1 + 4
    block.s1.gamma.data.fill_(1)
    block.s1.conv1.weight.data[0, 0, 1, 1] = 1.0
    block.s1.conv2.weight.data[1, 0, 1, 1] = 10.0  # t1 = 10 relu(y1)
    y, _ = block(torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.zeros(1, POSITIONS, 1, 1))
    assert y.flatten().tolist() == [5.0, 52.0]


def test_beside_the_map_its_border_is_repeated():
    block = Coupling(2, hidden=1, kernel=3)
    for p in block.parameters():
        p.data.zero_()
    block.s2.gamma.data.fill_(1)
    block.s2.conv1.weight.data[0, 0] = 1.0  # sums 3 x 3
    block.s2.conv2.weight.data[1, 0, 1, 1] = 1.0
    x = torch.zeros(1, 2, 3, 3)
    x[:, 1] = 1.0
    y, _ = block(x, torch.zeros(1, POSITIONS, 3, 3))
    assert (y[0, 0] == 9).all()


def test_before_the_training_it_only_permutes():
    teacher = Teacher(9)
    x = maps(2, 9, 3, 4).float()
    z, logdet = teacher(x)
    assert torch.equal(z, x[:, teacher.source])
    assert not torch.equal(z, x)
    assert (logdet == 0).all()


def test_the_way_back_is_the_inverse(shaken):
    x = maps(2, 7, 4, 3)
    z, _ = shaken(x)
    assert (z - x[:, shaken.source]).abs().max() > 0.1
    torch.testing.assert_close(shaken.inverse(z), x, rtol=0, atol=1e-12)


def test_the_log_determinant_is_that_of_the_whole_map(shaken):
    x = maps(1, 7, 3, 2)
    jacobian = torch.autograd.functional.jacobian(lambda v: shaken(v.view_as(x))[0].flatten(), x)
    want = torch.linalg.slogdet(jacobian.reshape(x.numel(), x.numel())).logabsdet
    _, logdet = shaken(x)
    assert abs(want.item()) > 0.1
    assert logdet.sum().item() == pytest.approx(want.item(), abs=1e-10)


def test_a_channel_is_a_scaled_and_shifted_one_of_the_input(shaken):
    """Where no subnet sees a change, nothing but the channel's own value moves."""
    for name, p in shaken.named_parameters():
        if "conv1.weight" in name:
            p.data.zero_()
    x = maps(1, 7, 2, 2)
    moved = x.clone()
    moved[0, 4] += 1
    changed = (shaken(moved)[0] != shaken(x)[0]).any(-1).any(-1)[0]
    assert torch.equal(changed, shaken.source == 4)


def test_positions_are_sines_of_the_column_and_of_the_row():
    at = positions(3, 5)[0]
    assert at.shape == (POSITIONS, 3, 5)
    assert at[0, 1, 4] == pytest.approx(math.sin(4))
    assert at[3, 0, 2] == pytest.approx(math.cos(2 * 10 ** (-4 / 8)))
    assert at[17, 2, 0] == pytest.approx(math.cos(2))
    assert torch.equal(at[:16, 0], at[:16, 2])
    assert torch.equal(at[16:, :, 0], at[16:, :, 4])


def test_losses_by_hand():
    z = torch.tensor([[3.0, 1.0], [4.0, 1.0]]).view(1, 2, 1, 2)
    logdet = torch.tensor([2.0, 7.0]).view(1, 1, 2)
    mask = torch.tensor([0.5, 0.0]).view(1, 1, 1, 2)
    # 0.5 * 0.5 * 25 - 0.5 * 2 in the one cell, nothing in the other, which counts.
    assert float(teacher_loss(z, logdet, mask)) == pytest.approx((6.25 - 1) / 2)
    apart = distances(z, torch.zeros_like(z), mask)
    np.testing.assert_allclose(apart[0, :, 0], [[4.5, 0], [8, 0]])


def test_weights_are_of_the_seed_and_torchs_generator_is_left_alone():
    before = torch.random.get_rng_state()
    for kind in (Teacher, Student):
        one, same, other = (kind(6, 4, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[k], same[k]) for k in one)
        assert not all(torch.equal(one[k], other[k]) for k in one)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_reads_the_students_gamma():
    student = Student(4, 6)
    student(maps(2, 4, 3, 3).float()).square().mean().backward()
    assert [n for n, p in student.named_parameters() if p.grad is None] == ["gamma"]
