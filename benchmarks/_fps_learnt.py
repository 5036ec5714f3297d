"""What the detectors of `fps.py` have learnt: drawn, or from one part, with banks of full size."""

import dataclasses

import torch

from cmad.bank import Bank
from cmad.detectors import _g2sf_spaces as spaces
from cmad.detectors._memory import Memory
from cmad.detectors.btf import BOTH
from cmad.rasters import everything, only, rows

DRAWN = ("CFM", "PatchCore", "G2SF", "BTF", "AST")
"""Methods of which `learnt` draws what they learn; the others learn, from one part, and where they
have banks these grow to the size that `IMAGES` parts give."""
IMAGES = 265
"""Training parts that banks are as large as those of: 10 % of their rows."""


def trained(detector, good):
    """Have a method learn as little as it can, and grow its banks."""
    fields = {f.name for f in dataclasses.fields(detector.Training)}
    detector.fit(good, progress=False, **dict.fromkeys(fields & {"epochs"}, 1))
    tensors = {
        name: grown(t, len(t) * IMAGES) if name.endswith("rows") else t
        for name, t in detector.tensors().items()
    }
    detector._accept(tensors, (), detector.ranges)


def learnt(detector, features):
    """Draw what a method learns: networks at their initial weights, banks like the features."""
    if detector.who == "CFM":
        return detector._untrained().state_dict()
    if detector.who == "AST":
        named = zip(("teacher", "student"), detector._untrained(), strict=True)
        state = {f"{n}.{k}": t for n, net in named for k, t in net.state_dict().items()}
        return {k: as_trained(k, t) for k, t in state.items()}
    if detector.who == "BTF":
        own = torch.cat([detector.patches(f)[0] for f in features])
        bank_ = Bank(grown(own, max(IMAGES * detector.raster.size**2 // 10, 64)))
        return Memory(bank_, 1.0, 1.0).tensors(BOTH)
    banks = {m: bank(detector, features, m) for m in ("2d", "3d")}
    if detector.who == "PatchCore":
        memory = {m: Memory(b, float(b.rows.std()), 1.0) for m, b in banks.items()}
        return {k: t for m, one in memory.items() for k, t in one.tensors(m).items()}
    prototypes = {m: spaces.Prototypes(b, 0.0, 1.0, 1.0) for m, b in banks.items()}
    return spaces.Metric(prototypes, *detector._untrained()).tensors()


def as_trained(name, tensor):
    """What is 0 or 1 before a training, and would leave out what it belongs to, drawn."""
    generator = torch.Generator().manual_seed(0)
    if name.endswith("gamma"):
        return torch.full_like(tensor, 0.3)
    if "running_" in name or (".bn" in name and tensor.is_floating_point()):
        drawn = torch.rand(tensor.shape, generator=generator) + 0.5
        return (drawn if name.endswith(("var", "weight")) else drawn - 1).to(tensor)
    return tensor


def bank(detector, features, modality):
    """A bank of the size that `IMAGES` parts give, of rows each between two of real ones."""
    of_patchcore = detector.who == "PatchCore"
    raster = detector._raster(modality) if of_patchcore else detector.raster
    cells = raster.size // 2 if modality == "2d" and not of_patchcore else raster.size
    alone = [only(f, (modality,)) for f in features]
    own = torch.cat([rows(f, raster, everything(f, raster))[modality] for f in alone])
    own = own[(own != 0).any(1)]
    made = grown(own, max(IMAGES * cells**2 // 10, 64))
    made[0] *= modality == "2d"  # as the cells beside the part, of which a coreset keeps one
    return Bank(made)


def grown(own, count):
    """Draw rows, each between two of others."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(len(own), (2, count), generator=generator)
    share = torch.rand(count, 1, generator=generator).to(own)
    return torch.lerp(own[a], own[b], share)
