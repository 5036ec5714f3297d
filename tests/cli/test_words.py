"""What commands print is in their own language: options, not arguments; and their help."""

import re
import warnings

import pytest

from cmad.cli import _group
from cmad.cli._common import said
from cmad.cli._words import in_options, speak_as

COMMANDS = {name: _group.load(name) for name in _group.COMMANDS}


@pytest.mark.parametrize(
    ("command", "message", "want"),
    [
        ("fit", 'pass weights="random" for tests', "pass --weights random for tests"),
        ("fit", "save with include_extractors=True", "save with --include-extractors"),
        ("score", "save with include_extractors=True", "save with cmad fit --include-extractors"),
        ("score", "pass unit=\"mm\"; or unit='m'", "pass --unit mm; or --unit m"),
        ("show", "needs intrinsics=(fx, fy, cx, cy)", "needs --intrinsics fx,fy,cx,cy"),
        ("synthesise", "ask for kinds=('colour',)", "ask for --kinds colour"),
        ("fit", "background=0.005, or more", "--background 0.005, or more"),
        (
            "fit",
            "look at depth_unit and depth_scale too",
            "look at --depth-unit and --depth-scale too",
        ),
        (
            "fit",
            "CFM: variant must be one of 'full', 'tiny', got 'tin'",
            "--variant must be one of full, tiny, got 'tin'",
        ),
        (
            "fit",
            "CFM: weights must be one of None, 'random', got 'x'; did you mean 'y'?",
            "--weights must be random, got 'x'; did you mean 'y'?",
        ),
        ("fit", "depth_unit must be 'm' or 'mm', got 'x'", "--depth-unit must be m or mm, got 'x'"),
        ("fit", "few_shot: count must be in [1, 3], got 9", "--shots must be in [1, 3], got 9"),
        (
            "fit",
            "ViT: model must be the name of a timm model",
            "--rgb must be the name of a timm model",
        ),
        ("evaluate", "bagel: CFM: seed must be from 0", "bagel: --seed must be from 0"),
        (
            "evaluate",
            "MVTec 3D-AD: good is for plain folders",
            "MVTec 3D-AD: --good is for plain folders",
        ),
        ("score", "Folder: x holds no pairs", "x holds no pairs"),
        ("synthesise", "--from: open: x is none", "--from: x is none"),
    ],
)
def test_arguments_become_options(command, message, want):
    speak_as(command)
    assert in_options(message) == want
    assert in_options(want) == want, "what is translated stays"


@pytest.mark.parametrize(
    "message",
    [
        "000: rgb must be an 8-bit RGB image, (H, W, 3) uint8, got (5, 7) uint8",
        "a.png: xyz must be one of .tiff, .ply",
        "/data/image_size/depth_unit.png: has no points",
        "image_size.png has its name, got 'depth_unit'",
        "pass pitch=METRES_PER_PIXEL to ADAM3D",
        "CFM: not trained yet; call fit, or load a model with cmad.load",
        "Eyecandies: unit and camera of its files are known",
    ],
)
def test_what_is_no_option_stays(message):
    speak_as("fit")
    assert in_options(message) == message


def test_every_option_of_every_command_is_known_by_its_argument():
    for name, command in COMMANDS.items():
        speak_as(name)
        for option in command.params:
            if option.param_type_name == "option" and "_" in option.name:
                long = next(o for o in option.opts if o.startswith("--"))
                assert in_options(f"see {option.name}") == f"see {long}", name
    speak_as("synthesise")
    assert in_options('cut_from="x"') == "--from x"
    speak_as("fit")
    assert in_options('options="x"') == "--set x"


def test_errors_of_the_system_are_said_without_numbers():
    assert said(FileNotFoundError(2, "No such file or directory", "a")) == (
        "a: no such file or folder"
    )
    assert said(PermissionError(13, "Permission denied", "a")) == "a: permission denied"
    assert said(OSError("a: could not be saved")) == "a: could not be saved"


@pytest.mark.filterwarnings("always")
def test_a_command_translates_its_warnings_and_errors(run, model, data, tmp_path, monkeypatch):
    def predict(*_, **__):
        warnings.warn('pass unit="mm"', UserWarning, stacklevel=1)
        raise ValueError("give image_size=64")

    monkeypatch.setattr("cmad.detectors.detector.Detector.grids", predict)
    result = run("score", model, data / "cover" / "test" / "good", "-o", tmp_path / "out")
    assert "warning: pass --unit mm\n" in result.err
    assert "error: 000: give cmad fit --image-size 64\n" in result.err


def helped(name, monkeypatch, run):
    monkeypatch.setenv("COLUMNS", "120")
    return " ".join(re.sub("[│╭╮╰╯─]", " ", run(name, "--help").out).split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_keeps_names_in_angle_brackets_and_says_what_exit_codes_mean(name, run, monkeypatch):
    text = helped(name, monkeypatch, run)
    command = COMMANDS[name]
    for source in (command.help, *(getattr(p, "help", None) or "" for p in command.params)):
        for word in re.findall(r"<\w+>", source):
            assert word in text
    assert "Exit codes: 0, all went well; 1, an error" in text
    assert "2, the command line is wrong" in text
    assert "\\" not in text


def test_names_in_angle_brackets_are_somewhere_in_the_help(run, monkeypatch):
    assert "good/ and <defect>/" in helped("evaluate", monkeypatch, run)
    assert "<category>/test/<defect>/<number>.tiff" in helped("evaluate", monkeypatch, run)
    assert "test/<kind>/" in helped("synthesise", monkeypatch, run)
