"""Options that several commands take, as records: a command has the record, its help the fields."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter
from typing import Any, get_type_hints


def spread(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command with an option for each field of the records that it takes.

    A record is a parameter whose type is a dataclass; its fields, with types as typer reads them,
    stand in its place, in their order. Called with them, the command gets the record.

    Args:
        function: the command; its parameters are passed by name.

    Raises:
        ValueError: two options have one name.
        TypeError: a field's default is made by a function.

    """
    hints = get_type_hints(function, include_extras=True)
    records: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for name, given in inspect.signature(function).parameters.items():
        if name in records:
            parameters += _fields_of(records[name])
        else:
            own = given.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name])
            parameters.append(own)

    @functools.wraps(function)
    def run(**arguments: object) -> None:
        for name, record in records.items():
            own = {f.name: arguments.pop(f.name) for f in fields(record)}
            arguments[name] = record(**own)
        function(**arguments)

    vars(run)["__signature__"] = inspect.Signature(parameters)
    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    return run


def _fields_of(record: Any) -> list[Parameter]:
    hints = get_type_hints(record, include_extras=True)
    for field in fields(record):
        if field.default_factory is not MISSING:
            raise TypeError(f"{record.__name__}: {field.name} must have a plain default or none")
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(record)
    ]
