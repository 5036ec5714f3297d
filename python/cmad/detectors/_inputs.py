"""What every detector does with its inputs: batches, good parts, options, extractors by name."""

import operator
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import cast

import torch

from cmad.extractors import FPFH, PointMAE, RgbExtractor, ViT, XyzExtractor
from cmad.types import Array, Sample
from cmad.units import to_metres

VARIANTS = {"full": None, "medium": 8, "small": 4, "tiny": 1}
"""Transformer blocks kept in both extractors (CFM, sections 3.4 and 4); None keeps all."""


def as_samples(
    rgb: Array | Sequence[Array], xyz: Array | Sequence[Array], unit: str
) -> tuple[list[Sample], bool]:
    """Turn what `predict` takes into samples; the flag says that it was a single part."""
    frames = [_frames(rgb), _frames(xyz)]
    if (frames[0] is None) != (frames[1] is None):
        raise ValueError("predict: rgb and xyz must both be single frames or both batches")
    if frames[0] is None or frames[1] is None:
        return [Sample(cast(Array, rgb), to_metres(cast(Array, xyz), unit))], True
    if len(frames[0]) != len(frames[1]):
        raise ValueError(
            "predict: rgb and xyz must have as many frames, got "
            f"{len(frames[0])} and {len(frames[1])}"
        )
    pairs = enumerate(zip(*frames, strict=True))
    return [Sample(r, to_metres(x, unit), name=f"frame {i}") for i, (r, x) in pairs], False


def _frames(value: Array | Sequence[Array]) -> list[Array] | None:
    """Return the frames of a batch, None for a single frame."""
    if isinstance(value, list | tuple):
        return list(value)
    return list(cast("Sequence[Array]", value)) if getattr(value, "ndim", 0) == 4 else None


def parts_of(samples: Iterable[Sample]) -> int | None:
    """Return how many samples there are, where that is known beforehand."""
    return len(samples) if isinstance(samples, Sized) else None


def good_only(samples: Iterable[Sample], verb: str) -> Iterator[Sample]:
    """Pass samples on; raise at one that is known to be defective, or is no sample."""
    for sample in samples:
        if not isinstance(sample, Sample):
            raise TypeError(f"{verb}: samples must yield cmad.Sample, got {type(sample).__name__}")
        if sample.label == 1:
            raise ValueError(
                f"{verb}: only good parts may be used, {sample.name or 'a sample'} is "
                f"labelled {sample.defect!r}"
            )
        yield sample


def one_of(who: str, name: str, value: object, allowed: Iterable[object]) -> None:
    """Raise where an option is not one of those allowed."""
    if value not in (options := list(allowed)):
        said = ", ".join(repr(o) for o in options)
        raise ValueError(f"{who}: {name} must be one of {said}, got {value!r}")


def whole(who: str, name: str, value: object, least: int) -> int:
    """Return a whole number of any integer type, NumPy's too; raise where it is none."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{who}: {name} must be a whole number from {least}, got {value}")
    return number


def device_of(who: str, device: str) -> torch.device:
    """Return the device to run on."""
    one_of(who, "device", device, ("auto", "cpu", "cuda"))
    if device == "cuda":
        raise RuntimeError(f"{who}: this build has no native ops for 'cuda'; use device='cpu'")
    return torch.device("cpu")


def named_extractors(
    who: str,
    rgb: str | RgbExtractor,
    xyz: str | XyzExtractor,
    *,
    variant: str,
    official: bool,
    rgb_size: int,
    weights: str | None,
    seed: int,
) -> tuple[RgbExtractor, XyzExtractor]:
    """Make the extractors that are given by name; pass objects on."""
    block = VARIANTS[variant]
    if block is not None and not (isinstance(rgb, str) and isinstance(xyz, str)):
        raise ValueError(
            f"{who}: variant {variant!r} prunes extractors given by name; an extractor object is "
            "pruned where it is made: ViT(..., block=...), PointMAE(..., blocks=...)"
        )
    for name, given, has in (("rgb", rgb, "tokens"), ("xyz", xyz, "points")):
        if not isinstance(given, str) and not hasattr(given, has):
            raise TypeError(
                f"{who}: {name} must be a name or an extractor, got {type(given).__name__}; wrap a "
                "module of timm in cmad.extractors.ViT"
            )
    if weights is not None and not (isinstance(rgb, str) or isinstance(xyz, str)):
        raise ValueError(
            f"{who}: weights={weights!r} is for extractors given by name; give it to the objects"
        )
    if isinstance(rgb, str):
        rgb = ViT(rgb, block=block, image_size=rgb_size, weights=weights, seed=seed)
    if isinstance(xyz, str):
        one_of(who, "xyz", xyz, ("point_mae", "fpfh"))
        if xyz == "fpfh":
            return rgb, FPFH()
        xyz = PointMAE(
            group_size=128 if official else 32,
            blocks=block,
            weights=weights,
            seed=seed,
            published=official,
        )
    return rgb, xyz
