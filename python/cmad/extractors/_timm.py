"""timm, imported where a vision transformer is made, so that `import cmad` does without it.

timm imports torchvision, which fails where it was built for another torch, such as PyPI's, built
for CUDA, beside a torch for CPUs. What needs no image model still works then.
"""

from importlib import import_module
from types import ModuleType

from cmad.version import installed

_CPU = "https://download.pytorch.org/whl/cpu"


def timm(module: str = "timm") -> ModuleType:
    """Import timm or a module of it.

    Raises:
        RuntimeError: it cannot be imported; says which torch and torchvision are there.

    """
    try:
        return import_module(module)
    except (ImportError, RuntimeError) as error:
        found = installed("torch", "torchvision", "timm")
        raise RuntimeError(
            f"ViT: timm cannot be imported ({error}). Here are "
            f"{', '.join(f'{k} {v}' for k, v in found.items())}. torch and torchvision must come "
            f"from the same place: pip install --force-reinstall torch torchvision, for CPUs with "
            f"--index-url {_CPU}"
        ) from error
