"""Features of the training frames, kept so that no epoch extracts again."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cmad import gpu
from cmad.types import Features, Points


@dataclass(frozen=True)
class _OnDisk:
    path: Path
    rest: Features
    """Without its tensors."""
    names_2d: tuple[str, ...]
    """Of the extractors, in their order."""
    names_3d: tuple[str, ...]


class FeatureStore(Sequence[Features]):
    """A list of features that goes to disk beyond a limit.

    Used as a context manager: the files are deleted at its end. Other than `cmad.cache.Cache`, it
    serves one training: in half precision, so that more of it stays in memory.
    """

    def __init__(
        self,
        dtype: torch.dtype = torch.float16,
        limit: int = 4 << 30,
        device: torch.device = gpu.CPU,
    ) -> None:
        """Make an empty store.

        Args:
            dtype: that tokens and centre features are kept in; half precision takes about 3.5 MB
                per frame for 784 tokens of 768 and 1024 centres of 1152.
            limit: bytes to keep in memory; later frames go to a temporary folder.
            device: that tokens and points are given on. Of a GPU's memory half of what is free is
                taken first; what is kept elsewhere is brought there each time.

        """
        self.dtype = dtype
        self.limit = limit
        self.nbytes = 0
        """Bytes in memory."""
        self.device = device
        self.on_device = 0
        """Bytes of them on the GPU, beside the limit."""
        self._room = gpu.free(device) // 2
        self.held_out: FeatureStore | None = None
        """Good parts that nothing is learnt from, whose loss is watched; None without."""
        self._kept: list[Features | _OnDisk] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def append(self, features: Features) -> None:
        """Add the features of one frame.

        Raises:
            OSError: beyond the limit, and the temporary folder cannot be written.

        """
        features = replace(
            features,
            tokens={name: t.to(self.dtype) for name, t in features.tokens.items()},
            points={
                name: replace(p, features=p.features.to(self.dtype))
                for name, p in features.points.items()
            },
        )
        size = sum(t.nbytes for t in _made(features))
        if features.device.type != "cpu" and self.on_device + size <= self._room:
            self.on_device += size
            self._kept.append(features)
            return
        features = _moved(features, gpu.CPU)
        tensors = _tensors(features)
        size = sum(t.nbytes for t in tensors.values())
        if self.nbytes + size <= self.limit:
            self.nbytes += size
            self._kept.append(features)
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="cmad-features-")
        path = Path(self._folder.name) / f"{len(self._kept):06d}.safetensors"
        try:
            save_file(tensors, path)
        except (OSError, SafetensorError) as error:
            raise OSError(
                f"features could not be kept in {path.parent} ({error}): free space there, name "
                "another place in TMPDIR, or raise memory_limit"
            ) from error
        # The mask of a defect is small, and says which parts are good.
        rest = replace(features, tokens={}, points={}, valid=None, depth=None, region=None)
        self._kept.append(_OnDisk(path, rest, tuple(features.tokens), tuple(features.points)))

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._kept)

    def __getitem__(self, i: int) -> Features:  # type: ignore[override]
        """Return the features of frame ``i``, tokens and centres in the store's dtype."""
        return _moved(self._read(i), self.device)

    def _read(self, i: int) -> Features:
        kept = self._kept[i]
        if isinstance(kept, Features):
            return kept
        tokens, points, beside = _parts(load_file(kept.path))
        # The file is sorted by name; channels lie in the order of the extractors.
        return replace(
            kept.rest,
            tokens={name: tokens[name] for name in kept.names_2d},
            points={name: points[name] for name in kept.names_3d},
            valid=beside.get("valid"),
            depth=beside.get("depth"),
            region=beside.get("region"),
        )

    @property
    def good(self) -> list[int]:
        """Positions of the good parts, as they are."""
        return sorted(set(range(len(self))) - set(self.defective))

    @property
    def defective(self) -> list[int]:
        """Positions of the parts with a synthetic defect."""
        return list(self.sources)

    @property
    def sources(self) -> dict[int, int | None]:
        """Positions of the parts with a synthetic defect, and of the good parts that these are on.

        The latter among the good ones; None where that is not known.
        """
        kept = (k if isinstance(k, Features) else k.rest for k in self._kept)
        return {i: f.source for i, f in enumerate(kept) if f.defect is not None}

    def __enter__(self) -> "FeatureStore":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget all frames and delete the files."""
        self._kept.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _made(features: Features) -> list[Tensor]:
    """What the extractors made, which may be on a GPU."""
    of_points = (t for points in features.points.values() for t in vars(points).values())
    return [*features.tokens.values(), *of_points]


def _moved(features: Features, device: torch.device) -> Features:
    """Bring what the extractors made to a device, in one copy."""
    if features.device == device:
        return features
    made = _made(features)
    there = iter(gpu.upload(made, device) if device.type != "cpu" else [t.to(device) for t in made])
    return replace(
        features,
        tokens={name: next(there) for name in features.tokens},
        points={
            name: Points(*(next(there) for _ in vars(points)))
            for name, points in features.points.items()
        },
    )


def _tensors(features: Features) -> dict[str, Tensor]:
    """All tensors under one name each: ``tokens/rgb``, ``points/xyz/weight``, ``valid``."""
    tensors = {f"tokens/{name}": t for name, t in features.tokens.items()}
    for name, points in features.points.items():
        tensors |= {f"points/{name}/{field}": t for field, t in vars(points).items()}
    beside = {name: getattr(features, name) for name in ("valid", "depth", "region")}
    # Contiguous, and no two of them the same memory, as safetensors asks.
    tensors |= {name: t for name, t in beside.items() if t is not None}
    return {name: t.contiguous() for name, t in tensors.items()}


def _parts(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Points], dict[str, Tensor]]:
    """Undo `_tensors`."""
    tokens: dict[str, Tensor] = {}
    fields: dict[str, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "tokens":
            tokens[name] = tensor
        elif kind == "points":
            name, _, field = name.rpartition("/")
            fields.setdefault(name, {})[field] = tensor
        else:
            rest[kind] = tensor
    return tokens, {name: Points(**given) for name, given in fields.items()}, rest
