"""What answers at once: nothing is imported before it is needed, and Ctrl-C may come early."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from time import perf_counter

import pytest

import cmad
from cmad.cli import _group

HEAVY = ("torch", "torchvision", "timm", "sklearn", "scipy", "open3d", "numpy")
"""What takes most of the time of a start."""
ANSWERED = [["--help"], ["--version"], ["scor"], ["--nonsense"], []]
COMMAND = f"""
import sys
from cmad.cli import main
try:
    main()
finally:
    print("IMPORTED", *sorted({set(HEAVY)} & set(sys.modules)), file=sys.stderr)
"""


def python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", ANSWERED, ids=lambda words: " ".join(words) or "nothing")
def test_a_list_of_commands_a_version_and_a_typo_need_no_torch(arguments):
    ran = python(COMMAND, *arguments)
    assert ran.stderr.splitlines()[-1] == "IMPORTED", ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == (0 if arguments[:1] in (["--help"], ["--version"]) else 2)


def test_help_comes_in_a_fraction_of_the_time_that_torch_takes_to_import():
    """A ratio of two processes; 8 is usual."""

    def seconds(code, *arguments):
        begin = perf_counter()
        assert python(code, *arguments).returncode == 0
        return perf_counter() - begin

    command = "from cmad.cli import main; main()"
    assert min(seconds(command, "--help") for _ in range(3)) < seconds("import torch") / 2


EVERYTHING = """
import sys
import cmad
assert "torch" not in sys.modules
for name in cmad.__all__:
    getattr(cmad, name)
import torch  # which knows how to import some of these itself, later
heavy = {"timm", "torchvision", "torch._dynamo", "sklearn", "open3d", "scipy", "huggingface_hub"}
print(*sorted((heavy | {"rich", "yaml"}) & set(sys.modules)))
"""


def test_importing_all_of_cmad_imports_torch_and_nothing_else_that_takes_its_time():
    ran = python(EVERYTHING)
    assert (ran.returncode, ran.stdout) == (0, "\n"), ran.stderr


def test_names_of_the_package_are_there_before_they_are_imported():
    """For `dir`, which editors complete from, `from cmad import *`, and who has it wrong."""
    code = (
        "import cmad; print(*dir(cmad)); from cmad import *; print(G2SF.__name__, score.__name__)"
    )
    ran = python(code)
    assert ran.returncode == 0, ran.stderr
    names, last = ran.stdout.splitlines()
    assert set(cmad.__all__) <= set(names.split())
    assert last == "G2SF score"
    assert cmad.presets is import_module("cmad.presets")
    with pytest.raises(AttributeError, match="module 'cmad' has no attribute 'nothing'"):
        _ = cmad.nothing


def test_what_type_checkers_import_is_what_is_imported():
    """The names of `cmad` are written twice."""
    tree = ast.parse(inspect.getsource(cmad))
    typed = {
        alias.name: node.module
        for part in tree.body
        if isinstance(part, ast.If)
        for node in part.body
        for alias in node.names
    }
    assert {*typed, "__version__"} == set(cmad.__all__)
    for name, module in typed.items():
        assert getattr(cmad, name) is getattr(import_module(module), name), name


@pytest.mark.parametrize("name", _group.COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with(name):
    first = inspect.getdoc(_group.load(name).callback).split("\n\n")[0]
    assert _group.COMMANDS[name] == " ".join(first.split())


INTERRUPTED = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Waits:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Waits())
from cmad.cli import main
main()
"""


def test_ctrl_c_while_torch_is_imported_ends_in_one_line():
    ran = python(INTERRUPTED, "info", "none.cmad")
    assert (ran.returncode, ran.stderr) == (130, "interrupted: nothing was done yet\n")
