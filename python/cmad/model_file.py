"""`.cmad` files: one safetensors file, tensors and a JSON header. No pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from cmad.paths import expect_there, replacing, user_path
from cmad.version import installed

FORMAT = 3
"""Raised when files could no longer be read as they are meant; no other format is read."""


def write(path: str | Path, header: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
    """Write a model file: beside its place, then renamed, so a failure leaves the old one alone.

    Args:
        path: where to.
        header: JSON values.
        tensors: by name.

    Raises:
        OSError: it cannot be written, such as a full disk; names the file.

    """
    path = user_path(path)
    # Copies, because safetensors refuses tensors that share memory.
    plain = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    meta = {"cmad": json.dumps({"format": FORMAT, **header}, allow_nan=False)}
    try:
        with replacing(path) as temporary:
            save_file(plain, temporary, meta)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{path}: could not be saved ({error}); an existing file is unchanged"
        ) from error


def read(path: str | Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Read a model file.

    Args:
        path: of the file.

    Returns:
        The header and the tensors by name.

    Raises:
        FileNotFoundError, IsADirectoryError: no such file, or a folder.
        ValueError: not a model file, truncated, or written by a version with another format.

    """
    path = user_path(path)
    expect_there(path, "; cmad fit writes models")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a model")
    if not os.access(path, os.R_OK):
        raise PermissionError(f"{path}: may not be read")
    try:
        # All of it, at once: tensors mapped from a file that is then cut short end the process, and
        # one that is opened twice may be replaced in between.
        data = path.read_bytes()
        tensors: dict[str, Tensor] = load(data)
        length = int.from_bytes(data[:8], "little")
        meta = cast(dict[str, str], json.loads(data[8 : 8 + length]).get("__metadata__", {}))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ValueError(
            f"{path}: not a complete .cmad file, truncated or of another kind ({error}); take one "
            "that cmad fit wrote"
        ) from error
    try:
        header = cast(dict[str, object], json.loads(meta["cmad"]))
        version = int(cast(int, header["format"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: a safetensors file, but not a .cmad model (no cmad header)"
        ) from error
    if version != FORMAT:
        age, mend = ("a newer", "update cmad") if version > FORMAT else ("an older", "fit it again")
        raise ValueError(
            f"{path}: written by {age} cmad (file format {version}, this version reads {FORMAT}); "
            f"{mend}"
        )
    return header, tensors


def peek(path: str | Path) -> tuple[dict[str, object], list[str]] | None:
    """Read the header alone, of a file of any format.

    Args:
        path: of the file.

    Returns:
        The header and the names of the tensors; None where there is no model file.

    """
    path = user_path(path)
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                return None
            stored = json.loads(file.read(length))
            header = json.loads(stored.pop("__metadata__")["cmad"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return (header, list(stored)) if isinstance(header, dict) else None


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def versions() -> dict[str, str]:
    """Name what a model was made with."""
    packages = ("cmad-vision", "timm", "numpy")
    return {"torch": str(torch.__version__), **installed(*packages)}
