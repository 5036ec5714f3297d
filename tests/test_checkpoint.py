"""A training's state in a file: what comes back, what is refused, and when it is written."""

import json
import os
import stat
from pathlib import Path

import pytest
import torch

from cmad import checkpoint
from cmad.checkpoint import Checkpoint

DECISIVE = {"method": "CFM", "epochs": 6, "versions": {"torch": "2.9"}}
PARTS = ["a", "b"]


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Copy and write as often as it is asked for, however little time there is between."""
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


class Walk:
    """A training of six epochs: a number that a random walk and a momentum move."""

    def __init__(self):
        self.at, self.generator, self.losses = torch.zeros(3), torch.Generator(), []
        self.generator.manual_seed(5)
        self.momentum = {"last": torch.zeros(3), "steps": 0}

    def state_dict(self):
        return {"at": self.at, "momentum": self.momentum, "betas": (0.9, [1, None])}

    def load_state_dict(self, state):
        assert state["betas"] == (0.9, [1, None])
        self.at, self.momentum = state["at"].clone(), state["momentum"]

    def run(self, keeper, until=None):
        with keeper:
            for epoch in keeper.epochs(6, self.generator, self.losses, walk=self):
                self.at += torch.randn(3, generator=self.generator)
                if epoch == until:
                    raise KeyboardInterrupt  # with half of the epoch done
                self.at += 0.5 * self.momentum["last"]
                self.momentum["last"] = self.at.clone()
                self.momentum["steps"] += 1
                self.losses.append((float(self.at.sum()), float(epoch)))
        return self


def opened(path, decisive=DECISIVE, parts=PARTS, **options):
    keeper = Checkpoint(path, **options)
    keeper.open(decisive)
    keeper.of_parts(parts)
    return keeper


def stopped(path, until=3, **options):
    with pytest.raises(KeyboardInterrupt):
        Walk().run(opened(path, **options), until)


@pytest.mark.parametrize("until", [1, 3, 5])
def test_a_stopped_training_ends_as_one_that_was_not(tmp_path, until):
    whole = Walk().run(opened(None))
    path = tmp_path / "c"
    stopped(path, until)
    again = Walk().run(opened(path))
    assert torch.equal(again.at, whole.at)
    assert again.losses == whole.losses
    assert again.momentum["steps"] == 6
    assert torch.equal(again.generator.get_state(), whole.generator.get_state())


def test_a_training_can_be_stopped_again_and_again(tmp_path):
    for until in (1, 2, 4, 5):
        stopped(tmp_path / "c", until)
    assert torch.equal(Walk().run(opened(tmp_path / "c")).at, Walk().run(opened(None)).at)


def test_what_is_kept_is_not_changed_by_what_is_trained_on_it(tmp_path):
    """Ctrl-C comes when the networks have gone on already."""
    stopped(tmp_path / "c", 3)
    kept = Walk()
    keeper = opened(tmp_path / "c")
    assert next(keeper.epochs(6, kept.generator, kept.losses, walk=kept)) == 3
    want = Walk()
    for epoch in opened(None).epochs(3, want.generator, want.losses, walk=want):
        want.at += torch.randn(3, generator=want.generator)
        want.at += 0.5 * want.momentum["last"]
        want.momentum["last"] = want.at.clone()
        want.losses.append((float(want.at.sum()), float(epoch)))
    assert torch.equal(kept.at, want.at)


def test_it_says_where_it_continues_and_knows_how_far_it_was(tmp_path):
    said = []
    stopped(tmp_path / "c", 3, say=said.append)
    assert said == []
    keeper = opened(tmp_path / "c", say=said.append)
    assert (keeper.epoch, keeper.count) == (3, 6)
    assert said == ["continuing at epoch 4 of 6"]


def test_where_all_epochs_are_done_none_is_left(tmp_path):
    Walk().run(opened(tmp_path / "c", every=0))
    said, walk = [], Walk()
    keeper = opened(tmp_path / "c", say=said.append)
    assert list(keeper.epochs(6, walk.generator, walk.losses, walk=walk)) == []
    assert said == ["continuing behind the last of 6 epochs"]
    assert torch.equal(walk.at, Walk().run(opened(None)).at)


def test_a_training_that_is_interrupted_in_its_first_epoch_leaves_no_file(tmp_path):
    stopped(tmp_path / "c", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_short_training_that_ends_writes_nothing_and_a_long_one_its_end(tmp_path):
    Walk().run(opened(tmp_path / "c"))
    assert list(tmp_path.iterdir()) == []
    Walk().run(opened(tmp_path / "c", every=0))
    assert opened(tmp_path / "c").epoch == 6


def test_it_is_written_only_every_so_many_seconds(tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(checkpoint, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Checkpoint, "_write", lambda _, state: written.append(state.epoch))
    walk = Walk()
    keeper = opened(tmp_path / "c", every=60)
    for _ in keeper.epochs(6, walk.generator, walk.losses, walk=walk):
        clock[0] += 25
    assert written == [3, 6]


def test_copies_and_writes_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    """Copying takes 1 s here, writing 3 s, an epoch 10 s."""
    clock, copied, written = [0.0], [], []
    monkeypatch.setattr(checkpoint, "SHARE", 0.02)
    monkeypatch.setattr(checkpoint, "monotonic", lambda: clock[0])
    state = checkpoint._state

    def copying(*given):
        clock[0] += 1
        copied.append(clock[0])
        return state(*given)

    def writing(_, state):
        clock[0] += 3
        written.append(state.epoch)

    monkeypatch.setattr(checkpoint, "_state", copying)
    monkeypatch.setattr(Checkpoint, "_write", writing)
    walk = Walk()
    for _ in opened(tmp_path / "c", every=60).epochs(300, walk.generator, walk.losses, walk=walk):
        clock[0] += 10
    assert 15 < len(written) < 25
    assert 50 < len(copied) + 3 * len(written) < 0.05 * clock[0]


@pytest.mark.parametrize(
    ("decisive", "parts", "message"),
    [
        ({"epochs": 7}, PARTS, r"epochs: 6 then, 7 now"),
        ({"seed": 1}, PARTS, r"seed: null then, 1 now"),
        ({"versions": {"torch": "2.10"}}, PARTS, r'versions: {"torch": "2.9"} then, {"torch"'),
        ({}, ["b", "a"], r'parts: {"number": 2, "sha256": ".*"} then, {"number": 2, '),
        ({}, ["a"], r'parts: {"number": 2, .* then, {"number": 1, '),
    ],
)
def test_another_training_is_refused_and_what_differs_is_named(tmp_path, decisive, parts, message):
    path = tmp_path / "c"
    stopped(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message) as error:
        opened(path, {**DECISIVE, **decisive}, parts)
    assert "stopped after epoch 3 of 6" in str(error.value)
    assert "give what it was begun with to continue it, or delete it" in str(error.value)
    assert path.read_bytes() == before


def test_other_options_are_refused_before_the_parts_are_known(tmp_path):
    stopped(tmp_path / "c")
    keeper = Checkpoint(tmp_path / "c")
    with pytest.raises(ValueError, match="epochs: 6 then, 7 now"):
        keeper.open({**DECISIVE, "epochs": 7})
    assert keeper.epoch == 0  # nothing of this training is kept


@pytest.mark.parametrize("place", [0, 5, 20, 90, 120, 2000, -1])
def test_any_byte_that_is_damaged_is_noticed(tmp_path, place):
    path = tmp_path / "c"
    stopped(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 0x20
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"c: a damaged checkpoint.*; delete it to train from the"):
        opened(path)


@pytest.mark.parametrize("left", [0, 10, 40, 300, -1])
def test_a_file_cut_short_is_noticed(tmp_path, left):
    path = tmp_path / "c"
    stopped(path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match="a damaged checkpoint, or another file"):
        opened(path)


def test_a_file_of_another_version_is_refused(tmp_path, monkeypatch):
    stopped(tmp_path / "c")
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    with pytest.raises(ValueError, match="a checkpoint of another version of cmad; delete it"):
        opened(tmp_path / "c")


def test_no_code_of_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    state = checkpoint._State(1, 6, {"parts": Evil()})
    checkpoint._save(tmp_path / "c", state, DECISIVE)
    with pytest.raises(ValueError, match="a damaged checkpoint, or another file"):
        opened(tmp_path / "c")
    assert not (tmp_path / "made").exists()


def test_another_number_of_threads_is_said_and_not_refused(tmp_path, monkeypatch):
    stopped(tmp_path / "c")
    monkeypatch.setattr(checkpoint, "_machine", lambda: "64 threads and AVX512")
    with pytest.warns(UserWarning, match="continued with 64 threads and AVX512: the model may"):
        keeper = opened(tmp_path / "c")
    assert keeper.epoch == 3


def test_a_file_that_cannot_be_written_is_a_warning_and_the_old_one_stays(tmp_path, monkeypatch):
    path = tmp_path / "c"
    stopped(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.warns(UserWarning, match="c: could not be written .*No space left"):
        walk = Walk().run(opened(path, every=0))
    assert torch.equal(walk.at, Walk().run(opened(None)).at)
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
    assert path.read_bytes() == before


@pytest.mark.parametrize(("path", "kind"), [("no/c", FileNotFoundError), (".", FileNotFoundError)])
def test_a_place_where_no_file_can_be_is_an_error_before_the_work(tmp_path, path, kind):
    with pytest.raises(kind, match="a checkpoint must be a file in a folder"):
        Checkpoint(tmp_path / path).open(DECISIVE)


def test_a_folder_that_cannot_be_written_to_is_an_error_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(PermissionError, match="c: the folder of the checkpoint cannot be written"):
        Checkpoint(tmp_path / "c").open(DECISIVE)


def test_removing_is_safe_where_there_is_no_file(tmp_path):
    keeper = opened(tmp_path / "c")
    keeper.remove()
    stopped(tmp_path / "c")
    keeper.remove()
    assert list(tmp_path.iterdir()) == []
    Checkpoint().remove()


def test_a_file_has_the_access_of_others_that_a_program_writes(tmp_path):
    stopped(tmp_path / "c")
    (tmp_path / "other").touch()
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("c", "other")}
    assert len(modes) == 1


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Checkpoint("~/c").path == Path(tmp_path / "c")


def test_the_head_of_a_file_is_text_that_can_be_looked_at(tmp_path):
    stopped(tmp_path / "c")
    magic, _, head = (tmp_path / "c").read_bytes().split(b"\n")[:3]
    assert magic == b"cmad checkpoint"
    assert json.loads(head)["decisive"]["method"] == "CFM"
