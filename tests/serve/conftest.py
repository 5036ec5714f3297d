import json
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from cmad.datasets.writing import write_part
from cmad.serve.journal import Journal
from cmad.serve.watching import Pace, Voice, Watcher
from cmad.types import Prediction, Sample
from cmad.units import Units

SIZE = (24, 32)


class Brightness:
    """Stands for a detector: the score is the image's mean; rejects above 100."""

    threshold = 100.0

    def grids(self, samples, *, strict=False):
        return samples

    def decide(self, sample, xyz):
        if sample.rgb.max() == 255:
            raise ValueError("glare: no verdict")
        score = float(sample.rgb.mean())
        map_ = np.full(SIZE, score, np.float32)
        return Prediction(score, map_, {}, self.threshold, 0.5, self.threshold)


def part(brightness, seed=0):
    """A part of a brightness; others by other seeds."""
    xyz = np.random.default_rng(seed).random((*SIZE, 3)).astype(np.float32) + 0.5
    return Sample(np.full((*SIZE, 3), brightness, np.uint8), xyz)


def until(holds, seconds=20.0):
    """Wait for something."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def station(tmp_path):
    """A folder of frames and one of results, with what a line does to them."""
    frames, out = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    notes = []

    def put(name, brightness=50, seed=0):
        *below, stem = name.split("/")
        write_part(part(brightness, seed), frames.joinpath(*below), stem)

    def lines():
        path = out / "scores.jsonl"
        return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []

    def make(**pace):
        journal = Journal(out, maps=True, overlays=False)
        voice = Voice(lambda result: None, notes.append, notes.append, str, str)
        pace = Pace(**{"poll": 0.02, "settle": 0.05, "patience": 0.3, **pace})
        return journal, Watcher(
            Brightness(), frames, journal, voice, model="m 1", units=Units(), pace=pace
        )

    def once(**pace):
        journal, watcher = make(**pace)
        try:
            return watcher.run(once=True)
        finally:
            journal.close()

    @contextmanager
    def running(**pace):
        journal, watcher = make(**pace)
        failed = []

        def run():
            try:
                watcher.run()
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield SimpleNamespace(watcher=watcher, failed=failed, thread=thread)
        finally:
            watcher.stop()
            thread.join(20)
            journal.close()
        assert not thread.is_alive()

    return SimpleNamespace(
        frames=frames,
        out=out,
        notes=notes,
        put=put,
        lines=lines,
        until=until,
        names=lambda: [line["name"] for line in lines()],
        once=once,
        running=running,
    )
