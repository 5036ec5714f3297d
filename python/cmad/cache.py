"""A folder of computed tensors, kept between runs and shared by processes."""

import functools
import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cmad.paths import user_path
from cmad.version import __version__, installed

FORMAT = 3
"""Raised when stored tensors change their meaning, or are computed differently."""
_PARTIAL = "partial-"
_LEFTOVER = 24 * 60 * 60
"""Seconds after which an unfinished file is one that a crash left behind."""


class Cache:
    """Tensors by kind and key, each entry a safetensors file.

    A file counts only once it is complete: it is written beside its place and then renamed, so
    that a crash leaves nothing half, and processes may read and write the same keys at once. What
    was written in another format, under another key, or has changed on the disk since, is not
    trusted: it is as if it were not there, and the next `put` replaces it.

    Nothing is ever evicted. To clear the cache, delete the folder; a running process goes on
    without what was in it.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open a cache; the folder is made when the first entry is stored.

        Removes the unfinished files that crashes more than a day ago have left.

        Args:
            folder: of the files, for nothing else.

        """
        self.folder = user_path(folder)
        self._writable = True
        for path in self.folder.glob(f"{_PARTIAL}*"):
            with suppress(OSError):  # another process may be removing it, too
                if time.time() - path.stat().st_mtime > _LEFTOVER:
                    path.unlink()

    def get(self, kind: str, key: str) -> dict[str, Tensor] | None:
        """Look an entry up.

        The checksum is computed again on each reading: about 6 ms for the 10 MB of a part's
        features, where the processor has instructions for SHA-256.

        Args:
            kind: of the entry, letters and digits.
            key: of the entry, such as a `digest`.

        Returns:
            The tensors by name, on the CPU; None where there is no entry to be trusted.

        """
        path = self._path(kind, key)
        try:
            # At once: safe_open opens the file twice, and it may be replaced in between.
            data = path.read_bytes()
            tensors: dict[str, Tensor] = load(data)
            length = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + length])["__metadata__"]
        except (OSError, SafetensorError, ValueError, KeyError):
            return None
        return tensors if header == _header(kind, key, tensors) else None

    def put(self, kind: str, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Store an entry, or replace one.

        Where that fails, such as on a full disk, a RuntimeWarning names the folder and the reason;
        this `Cache` then stores nothing more, but still reads.

        Args:
            kind: of the entry, letters and digits.
            key: of the entry, letters and digits.
            tensors: by name; of any device and layout.

        """
        path = self._path(kind, key)
        if not self._writable:
            return
        # Copies, because safetensors refuses tensors that share memory.
        plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        partial = self.folder / f"{_PARTIAL}{uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with partial.open("xb") as file:
                file.write(save(plain, _header(kind, key, plain)))
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            self._writable = False
            warnings.warn(
                f"{self.folder}: results cannot be cached there ({error.strerror or error}); the "
                "work goes on without storing more",
                RuntimeWarning,
                stacklevel=2,
            )
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def size(self) -> int:
        """Return the bytes that the entries take; 0 where there is no folder."""
        total = 0
        for path in self.folder.glob("*.safetensors"):
            with suppress(OSError):  # removed in the meantime
                total += path.stat().st_size
        return total

    def _path(self, kind: str, key: str) -> Path:
        for name, value in (("kind", kind), ("key", key)):
            if not re.fullmatch("[A-Za-z0-9]+", value):  # nothing that leads out of the folder
                raise ValueError(f"Cache: {name} must be letters and digits, got {value!r}")
        return self.folder / f"{kind}-{key}.safetensors"


def digest(*parts: object) -> str:
    """Compute the SHA-256 of values.

    About 1.5 ms for the image and points of 400x400 pixels, where the processor has instructions
    for it. Arrays are taken by type, shape and values, so that a tensor and a NumPy array of the
    same content give the same digest, whatever their device, layout and byte order.

    Args:
        parts: arrays, tensors, and values fit for JSON; their order counts.

    Returns:
        64 hexadecimal digits.

    """
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            dtype, shape = str(part.dtype).removeprefix("torch."), list(part.shape)
            data = part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        elif isinstance(part, np.ndarray):
            dtype, shape = part.dtype.name, list(part.shape)
            native = part.astype(part.dtype.newbyteorder("="), copy=False)
            data = memoryview(native.tobytes())
        else:
            sha.update(b"value" + json.dumps(part, sort_keys=True).encode() + b"\n")
            continue
        sha.update(b"array" + json.dumps([dtype, shape]).encode() + b"\n")
        sha.update(data)
    return sha.hexdigest()


def named(tensors: Mapping[str, Tensor]) -> list[object]:
    """Return names and tensors in turn, sorted by name, as `digest` takes them."""
    return [part for name in sorted(tensors) for part in (name, tensors[name])]


@functools.cache
def versions() -> dict[str, str]:
    """Name what results are computed with; another version of these may compute others."""
    packages = installed("numpy", "torch", "timm", "Pillow")
    return {"cache": str(FORMAT), "cmad": __version__, **packages}


def _header(kind: str, key: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    checksum = digest(*named(tensors))
    return {"cmad-cache": str(FORMAT), "kind": kind, "key": key, "sha256": checksum}
