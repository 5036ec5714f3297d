"""The calibration of a model on held-out good parts, as commands do it."""

import typer

from cmad.cli._common import complain
from cmad.datasets import LazySamples, Loader
from cmad.detectors import Detector


def calibrate_on(detector: Detector, held_out: LazySamples, rate: float, skip_bad: bool) -> None:
    """Calibrate, and say the threshold and what was left out.

    Args:
        detector: trained; as it was where this raises.
        held_out: good parts that were not trained on.
        rate: the false-reject rate.
        skip_bad: leave out parts that cannot be read or scored.

    Raises:
        ValueError, OSError: see `cmad.detectors.Detector.calibrate`.

    """
    bad: list[tuple[str, str]] = []
    check = detector.pipeline.frame if skip_bad else None
    parts = Loader(held_out, skip_bad=skip_bad, check=check)
    threshold = detector.calibrate(parts, rate, bad=bad if skip_bad else None)
    for name, reason in bad:
        complain(f"left out {name}: {reason}", "warning")
    typer.echo(
        f"threshold {threshold:.6g}: at most {rate:g} of good parts rejected, "
        f"from {len(held_out) - len(parts.bad) - len(bad)} held-out good parts"
    )
