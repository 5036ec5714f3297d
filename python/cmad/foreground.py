"""Which pixels are the part: what is not background, and belongs together.

The plane that a part lies on is removed, and what is left in one piece, or nearly so, is the part.
What a user may miss of it is in the notes of the result.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cmad import ops
from cmad.background import PLANE_DISTANCE, Background
from cmad.types import Note

BORDER = 10
"""Outermost pixels of each row and column with a point, which the background plane is fitted to."""
BACKGROUND_SHARE = 0.3
"""Of these, that must lie on a plane for it to be the background."""
SPAN = 0.75
"""Of the image's height and width, that points must span to be a field of view and not a part."""
FLAT = 0.5
"""Of a plane's points, that lie within a fifth of the distance where it is no round rim."""
BEHIND = 0.05
"""Of the outermost points; where so many lie behind a plane, theirs may be the background."""
COPLANAR = 0.7
"""Of these, that lie on that plane."""
LITTLE = 0.02
"""Of the points; a part of fewer, beside a background that was found, is hardly anything."""
CLUSTER_EPS = 0.006
"""Metres between neighbours of a cluster."""
CLUSTER_POINTS = 30
NEAR = 0.03
"""Metres; pieces of a part are at most so far apart: as a stripe without points is wide, or a step
is high."""
PIECE = 0.05
"""Of the largest cluster's points, that a piece of the part has at least."""
DROPPED = 0.1
"""Of the points beside the background; where more are dropped, it is said."""
CHUNK = 1 << 15
"""Points whose distances are computed at a time, in float64, while they are in the cache."""
CONSTANTS = {
    "border": BORDER,
    "background_share": BACKGROUND_SHARE,
    "span": SPAN,
    "flat": FLAT,
    "behind": BEHIND,
    "coplanar": COPLANAR,
    "little": LITTLE,
    "cluster_eps": CLUSTER_EPS,
    "cluster_points": CLUSTER_POINTS,
    "near": NEAR,
    "piece": PIECE,
}
"""As stored with a model: its threshold means nothing with others."""

REMOVED = Note(
    "rim",
    "the image's border has few points, and the outermost ones, near a plane, are taken for the "
    "rim of a part whose background has been removed: all points are looked at; say which it is: "
    'background="none", or the distance of the background plane in metres, such as 0.005',
)
INSET = Note(
    "inset",
    "the image's border has few points, and the plane under the outermost ones is taken for the "
    "background; say which it is: the distance of the background plane in metres, such as 0.005, "
    'or background="none"',
)
NOT_FOUND = Note(
    "no plane",
    "a distance from the background plane is asked for, but too few of the outermost points lie on "
    "one: all points are looked at; pass a known plane (a, b, c, d), a region of interest, or "
    'background="none"',
)
FARTHER = Note(
    "farther",
    "the outermost points lie on two planes, and the farther one is taken for the background; if "
    "that is wrong, pass the background plane (a, b, c, d) or a region of interest as background",
)


@dataclass(frozen=True)
class Rule:
    """Where the paper's text and the published scripts find the part differently."""

    plane_samples: int = 3
    """Points that each hypothesis of the background plane goes through."""
    plane_support: float = PLANE_DISTANCE
    """Metres; a point nearer to a hypothesis than this supports it."""
    published: bool = False
    """Whether the plane is sought only among the image's outermost pixels, in strips that overlap
    at the corners, and one cluster is kept, which points outside all clusters are where they are
    the most."""


@dataclass(frozen=True, eq=False)
class Part:
    """The pixels of the part, and how they were found."""

    keep: Tensor
    """(H, W) bool."""
    plane: tuple[float, ...] | None = None
    """The background plane (n, d), n . p + d = 0 with |n| = 1 and d >= 0; None without one."""
    notes: tuple[Note, ...] = ()


def find_part(
    xyz: Tensor, valid: Tensor, background: Background, rule: Rule, seed: int = 0
) -> Part:
    """Find the pixels of the part: not on the background plane, and of the largest pieces.

    The plane is fitted to the outermost points. It is not believed where few of them lie on it, or
    where they span so little of the image that they are the rim of a part whose background has been
    removed; where points behind it lie on a plane of their own, that one is the background. Kept
    are the largest cluster and those near it. Where most points are noise, too far apart for the
    constants, all are kept.

    Args:
        xyz: (H, W, 3) float32, metres, finite.
        valid: (H, W) bool, pixels with a 3D point, at least one.
        background: what is known of it.
        rule: paper or published.
        seed: of the plane's RANSAC.

    Returns:
        The part, a subset of ``valid``, maybe empty.

    Raises:
        ValueError: a region of interest that does not fit the image.

    """
    if background.kind == "none":
        return Part(valid)
    if background.is_region:
        return Part(valid & background.region(*valid.shape))
    plane, notes, distance = None, list[Note](), None
    if background.kind == "fixed":
        plane = xyz.new_tensor(background.plane, dtype=torch.float64)
    elif rule.published:
        plane = _published_plane(xyz, valid, background, rule, seed)
    else:
        plane, distance = _plane(xyz, valid, background, rule, seed, notes)
    if plane is None and background.kind == "distance":
        notes.append(NOT_FOUND)
    rest = valid
    if plane is not None:
        distance = _signed(xyz, plane) if distance is None else distance
        if background.kind != "fixed":
            distance = distance.abs()
        rest = valid & (distance >= background.distance)
    keep = _pieces(xyz, rest, rule)
    notes += _shares(_count(valid), _count(rest), _count(keep), background)
    return Part(keep, None if plane is None else tuple(plane.tolist()), tuple(notes))


def _shares(points: int, rest: int, kept: int, background: Background) -> list[Note]:
    """Say where much is dropped beside the background, or hardly anything left."""
    notes = []
    if rest - kept > DROPPED * rest:
        notes.append(
            Note(
                "dropped",
                f"{1 - kept / rest:.0%} of the points beside the background are dropped: they are "
                f"noise, small, or more than {1e3 * NEAR:g} mm from the largest piece; "
                'background="none" or a region of interest keeps them',
            )
        )
    if 0 < kept < LITTLE * points and background.kind == "plane":
        notes.append(
            Note(
                "little",
                f"hardly anything, {kept / points:.1%} of the points, is left beside the "
                "background plane; if the part is taken for it, pass "
                'background="none", a plane, or a smaller distance in metres',
            )
        )
    return notes


def _signed(points: Tensor, plane: Tensor) -> Tensor:
    """Distances (...) of points (..., 3) to a plane, positive on the camera's side."""
    flat = points.reshape(-1, 3)
    distance = flat.new_empty(len(flat), dtype=torch.float64)
    for begin in range(0, len(flat), CHUNK):
        some = slice(begin, begin + CHUNK)
        torch.mv(flat[some].double(), plane[:3], out=distance[some])
    return distance.add_(plane[3]).view(points.shape[:-1])


def _of(xyz: Tensor, mask: Tensor) -> Tensor:
    """The points (N, 3) of a mask (H, W); NumPy's indexing is much faster than torch's."""
    return torch.from_numpy(xyz.numpy()[mask.numpy()])


def _count(mask: Tensor) -> int:
    return int(torch.count_nonzero(mask))


def _fit(
    points: Tensor, background: Background, rule: Rule, seed: int
) -> tuple[Tensor, int] | None:
    """Return the plane that most points support, and how many; None where there is none."""
    if len(points) < 3:
        return None
    threshold = min(rule.plane_support, background.distance)
    try:
        return ops.plane(points, threshold, samples=rule.plane_samples, seed=seed, check=False)
    except ValueError:  # the points lie on a line
        return None


def _frame(height: int, width: int) -> tuple[Tensor, Tensor]:
    """The image's outermost pixels: strips of rows, and of columns, both (H, W) bool."""
    rows, columns = torch.zeros(2, height, width, dtype=torch.bool)
    rows[:BORDER] = rows[-BORDER:] = True
    columns[:, :BORDER] = columns[:, -BORDER:] = True
    return rows, columns


def _published_plane(
    xyz: Tensor, valid: Tensor, background: Background, rule: Rule, seed: int
) -> Tensor | None:
    """Fit the plane to the image's outermost pixels; their corners count twice."""
    rows, columns = _frame(*valid.shape)
    points = torch.cat([_of(xyz, rows & valid), _of(xyz, columns & valid)])
    found = _fit(points, background, rule, seed)
    # Where the background has been removed already, a part that reaches the border is no plane.
    if found is None or found[1] < BACKGROUND_SHARE * _count(rows | columns):
        return None
    return found[0]


def outermost(valid: Tensor) -> Tensor:
    """Return the first and last `BORDER` pixels with a point of each row and column, (H, W) bool.

    Where all pixels have a point, they are the image's border.
    """
    number = valid.cumsum(1, dtype=torch.int32)
    in_rows = (number <= BORDER) | (number > number[:, -1:] - BORDER)
    pixels = valid.numpy()
    in_columns = _first(pixels) | _first(pixels[::-1])[::-1]
    return (in_rows | torch.from_numpy(in_columns)) & valid


def _first(pixels: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels of each column down to the `BORDER`-th true one; row by row, as memory lies."""
    found = np.zeros_like(pixels)
    number = np.zeros(pixels.shape[1], np.int32)
    for row, out in zip(pixels, found, strict=True):
        number += row
        np.less_equal(number, BORDER, out=out)
        if not out.any():
            break
    return found


def _plane(
    xyz: Tensor,
    valid: Tensor,
    background: Background,
    rule: Rule,
    seed: int,
    notes: list[Note],
) -> tuple[Tensor | None, Tensor | None]:
    """Fit the plane to the outermost points, and judge whether it is the background.

    With it come the distances to it, where they are known.
    """
    outer = outermost(valid)
    points = _of(xyz, outer)
    found = _fit(points, background, rule, seed)
    if found is None or found[1] < BACKGROUND_SHARE * len(points):
        return None, None
    plane = found[0]
    rows, columns = _frame(*valid.shape)
    frame = rows | columns
    on_frame = _signed(_of(xyz, frame & valid), plane).abs() < rule.plane_support
    at_border = _count(on_frame) >= BACKGROUND_SHARE * _count(frame)
    if background.kind == "plane" and not at_border:
        # Either the sensor gives no points at the border, or the background has been removed.
        note = _doubt(_of(xyz, valid), points, plane, _spans(valid))
        if note is not None:
            notes.append(note)
        if note is not INSET:
            return None, None
    distance = _signed(xyz, plane)
    behind = _behind(xyz, valid, outer, distance, background)
    if behind is not None:
        farther = _fit(behind, background, rule, seed)
        if farther is not None and _is_background(farther, plane, behind, points):
            notes.append(FARTHER)
            return farther[0], None
    return plane, distance


def _doubt(everything: Tensor, outer: Tensor, plane: Tensor, spans: bool) -> Note | None:
    """Tell what a plane inside of the image's border is taken for: background only if `INSET`."""
    distance = _signed(outer, plane).abs()
    supporters = int((distance < PLANE_DISTANCE).sum())
    flat = int((distance < PLANE_DISTANCE / 5).sum()) >= FLAT * supporters
    left = int((_signed(everything, plane).abs() >= PLANE_DISTANCE).sum())
    if left < LITTLE * len(everything) or not (flat or spans):
        return None  # a flat part, or the rim of a round one
    return INSET if flat and spans else REMOVED


def _spans(valid: Tensor) -> bool:
    """Tell whether the points span so much of the image that they are a field of view."""
    for axis, length in enumerate(valid.shape):
        lines = torch.nonzero(valid.sum(1 - axis) >= BORDER)
        if len(lines) == 0 or int(lines[-1] - lines[0]) + 1 < SPAN * length:
            return False
    return True


def _behind(
    xyz: Tensor, valid: Tensor, outer: Tensor, distance: Tensor, background: Background
) -> Tensor | None:
    """Return the points behind a plane that has many there: of the outermost ones, or of all."""
    behind = valid & (distance <= -background.distance)
    points = _of(xyz, behind & outer)
    if len(points) >= BEHIND * _count(outer):
        return points
    front = _count(valid & (distance >= background.distance))
    return _of(xyz, behind) if _count(behind) > max(front, LITTLE * _count(valid)) else None


def _is_background(
    farther: tuple[Tensor, int], nearer: Tensor, behind: Tensor, outer: Tensor
) -> bool:
    """Tell whether points behind a plane are what it lies on, not a hole in it or another room."""
    plane, support = farther
    gap = float(-_signed(behind, nearer).median())
    width = float((outer.amax(0) - outer.amin(0)).norm())
    parallel = abs(float(plane[:3] @ nearer[:3])) > 0.9
    return support >= COPLANAR * len(behind) and parallel and gap <= width / 2


def _pieces(xyz: Tensor, rest: Tensor, rule: Rule) -> Tensor:
    """Keep the largest cluster of these pixels, and what is near it; (H, W) bool."""
    points = _of(xyz, rest)
    label = ops.clusters(points, CLUSTER_EPS, CLUSTER_POINTS, check=False).numpy()
    noise, *of_cluster = np.bincount(label + 1, minlength=1).tolist()
    # Points so far apart that most are noise say nothing of what belongs together; where noise has
    # a vote, it has been counted.
    if not of_cluster or (not rule.published and noise >= len(label) - noise):
        return rest
    most = max(of_cluster)
    largest = -1 if rule.published and noise >= most else of_cluster.index(most)
    chosen = label == largest
    large = np.array([n >= PIECE * most for n in of_cluster] + [False])  # -1, noise, is the last
    if not rule.published and np.count_nonzero(large) > 1:
        of_pieces = large[label]
        pieces = points[torch.from_numpy(of_pieces)]
        piece = ops.clusters(pieces, NEAR, 1, check=False).numpy()
        chosen = np.zeros_like(of_pieces)
        chosen[of_pieces] = piece == piece[(label == largest)[of_pieces]][0]
    keep = np.zeros(rest.shape, np.bool_)
    keep[rest.numpy()] = chosen
    return torch.from_numpy(keep)
