"""A detector with a cache computes each part once and gives the same, bit for bit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import cmad
from cmad.detectors._extraction import extract
from cmad.store import FeatureStore
from cmad.types import Points


class Standardised:
    """A 3D extractor with statistics: coordinates, standardised as the training clouds are."""

    dim = 3
    takes_statistics = True

    def __init__(self):
        self.statistics, self.calls = {}, []

    def points(self, xyz):
        self.calls.append("points")
        own = torch.arange(len(xyz))[:, None]
        features = (xyz - self.statistics["mean"]) / self.statistics["std"]
        return Points(features, own, torch.ones(len(xyz), 1))

    def batch(self, clouds):
        return [self.points(xyz) for xyz in clouds]

    def fit(self, clouds):
        self.calls.append("fit")
        std, mean = torch.std_mean(torch.cat(list(clouds)), 0)
        self.statistics = {"mean": mean, "std": std}
        return [self.points(xyz) for xyz in clouds]

    def load_statistics(self, statistics):
        self.statistics = dict(statistics)

    def config(self):
        return {"kind": "standardised"}

    def fingerprint(self):
        return "0"

    def state_dict(self):
        return {}

    def describe(self):
        return "standardised coordinates"

    def to(self, device):
        return self


def same(a, b):
    assert float(a) == float(b)
    assert a.maps.keys() == b.maps.keys()
    for one, other in [(a.map, b.map), *((a.maps[k], b.maps[k]) for k in a.maps)]:
        np.testing.assert_array_equal(one, other)


def forbid(monkeypatch, *names):
    """From here on, what these compute must come from the cache."""

    def fails(*_, **__):
        raise AssertionError("computed again")

    for name in names:
        monkeypatch.setattr(name, fails)


COMPUTING = (
    "cmad.extractors.ViT.tokens",
    "cmad.extractors.PointMAE.batch",
    "cmad.pipeline.prepare",
)


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_training_and_prediction_are_the_same_without_cold_and_warm(
    preset, untrained, make, parts, tmp_path, monkeypatch
):
    part = make["part"](9, "dent")
    detectors = []
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        if len(detectors) == 2:
            forbid(monkeypatch, *COMPUTING)
        detector = untrained(preset=preset, precision="fp32", cache=cache)
        detector.fit(parts, epochs=2, pixels_per_image=50)
        detectors.append((detector, detector.predict(part.rgb, part.xyz)))
    (plain, want), *cached = detectors
    for detector, got in cached:
        assert detector.losses == plain.losses
        same(got, want)
    kinds = [name.split("-")[0] for name in entries(tmp_path / "cache")]
    assert [kinds.count(k) for k in ("frame", "tokens", "points", "statistics")] == [7, 7, 7, 1]


def test_statistics_are_kept_and_features_of_others_are_not_taken_for_them(
    untrained, make, parts, tmp_path
):
    def trained(on, cache):
        xyz = Standardised()
        detector = cmad.CFM(rgb=make["vit"](), xyz=xyz, image_size=48, cache=cache)
        return detector.fit(on, epochs=2, pixels_per_image=50)

    cache = tmp_path / "cache"
    subsets = [parts[:3], parts[1:3]]  # other statistics, some of the same parts
    for _ in ("cold", "warm"):
        for subset in subsets:
            got, want = trained(subset, cache), trained(subset, None)
            assert got.losses == want.losses
            same(*(d.predict(parts[5].rgb, parts[5].xyz) for d in (got, want)))
    assert got.pipeline.extractors["xyz"].calls == []  # of the second, warm
    kinds = [name.split("-")[0] for name in entries(cache)]
    assert {k: kinds.count(k) for k in set(kinds)} == {
        "statistics": 2,
        "tokens": 4,  # one extractor, four parts
        "points": 3 + 2 + 2,
        "frame": 4,
    }


def test_fpfh_is_the_same_without_cold_and_warm(make, parts, tmp_path, monkeypatch):
    def trained(cache):
        detector = cmad.CFM(rgb=make["vit"](), xyz="fpfh", image_size=48, cache=cache)
        return detector.fit(parts[:3], epochs=2, pixels_per_image=50)

    want, cold = trained(None), trained(tmp_path / "cache")
    forbid(monkeypatch, "cmad.extractors.FPFH.histograms")
    warm = trained(tmp_path / "cache")
    assert want.losses == cold.losses == warm.losses
    monkeypatch.undo()
    other = cmad.CFM(rgb=make["vit"](), xyz="fpfh", image_size=48, cache=tmp_path / "cache")
    plain = cmad.CFM(rgb=make["vit"](), xyz="fpfh", image_size=48)
    assert other.fit(parts[1:3], epochs=2).losses == plain.fit(parts[1:3], epochs=2).losses


def test_equal_content_is_found_under_any_name_and_in_any_array(untrained, parts, tmp_path):
    pipeline = untrained(cache=tmp_path).pipeline
    part = parts[0]
    [want] = pipeline.features([pipeline.frame(part)])
    before = entries(tmp_path)
    xyz = part.xyz.copy(order="F")
    for again in (
        replace(part, name="another", defect=None, mask=None),
        replace(part, rgb=torch.from_numpy(part.rgb), xyz=torch.from_numpy(xyz)),
    ):
        [got] = pipeline.features([pipeline.frame(again)])
        assert torch.equal(got.tokens["rgb"], want.tokens["rgb"])
        assert (got.name, got.window) == (again.name, want.window)
    assert entries(tmp_path) == before
    changed = part.rgb.copy()
    changed[0, 0, 0] ^= 1
    pipeline.features([pipeline.frame(replace(part, rgb=changed))])
    assert len(entries(tmp_path)) > len(before)


def test_what_statistics_give_for_free_goes_to_its_own_frame(make, parts):
    plain = cmad.CFM(rgb=make["vit"](), xyz=Standardised(), image_size=48).pipeline
    with FeatureStore(torch.float32) as store:
        pipeline, _ = extract(plain, parts[:3], store, 3, False, [])
        frames = [pipeline.frame(part) for part in parts[:3]]
        several = pipeline.features(frames, plain.with_statistics(frames)[1])
        for i, frame in enumerate(frames):
            [want] = pipeline.features([frame])
            for got in (store[i], several[i]):
                assert torch.equal(got.points["xyz"].features, want.points["xyz"].features)


def test_an_image_is_not_taken_for_points_of_the_same_numbers(untrained, parts, tmp_path):
    pipeline = untrained(cache=tmp_path).pipeline
    numbers = np.clip(parts[0].xyz, 0, 1)
    image = pipeline.frame(cmad.Sample(numbers, None))
    points = pipeline.frame(cmad.Sample(None, numbers))
    assert (image.xyz, points.rgb) == (None, None)


def test_whatever_decides_the_result_is_part_of_the_key(
    untrained, make, parts, tmp_path, monkeypatch
):
    def added(**options):
        before = set(entries(tmp_path))
        pipeline = untrained(cache=tmp_path, **options).pipeline
        pipeline.features([pipeline.frame(parts[0])])
        return [name.split("-")[0] for name in set(entries(tmp_path)) - before]

    assert sorted(added()) == ["frame", "points", "tokens"]
    assert added() == []
    assert "frame" in added(preset="official")
    assert "frame" in added(seed=1)
    assert added(precision="bf16") == ["tokens"]
    pipeline = untrained(cache=tmp_path).pipeline
    small = cmad.extractors.PointMAE(
        groups=64, group_size=8, dim=12, heads=2, blocks=1, weights="random"
    )
    for kind, extractor in (
        ("tokens", {"rgb": make["vit"](1)}),
        ("points", {"xyz": make["point_mae"](1)}),
        ("points", {"xyz": small}),
    ):
        before = set(entries(tmp_path))
        other = replace(pipeline, extractors={**pipeline.extractors, **extractor})
        other.features([other.frame(parts[0])])
        assert [n.split("-")[0] for n in set(entries(tmp_path)) - before] == [kind]
    with monkeypatch.context() as changed:
        changed.setattr(cmad.extractors.ViT, "config", lambda _: {"kind": "other"})
        assert added() == ["tokens"]
    with monkeypatch.context() as changed:
        changed.setattr(cmad.extractors.PointMAE, "fingerprint", lambda _: "other")
        assert added() == ["points"]
    monkeypatch.setattr("cmad.pipeline.CONSTANTS", {"border": 9})
    assert "frame" in added()
    monkeypatch.setattr("cmad.pipeline.versions", lambda: {"torch": "0"})
    assert sorted(added()) == ["frame", "points", "tokens"]


def test_what_is_damaged_is_computed_again(untrained, parts, tmp_path):
    pipeline = untrained(cache=tmp_path).pipeline
    [want] = pipeline.features([pipeline.frame(parts[0])])
    keys = [name.removesuffix(".safetensors").split("-") for name in entries(tmp_path)]
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert [pipeline.cache.get(*key) for key in keys] == [None, None, None]
    [got] = pipeline.features([pipeline.frame(parts[0])])
    assert torch.equal(got.points["xyz"].features, want.points["xyz"].features)
    assert None not in [pipeline.cache.get(*key) for key in keys]


def test_without_room_the_work_goes_on_after_one_warning(untrained, parts, tmp_path):
    (tmp_path / "file").touch()
    detector = untrained(cache=tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="cannot be cached there") as said:
        detector.fit(parts, epochs=2, pixels_per_image=50)
    assert len(said) == 1
    assert detector.losses == untrained().fit(parts, epochs=2, pixels_per_image=50).losses


@pytest.mark.parametrize("bad", [[np.zeros(3)], np.array([[["a"] * 3]]), np.full((2, 2, 3), None)])
def test_a_cache_does_not_change_the_error_of_a_bad_sample(bad, untrained, parts, tmp_path):
    said = []
    for cache in (None, tmp_path):
        with pytest.raises(TypeError) as error:
            untrained(cache=cache).pipeline.frame(replace(parts[0], rgb=bad))
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "rgb must" in said[0]
    assert entries(tmp_path) == []


def test_a_model_file_does_not_remember_the_cache(untrained, parts, tmp_path):
    detector = untrained(cache=tmp_path / "cache").fit(parts, epochs=1, pixels_per_image=50)
    detector.save(tmp_path / "model.cmad", include_extractors=True)
    shutil.rmtree(tmp_path / "cache")
    loaded = cmad.load(tmp_path / "model.cmad", rgb=detector.pipeline.extractors["rgb"])
    assert loaded.pipeline.cache is None
    same(*(d.predict(parts[0].rgb, parts[0].xyz) for d in (detector, loaded)))


def test_a_loaded_detector_reads_the_cache_of_another(trained, parts, tmp_path, make):
    path = tmp_path / "part.cmad"
    trained.save(path)
    extractors = {"rgb": make["vit"](), "xyz": make["point_mae"]()}
    want = trained.predict(parts[0].rgb, parts[0].xyz)
    for _ in ("cold", "warm"):
        loaded = cmad.load(path, **extractors, cache=tmp_path / "cache")
        got = loaded.predict(parts[0].rgb, parts[0].xyz)
        np.testing.assert_array_equal(got.map, want.map)
    assert any((tmp_path / "cache").iterdir())


def test_what_is_known_of_a_frame_is_kept_with_it_and_told_again(untrained, parts, tmp_path):
    pipeline = untrained(cache=tmp_path).pipeline
    xyz = parts[0].xyz.copy()
    xyz[:, 20:30] = np.nan
    xyz[:, 30:, 0] += 0.05
    odd = replace(parts[0], xyz=xyz)
    frames = []
    for _ in range(2):
        with pytest.warns(UserWarning, match="part0: .* of the points beside the background"):
            frames.append(pipeline.frame(odd))
    assert len(entries(tmp_path)) == 1
    assert frames[0].notes == frames[1].notes != ()
    assert frames[0].plane == frames[1].plane
    assert len(frames[0].plane) == 4
    without = untrained(cache=tmp_path, background="none").pipeline
    assert [without.frame(parts[1]).plane for _ in range(2)] == [None, None]
    assert len(entries(tmp_path)) == 2
