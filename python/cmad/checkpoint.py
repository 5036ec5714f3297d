"""Where a training by epochs stands, in a file, so that a stopped one goes on where it was.

The state is taken at the end of an epoch, so what comes of a training that was stopped is, bit for
bit, what comes of one that was not: docs/training.md.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import Self

from cmad import notices
from cmad.cache import digest
from cmad.paths import replacing, user_path

FORMAT = 2
"""Raised when files could no longer be read as they are meant; no other format is read."""
EVERY = 60.0
"""Seconds of training that a crash or a power cut may cost, beside the epoch that it comes in."""
SHARE = 0.005
"""Of the training's time that copies may take, and as much again writing them."""
_MAGIC = b"cmad checkpoint\n"
_REMEDY = "delete it to train from the start"


class Stateful(Protocol):
    """What has a state: modules and optimisers of torch, or anything that does as they do."""

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values, in dicts, lists and tuples."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> object:
        """Take over what `state_dict` gave."""


@dataclass(frozen=True, eq=False)
class _State:
    epoch: int
    """Epochs done."""
    count: int
    """Epochs in all."""
    values: dict[str, Any]


class Checkpoint:
    """Keeps the state of a training in a file, and brings a stopped one back.

    `cmad.detectors.Detector.fit` takes the file's path, or one of these from whoever wants to keep
    the file until the model is saved: a path's file is removed once the detector is fitted, that
    of one of these only by `remove`.

    The state is copied at the end of an epoch and written every so many seconds, and where the
    training is interrupted; both so seldom that they take no more than `SHARE` of the time. A file
    that cannot be written is a warning: the training goes on.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        every: float = EVERY,
        say: Callable[[str], object] | None = None,
    ) -> None:
        """Read and write nothing yet.

        Args:
            path: of the file; None keeps nothing.
            every: seconds between two writes, at least.
            say: called with ``"continuing at epoch 31 of 250"``, where it is so.

        """
        self.path = None if path is None else user_path(path)
        self.epoch, self.count = 0, 0
        """Epochs that the file holds, of how many; 0 where there is none, or another training's."""
        self._every, self._say = every, say
        self._decisive: dict[str, object] = {}
        self._known_parts: object = None
        self._found: _State | None = None
        self._copied: _State | None = None
        self._written = self._next_copy = self._next_write = 0.0
        self._beside: dict[str, Checkpoint] = {}

    def beside(self, name: str) -> "Checkpoint":
        """Return the checkpoint of one of several trainings of the same fit, in a file of its own.

        It is opened as this one is, and removed with it.

        Args:
            name: of the training; the file is called as this one, with a dot and the name behind.

        Raises:
            ValueError, OSError: see `open` and `of_parts`.

        """
        if self.path is None:
            return Checkpoint()
        if name not in self._beside:
            kept = Checkpoint(self.path.with_name(f"{self.path.name}.{name}"), every=self._every)
            decisive = {key: value for key, value in self._decisive.items() if key != "parts"}
            kept.open({**decisive, "training": name})
            kept._decisive["parts"] = self._decisive.get("parts")
            if kept._found is not None:
                kept._compare({**kept._decisive, "parts": kept._known_parts})
            self._beside[name] = kept
        return self._beside[name]

    def open(self, decisive: Mapping[str, object]) -> None:
        """Read the file, where there is one, and check that it is of the same training.

        Args:
            decisive: everything that decides the result but the parts, by name, fit for JSON.

        Raises:
            ValueError: it is damaged, of another version of cmad, or of another training; says
                what differs.
            OSError: it cannot be read, or its folder not be written to.

        """
        self._decisive = json.loads(json.dumps(decisive))
        self._found = self._copied = None
        self.epoch = self.count = 0
        if self.path is None:
            return
        folder = self.path.absolute().parent
        if not folder.is_dir() or self.path.is_dir():
            raise FileNotFoundError(f"{self.path}: a checkpoint must be a file in a folder")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{self.path}: the folder of the checkpoint cannot be written to")
        if self.path.exists():
            self._found, known, machine = _read(self.path)
            self.epoch, self.count = self._found.epoch, self._found.count
            self._known_parts = known.pop("parts", None)
            self._compare(known)
            if machine != _machine():
                notices.warn(
                    "checkpoint: machine",
                    f"{self.path}: begun with {machine}, continued with {_machine()}: the model "
                    "may differ in last digits from that of a training that was not stopped",
                )

    def of_parts(self, parts: Sequence[str]) -> None:
        """Check that the parts are those that the file's training began with, and say so.

        Args:
            parts: digest of each, in the order that they are trained on.

        Raises:
            ValueError: other parts, or another order.

        """
        self._decisive["parts"] = {"number": len(parts), "sha256": digest(list(parts))[:16]}
        if self._found is None:
            return
        self._compare({**self._decisive, "parts": self._known_parts})
        if self._say is not None:
            done, count = self.epoch, self.count
            at = f"at epoch {done + 1} of" if done < count else "behind the last of"
            self._say(f"continuing {at} {count}" + " epochs" * (done == count))

    def epochs(
        self,
        count: int,
        generator: torch.Generator,
        losses: list[tuple[float, ...]],
        **parts: Stateful,
    ) -> Iterator[int]:
        """Yield the epochs that are left, and keep the state at the end of each.

        A training's loop over its epochs: ``for epoch in checkpoint.epochs(...)``.

        Args:
            count: epochs in all.
            generator: that everything random of the training is drawn from.
            losses: of each step; takes those of the epochs that were done before.
            parts: by name, all else that changes from step to step: networks, optimisers.

        """
        self._written = monotonic()
        self._next_write = self._written + self._every
        done = 0
        if self._found is not None:
            done = self._found.epoch
            _restore(self._found.values, generator, losses, parts)
            self._found = None
        for epoch in range(done, count):
            yield epoch
            self._keep(epoch + 1, count, generator, losses, parts)

    def remove(self) -> None:
        """Delete the file, where there is one: the training is over."""
        self._copied = None
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        for kept in self._beside.values():
            kept.remove()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, error: object, *_: object) -> None:
        """Write the latest state, where an error or Ctrl-C ends the training."""
        if error is not None and self._copied is not None and self._copied.epoch > self.epoch:
            self._write(self._copied)
        for kept in self._beside.values():
            kept.__exit__(error)

    def _compare(self, known: Mapping[str, object]) -> None:
        now = self._decisive
        differing = [n for n in {**known, **now} if known.get(n) != now.get(n)]
        if differing:
            said = "; ".join(
                f"{n}: {_short(known.get(n))} then, {_short(now.get(n))} now" for n in differing
            )
            done, count, self.epoch, self.count = self.epoch, self.count, 0, 0
            raise ValueError(
                f"{self.path}: holds another training, stopped after epoch {done} of "
                f"{count} ({said}); give what it was begun with to continue it, or {_REMEDY}"
            )

    def _keep(
        self,
        epoch: int,
        count: int,
        generator: torch.Generator,
        losses: Sequence[tuple[float, ...]],
        parts: Mapping[str, Stateful],
    ) -> None:
        """Copy the state, so that it is there when the next epoch is interrupted; write it."""
        if self.path is None:
            return
        now = monotonic()
        # What took long is kept at its end, too: the model is yet to be calibrated and saved.
        due = now >= (self._written + self._every if epoch == count else self._next_write)
        if not (due or now >= self._next_copy):
            return
        self._copied = _State(epoch, count, _state(generator, losses, parts))
        copied = monotonic()
        self._next_copy = copied + (copied - now) / SHARE
        if due:
            self._write(self._copied)
            self._written = monotonic()
            self._next_write = self._written + max(self._every, (self._written - copied) / SHARE)

    def _write(self, state: _State) -> None:
        assert self.path is not None
        try:
            with replacing(self.path) as temporary:
                _save(temporary, state, self._decisive)
        except OSError as error:
            notices.warn(
                "checkpoint",
                f"{self.path}: could not be written ({error}); the training goes on, but where it "
                "is stopped it begins again further back",
            )
        else:
            self.epoch, self.count = state.epoch, state.count


def _state(
    generator: torch.Generator,
    losses: Sequence[tuple[float, ...]],
    parts: Mapping[str, Stateful],
) -> dict[str, Any]:
    return {
        "generator": generator.get_state(),
        "losses": torch.tensor(losses, dtype=torch.float64),
        "parts": {name: _copy(part.state_dict()) for name, part in parts.items()},
    }


def _restore(
    values: Mapping[str, Any],
    generator: torch.Generator,
    losses: list[tuple[float, ...]],
    parts: Mapping[str, Stateful],
) -> None:
    generator.set_state(values["generator"])
    losses[:] = [tuple(step) for step in values["losses"].tolist()]
    for name, part in parts.items():
        part.load_state_dict(values["parts"][name])


def _copy(value: object) -> object:
    """Copy what a state holds: the training goes on to change it."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {name: _copy(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copy(entry) for entry in value)
    return value


def _save(path: Path, state: _State, decisive: Mapping[str, object]) -> None:
    header = {
        "format": FORMAT,
        "epoch": state.epoch,
        "count": state.count,
        "decisive": decisive,
        "machine": _machine(),
    }
    body = io.BytesIO()
    body.write(json.dumps(header).encode() + b"\n")
    torch.save(state.values, body)
    data = body.getbuffer()
    with path.open("wb") as file:
        file.write(_MAGIC + hashlib.sha256(data).hexdigest().encode() + b"\n")
        file.write(data)


def _read(path: Path) -> tuple[_State, dict[str, object], str]:
    """Read a file, whole or not at all; raise ValueError where it is none."""
    with path.open("rb") as file:
        magic, checksum = file.read(len(_MAGIC)), file.readline().strip().decode("latin-1")
        data = file.read()
    if magic != _MAGIC or hashlib.sha256(data).hexdigest() != checksum:
        raise ValueError(f"{path}: a damaged checkpoint, or another file; {_REMEDY}")
    text, _, tensors = data.partition(b"\n")
    header = json.loads(text)
    if header["format"] != FORMAT:
        raise ValueError(f"{path}: a checkpoint of another version of cmad; {_REMEDY}")
    try:
        values = torch.load(io.BytesIO(tensors), map_location="cpu", weights_only=True)  # no code
    except Exception as error:
        raise ValueError(f"{path}: a damaged checkpoint, or another file; {_REMEDY}") from error
    state = _State(header["epoch"], header["count"], values)
    return state, header["decisive"], header["machine"]


def _machine() -> str:
    """Name what last digits depend on, and another machine may well have otherwise."""
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' * (threads > 1)} and {torch.backends.cpu.get_cpu_capability()}"


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
