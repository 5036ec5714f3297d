"""Versions of this distribution and of others."""

from importlib.metadata import PackageNotFoundError, version


def installed(*names: str) -> dict[str, str]:
    """Return the versions of those distributions that are installed, by name."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


__version__ = installed("cmad-vision").get("cmad-vision", "0+unknown")
"""Unknown where a source tree is on the path and not installed."""
