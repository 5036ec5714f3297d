"""An NVIDIA GPU: whether there is one to use, and how arrays and work get there.

All that asks for a GPU's own calls is here, so that the rest is written once for both devices: on
the CPU each of these functions does nothing. docs/gpu.md says what uses them.
"""

import threading
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from cmad import notices

CPU = torch.device("cpu")
MODULE = "cmad._native._cuda"
"""The compiled kernels."""
OTHERWISE = "or pass device='cpu'"
ALIGNED = 256
"""Bytes that each array of an upload begins at a multiple of."""
WARM = 3
"""Plain runs before a graph is captured: the first ones choose algorithms and make workspaces."""
MOST_GRAPHS = 8
"""Shapes that one function keeps graphs of; each holds its results in memory of its own."""
DIFFERENCE = 1e-3
"""Of a graph's result from the plain one, relative to its length, above which it is not used. Both
run the same kernels, but for products that may be summed in another order."""


def missing() -> str | None:
    """Say what is missing for ``device='cuda'``, and what to do; None where nothing is."""
    if find_spec(MODULE) is None:
        return (
            "device='cuda' needs kernels that this build of cmad does not have: build it from "
            f"source with CMAD_CUDA=ON (docs/gpu.md), {OTHERWISE}"
        )
    if torch.version.cuda is None:
        return (
            f"device='cuda' needs a torch that is built for CUDA, this is {torch.__version__}: "
            f"install one that is, {OTHERWISE}"
        )
    with warnings.catch_warnings(record=True) as said:  # torch warns of a driver that is too old
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if not found:
        why = " ".join(str(said[-1].message).split(". ")[0].split()) if said else "it finds none"
        return (
            f"device='cuda' needs an NVIDIA GPU and its driver that torch can use ({why}): see "
            f"what nvidia-smi prints, {OTHERWISE}"
        )
    try:
        import_module(MODULE)
    except ImportError as error:
        return f"device='cuda' needs kernels that cannot be loaded ({error}): {OTHERWISE}"
    return None


def stream_of(device: torch.device) -> int:
    """Return torch's stream on a GPU, as native code takes it.

    Raises:
        RuntimeError: it is another GPU than the one that this thread works on.

    """
    current = torch.cuda.current_device()
    if device.index not in (None, current):
        raise RuntimeError(
            f"cmad: the tensors are on {device}, but this thread works on cuda:{current}: call "
            f"within torch.cuda.device({device.index})"
        )
    return torch.cuda.current_stream(device).cuda_stream


def upload(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Bring the CPU's tensors to a GPU in one copy, which is not waited for.

    Args:
        tensors: on the CPU, of any types and shapes.
        device: for the CPU they are returned as they are.

    Returns:
        The same on the device, parts of one buffer there.

    """
    if device.type == "cpu" or not tensors:
        return list(tensors)
    begins, end = [], 0
    for tensor in tensors:
        begins.append(end)
        end += -(-tensor.nbytes // ALIGNED) * ALIGNED

    def part(buffer: Tensor, begin: int, of: Tensor) -> Tensor:
        return buffer[begin : begin + of.nbytes].view(of.dtype).view(of.shape)

    staged = _pinned(end)
    for begin, tensor in zip(begins, tensors, strict=True):
        part(staged, begin, tensor).copy_(tensor)
    there = _sent(staged, device)
    return [part(there, begin, t) for begin, t in zip(begins, tensors, strict=True)]


def download(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Bring tensors to the CPU in one copy, and wait for it: the end of a part's work.

    Args:
        tensors: of one type and device; those of the CPU are returned as they are.

    """
    if not tensors or tensors[0].device.type == "cpu":
        return list(tensors)
    flat = torch.cat([t.detach().flatten() for t in tensors])
    host = _pinned(flat.nbytes).view(flat.dtype)
    host.copy_(flat, non_blocking=True)
    _wait(flat.device)
    # Copies, as pinned memory is not for keeping results in.
    parts = torch.split(host.clone(), [t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]


def free(device: torch.device) -> int:
    """Return the bytes of a GPU's memory that are free; 0 for the CPU."""
    return 0 if device.type == "cpu" else int(torch.cuda.mem_get_info(device)[0])


def _pinned(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def _sent(staged: Tensor, device: torch.device) -> Tensor:
    # torch does not give pinned memory to others before this copy is done.
    return staged.to(device, non_blocking=True)


def _wait(device: torch.device) -> None:
    torch.cuda.current_stream(device).synchronize()


class Branch:
    """Work that a GPU does beside the other, in a stream of its own.

    Within `apart` torch and the ops put their work there; `join` lets the work after it wait.
    """

    def __init__(self, device: torch.device) -> None:
        """Take the device's second stream, one for the whole program."""
        self._device = device
        self._side = None if device.type == "cpu" else _side_stream(device)

    @contextmanager
    def apart(self, uses: Iterable[Tensor]) -> Iterator[None]:
        """Work beside what follows, on tensors that were made before."""
        if self._side is None:
            yield
            return
        self._side.wait_stream(torch.cuda.current_stream(self._device))
        for tensor in uses:  # so that their memory is not given away while it is read there
            tensor.record_stream(self._side)
        with torch.cuda.stream(self._side):
            yield

    def join(self, made: Iterable[Tensor]) -> None:
        """Let what follows wait for the branch, and use what was made there."""
        if self._side is None:
            return
        here = torch.cuda.current_stream(self._device)
        here.wait_stream(self._side)
        for tensor in made:
            tensor.record_stream(here)


@lru_cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, eq=False)
class _Captured:
    taken: list[Tensor]
    """What the graph reads."""
    made: Tensor
    """What it writes."""
    replay: Callable[[], object]
    done: Any
    """Event behind the latest replay."""


class Graphed:
    """A function of tensors that runs as a CUDA graph: one launch instead of hundreds.

    For each set of shapes the first calls run it plainly, then a graph is captured and compared
    with the plain result, and further calls replay it. Where that fails, or the results differ,
    there is a warning and the function runs plainly from then on.

    Args:
        function: of tensors on a GPU to one; reads no value on the host, makes no tensor without
            its device, and its weights stay where they are.

    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        """Capture nothing yet."""
        self._plain = function
        self._forget()

    def _forget(self) -> None:
        self._calls: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, _Captured | None] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return the function alone: a copy captures graphs of its own."""
        return {"_plain": self._plain}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the function."""
        self._plain = state["_plain"]
        self._forget()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """Run the function, or its graph where there is one."""
        device = tensors[0].device
        if _on_cpu(device):
            return self._plain(*tensors)
        half = torch.get_autocast_dtype(device.type) if _autocasts(device) else None
        key = (
            device,
            half,
            torch.is_inference_mode_enabled(),
            *((t.shape, t.dtype) for t in tensors),
        )
        with self._lock:
            if key not in self._graphs:
                self._calls[key] = self._calls.get(key, 0) + 1
                if self._calls[key] <= WARM or len(self._graphs) >= MOST_GRAPHS:
                    return self._plain(*tensors)
                self._graphs[key] = self._checked(tensors)
            captured = self._graphs[key]
            return self._plain(*tensors) if captured is None else _replayed(captured, tensors)

    def _checked(self, tensors: Sequence[Tensor]) -> _Captured | None:
        """Capture a graph; None where it fails, or does not do what the function does."""
        try:
            want = self._plain(*tensors)
            captured = _capture(self._plain, tensors)
            off = (_replayed(captured, tensors).double() - want.double()).norm()
            if not bool(off <= DIFFERENCE * want.double().norm()):  # NaN too
                raise RuntimeError(f"its result differs by {float(off):.2g}")
        except RuntimeError as error:
            notices.warn(
                "CUDA graph",
                f"a CUDA graph cannot be used ({' '.join(str(error).split())}); the same is "
                "launched piece by piece, which gives the same results and takes longer",
            )
            return None
        return captured


def _on_cpu(device: torch.device) -> bool:
    return device.type == "cpu"


def _autocasts(device: torch.device) -> bool:
    return torch.is_autocast_enabled(device.type)


def _capture(function: Callable[..., Tensor], tensors: Sequence[Tensor]) -> _Captured:
    taken = [t.clone() for t in tensors]
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on to use the GPU meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        made = function(*taken)
    return _Captured(taken, made, graph.replay, torch.cuda.Event())  # type: ignore[no-untyped-call]


def _replayed(captured: _Captured, tensors: Sequence[Tensor]) -> Tensor:
    here = torch.cuda.current_stream(tensors[0].device)
    here.wait_event(captured.done)  # of a replay in another stream
    for own, tensor in zip(captured.taken, tensors, strict=True):
        own.copy_(tensor)
    captured.replay()
    made = captured.made.clone()
    captured.done.record(here)
    return made
