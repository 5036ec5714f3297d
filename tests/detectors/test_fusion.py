"""Several 3D extractors: a method for each, their maps multiplied, or added in deviations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import cmad
from cmad import model_file
from cmad.checkpoint import Checkpoint
from cmad.detectors import METHODS
from cmad.detectors._fusing import View, seen_by
from cmad.detectors.detector import Detector
from cmad.extractors import FPFH, Normals
from cmad.store import FeatureStore
from cmad.types import Features, Points, Window

QUICK = {
    "cfm": {"epochs": 20, "pixels_per_image": 100, "batch_size": 2},
    "g2sf": {"epochs": 4, "batch_size": 64, "synthetic_parts": 12, "patches_per_part": 20},
    "ast": {"epochs": 12, "batch_size": 2, "learning_rate": 1e-3},
}
SMALL = {
    "patchcore": {"cells_2d": 12, "cells_3d": 16, "fraction": 0.3},
    "g2sf": {"cells": 16, "fraction": 0.3},
    "ast": {"teacher_width": 16, "student_width": 32},
}


def build(make, name, **options):
    xyz = [make["point_mae"](), Normals(make["vit"]())]
    given = {"image_size": 48, **SMALL.get(name, {}), **options}
    return METHODS[name](**{"rgb": make["vit"](), "xyz": xyz, **given})


@pytest.mark.parametrize(
    ("name", "fuse"), [*((name, "product") for name in METHODS), ("patchcore", "sum")]
)
def test_a_method_with_two_views_finds_a_dent_and_comes_back_from_its_file(
    name, fuse, parts, make, tmp_path
):
    detector = build(make, name, fuse=fuse)
    assert list(detector.pipeline.extractors) == ["rgb", "xyz1", "xyz2"]
    assert "not fitted" in repr(detector)
    detector.fit(parts, progress=False, **QUICK.get(name, {}))
    detector.calibrate([make["part"](s) for s in range(40, 45)], 0.2, progress=False)
    assert list(detector.calibrations) == [
        "+".join(way) for way in (detector.modalities, *detector.fallbacks)
    ]
    good, bad = make["part"](50), make["part"](51, "dent")
    said = [detector.predict(p.rgb, p.xyz) for p in (good, bad)]
    assert float(said[1]) > float(said[0])
    assert said[1].rejected
    path = tmp_path / "part.cmad"
    detector.save(path, include_extractors=True)
    loaded = cmad.load(path)
    assert loaded.pipeline.dims() == detector.pipeline.dims()
    assert loaded.fusion.rule == loaded.get_params()["fuse"] == fuse
    again = loaded.predict([good.rgb, bad.rgb], [good.xyz, bad.xyz])
    for a, b in zip(said, again, strict=True):
        assert (a.score, a.p_value, a.regions) == (b.score, b.p_value, b.regions)
        assert all(np.array_equal(a.maps[k], b.maps[k]) for k in a.maps)
    xyz = [detector.pipeline.extractors[f"xyz{i}"] for i in (1, 2)]
    given = cmad.load(path, rgb=detector.pipeline.extractors["rgb"], xyz=xyz)
    assert float(given.predict(bad.rgb, bad.xyz)) == float(said[1])


def test_maps_are_added_in_deviations_over_parts_that_were_not_learnt_from(parts, make):
    detector = build(make, "patchcore", fuse="sum").fit(parts[:5], progress=False)
    features = detector.features(parts[:5])
    for name in ("xyz1", "xyz2"):
        values = []
        for own, others in (([0, 2, 4], [1, 3]), ([1, 3], [0, 2, 4])):
            with FeatureStore() as store:
                for i in own:
                    store.append(seen_by(features[i], name))
                member = build(make, "patchcore").fusion.members[name]
                member.take(member.learn(store, member.Training(), False, None).tensors)
            for i in others:
                grid = member.maps(seen_by(features[i], name))
                values.append(grid.map[features[i].valid.numpy()])
        want = np.concatenate(values).astype(np.float64).std()
        got = detector.fusion.tensors()[f"scale.{name}.2d+3d.map"]
        # Learning takes features in half precision, and here judging in single.
        assert got.item() == pytest.approx(want, rel=1e-3)
    grid = detector.predict(parts[5].rgb, parts[5].xyz, resolution="grid")
    seen = detector.features([parts[5]])[0]
    for which in ("map", "3d"):
        total = 0
        for name, member in detector.fusion.members.items():
            alone = member.maps(seen_by(seen, name))
            map_ = alone.map if which == "map" else alone.maps[which]
            total = total + map_ / detector.fusion.tensors()[f"scale.{name}.2d+3d.{which}"].item()
        np.testing.assert_allclose(grid.map if which == "map" else grid.maps[which], total, 1e-5)
    assert grid.score == grid.map.max()


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_maps_are_multiplied_before_they_are_smoothed(parts, make, preset):
    detector = build(make, "cfm", preset=preset)
    detector.fit(parts[:3], progress=False, **QUICK["cfm"])
    [seen] = detector.features([parts[5]])
    alone = [m.maps(seen_by(seen, n)) for n, m in detector.fusion.members.items()]
    for grid in alone:
        np.testing.assert_array_equal(grid.raw, grid.maps["2d"] * grid.maps["3d"])
    grid = detector.predict(parts[5].rgb, parts[5].xyz, resolution="grid")
    raw = torch.from_numpy(alone[0].raw * alone[1].raw)
    np.testing.assert_array_equal(grid.map, cmad.ops.smooth(raw[None], 4.0)[0])
    assert grid.score == grid.map.max() > 0
    for name in ("2d", "3d"):
        np.testing.assert_array_equal(grid.maps[name], alone[0].maps[name] * alone[1].maps[name])
    assert not [name for name in detector.fusion.tensors() if name.startswith("scale.")]


def test_files_of_before_there_was_a_choice_add(parts, make, tmp_path):
    build(make, "patchcore", fuse="sum").fit(parts[:3], progress=False).save(tmp_path / "a.cmad")
    header, tensors = model_file.read(tmp_path / "a.cmad")
    del header["fuse"]
    model_file.write(tmp_path / "old.cmad", header, tensors)
    extractors = {"rgb": make["vit"](), "xyz": [make["point_mae"](), Normals(make["vit"]())]}
    assert cmad.load(tmp_path / "old.cmad", **extractors).fusion.rule == "sum"
    with pytest.raises(ValueError, match="CFM: fuse must be one of 'product', 'sum', got 'max'"):
        cmad.CFM(rgb=make["vit"](), xyz="fpfh+normals", image_size=48, fuse="max")


class StopError(Exception):
    pass


@pytest.mark.parametrize(("fuse", "stop"), [("product", 1), ("product", 2), ("sum", 2), ("sum", 5)])
def test_a_stopped_fit_goes_on_in_the_training_that_it_was_in(
    parts, make, tmp_path, monkeypatch, fuse, stop
):
    """Of two extractors, by the sum each with two trainings of half of the parts before."""
    how = {"progress": False, **QUICK["cfm"], "epochs": 3}
    whole = build(make, "cfm", fuse=fuse).fit(parts[:4], **how)
    begun, keep = [], Checkpoint._keep

    def kept(self, epoch, *rest):
        keep(self, epoch, *rest)
        if epoch == 2 and len(begun) == stop:
            raise StopError

    epochs = Checkpoint.epochs

    def counted(self, *args, **parts_of):
        begun.append(self.path.name)
        yield from epochs(self, *args, **parts_of)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "_keep", kept)
        patched.setattr(Checkpoint, "epochs", counted)
        with pytest.raises(StopError):
            build(make, "cfm", fuse=fuse).fit(
                parts[:4], checkpoint=Checkpoint(tmp_path / "kept", every=0.0), **how
            )
    assert len(set(begun)) == len(begun) == stop
    assert (tmp_path / begun[-1]).exists()
    done = []

    def told(self, epoch, *rest):
        done.append((self.path.name, epoch))
        keep(self, epoch, *rest)

    monkeypatch.setattr(Checkpoint, "_keep", told)
    again = build(make, "cfm", fuse=fuse).fit(parts[:4], checkpoint=tmp_path / "kept", **how)
    # Of the trainings before nothing, and of this one what was not written yet, of three epochs.
    assert done[0][0] == begun[-1]
    assert done[0][1] > 1
    assert again.losses == whole.losses
    for name, tensor in whole.fusion.tensors().items():
        assert torch.equal(tensor, again.fusion.tensors()[name])
    assert not list(tmp_path.iterdir())


def test_a_failed_fit_leaves_the_fusion_as_it_was(parts, make, monkeypatch):
    detector = build(make, "patchcore").fit(parts[:3], progress=False)
    before = detector.predict(parts[4].rgb, parts[4].xyz)
    second = type(detector.fusion.members["xyz2"])
    learn = second.learn

    def fails(self, store, *rest):
        if len(store) == 4 and "xyz2" in store[0].points:
            raise ValueError("too hot")
        return learn(self, store, *rest)

    monkeypatch.setattr(second, "learn", fails)
    with pytest.raises(ValueError, match="too hot"):
        detector.fit(parts[:4], progress=False)
    after = detector.predict(parts[4].rgb, parts[4].xyz)
    assert np.array_equal(before.map, after.map)


def test_one_part_is_enough(parts, make):
    detector = build(make, "patchcore").fit(parts[:1], progress=False)
    assert float(detector.predict(parts[1].rgb, parts[1].xyz)) > 0


def frame(name, source=None):
    own = torch.zeros(1, 1, dtype=torch.int64)
    points = {n: Points(torch.ones(1, 2), own, torch.ones(1, 1)) for n in ("xyz1", "xyz2")}
    defect = None if source is None else torch.ones(2, 2, dtype=torch.bool)
    valid = torch.eye(2, dtype=torch.bool)
    return Features({}, points, valid, 2, Window(2, 0, 0, 2, 2), name, None, defect, source)


def test_a_view_has_chosen_good_parts_and_the_defects_on_them():
    with FeatureStore() as store:
        for made in (frame("a"), frame("b"), frame("c"), *(frame(f"on {s}", s) for s in (2, 0, 1))):
            store.append(made)
        view = View(store, "xyz2", [0, 2])
        assert [view[i].name for i in range(len(view))] == ["a", "c", "on 2", "on 0"]
        assert (view.good, view.defective, view.sources) == ([0, 1], [2, 3], {2: 1, 3: 0})
        assert [view[i].source for i in range(4)] == [None, None, 1, 0]
        assert {tuple(f.points) for f in (view[0], view[3])} == {("xyz2",)}
        assert len(View(store, "xyz1")) == 6
        assert view[-1].name == "on 0"


def test_extractors_are_named_as_a_list_or_joined_by_a_plus(make):
    vit = make["vit"]()
    for xyz in ("fpfh+normals", ["fpfh", Normals(vit)]):
        pipeline = cmad.CFM(rgb=vit, xyz=xyz, image_size=48).pipeline
        kinds = [type(e) for e in pipeline.of_points.values()]
        assert kinds == [FPFH, Normals]
    assert list(cmad.CFM(rgb=vit, xyz=["fpfh"], image_size=48).pipeline.of_points) == ["xyz"]
    both = cmad.CFM(rgb=vit, xyz="fpfh+point_mae", xyz_weights="random", image_size=48)
    assert both.pipeline.dims()["3d"] == 33 + 1152
    assert cmad.PatchCore(rgb=vit, xyz="fpfh+normals", modalities="2d").fusion is None
    for wrong in ("fpfh+colour", "fpfh+", ""):
        with pytest.raises(ValueError, match="xyz must be one of"):
            cmad.CFM(rgb=vit, xyz=wrong, image_size=48)
    with pytest.raises(ValueError, match="at least one extractor"):
        cmad.CFM(rgb=vit, xyz=[], image_size=48)
    with pytest.raises(TypeError, match="xyz2 must be a name or an extractor, got int"):
        cmad.CFM(rgb=vit, xyz=["fpfh", 3], image_size=48)
    with pytest.raises(ValueError, match="fpfh has none"):
        cmad.CFM(rgb=vit, xyz="fpfh+normals", xyz_weights="random")


def test_members_have_the_options_of_the_detector(make):
    detector = build(make, "g2sf", cells=12, precision="bf16", seed=4, gaps="filled")
    for member in detector.fusion.members.values():
        assert isinstance(member, Detector)
        assert member.fusion is None
        assert member.options == detector.options
        assert (member.seed, member.precision) == (4, "bf16")
        assert member.pipeline == replace(
            detector.pipeline, extractors=member.pipeline.extractors, cache=None
        )
