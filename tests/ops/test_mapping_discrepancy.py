"""The fused mapping and discrepancy: paths, small distances, cliffs, memory, wrong arguments."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn.functional import gelu

from cmad import ops
from cmad.ops import interpolate
from cmad.ops._call import native
from cmad.ops._mapping_weights import Number
from cmad.ops.mapping_discrepancy import (
    PATHS,
    PRECISIONS,
    apply,
    fold,
    mapping_discrepancy,
)
from cmad.testing import reference
from cmad.testing.cases import CASES, to_torch
from cmad.testing.mapping_cases import NETWORK, mapping_case

SMALL = [c for c in CASES if c.op == "mapping_discrepancy" and not c.timed]


OF_PAIRS = ("avx512_bf16", "amx_bf16")
"""Paths that have only bfloat16."""


def here(path, precision="fp32"):
    """Whether this machine has a path."""
    return native(torch.device("cpu"))[0].mapping_layout(PATHS[path], PRECISIONS[precision])[0] > 0


def folded(args, path="best"):
    """Fold the network among an op's arguments; return the rest as `apply` takes it."""
    network = fold(*[args[n] for n in NETWORK], precision=args.get("precision", "fp32"), path=path)
    entries = [
        tuple(args[f"{role}_{k}"] for k in ("start", "index", "weight"))
        for role in ("source", "target")
    ]
    return network, args["source"], entries[0], args["target"], entries[1]


@pytest.mark.parametrize("path", [p for p in PATHS if here(p) or here(p, "bf16")])
@pytest.mark.parametrize("case", SMALL, ids=lambda c: c.name)
def test_every_path_of_this_machine_agrees_with_the_reference(case, path):
    inputs = case.make(np.random.default_rng(1))
    if path in OF_PAIRS:
        # The path has only such numbers, of eight binary digits.
        inputs["precision"], case = "bf16", replace(case, atol=6e-3)
    psi = apply(*folded(to_torch(inputs, "cpu"), path))
    np.testing.assert_allclose(psi, reference.mapping_discrepancy(**inputs), atol=case.atol)


def test_the_best_path_is_one_for_the_numbers_asked_for():
    lib, _ = native(torch.device("cpu"))
    for precision in PRECISIONS.values():
        path, width, number = lib.mapping_layout(0, precision)
        assert path in {PATHS[p] for p in ("plain", "avx2", "avx512", *OF_PAIRS)}
        assert width in (16, 32)
        assert (number == Number.BFLOAT16_PAIRS) == (path in {PATHS[p] for p in OF_PAIRS})
    assert not any(here(path) for path in OF_PAIRS)
    assert all(here("plain", precision) for precision in PRECISIONS)


def test_a_path_that_is_not_there_is_named():
    args = to_torch(SMALL[0].make(np.random.default_rng(0)), "cpu")
    with pytest.raises(RuntimeError, match="this machine has no path 'avx512_bf16'"):
        fold(*[args[n] for n in NETWORK], path="avx512_bf16")


def test_a_worked_example():
    """One feature, one neuron: h = gelu(gelu(2 * 1)), f = (h, -1), e = (3, 4)."""
    h = float(gelu(gelu(torch.tensor(2.0, dtype=torch.float64))))
    one = [torch.tensor([0, 1]), torch.zeros(1, dtype=torch.int32), torch.ones(1)]
    layer = torch.ones(1, 1), torch.zeros(1)
    last = torch.tensor([[1.0], [0]]), torch.tensor([0.0, -1])
    [psi] = mapping_discrepancy(
        torch.tensor([[2.0]]), *one, torch.tensor([[3.0, 4]]), *one, *layer, *layer, *last
    )
    u = np.array([h, -1]) / np.hypot(h, 1)
    assert float(psi) == pytest.approx(np.linalg.norm(u - [0.6, 0.8]), abs=2e-7)


@pytest.mark.parametrize("near", [0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.09, 0.11, 0.15, 0.3])
def test_small_distances_keep_their_digits(near):
    """2 - 2 cos alone is off by 7e-4 at 0 and by 2e-5 at 0.01."""
    inputs = mapping_case("random", (300, 200), 30, near=near).make(np.random.default_rng(2))
    got = ops.mapping_discrepancy(**to_torch(inputs, "cpu"))
    np.testing.assert_allclose(
        got, reference.mapping_discrepancy(**inputs), atol=3e-6
    )  # the limit that `lost` is for


def test_a_common_direction_of_all_predictions_does_not_cost_digits():
    """A last layer with one huge singular value, and targets almost as predicted.

    The terms of e.f are then so much larger than their sum that 2 - 2 cos is off by 3e-4 at 0.12.
    """
    rng = np.random.default_rng(3)
    inputs = mapping_case("random", (200, 120), 200, near=0.0, rows=(200, 20)).make(rng)
    spike = rng.standard_normal((120, 1)) @ rng.standard_normal((1, 160))
    inputs["last"] = (inputs["last"] + 30 * spike).astype(np.float32)
    exact = reference.mapping(inputs["source"], *[inputs[n] for n in NETWORK])
    noise = rng.standard_normal(exact.shape)
    noise *= np.linalg.norm(exact, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1)[:, None]
    for near in (1e-3, 0.12, 0.2):
        inputs["target"] = (exact + near * noise).astype(np.float32)
        got = ops.mapping_discrepancy(**to_torch(inputs, "cpu"))
        # 2e-6 to 8e-6 by the spike: the network's own products cancel in float32.
        np.testing.assert_allclose(got, reference.mapping_discrepancy(**inputs), atol=8e-6)


def test_bfloat16_rounds_weights_and_activations_and_nothing_else():
    """On every machine the same numbers; an h on the edge of two bfloat16 may fall either way."""
    inputs = to_torch(mapping_case("random", (96, 160), 300).make(np.random.default_rng(4)), "cpu")
    first, bias1, middle, bias2, last, bias3 = (inputs[n].double() for n in NETWORK)

    def rounded(x):
        return x.bfloat16().double()

    s, e = (
        interpolate(*[inputs[f"{role}{k}"] for k in ("", "_start", "_index", "_weight")]).double()
        for role in ("source", "target")
    )
    h = rounded(gelu(s @ first.T + bias1))
    h = rounded(gelu(h @ rounded(middle).T + bias2))
    triangle = torch.linalg.qr(torch.cat([last, bias3[:, None]], 1)).R
    column, constant = triangle[:128, 128].clone(), triangle[128, 128]
    length = (h @ rounded(triangle[:128, :128]).T + column).square().sum(1) + constant**2
    product = ((h @ last.T + bias3) * e).sum(1)
    empty = e.norm(dim=1) == 0
    want = (1 - 2 * product / (length.sqrt() * e.norm(dim=1)) + 1).sqrt()
    want[empty] = 1
    exact = apply(*folded(inputs))
    for path in [p for p in PATHS if here(p, "bf16")]:
        off = (apply(*folded({**inputs, "precision": "bf16"}, path)) - want).abs()
        assert float(off.quantile(0.9)) < 2e-6
        assert float(off.max()) < 2e-4
    assert float((exact - want).abs().quantile(0.9)) > 2e-5


def test_length_of_the_target_does_not_matter_and_zero_rows_count_as_zero():
    inputs = to_torch(mapping_case("random", (40, 60), 30).make(np.random.default_rng(5)), "cpu")
    want = ops.mapping_discrepancy(**inputs)
    longer = ops.mapping_discrepancy(**{**inputs, "target": inputs["target"] * 4096})
    np.testing.assert_allclose(longer, want, atol=3e-7)
    zeros = {**inputs, "target": torch.zeros_like(inputs["target"])}
    np.testing.assert_allclose(ops.mapping_discrepancy(**zeros), 1, atol=3e-7)


def test_nan_stays_at_the_pixels_that_read_it():
    inputs = to_torch(mapping_case("random", (40, 60), 120).make(np.random.default_rng(6)), "cpu")
    want = ops.mapping_discrepancy(**inputs)
    for role in ("source", "target"):
        rows = inputs[role].clone()
        rows[3, 5] = torch.nan
        got = ops.mapping_discrepancy(**{**inputs, role: rows})
        start, index = inputs[f"{role}_start"], inputs[f"{role}_index"]
        reads = [bool((index[a:b] == 3).any()) for a, b in pairwise(start)]
        assert got.isnan().tolist() == reads
        assert torch.equal(got[~got.isnan()], want[~got.isnan()])


def test_values_stay_in_their_range():
    for near in (0.0, None):
        inputs = mapping_case("random", (64, 64), 200, near=near).make(np.random.default_rng(7))
        opposite = {**inputs, "target": -inputs["target"]}
        for args in (inputs, opposite):
            psi = ops.mapping_discrepancy(**to_torch(args, "cpu"))
            assert 0 <= float(psi.min()) <= float(psi.max()) <= 2


def test_a_pixel_does_not_depend_on_those_beside_it():
    inputs = to_torch(mapping_case("random", (48, 80), 131).make(np.random.default_rng(8)), "cpu")
    network, source, of_source, target, of_target = folded(inputs)
    whole = apply(network, source, of_source, target, of_target)
    for p in (0, 1, 47, 48, 130):
        one = [
            (torch.tensor([0, int(s[p + 1] - s[p])]), i[s[p] : s[p + 1]], w[s[p] : s[p + 1]])
            for s, i, w in (of_source, of_target)
        ]
        assert torch.equal(apply(network, source, one[0], target, one[1]), whole[p : p + 1])


def test_distances_formed_by_differences_cost_less_than_twice_the_others():
    """No cliff where every pixel is predicted well."""
    taken = []
    for near in (None, 0.0):
        case = mapping_case("random", (192, 256), 4000, (1, 1), near=near)
        args = folded(to_torch(case.make(np.random.default_rng(9)), "cpu"))
        times = []
        for _ in range(5):
            begin = time.process_time()
            apply(*args)
            times.append(time.process_time() - begin)
        taken.append(min(times))
    assert taken[1] < 3 * taken[0], taken  # 1.6 times; process time still varies by half


def test_no_feature_is_formed_at_the_pixels():
    """A row of floats for each pixel would take 120 MB."""
    code = """
import torch
from cmad.environment import peak_memory
from cmad.ops.mapping_discrepancy import apply, fold
torch.set_num_threads(1)
def ones(P):
    return torch.arange(P + 1), torch.zeros(P, dtype=torch.int32), torch.ones(P)
square = torch.randn(150, 150) / 12, torch.zeros(150)
network = fold(*square, *square, *square)
one = torch.randn(1, 150)
apply(network, one, ones(100), one, ones(100))
many = ones(200_000)
before = peak_memory()
apply(network, one, many, one, many)
print(peak_memory() - before)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert float(ran.stdout) < 20


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"source": torch.zeros(4)}, ValueError, r"source must be \(Ms, D1\), got \(4,\)"),
        ({"last": torch.zeros(7, 9)}, ValueError, r"last must be \(D2=7, H=6\), got \(7, 9\)"),
        ({"bias3": torch.zeros(7).half()}, TypeError, "bias3 must be torch.float32, got"),
        ({"target_start": torch.tensor([0, 1])}, ValueError, "target_start must be"),
        ({"source_index": 10**6}, ValueError, r"source_index must be in \[0, Ms=30\)"),
        ({"target_index": -1}, ValueError, r"target_index must be in \[0, Mt=20\)"),
        ({"source_start": "reverse"}, ValueError, "source_start must ascend from 0 to E"),
    ],
)
def test_wrong_arguments_are_named(change, error, message):
    args = to_torch(mapping_case("random", (5, 7), 20).make(np.random.default_rng(0)), "cpu")
    [(name, value)] = change.items()
    if isinstance(value, int):
        args[name][0] = value
    elif value == "reverse" if isinstance(value, str) else False:
        args[name] = args[name].flip(0)
    else:
        args[name] = value
    with pytest.raises(error, match=f"mapping_discrepancy: {message}"):
        ops.mapping_discrepancy(**args)
