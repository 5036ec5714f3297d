"""Messages in the words of the command line: options for arguments.

The library's messages name arguments as Python has them, ``weights="random"`` and ``CFM: seed must
be ...``; whoever typed a command knows ``--weights random`` and ``--seed``. All that a command
prints of the library goes through `in_options`, and nothing else translates.
"""

import inspect
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from importlib import import_module
from typing import Annotated, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from cmad.detectors import METHODS

OTHER = "fit"
"""The command whose options are named, with it, where the running one has none of that name."""
ALSO_OF_DATA = ("rgb", "xyz", "maps", "data", "model", "out", "limit", "parts")
"""Names of options that are also words of messages about arrays and files."""
ELSEWHERE = {("ViT", "model"): "rgb", ("few_shot", "count"): "shots"}
"""Arguments of other callables, and the parameter of a command that sets them."""

_options: dict[str, dict[str, str]] = {}
"""By command, the option of each of its parameters."""
_running: ContextVar[str] = ContextVar("cmad_command", default=OTHER)

_READERS = ("Folder", "Folder3D", "MVTec3D", "ADAM3D", "RealIADD3", "Pairs")
_METHODS = [method.__name__ for method in METHODS.values()]
_WHO = "|".join((*_METHODS, *_READERS, "ViT", "PointMAE", "fit", "calibrate", "few_shot"))
_VALUE = r"""(?:"[^"]*"|'[^']*'|\([^()]*\)|[\w.-]*\w)"""
_START, _END = r"(?<![\w/.\-\"'=])", r"(?![\w/(=]|\.\w)"
_ARGUMENT = re.compile(rf"{_START}(?P<name>[a-z]\w*)=(?P<value>{_VALUE})")
_NAME = re.compile(rf"{_START}(?P<name>[a-z0-9]+(?:_[a-z0-9]+)+){_END}")
_QUOTED = r"(?:None|'[^']*')"
_ALLOWED = re.compile(
    rf"(?<=must be )(?P<one_of>one of )?(?P<values>{_QUOTED}(?:(?:, | or ){_QUOTED})*)(?=, got)"
)
_SUBJECT = re.compile(
    rf"(?P<before>^|: )(?:(?P<who>{_WHO}): )?(?P<name>[a-z]\w*) (?P<wanted>(?:must be|is for) .*)"
)
_READER = re.compile(rf"(?P<before>^|: )(?:open|{'|'.join(_READERS)}): ")


def learn(command: Callable[..., object]) -> None:
    """Take note of a command's options."""
    found = _options.setdefault(command.__name__, {})
    for name, hint in get_type_hints(command, include_extras=True).items():
        infos = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        default = inspect.signature(command).parameters.get(name)
        for info in infos if default is not None else ():
            if isinstance(info, OptionInfo):
                # The first name stands where a default would, as the type is Annotated.
                names = (info.default, *(info.param_decls or ()))
                long = [n for n in names if isinstance(n, str) and n.startswith("--")]
                found[name] = long[0] if long else f"--{name.replace('_', '-')}"


def speak_as(command: str) -> None:
    """Say which command runs from here on."""
    _running.set(command)


def in_options(message: str) -> str:
    """Return a message with the running command's options for the arguments that it names.

    ``name="value"`` becomes ``--name value``, ``name=True`` ``--name``, ``CFM: name must be one of
    'a', 'b'`` ``--name must be one of a, b``, and a name with underscores ``--the-name``. Where the
    command has no such option but `OTHER` has, it is ``cmad fit --name``. Names that no option has,
    and parts of paths, stay.
    """
    message = _SUBJECT.sub(_subject, message)
    message = _READER.sub(r"\g<before>", message)
    message = _ARGUMENT.sub(_argument, message)
    return _NAME.sub(lambda m: _option(m["name"]) or m[0], message)


def _option(name: str) -> str | None:
    """Return the option of an argument, with the command where it is another's."""
    own = _options.get(_running.get(), {})
    if name in own:
        return own[name]
    if OTHER not in _options:
        import_module(f"cmad.cli.{OTHER}")
    other = _options.get(OTHER, {}).get(name)
    return None if other is None else f"cmad {OTHER} {other}"


def _subject(found: re.Match[str]) -> str:
    name = ELSEWHERE.get((found["who"] or "", found["name"]), found["name"])
    sure = found["who"] in _METHODS or name != found["name"] or name not in ALSO_OF_DATA
    option = _option(name) if sure else None
    if option is None:
        return found[0]
    wanted = _ALLOWED.sub(_allowed, found["wanted"])
    return f"{found['before']}{option} {wanted}"


def _allowed(found: re.Match[str]) -> str:
    """Return values without quotes, and without None, which on the command line is leaving away."""
    values = [word for word in found["values"].replace(" or ", ", ").split(", ") if word != "None"]
    joined = " or ".join(_bare(values)) if not found["one_of"] else ", ".join(_bare(values))
    return f"one of {joined}" if found["one_of"] and len(values) > 1 else joined


def _argument(found: re.Match[str]) -> str:
    option, value = _option(found["name"]), found["value"]
    if option is None:
        return found[0]
    if value == "True":
        return option
    words = value[1:-1].split(",") if value.startswith("(") else [value]
    return f"{option} {','.join(_bare(words))}"


def _bare(words: Iterable[str]) -> list[str]:
    return [bare for word in words if (bare := word.strip().strip("'\""))]
