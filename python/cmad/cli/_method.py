"""The choice of a method on the command line, and its own options, as its records declare them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer

from cmad.detectors import METHODS, Detector
from cmad.spelling import meant

DEFAULT = next(iter(METHODS))
WORDS = {int: "a whole number", float: "a number", bool: "true or false", NoneType: "none"}
"""What values of a type are called."""


def _listed(record: str) -> str:
    """Say which fields a record of each method has, with their defaults."""
    said = []
    for name, method in METHODS.items():
        own = [f"{f.name}={f.default}" for f in fields(getattr(method, record))]
        said.append(f"{name}: {', '.join(own) if own else 'none'}")
    return "; ".join(said)


def default_of(argument: str) -> str:
    """Say an argument of training's default, of each method that has it."""
    said = [
        f"{f.default} for {name}"
        for name, method in METHODS.items()
        for f in fields(method.Training)
        if f.name == argument
    ]
    return ", ".join(said)


def default_of_method(argument: str) -> str:
    """Say which extractor each method takes where none is named."""
    return ", ".join(f"{method.usual[argument]} for {name}" for name, method in METHODS.items())


Method = Annotated[str, typer.Option(help=f"One of: {', '.join(METHODS)}.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=f"An option of the method; may be repeated. {_listed('Options')}.",
        show_default=False,
    ),
]


def own_options(method: type[Detector], given: Sequence[str] | None) -> dict[str, object]:
    """Read ``NAME=VALUE`` pairs as the method's options.

    Raises:
        ValueError: no such option, or a value of another type.

    """
    hints = get_type_hints(method.Options)
    found: dict[str, object] = {}
    for pair in given or ():
        if not hints:
            raise ValueError(f"--set {pair}: {method.__name__} has no options of its own")
        name, equals, text = pair.partition("=")
        if not equals or name not in hints:
            raise ValueError(
                f"--set must be NAME=VALUE with an option of {method.__name__} "
                f"({', '.join(hints)}), got {pair!r}{meant(name, hints)}"
            )
        found[name] = _read(name, text, hints[name])
    return found


def with_defaults(method: type[Detector], asked: Mapping[str, object]) -> dict[str, object]:
    """Return all arguments of training, those that were not given with their defaults."""
    return {f.name: asked.get(f.name, f.default) for f in fields(method.Training)}


def _read(name: str, text: str, kind: Any) -> object:
    """Read a value of a declared type: int, float, bool, str, or a union of them and None."""
    kinds = get_args(kind) or (kind,)
    if NoneType in kinds and text.lower() == "none":
        return None
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        if number in kinds:
            try:
                return number(text)
            except ValueError:
                continue
    if str in kinds:
        return text
    wanted = " or ".join(WORDS[k] for k in kinds)
    raise ValueError(f"--set {name} must be {wanted}, got {text!r}")
