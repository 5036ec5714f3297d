"""Reading samples ahead of their use."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from cmad import notices
from cmad.types import Sample

_BAD = (OSError, ValueError)
"""Errors that tell of a bad sample; any other is a mistake or a matter of the machine."""
_NAMED = (FileNotFoundError, PermissionError, OSError, ValueError, TypeError, RuntimeError)
"""Errors that get the sample's name in front; the first that fits."""


@dataclass(frozen=True)
class _Failure:
    name: str
    error: Exception


class Loader(Iterable[Sample]):
    """Samples in their order, read by threads while the ones before are being used.

    Goes wherever samples are iterated over: ``detector.fit(Loader(samples))``. Leaving the
    iteration early stops the threads. It can be iterated over again.

    Reading must be safe in several threads if ``workers`` is more than 1; that of the data sets in
    `cmad.datasets` is.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        workers: int = 1,
        ahead: int = 4,
        skip_bad: bool = False,
        check: Callable[[Sample], object] | None = None,
    ) -> None:
        """Read nothing yet.

        Args:
            samples: a sequence that reads a sample when it is asked for it. Its ``names``, where
                there are any, name samples in errors; numbers from 0 do otherwise.
            workers: threads that read.
            ahead: samples in memory at most, beside the one that is being used.
            skip_bad: leave out a sample whose reading or check fails with an OSError or a
                ValueError, list it in ``bad``, and warn at the end of the iteration, instead of
                raising the error at the sample's place.
            check: called with each sample, in the thread that read it, such as ``pipeline.frame``
                to find parts without any 3D point. What it returns is dropped, so without a cache
                that work is done twice, if beside the rest; and so are its notices.

        Raises:
            TypeError: samples is not a sequence.
            ValueError: workers or ahead is less than 1.

        """
        if not isinstance(samples, Sequence):
            raise TypeError(
                f"Loader: samples must be a sequence, such as a data set or a list, "
                f"got {type(samples).__name__}"
            )
        for name, value in (("workers", workers), ("ahead", ahead)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"Loader: {name} must be a whole number from 1, got {value}")
        self._samples = samples
        self._workers, self._ahead = workers, ahead
        self._skip_bad, self._check = skip_bad, check
        self.bad: list[tuple[str, str]] = []
        """Name and reason of each sample that the latest iteration has left out so far."""

    def __len__(self) -> int:
        """Return the number of samples, with those that may be left out."""
        return len(self._samples)

    @property
    def source(self) -> str:
        """Where the samples are from, where they know; see `LazySamples.source`."""
        return str(getattr(self._samples, "source", ""))

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples.

        Raises:
            OSError, ValueError, TypeError, RuntimeError: as reading or the check raised it, with
                the sample's name in front.
            ValueError: every sample is bad.

        """
        self.bad = bad = []
        numbers = iter(range(len(self)))
        threads = ThreadPoolExecutor(self._workers, thread_name_prefix="cmad-loader")
        try:
            coming: deque[Future[Sample | _Failure]] = deque(
                threads.submit(self._read, i) for i in islice(numbers, self._ahead)
            )
            while coming:
                result = coming.popleft().result()
                coming.extend(threads.submit(self._read, i) for i in islice(numbers, 1))
                if not isinstance(result, _Failure):
                    yield result
                elif self._skip_bad and isinstance(result.error, _BAD):
                    bad.append((result.name, str(result.error)))
                else:
                    raise _named(result) from result.error
        finally:
            threads.shutdown(cancel_futures=True)
        if bad:
            self._report(bad)

    def _read(self, i: int) -> Sample | _Failure:
        names: Sequence[str] | None = getattr(self._samples, "names", None)
        name = f"sample {i}" if names is None else names[i]
        try:
            sample = self._samples[i]
            if self._check is not None:
                with notices.quiet():
                    self._check(sample)
        except Exception as error:  # raised where its sample would have come
            return _Failure(name, error)
        return sample

    def _report(self, bad: list[tuple[str, str]]) -> None:
        said = "; ".join(f"{name}: {reason}" for name, reason in bad[:3])
        if len(bad) > 3:
            said += f"; and {len(bad) - 3} more"
        if len(bad) == len(self):
            raise ValueError(f"none of the {len(bad)} samples can be used: {said}")
        warnings.warn(
            f"{len(bad)} of {len(self)} samples were left out: {said}",
            RuntimeWarning,
            stacklevel=3,
        )


def _named(failure: _Failure) -> Exception:
    """Put the sample's name in front of an error's message."""
    if str(failure.error).startswith(f"{failure.name}:"):
        return failure.error
    for kind in _NAMED:
        if isinstance(failure.error, kind):
            return kind(f"{failure.name}: {failure.error}")
    return failure.error
