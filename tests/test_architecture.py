"""Imports point one way, and every op has its documentation, reference and cases."""

import ast
import importlib.util
import inspect
import textwrap
from pathlib import Path

import pytest

ROOT = Path(next(iter(importlib.util.find_spec("cmad").submodule_search_locations)))

# From the top down: a module may import what stands in the rows below its own, and its own package.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"cmad"},  # cmad/__init__.py
    {"demo", "serve"},
    {"api", "report", "scale"},
    {"evaluate"},
    {"detectors"},
    {
        *("nn", "bank", "pipeline", "presets", "store", "calibrate", "regions", "model_file"),
        *("synthesis", "checkpoint", "card", "curves", "drift"),
    },
    {"ranges"},
    {"maps", "rasters", "preprocess", "extractors", "cache"},
    {"checks", "foreground", "surface"},
    {"background", "ops", "marks"},
    {"_native"},
]
# Modules beside the layers, and all that they may import.
BESIDE = {
    "types": {"reprs"},
    "progress": set(),
    "reprs": set(),
    "notices": set(),
    "paths": set(),
    "spelling": set(),
    "version": set(),
    "environment": {"version"},
    "linear": set(),
    "seeding": set(),
    "forking": set(),
    "gpu": {"notices"},
    "units": {"types"},
    "metrics": {"ops", "types"},
    "repeatability": {"types"},
    "registration": {"checks", "notices", "types", "units"},
    "datasets": {*("types", "preprocess", "units", "paths", "spelling", "notices"), "registration"},
    "testing": {"gpu", "ops", "types", "synthesis"},
}
FOR_ALL = {
    *("types", "progress", "reprs", "notices", "paths", "spelling", "version", "seeding", "units"),
    "environment",
    "linear",
    "gpu",
}
# Used by the rows above detectors.
FOR_THE_TOP = {"metrics", "datasets", "registration", "forking", "repeatability"}
UNITS = set.union(*LAYERS, BESIDE)


def allowed(unit):
    if unit in BESIDE:
        return {unit, *BESIDE[unit]}
    row = next(i for i, layer in enumerate(LAYERS) if unit in layer)
    above_detectors = any("detectors" in layer for layer in LAYERS[row + 1 :])
    return {unit}.union(*LAYERS[row + 1 :], FOR_ALL, FOR_THE_TOP if above_detectors else ())


def unit_of(file):
    """The row's name for a file: its package or module directly under cmad."""
    first = file.relative_to(ROOT).parts[0].removesuffix(".py")
    return "cmad" if first == "__init__" else first


def imported(source, package):
    """The parts of cmad that a source imports; `package` is the dotted package it belongs to."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*(parents if node.level else []), *filter(None, [node.module])])
            names += [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "id", getattr(node.func, "attr", None))
            if called == "import_module" and isinstance(node.args[0], ast.Constant):
                names.append(node.args[0].value)
    parts = [name.split(".") for name in names if name.split(".")[0] == "cmad"]
    return {part[1] if len(part) > 1 and is_module(part[1]) else "cmad" for part in parts}


def is_module(name):
    return name in UNITS or (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()


FILES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below_it(file):
    unit = unit_of(file)
    assert unit in UNITS, f"cmad/{unit} is not in the table of imports: add it to the table"
    package = ".".join(["cmad", *file.relative_to(ROOT).parent.parts])
    wrong = imported(file.read_text(), package) - allowed(unit)
    assert not wrong, f"{unit} must not import {sorted(wrong)}"


@pytest.mark.parametrize(
    ("source", "package", "want"),
    [
        ("import cmad", "cmad", {"cmad"}),
        ("import cmad.ops.fps as f, numpy", "cmad.nn", {"ops"}),
        ("from cmad import ops, CFM", "cmad", {"ops", "cmad"}),
        ("from cmad.detectors.cfm import CFM", "cmad", {"detectors"}),
        ("from .bank import x", "cmad", {"bank"}),
        ("from . import ops", "cmad", {"ops"}),
        ("from .. import maps", "cmad.nn", {"maps"}),
        ("from ..cli import main", "cmad.nn", {"cli"}),
        ("from .mapping import Mapping", "cmad.nn", {"nn"}),
        ("def f():\n    from cmad.cli import main", "cmad", {"cli"}),
        ("import_module('cmad._native._cpu')", "cmad.ops", {"_native"}),
        ("importlib.import_module('cmad.testing.cases')", "cmad", {"testing"}),
        ("import torch, cmadness\nfrom numpy import cmad", "cmad", set()),
    ],
)
def test_every_way_to_import_is_seen(source, package, want):
    assert imported(source, package) == want


METHODLESS = {"Ablation", "Detector", "METHODS", "load", "method_named", "passes"}
"""What the rest of the package takes from the detectors: no method by its name."""


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if unit_of(f) not in ("detectors", "cmad")],
    ids=lambda file: str(file.relative_to(ROOT)),
)
def test_no_method_is_named_outside_the_detectors(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cmad.detectors"):
            assert {alias.name for alias in node.names} <= METHODLESS


def test_the_table_points_one_way():
    assert allowed("ops") == {"ops", "_native", *FOR_ALL}
    assert {"metrics", "datasets", "api", "detectors", "cmad"} <= allowed("cli")
    assert not allowed("detectors") & {"cli", "cmad", "report", "api", "metrics", "datasets"}
    assert not any("testing" in allowed(unit) for unit in UNITS - {"testing"})
    for above in UNITS:
        for below in allowed(above) - {above}:
            assert above not in allowed(below), (above, below)


def public_ops():
    # Not through cmad.ops.__all__ here: collection must not need the compiled module.
    tree = ast.parse((ROOT / "ops" / "__init__.py").read_text())
    return sorted(a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names)


def test_ops_lists_what_it_exports():
    from cmad import ops

    assert sorted(ops.__all__) == public_ops()


@pytest.mark.parametrize("op", public_ops())
def test_an_op_documents_its_arguments_and_result(op):
    from cmad import ops

    function = getattr(ops, op)
    text = inspect.getdoc(function)
    assert text.splitlines()[0].endswith("."), "the first line says what it does"
    assert "\nReturns:\n" in text
    described = text.split("\nArgs:\n")[1].split("\n\n")[0]
    for name in inspect.signature(function).parameters:
        assert f"\n    {name}: " in f"\n{described}", f"{name} is not described"


@pytest.mark.parametrize("op", public_ops())
def test_an_op_has_a_reference_of_at_most_15_lines(op):
    from cmad.testing import reference

    source = textwrap.dedent(inspect.getsource(getattr(reference, op)))
    function = ast.parse(source).body[0]
    assert ast.get_docstring(function)
    assert function.end_lineno - function.body[0].lineno < 15


@pytest.mark.parametrize("op", public_ops())
def test_an_op_has_cases_of_distinct_names_and_a_timed_one(op):
    from cmad.testing.cases import CASES

    names = [case.name for case in CASES if case.op == op]
    assert len(names) == len(set(names)) > 1
    assert any(case.timed for case in CASES if case.op == op)


@pytest.mark.parametrize("op", public_ops())
def test_an_op_has_a_test_file_whose_tests_call_it(op):
    source = (Path(__file__).parent / "ops" / f"test_{op}.py").read_text()
    assert calling_tests(op, source)


def calling_tests(op, source):
    """The test functions that call an op, by its name, as ``ops.<name>``, or through a helper."""
    functions = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]

    def calls(function, wanted):
        called = [n.func for n in ast.walk(function) if isinstance(n, ast.Call)]
        return any(getattr(f, "id", getattr(f, "attr", None)) in wanted for f in called)

    helpers = {f.name for f in functions if not f.name.startswith("test_") and calls(f, {op})}
    tests = [f for f in functions if f.name.startswith("test_")]
    return [f.name for f in tests if calls(f, {op, *helpers})]


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("", []),
        ("from cmad.ops import fps\ndef test_a(): pass", []),
        (
            "def test_a(): fps(1)\ndef test_b(): assert x.fps(2)\ndef c(): fps(3)",
            ["test_a", "test_b"],
        ),
        ("def picked(k): return ops.fps(k)\ndef test_a(): assert picked(1) == 1", ["test_a"]),
        ("# def test_a(): fps(1)\nfps = 1\ndef test_b(): group(fps)", []),
    ],
)
def test_tests_that_call_an_op_are_found(source, want):
    assert calling_tests("fps", source) == want
