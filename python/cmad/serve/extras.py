"""Libraries of the extras, imported where they are used."""

from importlib import import_module
from types import ModuleType


def need(module: str, package: str, extra: str, what: str) -> ModuleType:
    """Import a module of an extra.

    Args:
        module: its name.
        package: what it comes with.
        extra: of ours, that brings it.
        what: needs it, for the message.

    Raises:
        RuntimeError: it is not installed; says how to.

    """
    try:
        return import_module(module)
    except ImportError as error:
        raise RuntimeError(
            f"{what} needs {package} ({error}); pip install 'cmad-vision[{extra}]'"
        ) from error
