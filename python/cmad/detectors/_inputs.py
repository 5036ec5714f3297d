"""What every detector does with its inputs: batches, good parts, options, extractors by name."""

import copy
import numbers
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import fields, replace
from typing import TypeVar, cast

import numpy as np
import torch

from cmad import gpu
from cmad.checks import at
from cmad.extractors import (
    FPFH,
    Depth,
    DepthBlocks,
    EfficientNet,
    Extractor,
    Geometry,
    Normals,
    PointMAE,
    Pyramid,
    RgbExtractor,
    ViT,
    XyzExtractor,
)
from cmad.extractors.efficientnet import efficient
from cmad.extractors.pyramid import convolutional
from cmad.presets import Grouping
from cmad.spelling import meant
from cmad.types import Array, Sample
from cmad.units import to_metres

T = TypeVar("T")
OF_POINTS = ("point_mae", "fpfh", "normals", "depth", "geometry", "depth_blocks")
"""3D extractors by name."""
VARIANTS = {"full": None, "medium": 8, "small": 4, "tiny": 1}
"""Transformer blocks kept in both extractors (CFM, sections 3.4 and 4); None keeps all."""
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def as_samples(
    rgb: Array | Sequence[Array] | None, xyz: Array | Sequence[Array] | None, unit: str
) -> tuple[list[Sample], bool]:
    """Turn what `predict` takes into samples; the flag says that it was a single part."""
    to_metres(np.zeros(0), unit)  # a wrong unit is wrong also where there are no points
    given = {"rgb": rgb, "xyz": xyz}
    frames = {name: _frames(value) for name, value in given.items() if value is not None}
    if not frames:
        raise ValueError("predict: needs rgb, xyz or both, got neither")
    batches = {name: batch for name, batch in frames.items() if batch is not None}
    if not batches:
        points = _metres(cast("Array | None", xyz), unit)
        return [Sample(cast("Array | None", rgb), points)], True
    if len(batches) != len(frames):
        raise ValueError("predict: rgb and xyz must both be single frames or both batches")
    counts = {len(batch) for batch in batches.values()}
    if len(counts) > 1:
        raise ValueError(
            "predict: rgb and xyz must have as many frames, got "
            f"{len(batches['rgb'])} and {len(batches['xyz'])}"
        )
    return [
        Sample(
            batches["rgb"][i] if "rgb" in batches else None,
            _metres(batches["xyz"][i], unit) if "xyz" in batches else None,
            name=f"frame {i}",
        )
        for i in range(counts.pop())
    ], False


def _metres(xyz: Array | None, unit: str) -> Array | None:
    return None if xyz is None else to_metres(xyz, unit)


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
                f"labelled {sample.defect!r}; leave it out, or pass the folder of the good ones"
            )
        yield sample


def in_metres(samples: Iterable[Sample], unit: str) -> Iterator[Sample]:
    """Pass samples on with their points in metres."""
    for sample in samples:
        if sample.xyz is None or unit == "m":
            yield sample
            continue
        try:
            yield replace(sample, xyz=to_metres(sample.xyz, unit))
        except TypeError as error:
            raise TypeError(at(sample, str(error))) from None


def one_of(who: str, name: str, value: object, allowed: Iterable[object], hint: str = "") -> None:
    """Raise where an option is not one of those allowed; the hint says what else there is."""
    if value not in (options := list(allowed)):
        said = ", ".join(repr(o) for o in options)
        raise ValueError(
            f"{who}: {name} must be one of {said}, got {value!r}" + (meant(value, options) or hint)
        )


def whole(who: str, name: str, value: object, least: int) -> int:
    """Return a whole number of any integer type, NumPy's too; raise where it is none."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{who}: {name} must be a whole number from {least}, got {value}")
    return number


def share(who: str, name: str, value: object) -> float:
    """Return a share above 0, at most 1, of any real type, NumPy's too; raise where it is none."""
    number = float(value) if isinstance(value, numbers.Real) else 0.0
    if not 0 < number <= 1:
        raise ValueError(f"{who}: {name} must be in (0, 1], got {value!r}")
    return number


def device_of(who: str, device: str) -> torch.device:
    """Return the device to run on.

    Raises:
        ValueError: not one of those that there are.
        RuntimeError: ``"cuda"`` where that cannot be used; says what is missing.

    """
    one_of(who, "device", device, ("auto", "cpu", "cuda"))
    if device != "cuda":  # "auto", too: docs/decisions/precision.md
        return torch.device("cpu")
    if (said := gpu.missing()) is not None:
        raise RuntimeError(f"{who}: {said}")
    return torch.device("cuda", torch.cuda.current_device())


def precision_of(precision: str, device: torch.device) -> torch.dtype:
    """Return the type of a precision's arithmetic; ``"auto"`` depends on the device."""
    auto = torch.float32 if device.type == "cpu" else torch.float16
    return PRECISIONS.get(precision, auto)


def on_device(extractor: Extractor, device: torch.device) -> Extractor:
    """Return an extractor whose weights are on a GPU: a copy, unless they are there already."""
    tensors = [] if device.type == "cpu" else extractor.state_dict().values()
    if all(tensor.device == device for tensor in tensors):
        return extractor
    return copy.deepcopy(extractor).to(device)


def named_extractors(
    who: str,
    rgb: str | RgbExtractor,
    xyz: str | XyzExtractor | Sequence[str | XyzExtractor],
    *,
    modalities: Sequence[str],
    variant: str,
    grouping: Grouping,
    standardised: bool,
    from_corners: bool,
    rgb_size: int,
    weights: str | None,
    own_weights: Mapping[str, str | None],
    seed: int,
) -> dict[str, Extractor]:
    """Make the extractors of these modalities that are given by name; pass objects on.

    Several 3D extractors are called ``xyz1``, ``xyz2`` and so on, one is called ``xyz``.
    ``from_corners`` is that of `DepthBlocks`. ``own_weights``, by name of the extractor, go before
    ``weights`` where they are not None.
    """
    chosen: dict[str, str | Extractor] = {}
    wanted: list[tuple[str, str | Extractor, str, str]] = [
        ("rgb", rgb, "2d", "tokens"),
        *((name, given, "3d", "points") for name, given in _of_points(who, xyz).items()),
    ]
    for name, given, modality, has in wanted:
        if modality not in modalities:
            continue
        chosen[name] = given
        if not isinstance(given, str) and not hasattr(given, has):
            hint = "; wrap a module of timm in cmad.extractors.ViT" if name == "rgb" else ""
            raise TypeError(
                f"{who}: {name} must be a name or an extractor, got {type(given).__name__}{hint}"
            )
    block = VARIANTS[variant]
    by_name = [given for given in chosen.values() if isinstance(given, str)]
    if block is not None and len(by_name) < len(chosen):
        raise ValueError(
            f"{who}: variant {variant!r} prunes extractors given by name; an extractor object is "
            "pruned where it is made: ViT(..., block=...), PointMAE(..., blocks=...)"
        )
    if weights is not None and not by_name:
        raise ValueError(
            f"{who}: weights={weights!r} is for extractors given by name; give it to the objects"
        )
    for name, own in own_weights.items():
        if own is not None:
            _check_drawable(who, name, [c for n, c in chosen.items() if n.startswith(name)])
    made: dict[str, Extractor] = {}

    def vit() -> RgbExtractor:
        if not isinstance(rgb, str):
            return rgb
        source = own_weights["rgb"] or weights
        if convolutional(rgb) or efficient(rgb):
            if block is not None:
                raise ValueError(
                    f"{who}: variant {variant!r} prunes transformers; rgb {rgb!r} is none"
                )
            kind = Pyramid if convolutional(rgb) else EfficientNet
            return kind(rgb, image_size=rgb_size, weights=source, seed=seed)
        return ViT(rgb, block=block, image_size=rgb_size, weights=source, seed=seed)

    if "rgb" in chosen:
        made["rgb"] = vit()
    for name, choice in chosen.items():
        if name == "rgb":
            continue
        if not isinstance(choice, str):
            made[name] = choice
            continue
        one_of(who, "xyz", choice, OF_POINTS, "; several: fpfh+normals")
        if choice == "fpfh":
            made[name] = FPFH(standardised=standardised)
        elif choice == "geometry":
            made[name] = Geometry()
        elif choice == "depth_blocks":
            beside = {"cells": max(cast(RgbExtractor, made["rgb"]).grid)} if "rgb" in made else {}
            made[name] = DepthBlocks(**beside, from_corners=from_corners)
        elif choice == "normals":
            made[name] = Normals(
                cast("ViT | Pyramid | EfficientNet", made.get("rgb") or vit())
            )  # the image's, shared
        elif choice == "depth":
            made[name] = Depth(cast("ViT | Pyramid | EfficientNet", made.get("rgb") or vit()))
        else:
            made[name] = _point_mae(grouping, block, own_weights["xyz"] or weights, seed)
    return made


def _of_points(
    who: str, xyz: str | XyzExtractor | Sequence[str | XyzExtractor]
) -> dict[str, str | XyzExtractor]:
    """Name the 3D extractors, of which several are a sequence, or joined by a plus."""
    if isinstance(xyz, str):
        given: list[str | XyzExtractor] = list(xyz.split("+"))
    else:
        given = list(xyz) if isinstance(xyz, list | tuple) else [cast(XyzExtractor, xyz)]
    if not given:
        raise ValueError(f"{who}: xyz must have at least one extractor, got none")
    return {"xyz" if len(given) == 1 else f"xyz{i}": one for i, one in enumerate(given, 1)}


def _check_drawable(who: str, name: str, among: Sequence[str | Extractor]) -> None:
    """Raise where none of some extractors has weights that could be drawn for it alone."""
    if any(one == "point_mae" or name == "rgb" for one in among if isinstance(one, str)):
        return
    extractor = among[0] if among else None
    if extractor is None:
        why = f"{who} has no {name} extractor here"
    elif not isinstance(extractor, str):
        why = f"{name} is an object, which brings its own"
    elif extractor in ("fpfh", "geometry", "depth_blocks"):
        why = f"{extractor} has none"
    else:
        why = f"{extractor} has the 2D extractor's"
    raise ValueError(f"{who}: {name}_weights is for an extractor with weights given by name; {why}")


def _point_mae(grouping: Grouping, blocks: int | None, weights: str | None, seed: int) -> PointMAE:
    return PointMAE(
        groups=grouping.groups,
        group_size=grouping.size,
        blocks=blocks,
        weights=weights,
        seed=seed,
        published=grouping.published,
    )


def options_of(who: str, kind: type[T], given: Mapping[str, object], what: str) -> T:
    """Make a method's record of options; raise where one of them is not in it."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            said = ", ".join(known) or "none"
            raise TypeError(
                f"{who}: no {what} {name!r}; it has {said} beside those of all methods"
                + meant(name, known)
            )
    return kind(**given)
