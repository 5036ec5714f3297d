"""Parts that are unlike training's: told, or refused where that is asked for."""

from dataclasses import replace
from typing import Any

from cmad import notices
from cmad.pipeline import Pipeline
from cmad.preprocess import prepare, tell
from cmad.ranges import LITTLE_SEEN, NO_BACKGROUND, Ranges, look, scale_of, suspicions
from cmad.types import Frame, GridMaps, Sample

UNITS = {
    1000.0: 'so small that the points seem to be metres passed as unit="mm"',
    0.001: 'so large that the points seem to be millimetres: pass unit="mm"',
    0.01: "so large that the points seem to be centimetres: divide them by 100",
}
"""What points are that, so many times as large, are as large as training's."""


def compared(pipeline: Pipeline, ranges: Ranges | None, sample: Sample, strict: bool) -> Frame:
    """Prepare a part, and compare it with what training saw.

    Args:
        pipeline: of the detector.
        ranges: of its training parts; None compares nothing.
        sample: the part.
        strict: raise where it is unlike them.

    Returns:
        Its frame, with a note for each suspicion; they are given as warnings, too.

    Raises:
        ValueError: it cannot be prepared, or is unlike training's parts, and that is not allowed.

    """
    try:
        frame = pipeline.frame(sample)
    except ValueError as error:
        reason = None if ranges is None else _unit(pipeline, ranges, sample)
        if reason is None:
            raise
        raise ValueError(f"{error}; compared with the training parts, it is {reason}") from error
    if ranges is None:
        return frame
    found = suspicions(frame, ranges)
    if found and strict:
        said = "; ".join(note.text for note in found)
        named = f"{frame.name}: " if frame.name else ""
        raise ValueError(f"{named}unlike the training parts: {said}")
    tell(replace(frame, notes=found))
    return replace(frame, notes=(*frame.notes, *found))


def inspected(grid: GridMaps) -> bool:
    """Tell whether enough of a part was seen for a verdict."""
    return all(note.kind not in (LITTLE_SEEN, NO_BACKGROUND) for note in grid.notes)


def _unit(pipeline: Pipeline, ranges: Ranges, sample: Sample) -> str | None:
    """Say which unit the points are in, where that is why a part cannot be prepared."""
    points: Any = sample.xyz
    if points is None:
        return None
    for scale, said in UNITS.items():
        try:
            with notices.quiet():
                scaled = replace(sample, xyz=points * scale)
                frame = prepare(scaled, pipeline.preprocessing)
        except (ValueError, TypeError):
            continue
        if scale_of(look(frame), ranges) == 1:
            return said
    return None
