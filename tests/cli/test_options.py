"""Records of options: what a command has of them, what it gets, and what they stand for."""

import inspect
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

import cmad
from cmad.cli._building import Building, Computing, Training
from cmad.cli._common import command
from cmad.cli._options import Files
from cmad.cli._spread import spread
from cmad.detectors import METHODS, Detector
from cmad.units import Units


@dataclass(frozen=True)
class Paint:
    """Two options."""

    colour: Annotated[str, typer.Option(help="Of the paint.")] = "red"
    tin: Annotated[Path | None, typer.Option("--from", help="Take it from there.")] = None


@dataclass(frozen=True)
class Wall:
    """One that is needed."""

    height: Annotated[float, typer.Option(help="In metres.")]


def runs(function):
    app = typer.Typer(add_completion=False)
    app.command()(function)
    return lambda *words: CliRunner().invoke(app, words)


def test_a_command_has_the_fields_in_their_place_and_gets_the_record():
    got = []

    def decorate(
        room: Annotated[str, typer.Argument()], *, coats: int = 1, paint: Paint, dry: bool = False
    ) -> None:
        got.append((room, coats, paint, dry))

    assert list(inspect.signature(spread(decorate)).parameters) == [
        *("room", "coats", "colour", "tin", "dry")
    ]
    run = runs(spread(decorate))
    assert run("hall").exit_code == 0
    assert run("hall", "--colour", "blue", "--from", "a", "--coats", "2", "--dry").exit_code == 0
    assert got == [
        ("hall", 1, Paint(), False),
        ("hall", 2, Paint("blue", Path("a")), True),
    ]
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", run("--help").output).split())
    place = [said.index(name) for name in ("--coats", "--colour", "--from", "--dry")]
    assert place == sorted(place)
    assert "Of the paint. [default: red]" in said


def test_several_records_are_kept_apart_and_a_field_without_default_is_required():
    got = []

    def decorate(*, paint: Paint, wall: Wall) -> None:
        got.append((paint, wall))

    run = runs(spread(decorate))
    missing = run("--colour", "blue")
    assert missing.exit_code == 2
    assert "Missing option '--height'" in missing.output
    assert run("--height", "2.5", "--colour", "blue").exit_code == 0
    assert got == [(Paint("blue"), Wall(2.5))]


def test_two_options_of_one_name_are_an_error_where_the_command_is_written():
    def decorate(*, colour: str = "red", paint: Paint) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="duplicate parameter name: 'colour'"):
        spread(decorate)


def test_a_default_that_is_made_is_refused():
    @dataclass(frozen=True)
    class Made:
        colours: list[str] = field(default_factory=list)

    def decorate(*, made: "Made") -> None:
        raise AssertionError

    decorate.__annotations__["made"] = Made
    with pytest.raises(TypeError, match="Made: colours must have a plain default or none"):
        spread(decorate)


def test_records_are_treated_as_options_that_stand_alone(monkeypatch, tmp_path):
    """Paths are expanded, messages speak of the option."""
    monkeypatch.setenv("HOME", str(tmp_path))
    got = []

    def decorate(*, paint: Paint) -> None:
        got.append(paint.tin)
        raise ValueError("give tin='x', or colour='red'")

    run = runs(command(decorate))
    ran = run("--from=~/tins")
    assert got == [tmp_path / "tins"]
    assert ran.exit_code == 1
    assert "error: give --from x, or --colour red" in ran.output


def test_what_is_not_given_is_what_a_detector_takes():
    taken = inspect.signature(Detector.__init__).parameters
    for record in (Building, Computing):
        assert {f.name: f.default for f in fields(record)} == {
            f.name: taken[f.name].default for f in fields(record)
        }
    left = set(taken) - {f.name for r in (Building, Computing) for f in fields(r)}
    assert left == {"self", "seed", "cache", "options"}


@pytest.mark.parametrize("name", METHODS)
def test_a_recipe_names_the_usual_extractors_and_keeps_what_was_given(name):
    method = METHODS[name]
    recipe = Building().recipe(method, None, Computing(device="cpu"), None)
    assert {n: recipe.settings[n] for n in ("rgb", "xyz")} == dict(method.usual)
    assert recipe.settings["device"] == "cpu"
    assert "background" not in recipe.settings
    other = Building(rgb="test_vit", xyz="fpfh").recipe(method, None, Computing(), None)
    assert (other.settings["rgb"], other.settings["xyz"]) == ("test_vit", "fpfh")


def test_a_recipe_makes_detectors_that_differ_in_what_is_changed(tmp_path):
    building = Building(
        variant="tiny", rgb="test_vit", image_size=64, weights="random", background="2mm"
    )
    recipe = building.recipe(cmad.CFM, ["mapping=conv"], Computing(), tmp_path)
    one, two = recipe.detector(3), recipe.detector(4, variant="small")
    assert (one.seed, one.variant) == (3, "tiny")
    assert (two.seed, two.variant) == (4, "small")
    for made in (one, two):
        assert made.options.mapping == "conv"
        assert made.pipeline.preprocessing.background == recipe.background
        assert made.pipeline.cache is not None


def test_an_empty_extractor_is_not_the_usual_one():
    with pytest.raises(ValueError, match="must be the name of a timm model, got ''"):
        Building(rgb="", weights="random").recipe(cmad.CFM, None, Computing(), None).detector(0)


def test_arguments_of_training_are_of_some_method_and_only_those_given_are_passed():
    every = {f.name for method in METHODS.values() for f in fields(method.Training)}
    assert {f.name for f in fields(Training)} <= every
    assert Training().of(cmad.CFM) == {}
    assert Training(epochs=3, batch_size=2).of(cmad.CFM) == {"epochs": 3, "batch_size": 2}
    with pytest.raises(ValueError, match="--synthetic-parts: CFM has no such option of training"):
        Training(synthetic_parts=3).of(cmad.CFM)


def test_files_are_as_given_and_else_as_the_model_has_it():
    fitted = Units("mm", (1.0, 2.0, 3.0, 4.0))
    assert Files().units() == Units()
    assert Files().units(fitted) == fitted
    assert Files(unit="m").units(fitted) == fitted.given("m", None, None, None)
    with pytest.raises(ValueError, match="--intrinsics"):
        Files(intrinsics="1,2").units()
