"""Where the weights of the frozen extractors come from: a local folder, a file, or the network.

The folder that the environment variable ``CMAD_WEIGHTS`` names wins over the network. A download
is kept: timm's in the Hugging Face cache, Point-MAE's in ``$XDG_CACHE_HOME/cmad``.
"""

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cmad.extractors._timm import timm
from cmad.paths import user_path
from cmad.seeding import seeded

POINT_MAE_URL = "https://github.com/Pang-Yatian/Point-MAE/releases/download/main/pretrain.pth"
# None until the release has been downloaded and verified once by a maintainer. Until then the
# hash of a user's first download is recorded beside the file and checked at every later read.
POINT_MAE_SHA256: str | None = None

_SECONDS = 10  # to connect, and for each read
_FILES = {"point_mae": ["point_mae.safetensors", "point_mae.pth", "pretrain.pth"]}
# NumPy numbers occur beside the weights of published checkpoints; NumPy 1 and 2 name them apart.
_NUMPY_NUMBERS: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    np.dtype,
    np.dtypes.Float64DType,
    (import_module("numpy._core.multiarray").scalar, "numpy._core.multiarray.scalar"),
    (import_module("numpy._core.multiarray").scalar, "numpy.core.multiarray.scalar"),
]


def file_names(name: str) -> list[str]:
    """Return the file names that ``find`` looks for, best first."""
    stems = dict.fromkeys([name, name.split(".")[0]])
    return _FILES.get(name) or [f"{s}{end}" for s in stems for end in (".safetensors", ".pth")]


def find(name: str) -> Path | None:
    """Find a local file of weights in the folder that CMAD_WEIGHTS names.

    Args:
        name: ``"point_mae"``, or a timm model such as ``"vit_base_patch8_224.dino"``, for which
            a file without the tag after the dot serves too.

    Returns:
        The file, or None where CMAD_WEIGHTS is not set or its folder has no such file.

    Raises:
        RuntimeError: CMAD_WEIGHTS is set to something that is no folder.

    """
    setting = os.environ.get("CMAD_WEIGHTS")
    if not setting:
        return None
    folder = user_path(setting)
    if not folder.is_dir():
        raise RuntimeError(f"weights: CMAD_WEIGHTS must name a folder, got {setting!r}")
    return next((folder / f for f in file_names(name) if (folder / f).is_file()), None)


def read(path: str | Path) -> dict[str, Tensor]:
    """Read a file of weights: safetensors, or what ``torch.save`` wrote, without running code.

    Args:
        path: ``.safetensors``, or anything else for torch.

    Returns:
        Tensors by name, on the CPU, as ``unwrap`` leaves them.

    Raises:
        RuntimeError: the file is missing, damaged, or holds no tensors.

    """
    path = user_path(path)
    if not path.is_file():
        raise RuntimeError(f"weights: no such file: {path}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with torch.serialization.safe_globals(_NUMPY_NUMBERS):
            return unwrap(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise RuntimeError(f"weights: cannot read {path}: {error}") from error


def unwrap(loaded: Mapping[str, object]) -> dict[str, Tensor]:
    """Take the named tensors out of a checkpoint.

    Goes into ``base_model``, ``state_dict`` or ``model`` where there is one, and drops the prefix
    ``module.`` that parallel training leaves.

    Raises:
        ValueError: there are no tensors.

    """
    for wrapper in ("base_model", "state_dict", "model"):
        inner = loaded.get(wrapper)
        if isinstance(inner, Mapping):
            loaded = inner
    tensors = {k.removeprefix("module."): v for k, v in loaded.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError("weights: a checkpoint must hold named tensors, got none")
    return tensors


def origin(weights: str | Path | Mapping[str, Tensor] | None) -> str | None:
    """Return how a configuration records where weights come from; files by their absolute path."""
    if isinstance(weights, Mapping):
        return "given"
    return weights if weights is None or weights == "random" else str(user_path(weights).resolve())


def load(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Give a module, which may be on the meta device, a copy of the weights, in float32.

    Args:
        module: takes the weights; its floating-point tensors become float32.
        state: exactly the names and shapes of the module's own state.
        what: name that the message begins with.

    Raises:
        ValueError: names or shapes differ.

    """
    # BatchNorm's counter is younger than some published checkpoints; nothing here reads it there.
    own = module.state_dict()
    state = dict(state)
    for name in own:
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.tensor(0))
    wrong = [f"{k} is missing" for k in own if k not in state]
    wrong += [f"{k} is unknown" for k in state if k not in own]
    wrong += [
        f"{k} must be {tuple(own[k].shape)}, got {tuple(v.shape)}"
        for k, v in state.items()
        if k in own and own[k].shape != v.shape
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{what}: weights must fit the model: {', '.join(wrong[:3])}{more}")
    copies = {
        k: v.detach().to(torch.float32 if v.is_floating_point() else v.dtype, copy=True)
        for k, v in state.items()
    }
    module.load_state_dict(copies, assign=True)


def of_timm(name: str, who: str = "ViT") -> tuple[dict[str, Tensor], str]:
    """Get the weights of a timm model: from CMAD_WEIGHTS, or through timm from Hugging Face.

    Args:
        name: timm model, with or without a tag.
        who: asks, for the message.

    Returns:
        The weights, and where they come from.

    Raises:
        RuntimeError: there is no local file and the download failed; says what would help.

    """
    if path := find(name):
        return read(path), str(path)
    from huggingface_hub import constants, try_to_load_from_cache  # which brings an HTTP client

    cfg = timm().get_pretrained_cfg(name)
    repository = (cfg and cfg.hf_hub_id) or ""
    names = [cfg.hf_hub_filename] if cfg and cfg.hf_hub_filename else []
    names += ["model.safetensors", "pytorch_model.bin"]
    overlay = {}
    try:
        # A cached file is used without asking the hub, which retries for a minute when offline.
        cached = [try_to_load_from_cache(repository, n) for n in names] if repository else []
        if files := [c for c in cached if isinstance(c, str)]:
            overlay = {"file": files[0]}
        elif repository:
            if constants.HF_HUB_OFFLINE:
                raise OSError("HF_HUB_OFFLINE is set")
            _reach(constants.ENDPOINT)
        with seeded(0):
            model = timm().create_model(
                name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
            )
    except Exception as error:
        raise RuntimeError(_help(f"{who} {name!r}", name, repository or name, error)) from error
    return dict(model.state_dict()), "timm"


def published(name: str) -> list[str] | None:
    """Return repository and file of a timm model's weights on Hugging Face; None without."""
    cfg = timm().get_pretrained_cfg(name)
    if not cfg or not cfg.hf_hub_id:
        return None
    return [cfg.hf_hub_id, cfg.hf_hub_filename or "model.safetensors"]


def at_hand(
    name: str, weights: str | None, published: Sequence[str] | None
) -> tuple[dict[str, Tensor] | None, str]:
    """Return the weights of a timm model that are on this machine, without importing timm.

    Args:
        name: of the model.
        weights: path of a file; None looks for them as `of_timm` does.
        published: what `published` returned.

    Returns:
        The weights, None where there are none, and a description of where they come from.

    Raises:
        RuntimeError: a file cannot be read.

    """
    if path := weights or find(name):
        return read(path), f"weights of {path}"
    if published:
        from huggingface_hub import try_to_load_from_cache

        path = try_to_load_from_cache(*published)
        if isinstance(path, str):
            return read(path), "weights of timm"
    return None, ""


def point_mae() -> tuple[dict[str, Tensor], str]:
    """Get Point-MAE's published weights: from CMAD_WEIGHTS, the cache, or its authors' release.

    Returns:
        The weights, and where they come from.

    Raises:
        RuntimeError: there is no file and the download failed, which says what would help; or a
            file in the cache has changed since it was downloaded.

    """
    if path := find("point_mae"):
        return read(path), str(path)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmad"
    file, record = cache / "point_mae.safetensors", cache / "point_mae.sha256"
    if not (file.is_file() and record.is_file()):
        try:
            _download_point_mae(cache, file, record)
        except Exception as error:
            said = _help("PointMAE", "point_mae", POINT_MAE_URL, error)
            raise RuntimeError(f"{said} {_WITHOUT}") from error
    hashes = dict(line.split()[::-1] for line in record.read_text().splitlines())
    if hashes.get(file.name) != _sha256(file) or (
        POINT_MAE_SHA256 and hashes.get("pretrain.pth") != POINT_MAE_SHA256
    ):
        raise RuntimeError(f"PointMAE: {file} has changed since its download; delete {cache}")
    return read(file), str(file)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names, dtypes, shapes and values, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _download_point_mae(cache: Path, file: Path, record: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as part:
        published = Path(part) / "pretrain.pth"
        with urllib.request.urlopen(POINT_MAE_URL, timeout=_SECONDS) as response:
            with published.open("wb") as out:
                shutil.copyfileobj(response, out, 1 << 20)
            length = response.headers.get("Content-Length")
        if length and published.stat().st_size != int(length):
            raise OSError(f"got {published.stat().st_size} of {length} bytes")
        sha256 = _sha256(published)
        if POINT_MAE_SHA256 and sha256 != POINT_MAE_SHA256:
            raise OSError(f"SHA-256 must be {POINT_MAE_SHA256}, got {sha256}")
        converted = Path(part) / file.name
        # save_file refuses tensors that share memory.
        save_file({k: v.clone().contiguous() for k, v in read(published).items()}, converted)
        text = f"{sha256}  pretrain.pth\n{_sha256(converted)}  {file.name}\n"
        os.replace(published, cache / "pretrain.pth")
        os.replace(converted, file)
        record.write_text(text)  # last: without the record a file is not used


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _reach(url: str) -> None:
    """Raise OSError at once where a server cannot be reached; any answer will do."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()


_WITHOUT = (
    'A detector with xyz="normals" needs no Point-MAE: it looks at the surface through its 2D '
    "extractor."
)


def _help(what: str, name: str, source: str, error: Exception) -> str:
    folder = os.environ.get("CMAD_WEIGHTS")
    return (
        f"{what}: no weights. Looked for {' or '.join(file_names(name))} in CMAD_WEIGHTS "
        f"({folder or 'not set'}), then for {source} on the network ({error}). Either set "
        "CMAD_WEIGHTS to a folder with one of these files, or connect to the network for the "
        'first use, or pass weights="random" for tests and timing (rgb_weights="random" or '
        'xyz_weights="random" of a detector draws those of one extractor alone).'
    )
