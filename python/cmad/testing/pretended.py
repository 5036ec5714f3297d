"""A GPU that is not there: torch's fake tensors, which have a shape, a type and a device only.

What runs on it shows, without a GPU, that every tensor is made where it belongs, since those of
two devices do not mix, and once `Pretended.strict` that nothing waits for the GPU: no value is read
on the host, and nothing goes up or down but by `cmad.gpu.upload` and `cmad.gpu.download`. Native
functions check what they are given and compute nothing; so there are no numbers to compare.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from cmad import gpu
from cmad.ops import _call
from cmad.ops._mapping_weights import Number
from cmad.ops.mapping_discrepancy import PATHS

DEVICE = torch.device("cuda", 0)
READ = ("item", "__bool__", "__float__", "__int__", "__index__", "tolist", "numpy", "cpu")
"""Methods of a tensor that wait for its values."""


ANSWERS = {"mapping_layout": (PATHS["mma"], 0, int(Number.FLOAT16)), "knn_parts": 1}
"""What native functions that compute nothing from tensors say."""


class WaitedError(AssertionError):
    """Something waits for the GPU where nothing should."""


class Pretended(TorchFunctionMode):
    """A fake GPU; use `pretended`."""

    def __init__(self) -> None:
        """Begin without strictness: weights are brought there, and constants made."""
        super().__init__()
        self.fake = FakeTensorMode()
        self._strict = False
        self.uploads: list[int] = []
        """Arrays in each upload."""
        self.downloads: list[int] = []
        self.launches: list[str] = []
        """Names of the native functions that were called."""

    @contextmanager
    def strict(self) -> Iterator[None]:
        """Raise `WaitedError` where something waits for the GPU; count anew."""
        self._strict = True
        self.uploads, self.downloads, self.launches = [], [], []
        try:
            yield
        finally:
            self._strict = False

    def there(self, tensor: Tensor) -> Tensor:
        """Return the stand-in of a CPU's tensor on the GPU."""
        with self.fake:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device=DEVICE)

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Send to the fake GPU what is meant for it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        of_gpu = [t for t in tensors if isinstance(t, FakeTensor) and t.device.type == "cuda"]
        given = [args[1:], kwargs] if tensors else [args, kwargs]
        goes_there = any(_is_gpu(value) for value in tree_leaves(given))
        if name == "to" and not isinstance(args[0], FakeTensor) and (goes_there or of_gpu):
            self._waits(f"{tuple(tensors[0].shape)} is brought there alone")
            dtypes = [v for v in tree_leaves(given) if isinstance(v, torch.dtype)]
            dtypes += [t.dtype for t in of_gpu]
            return self.there(tensors[0].to(dtypes[0]) if dtypes else tensors[0])
        if name in ("tensor", "as_tensor") and goes_there:
            self._waits(f"{name} is made of the host's numbers")
        if name == "copy_" and of_gpu and len(of_gpu) < len(tensors):
            self._waits(f"copy of {tuple(of_gpu[0].shape)} between devices")
            return tensors[0]
        if of_gpu and name == "data_ptr":
            return 0  # as aligned as can be
        if of_gpu and (name in READ or (name == "to" and _goes_back(args, kwargs))):
            self._waits(f"{name} of {tuple(of_gpu[0].shape)}")
            return _number(name, of_gpu[0])
        if name in ("__getitem__", "__setitem__") and (mask := _mask(args[1])) is not None:
            self._waits(f"{name} by a mask of {tuple(mask.shape)}")
            if name == "__setitem__":
                return None
            rest = args[0].shape[mask.ndim :]
            return self.there(torch.empty(mask.numel(), *rest, dtype=args[0].dtype))  # all true
        if name == "backward" and of_gpu:  # torch's own needs a real GPU
            for leaf in _leaves(of_gpu[0]):
                leaf.grad = self.there(leaf)
            return None
        if not (of_gpu or goes_there):
            return func(*args, **kwargs)
        with self.fake:
            return func(*args, **kwargs)

    def _waits(self, said: str) -> None:
        if self._strict:
            raise WaitedError(said)

    def upload(self, tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
        """Stand in for `cmad.gpu.upload`."""
        if device.type == "cpu" or not tensors:
            return list(tensors)
        assert all(type(t) is Tensor and t.device.type == "cpu" for t in tensors)
        self.uploads.append(len(tensors))
        return [self.there(t) for t in tensors]

    def download(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Stand in for `cmad.gpu.download`."""
        assert {(t.device, t.dtype) for t in tensors} == {(DEVICE, tensors[0].dtype)}
        self.downloads.append(len(tensors))
        return [torch.ones(t.shape, dtype=t.dtype) for t in tensors]

    def native(self) -> ModuleType:
        """Return a module whose functions check that arrays are contiguous and on the GPU."""
        module = ModuleType("pretended")

        def named(name: str) -> Callable[..., object]:
            def function(*given: object) -> object:
                self.launches.append(name)
                for value in given:
                    if isinstance(value, Tensor):
                        assert value.device == DEVICE, (name, value.device)
                        assert value.is_contiguous(), name
                return ANSWERS.get(name)

            return function

        vars(module)["__getattr__"] = named
        return module


def _is_gpu(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda")
    return isinstance(value, torch.device) and value.type == "cuda"


def _goes_back(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    given = [*args[1:], *kwargs.values()]
    devices = [v.device if isinstance(v, Tensor) else v for v in given]
    return any(v == "cpu" or (isinstance(v, torch.device) and v.type == "cpu") for v in devices)


def _leaves(of: Tensor) -> list[Tensor]:
    """Return the parameters that a tensor was computed from."""
    found: list[Tensor] = []
    seen: set[object] = set()
    waiting: list[Any] = [of.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [following for following, _ in node.next_functions]
    return found


def _mask(key: object) -> Tensor | None:
    """Return the mask on the GPU that a key begins with."""
    first = key[0] if isinstance(key, tuple) and key else key
    masks = isinstance(first, FakeTensor) and first.dtype == torch.bool
    return first if masks and isinstance(first, Tensor) else None


def _number(name: str, of: Tensor) -> Any:
    """Return what a read gives while weights are brought there."""
    values = torch.ones(of.shape, dtype=of.dtype)
    if name in ("tolist", "numpy"):
        return getattr(values, name)()
    numbers = {"__bool__": True, "__int__": 1, "__index__": 1}
    return values if name in ("cpu", "to") else numbers.get(name, 1.0)


class _Branch:
    """Stands in for `cmad.gpu.Branch`."""

    def __init__(self, device: torch.device) -> None: ...

    @contextmanager
    def apart(self, uses: Sequence[Tensor]) -> Iterator[None]:
        assert all(t.device.type == "cuda" for t in uses)
        yield

    def join(self, made: Iterator[Tensor]) -> None:
        assert all(t.device.type == "cuda" for t in made)


@contextmanager
def pretended() -> Iterator[Pretended]:
    """Let ``device="cuda"`` be a GPU that is not there."""
    machine = Pretended()
    cuda: dict[str, object] = {
        "current_device": lambda: 0,
        "is_bf16_supported": lambda *_: True,
        "mem_get_info": lambda _: (1 << 30, 1 << 30),
    }
    stand_ins: dict[str, object] = {
        "missing": lambda: None,
        "stream_of": lambda _: 0,
        "upload": machine.upload,
        "download": machine.download,
        "Branch": _Branch,
    }
    with ExitStack() as stack:
        for name, function in cuda.items():
            stack.enter_context(patch.object(torch.cuda, name, function))
        # torch itself is to know that there is none; only mixed precision asks.
        asked = "amp_definitely_not_available"
        stack.enter_context(patch.object(torch.cuda.amp.common, asked, lambda: False))
        for name, stand_in in stand_ins.items():
            stack.enter_context(patch.object(gpu, name, stand_in))
        module = machine.native()
        stack.enter_context(patch.dict(_call.MODULES, {"cuda": module.__name__}))
        stack.enter_context(patch.dict("sys.modules", {module.__name__: module}))
        # Fake parameters take the real ones' places, as they cannot take their memory.
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        stack.enter_context(machine)
        yield machine
