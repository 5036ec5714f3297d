"""AST, stage by stage, against the published code's arrays (semantics J)."""

import ast
import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as functional

from cmad.detectors.ast import scored
from cmad.extractors import depth_blocks as depth
from cmad.nn.flow import Teacher, positions, teacher_loss
from cmad.nn.student import Student, distances


class Case:
    """One of the two cases of the file: its inputs, and its networks with the file's weights."""

    def __init__(self, arrays, prefix, synth, detweights):
        self.arrays, self.prefix = arrays, prefix
        self.config = ast.literal_eval(str(self["config"]))
        self.parts = [synth.generate(*sample) for sample in self.config["samples"]]
        self.z = [torch.from_numpy(part["xyz"][..., 2].copy()) for part in self.parts]
        self.cells, self.channels = self.config["map_len"], self.config["n_feat"]
        shape = (2, self.config["img_feat_dims"], self.cells, self.cells)
        colour = torch.from_numpy(detweights.draw(self.config["wseed"], "feature", shape))
        made = [self.prepared(z) for z in self.z]
        self.input = torch.cat([colour, torch.stack([blocks for blocks, _ in made])], 1)
        self.mask = torch.stack([mask for _, mask in made])[:, None]
        self.teacher = self.weighted(
            Teacher(self.channels, self.config["teacher_hidden"]), "teacher.", detweights
        )
        self.student = self.weighted(
            Student(self.channels, self.config["student_hidden"]), "student.", detweights
        )

    def __getitem__(self, name):
        return self.arrays[self.prefix + name]

    def weighted(self, net, named, detweights):
        state = {}
        for name, tensor in net.state_dict().items():
            value = detweights.value(self.config["wseed"], named + name, tuple(tensor.shape))
            if name.endswith("gamma"):
                value = (value + np.float32(self.config["gamma_offset"])).astype(np.float32)
            state[name] = torch.from_numpy(np.asarray(value))
        net.load_state_dict(state)
        return net

    def part(self, z):
        whole = depth.filled(z)
        behind = depth.background(depth.corners(whole), *whole.shape)
        return whole, behind, depth.standing_out(whole, behind)

    def prepared(self, z):
        whole, _, part = self.part(z)
        blocks = depth.blocks(depth.relative(whole, part), self.cells)
        return blocks, depth.soft_mask(part, self.cells)

    def close(self, name, got, **how):
        """Compare with an array of the file, which may be some of its values and its sums."""
        got = got.detach().numpy() if torch.is_tensor(got) else np.asarray(got)
        want = self[name]
        if f"{self.prefix}{name}_sel" in self.arrays:
            assert got.shape == tuple(self[f"{name}_shape"])
            sums = self[f"{name}_sums"]
            found = [got.astype(np.float64).sum(), np.abs(got.astype(np.float64)).sum()]
            np.testing.assert_allclose(found, sums, rtol=0, atol=1e-5 * sums[1])
            got = got.reshape(-1)[self[f"{name}_sel"]]
        np.testing.assert_allclose(got, want, **{"rtol": 1e-5, "atol": 1e-5, **how})


@pytest.fixture(scope="module")
def arrays(each_fixture):
    [(_, arrays)] = each_fixture("ast.npz")
    return arrays


@pytest.fixture(scope="module", params=["full_", "small_"])
def case(request, arrays, synth, detweights):
    return Case(arrays, request.param, synth, detweights)


def test_the_samples_are_those_of_the_file(case):
    for n, z in enumerate(case.z):
        z = np.ascontiguousarray(z.numpy())
        said = str(z.dtype).encode() + str(z.shape).encode() + z.tobytes()
        assert hashlib.sha256(said).hexdigest() == str(case[f"s{n}_z_sha256"])


def test_holes_are_filled_pass_by_pass(case, monkeypatch):
    monkeypatch.setattr(depth, "PASSES", 1)
    for n, z in enumerate(case.z):
        for k in (1, 2, 3):
            after = depth.filled(z)
            changed = (after != z).flatten().nonzero()[:, 0]
            np.testing.assert_array_equal(changed, case[f"s{n}_fill{k}_idx"])
            values = after.flatten()[changed]
            np.testing.assert_allclose(values, case[f"s{n}_fill{k}_val"], rtol=1.2e-7)  # an ulp
            z = after
        np.testing.assert_array_equal((z == 0).flatten().nonzero()[:, 0], case[f"s{n}_left_zero"])


def test_zeros_at_the_border_are_filled_as_published(arrays, monkeypatch):
    monkeypatch.setattr(depth, "PASSES", 1)
    z = torch.from_numpy(arrays["small_edge_in"])
    for k in (1, 2, 3):
        z = depth.filled(z)
        np.testing.assert_allclose(z, arrays[f"small_edge_fill{k}"], rtol=1.2e-7)
    at = depth.corners(z)
    np.testing.assert_allclose(at.T.flatten(), arrays["small_edge_corners"], rtol=1e-12)
    part = depth.standing_out(z, depth.background(at, *z.shape))
    np.testing.assert_array_equal(part, arrays["small_edge_fg"].astype(bool))


def test_the_background_and_what_stands_out_of_it_are_the_published_ones(case):
    for n, z in enumerate(case.z):
        whole, behind, part = case.part(z)
        # Listed down before across.
        np.testing.assert_allclose(
            depth.corners(whole).T.flatten(), case[f"s{n}_corners"], rtol=1e-12
        )
        case.close(f"s{n}_background", behind, rtol=1e-12, atol=0)
        want = np.unpackbits(case[f"s{n}_fg"])[: z.numel()].astype(bool).reshape(z.shape)
        sure = np.ones(z.numel(), bool)
        sure[case[f"s{n}_near_threshold"]] = False
        assert ((part.numpy() == want) | ~sure.reshape(z.shape)).all()
        mean = whole[part].mean()
        np.testing.assert_allclose(mean, case[f"s{n}_mean_fg"], rtol=3e-7)


def test_depths_blocks_and_masks_are_the_published_ones(case):
    length = case.config["depth_len"]
    for n, z in enumerate(case.z):
        whole, _, part = case.part(z)
        scaled = depth.relative(whole, part)
        # In centimetres: the mean's last digit is 6e-6 of them.
        case.close(f"s{n}_depth_norm", scaled, rtol=0, atol=2e-5)
        case.close(f"s{n}_depth_len", depth._resized(scaled, length)[None], rtol=0, atol=2e-5)
        touched = depth._resized(part.float(), length) > 0
        want = np.unpackbits(case[f"s{n}_fg_len"])[: length**2].reshape(length, length)
        np.testing.assert_array_equal(touched, want.astype(bool))
    made = [case.prepared(z) for z in case.z]
    case.close("unshuffled", torch.stack([m[0] for m in made]), rtol=0, atol=2e-5)
    np.testing.assert_array_equal(case.mask, case["mask_map"])
    case.close("input", case.input, rtol=0, atol=2e-5)


def test_a_single_pixel_grows_to_the_published_square(arrays):
    length = 24
    for pixel, want in zip(
        ((12, 12), (0, 0), (23, 23)), arrays["small_dilate_impulse"], strict=True
    ):
        part = torch.zeros(length, length, dtype=torch.bool)
        part[pixel] = True
        got = depth.soft_mask(part, length // 8)
        mean = functional.interpolate(
            torch.from_numpy(want)[None, None].float(),
            size=3,
            mode="bilinear",
            align_corners=False,
        )
        np.testing.assert_array_equal(got, mean[0, 0])


def test_positions_and_permutations_are_the_published_ones(case):
    case.close("pos_enc", positions(case.cells, case.cells), rtol=0, atol=2e-6)
    for k in range(4):
        np.testing.assert_array_equal(getattr(case.teacher, f"order{k}"), case[f"perm{k}"])


def test_names_and_shapes_of_the_weights_are_the_published_ones(case):
    for net, name in ((case.teacher, "teacher"), (case.student, "student")):
        found = {f"{k} {tuple(t.shape)}" for k, t in net.state_dict().items()}
        assert found == set(case[f"{name}_keys"].tolist())
    if case.prefix == "full_":
        found = {f"{k} {tuple(t.shape)}" for k, t in Student(case.channels).state_dict().items()}
        assert found == set(case["student_keys_published"].tolist())


def test_the_teacher_its_loss_gradients_and_step_are_the_published_ones(
    case, arrays, synth, detweights
):
    teacher = Case(arrays, case.prefix, synth, detweights).teacher  # is changed
    with torch.no_grad():
        for k, (out, logdet) in enumerate(teacher.steps(case.input)):
            case.close(f"t_block{k}_out", out, atol=3e-5)
            case.close(f"t_block{k}_logdet", logdet, atol=1e-4)
    z, logdet = teacher(case.input)
    case.close("t_z", z, atol=5e-5)
    case.close("t_logdet", logdet, atol=2e-4)
    each = 0.5 * (case.mask * z.square()).sum(1) - case.mask[:, 0] * logdet
    case.close("t_loss_per_pixel", each, rtol=2e-5, atol=1e-4)
    loss = teacher_loss(z, logdet, case.mask)
    np.testing.assert_allclose(loss.item(), case["t_loss"], rtol=1e-5)
    stepped(case, "t_", teacher, loss)
    after = teacher_loss(*teacher(case.input), case.mask)
    np.testing.assert_allclose(after.item(), case["t_loss_after_step"], rtol=2e-5)


def test_the_teacher_is_inverted(case):
    with torch.no_grad():
        back = case.teacher.inverse(case.teacher(case.input)[0])
    assert (back - case.input).abs().max() < 3 * case["t_roundtrip_max_abs"]


def test_the_student_its_loss_gradients_step_and_scores_are_the_published_ones(
    case, arrays, synth, detweights
):
    student = Case(arrays, case.prefix, synth, detweights).student  # is changed
    with torch.no_grad():
        z = case.teacher(case.input)[0]
        out = student.eval()(case.input)
        case.close("s_out_eval", out, atol=3e-5)
        loss = distances(z, out, case.mask).mean()
        np.testing.assert_allclose(loss, case["s_loss_eval"], rtol=1e-5)
        judged(case, "eval0_", z, out)
    out = student.train()(case.input)
    case.close("s_out_train", out, atol=3e-5)
    for name in ("res.0.bn1", "res.3.bn2"):
        for what in ("running_mean", "running_var"):
            got, want = student.state_dict()[f"{name}.{what}"], case[f"s_after_{name}.{what}"]
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    loss = distances(z, out, case.mask).mean()
    np.testing.assert_allclose(loss.item(), case["s_loss_train"], rtol=1e-5)
    stepped(case, "s_", student, loss)
    with torch.no_grad():
        out = student.eval()(case.input)
        after = distances(z, out, case.mask).mean()
        # After a step of Adam, which has the sign of gradients near 0.
        np.testing.assert_allclose(after, case["s_loss_eval_after_step"], rtol=1e-4)
        judged(case, "eval1_", z, out, rtol=1e-3)


def stepped(case, head, net, loss):
    """Compare the gradients, take a step as published, and compare the parameters."""
    from cmad.detectors._ast_training import optimiser

    adam = optimiser(net, 2e-4)
    loss.backward()
    named = dict(net.named_parameters())
    for i, name in enumerate(case[f"{head}grad_names"].tolist()):
        size = float(case[f"{head}gradnorm{i}"])
        np.testing.assert_allclose(named[name].grad.norm().item(), size, rtol=1e-4)
        case.close(f"{head}grad{i}", named[name].grad, rtol=1e-4, atol=1e-5 * size)
    adam.step()
    for i, name in enumerate(case[f"{head}grad_names"].tolist()):
        got = named[name].detach().numpy().reshape(-1)[case[f"{head}grad{i}_sel"]]
        # A gradient near 0 may have either sign here; few are.
        apart = np.abs(got - case[f"{head}step{i}"])
        assert (apart > 2e-6).mean() < 0.01
        assert apart.max() < 4.1e-4


def judged(case, head, z, out, rtol=1e-5):
    once = distances(z, out, case.mask).mean(1)
    case.close(f"{head}pixel_once", once, rtol=rtol, atol=rtol)
    case.close(f"{head}pixel", once * case.mask[:, 0], rtol=rtol, atol=rtol)
    both = [scored(each, mask, 8, twice=True) for each, mask in zip(once, case.mask, strict=True)]
    up = torch.stack([grown for grown, _ in both])
    case.close(f"{head}up", up, rtol=rtol, atol=3 * rtol)
    np.testing.assert_allclose(up.min(), case[f"{head}up_min"], rtol=10 * rtol)
    size = up.shape[-1]
    at = [divmod(int(i), size) for i in up.flatten(1).argmax(1)]
    np.testing.assert_array_equal(at, case[f"{head}argmax"])
    highest = np.array([s["max"] for _, s in both])
    np.testing.assert_allclose(highest, case[f"{head}score_max"], rtol=rtol)
    np.testing.assert_allclose([s["mean"] for _, s in both], case[f"{head}score_mean"], rtol=rtol)
