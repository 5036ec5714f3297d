"""Reading ahead: order, memory, threads, and what becomes of samples that cannot be read."""

import threading
import time
import warnings

import numpy as np
import pytest

from cmad import notices
from cmad.datasets.files import LazySamples
from cmad.datasets.folder import Folder
from cmad.datasets.loading import Loader
from cmad.types import Sample


def sample(i):
    rgb, xyz = np.zeros((2, 2, 3), np.uint8), np.ones((2, 2, 3), np.float32)
    return Sample(rgb, xyz, name=f"part{i}")


def lazy(count, read=sample):
    return LazySamples([lambda i=i: read(i) for i in range(count)])


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("cmad-loader")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not threads()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ahead", [1, 4, 50])
def test_samples_come_in_order_each_time(workers, ahead):
    def read(i):
        time.sleep(0.002 * (i % 3))  # later ones may be done first
        return sample(i)

    loader = Loader(lazy(9, read), workers, ahead)
    assert len(loader) == 9
    for _ in range(2):
        assert [s.name for s in loader] == [f"part{i}" for i in range(9)]
    assert list(Loader([])) == []


def test_a_sample_is_read_while_the_one_before_is_used():
    was_read = [threading.Event() for _ in range(5)]

    def read(i):
        was_read[i].set()
        return sample(i)

    for i, _ in enumerate(Loader(lazy(5, read), ahead=1)):
        assert i == 4 or was_read[i + 1].wait(timeout=30)


def test_reading_and_using_take_less_than_their_sum():
    spent = []

    def slow(i):
        begin = time.perf_counter()
        time.sleep(0.1)
        spent.append(time.perf_counter() - begin)
        return sample(i)

    begin = time.perf_counter()
    for s in Loader(lazy(6, slow)):
        slow(s)
    assert time.perf_counter() - begin < 0.85 * sum(spent)


def test_no_more_samples_are_read_than_asked_for():
    most = read_so_far = 0

    def read(i):
        nonlocal read_so_far
        read_so_far += 1
        return sample(i)

    for used, _ in enumerate(Loader(lazy(20, read), workers=2, ahead=3), 1):
        time.sleep(0.005)
        most = max(most, read_so_far - used)
    assert most == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_leaving_early_stops_the_threads_without_reading_on(workers):
    begun = []

    def read(i):
        begun.append(i)
        time.sleep(0.02)
        return sample(i)

    iterator = iter(Loader(lazy(400, read), workers, ahead=300))
    next(iterator)
    assert threads()
    iterator.close()
    assert not threads()
    assert len(begun) < 250


def fails(*which, error=None):
    def read(i):
        if i in which:
            raise error or ValueError(f"scan_{i}.tiff: cannot be read")
        return sample(i)

    return read


def test_an_error_is_raised_at_its_place_and_names_the_sample():
    samples = lazy(6, fails(2))
    samples.names = [f"train/good/{i:03d}" for i in range(6)]
    read = iter(Loader(samples, ahead=4))
    assert [next(read).name for _ in range(2)] == ["part0", "part1"]
    with pytest.raises(ValueError, match=r"^train/good/002: scan_2.tiff: cannot be read$"):
        next(read)


def test_without_names_an_error_tells_the_number():
    class Numbered(list):
        def __getitem__(self, i):
            return fails(1)(i)

    with pytest.raises(ValueError, match=r"^sample 1: scan_1\.tiff"):
        list(Loader(Numbered([0, 1, 2])))


@pytest.mark.parametrize("kind", [FileNotFoundError, OSError, TypeError, RuntimeError, ValueError])
def test_an_error_keeps_its_type(kind):
    with pytest.raises(kind, match="broken") as caught:
        list(Loader(lazy(3, fails(1, error=kind("broken")))))
    assert caught.type is kind


def test_an_error_that_names_its_sample_does_so_once():
    error = ValueError("part-2: no valid point")
    samples = lazy(3, fails(1, error=error))
    samples.names = ["part-1", "part-2", "part-3"]
    with pytest.raises(ValueError, match=r"^part-2: no valid point$"):
        list(Loader(samples))


@pytest.mark.parametrize("workers", [1, 3])
def test_bad_samples_are_left_out_listed_and_counted_in_one_warning(workers):
    samples = lazy(9, fails(0, 3, 4, 8))
    samples.names = [f"s{i}" for i in range(9)]
    loader = Loader(samples, workers, skip_bad=True)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match=r"^4 of 9 .*: s0: scan_0.*; and 1 more$") as said:
            assert [s.name for s in loader] == [f"part{i}" for i in (1, 2, 5, 6, 7)]
        assert len(said) == 1
        assert loader.bad == [(f"s{i}", f"scan_{i}.tiff: cannot be read") for i in (0, 3, 4, 8)]


def test_an_unreadable_file_in_the_middle_of_an_epoch_is_named_or_left_out(tmp_path, write_part):
    for i in range(5):
        write_part(tmp_path / "good", f"{i:03d}", value=i)
    folder = Folder(tmp_path)
    truncated = tmp_path / "good" / "xyz" / "002.tiff"
    truncated.write_bytes(truncated.read_bytes()[:60])
    (tmp_path / "good" / "rgb" / "003.png").unlink()  # after the listing
    read = iter(Loader(folder))
    assert [next(read).rgb[0, 0, 0] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match=r"002\.tiff: cannot be read"):
        next(read)
    loader = Loader(folder, skip_bad=True)
    with pytest.warns(RuntimeWarning, match="2 of 5 samples"):
        assert [s.rgb[0, 0, 0] for s in loader] == [0, 1, 4]
    assert [("002.tiff" in r, "003.png" in r) for _, r in loader.bad] == [(1, 0), (0, 1)]


def test_mistakes_are_not_left_out():
    with pytest.raises(ZeroDivisionError):
        list(Loader(lazy(3, fails(1, error=ZeroDivisionError())), skip_bad=True))


def test_if_every_sample_is_bad_that_is_an_error():
    with pytest.raises(ValueError, match=r"none of the 3 samples can be used: .*scan_0"):
        list(Loader(lazy(3, fails(0, 1, 2)), skip_bad=True))


def test_the_check_runs_in_the_thread_and_its_error_counts():
    where = []

    def check(s):
        where.append(threading.current_thread().name)
        if s.name == "part1":
            raise ValueError("part1: no valid point")

    loader = Loader(lazy(3), skip_bad=True, check=check)
    with pytest.warns(RuntimeWarning, match="1 of 3 samples"):
        assert [s.name for s in loader] == ["part0", "part2"]
    assert all(name.startswith("cmad-loader") for name in where)
    with pytest.raises(ValueError, match="part1: no valid point"):
        list(Loader(lazy(3), check=check))


def test_good_samples_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loader = Loader(lazy(3), skip_bad=True)
        assert len(list(loader)) == 3
    assert loader.bad == []


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ((iter([]),), TypeError, "samples must be a sequence"),
        (([], 0), ValueError, "workers must be a whole number from 1, got 0"),
        (([], 1, 0), ValueError, "ahead must be a whole number from 1, got 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments, kind, said):
    with pytest.raises(kind, match=said):
        Loader(*arguments)


def test_what_a_check_warns_of_is_left_to_the_use():
    def check(sample):
        notices.warn("kind", f"{sample.name}: odd")

    @notices.run()
    def use():
        for one in Loader(lazy(3), check=check):
            check(one)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(Loader(lazy(3), check=check))) == 3
    with pytest.warns(UserWarning, match="^part0: odd; the same for 2 more$") as said:
        use()
    assert len(said) == 1
