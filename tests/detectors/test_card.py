"""What a detector knows of its data, and what of that is in its file."""

import json

import pytest
from typer.testing import CliRunner

import cmad
from cmad import model_file
from cmad.card import Card, Course, Seen
from cmad.cli import app

HOW = {"epochs": 1, "pixels_per_image": 20, "progress": False}


@pytest.fixture
def fitted(untrained, parts):
    return untrained().fit(parts[:3], **HOW)


def test_a_detector_knows_what_it_was_trained_and_calibrated_on(fitted, parts, untrained):
    assert untrained().card == Card()
    assert fitted.card.trained.parts == 3
    assert fitted.card.training == {
        "epochs": 1,
        "pixels_per_image": 20,
        "batch_size": 4,
        "shuffle": True,
    }
    assert fitted.card.calibrated is None
    assert fitted.card.timing is None
    fitted.calibrate(parts[3:], 0.4, progress=False)
    assert fitted.card.calibrated.parts == 3
    assert fitted.card.timing.parts == 3
    assert 0 < fitted.card.timing.seconds < 60
    assert fitted.card.trained.parts == 3


def test_what_is_learnt_anew_has_a_new_card(fitted, parts):
    fitted.calibrate(parts[3:], 0.4, progress=False)
    fitted.fit(parts[:2], **HOW)
    assert fitted.card.trained.parts == 2
    assert fitted.card.calibrated is None
    fitted.calibrate(parts[3:], 0.4, progress=False)
    fitted.calibration = None
    assert fitted.card.calibrated is None
    names = ("CFM_2Dto3D", "CFM_3Dto2D")
    fitted.load_mappings(*(model_file.prefixed(fitted.tensors(), f"{n}.") for n in names))
    assert fitted.card == Card()


def test_parts_left_out_are_not_counted(fitted, parts, monkeypatch):
    grid = cmad.CFM.maps

    def broken(self, features):
        if features.name == parts[3].name:
            raise ValueError("broken")
        return grid(self, features)

    monkeypatch.setattr(cmad.CFM, "maps", broken)
    fitted.calibrate(parts[3:], 0.4, progress=False, bad=[])
    assert fitted.card.calibrated.parts == fitted.card.timing.parts == 2


def test_a_time_that_a_cache_may_have_shortened_is_not_told(untrained, parts, tmp_path):
    detector = untrained(cache=tmp_path).fit(parts[:3], **HOW)
    detector.calibrate(parts[3:], 0.4, progress=False)
    assert detector.card.timing is None
    assert detector.card.calibrated.parts == 3


def test_a_card_goes_through_the_file_with_the_licences(fitted, parts, tmp_path):
    fitted.calibrate(parts[3:], 0.4, progress=False)
    fitted.save(tmp_path / "m", include_extractors=True)
    loaded = cmad.load(tmp_path / "m")
    assert loaded.card.trained == fitted.card.trained
    assert loaded.card.timing == fitted.card.timing
    assert loaded.card.training == fitted.card.training
    assert loaded.card.licences == {"rgb": "not known", "xyz": "none needed"}
    loaded.save(tmp_path / "again", include_extractors=True)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


def without_card(path):
    header, tensors = model_file.read(path)
    del header["card"], header["format"]
    model_file.write(path, header, tensors)


def test_a_file_of_before_there_were_cards_loads_and_is_described(fitted, parts, tmp_path):
    path = tmp_path / "m"
    fitted.save(path, include_extractors=True)
    without_card(path)
    assert cmad.load(path).card == Card()
    said = CliRunner().invoke(app, ["info", str(path)]).stdout
    for name in ("training data", "training", "calibrated on", "time per part"):
        assert f"{name}: not known" in " ".join(said.split())
    told = json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)
    assert told["trained"] is None
    assert told["method"] == "CFM"
    assert cmad.load(path).calibrate(parts[3:], 0.4, progress=False)


def test_a_card_that_is_no_card_keeps_no_model_from_loading(fitted, tmp_path):
    path = tmp_path / "m"
    fitted.save(path, include_extractors=True)
    header, tensors = model_file.read(path)
    model_file.write(path, {**header, "card": {"trained": {"parts": 3}, "timing": 7}}, tensors)
    assert cmad.load(path).card == Card(trained=Seen(3))


def test_the_losses_of_each_network_are_on_the_card_and_in_its_file(untrained, parts, tmp_path):
    how = {**HOW, "epochs": 3}
    detector = untrained().fit(parts[:3], validation=parts[3:], **how)
    assert detector.card.losses == {n: Course.of(v) for n, v in detector.curves.items()}
    assert set(detector.card.losses) == {"2d", "2d held out", "3d", "3d held out"}
    assert detector.card.losses["2d"].epochs == 3
    path = tmp_path / "m"
    detector.save(path, include_extractors=True)
    assert cmad.load(path).card.losses == detector.card.losses
    told = json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)
    assert told["losses"]["3d"]["last"] == detector.curves["3d"][-1]
    assert [epoch for epoch, _ in told["losses"]["3d"]["points"]] == [1, 2, 3]


def test_a_file_with_curves_of_before_cards_had_losses_loads_and_is_described(fitted, tmp_path):
    path = tmp_path / "m"
    fitted.save(path, include_extractors=True)
    before = CliRunner().invoke(app, ["info", str(path)]).stdout
    header, tensors = model_file.read(path)
    del header["card"]["losses"], header["format"]
    model_file.write(path, header, tensors)
    assert cmad.load(path).card.losses == {}
    assert cmad.load(path).curves == fitted.curves
    said = CliRunner().invoke(app, ["info", str(path)]).stdout
    [line] = [one for one in said.splitlines() if one.startswith("losses:")]
    assert line in before.splitlines()
    model_file.write(
        path, header, {n: t for n, t in tensors.items() if not n.startswith("curves.")}
    )
    assert "losses:" not in CliRunner().invoke(app, ["info", str(path)]).stdout
