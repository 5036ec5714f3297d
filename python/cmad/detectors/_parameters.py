"""What a detector was made with, so that it can be made again: scikit-learn's habits."""

from collections.abc import Mapping
from dataclasses import fields


def parameters(given: Mapping[str, object], options: type) -> dict[str, object]:
    """Return the arguments of a constructor as they were given, options with their defaults.

    Args:
        given: arguments, and those of the method's own options that were given.
        options: the method's record of options.

    """
    own = {f.name: f.default for f in fields(options)}
    return {**{name: value for name, value in given.items() if name not in own}, **own, **given}


def changed(
    who: str, known: Mapping[str, object], changes: Mapping[str, object]
) -> dict[str, object]:
    """Return the arguments of a constructor with some of them changed.

    Raises:
        ValueError: no such parameter; says which there are.

    """
    for name in changes:
        if name not in known:
            raise ValueError(f"{who}: no parameter {name!r}; it has {', '.join(known)}")
    return {**known, **changes}
