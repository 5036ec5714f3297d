"""The tables of a paper that a method brings: with something left out or exchanged."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch

from cmad import maps, notices
from cmad.checkpoint import Checkpoint
from cmad.datasets import DataSet
from cmad.detectors import Ablation, Detector
from cmad.evaluate.category import Evaluation, Judge, Plan, Trained, as_it_is, checkpoint_of
from cmad.types import Features, GridMaps


@dataclass(frozen=True)
class Group:
    """Rows of tables that one training serves."""

    training: Mapping[str, object]
    """Arguments of ``fit`` beside the plan's."""
    made: Mapping[str, object]
    """Arguments of the detector that differ."""
    shots: int | None
    """Good parts to train on; None as the plan says."""
    members: Mapping[str, Ablation | None]
    """By setting; None is the method as it is, whose setting is ``""``."""


def groups(ablations: Sequence[Ablation], *, whole: bool = True) -> dict[str, Group]:
    """Put together what one training serves.

    Args:
        ablations: of a method.
        whole: whether the method as it is belongs to them.

    Returns:
        By the setting of each training's first row, ``""`` for the usual one.

    """
    found: dict[str, tuple[str, Group, dict[str, Ablation | None]]] = {}
    rows: list[Ablation | None] = [*([None] if whole else []), *ablations]
    for row in rows:
        training, made = ({}, {}) if row is None else (row.training, row.made)
        shots, setting = (None, "") if row is None else (row.shots, row.setting)
        key = repr((sorted(training.items()), sorted(made.items()), shots))
        members: dict[str, Ablation | None] = {}
        new = setting, Group(training, made, shots, members), members
        found.setdefault(key, new)[2][setting] = row
    return {name: group for name, group, _ in found.values()}


@notices.run()
def ablate(
    data: DataSet, category: str, make: Callable[..., Detector], plan: Plan, group: Group
) -> dict[str, Evaluation]:
    """Train once on a category, and test the method in several ways.

    Args:
        data: from `cmad.datasets.open`.
        category: of ``data``.
        make: makes an untrained detector, with the arguments that differ.
        plan: as for `cmad.evaluate.evaluate`.
        group: of `groups`.

    Returns:
        The results by setting. Parts per second are those of each way.

    Raises:
        ValueError, OSError: see `cmad.evaluate.evaluate`; or a row of fewer epochs with several 3D
            extractors.

    """
    shots = plan.shots if group.shots is None else group.shots
    plan = replace(plan, fit={**plan.fit, **group.training}, shots=shots)
    detector = make(**group.made)
    detector.stops = {a.epoch for a in group.members.values() if a is not None and a.epoch}
    if detector.stops and detector.fusion is not None:
        raise ValueError("a learning curve is that of one 3D extractor: give one as xyz")
    # What the epochs before an interruption would have stopped with is not in a checkpoint.
    checkpoint = Checkpoint() if detector.stops else checkpoint_of(plan, category)
    judges: dict[str, Judge] = {
        setting: as_it_is if one is None else partial(ablated, one)
        for setting, one in group.members.items()
    }
    try:
        found = Trained.on(data, category, detector, plan, checkpoint).tested(judges, plan)
    except ValueError as error:
        raise ValueError(f"{category}: {error}") from error
    checkpoint.remove()
    return found


def ablated(ablation: Ablation, detector: Detector, features: Features) -> GridMaps:
    """Judge a part as a row of a paper's table does.

    Args:
        ablation: for whose training the detector was trained.
        detector: trained; stays as it is.
        features: of the part.

    Returns:
        Of a map alone, or a sum of some, the score is what the method gives for it, or its maximum,
        and the map is smoothed as the usual one is.

    """
    if ablation.epoch:
        detector = copy.copy(detector)
        detector.take(detector.stopped[ablation.epoch])
    if ablation.options:
        detector = _with(detector, ablation.options)
    grid = detector.judge(features)
    if not ablation.alone:
        return grid
    own = np.sum([grid.maps[name] for name in ablation.alone.split("+")], axis=0)
    smooth = maps.smoothed(torch.from_numpy(own), detector.scaling).numpy()
    score = grid.scores.get(ablation.alone, float(own.max()))
    return replace(grid, score=score, map=smooth, maps={ablation.alone: own}, scores={})


def _with(detector: Detector, options: Mapping[str, object]) -> Detector:
    """Return a copy with other options, and so of each extractor's own detector."""
    detector = copy.copy(detector)
    detector.options = replace(detector.options, **options)
    if detector.fusion is not None:
        members = cast("Mapping[str, Detector]", detector.fusion.members)
        detector.fusion = copy.copy(detector.fusion)
        detector.fusion.members = {n: _with(member, options) for n, member in members.items()}
    return detector
