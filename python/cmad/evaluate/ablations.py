"""The tables of a paper that a method brings: with something left out or exchanged."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from cmad import maps, notices
from cmad.checkpoint import Checkpoint
from cmad.datasets import DataSet
from cmad.detectors import Ablation, Detector
from cmad.evaluate.category import Evaluation, Judge, Plan, Trained, as_it_is, checkpoint_of
from cmad.types import Features, GridMaps

Groups = Mapping[str, tuple[Mapping[str, object], Mapping[str, Ablation | None]]]


def groups(ablations: Sequence[Ablation]) -> Groups:
    """Put together what one training serves.

    Args:
        ablations: of a method.

    Returns:
        By the name of each training, ``""`` for the usual one: its arguments, and the ablations by
        setting; the method as it is has the setting ``""``.

    """
    found: dict[str, tuple[Mapping[str, object], dict[str, Ablation | None]]] = {
        "": ({}, {"": None})
    }
    for ablation in ablations:
        name = ablation.setting if ablation.training else ""
        found.setdefault(name, (ablation.training, {}))[1][ablation.setting] = ablation
    return found


@notices.run()
def ablate(
    data: DataSet,
    category: str,
    make: Callable[[], Detector],
    plan: Plan,
    training: Mapping[str, object],
    ablations: Mapping[str, Ablation | None],
) -> dict[str, Evaluation]:
    """Train once on a category, and test the method in several ways.

    Args:
        data: from `cmad.datasets.open`.
        category: of ``data``.
        make: makes an untrained detector.
        plan: as for `cmad.evaluate.evaluate`.
        training: arguments of ``fit`` beside the plan's, of a group of `groups`.
        ablations: of the same group.

    Returns:
        The results by setting. Parts per second are those of each way.

    Raises:
        ValueError, OSError: see `cmad.evaluate.evaluate`; or several 3D extractors.

    """
    plan = replace(plan, fit={**plan.fit, **training})
    detector = make()
    if detector.fusion is not None:
        raise ValueError("the tables' rows are those of one 3D extractor: give one as xyz")
    detector.stops = {a.epoch for a in ablations.values() if a is not None and a.epoch}
    # What the epochs before an interruption would have stopped with is not in a checkpoint.
    checkpoint = Checkpoint() if detector.stops else checkpoint_of(plan, category)
    judges: dict[str, Judge] = {
        setting: as_it_is if one is None else partial(ablated, one)
        for setting, one in ablations.items()
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
        detector = copy.copy(detector)
        detector.options = replace(detector.options, **ablation.options)
    grid = detector.judge(features)
    if not ablation.alone:
        return grid
    own = np.sum([grid.maps[name] for name in ablation.alone.split("+")], axis=0)
    smooth = maps.smoothed(torch.from_numpy(own), detector.scaling).numpy()
    score = grid.scores.get(ablation.alone, float(own.max()))
    return replace(grid, score=score, map=smooth, maps={ablation.alone: own}, scores={})
