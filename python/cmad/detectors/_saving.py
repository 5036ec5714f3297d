"""What every detector saves of its pipeline, and how it comes back."""

import copy
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from torch import Tensor

from cmad import extractors, gpu, model_file, notices
from cmad.cache import digest, versions
from cmad.detectors._inputs import precision_of
from cmad.extractors import Extractor, XyzExtractor
from cmad.extractors.licences import licence_of
from cmad.foreground import CONSTANTS
from cmad.pipeline import Pipeline, arithmetic_of

Header = dict[str, object]
Tensors = dict[str, Tensor]


def pipeline_to_file(pipeline: Pipeline, include_extractors: bool) -> tuple[Header, Tensors]:
    """Return what goes into the header and the tensors of a model file.

    Args:
        pipeline: with the statistics of the training.
        include_extractors: also the frozen extractors' weights.

    """
    tensors: Tensors = {}
    for name, xyz in pipeline.of_points.items():
        tensors |= {f"statistics.{name}.{k}": v for k, v in xyz.statistics.items()}
    if include_extractors:
        for name, extractor in pipeline.extractors.items():
            tensors |= {f"extractors.{name}.{k}": v for k, v in extractor.state_dict().items()}
    header: Header = {
        "preprocessing": CONSTANTS,
        "extractors": {
            name: {**extractor.config(), "sha256": extractor.fingerprint()}
            for name, extractor in pipeline.extractors.items()
        },
        "versions": model_file.versions(),
    }
    return header, tensors


def licences(pipeline: Pipeline) -> dict[str, str]:
    """Return the licences of the extractors' weights, by name."""
    return {n: licence_of(extractor.config()) for n, extractor in pipeline.extractors.items()}


def extractors_from_file(
    header: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    given: Mapping[str, Extractor | None],
) -> dict[str, Extractor]:
    """Return the extractors of a saved model, with the statistics of its training.

    Args:
        header: of the model file.
        tensors: of the model file.
        given: those passed by the caller, by name; others are built again. One that takes
            statistics is copied first.

    Raises:
        RuntimeError: an extractor is not available.
        ValueError: other weights than the training's, or a model whose parts were prepared in
            another way.

    """
    if header["preprocessing"] != CONSTANTS:
        stored = cast(Header, header["preprocessing"])
        apart = [
            f"{name} {stored.get(name, 'unset')} instead of {CONSTANTS.get(name, 'unset')}"
            for name in sorted({*stored, *CONSTANTS})
            if stored.get(name) != CONSTANTS.get(name)
        ]
        raise ValueError(
            f"the model was trained on parts prepared with {', '.join(apart)} as this version has "
            "it: train it again"
        )
    found: dict[str, Extractor] = {}
    for name, config in cast("dict[str, Header]", header["extractors"]).items():
        found[name] = extractor = _restored(name, given.get(name), config, tensors)
        if extractors.modality_of(extractor) == "3d":
            statistics = model_file.prefixed(tensors, f"statistics.{name}.")
            cast(XyzExtractor, extractor).load_statistics(statistics)
    return found


def as_arguments(found: Mapping[str, Extractor]) -> dict[str, object]:
    """Return extractors as a detector takes them: ``xyz1``, ``xyz2``... are ``xyz``, a list."""
    several = [extractor for name, extractor in found.items() if name not in ("rgb", "xyz")]
    given: dict[str, object] = {n: e for n, e in found.items() if n in ("rgb", "xyz")}
    return given | ({"xyz": several} if several else {})


def _restored(
    name: str,
    given: Extractor | None,
    config: Mapping[str, object],
    tensors: Mapping[str, Tensor],
) -> Extractor:
    """Return the extractor of a saved model, and check that its weights are those of the training.

    Args:
        name: of the extractor.
        given: the extractor passed by the caller; None builds it again.
        config: from the model's header, with the hash of its weights.
        tensors: of the model file, with the extractor's own if it was saved along.

    """
    if given is None:
        state = model_file.prefixed(tensors, f"extractors.{name}.") or None
        try:
            plain = {k: v for k, v in config.items() if k != "sha256"}
            given = extractors.from_config(plain, state)
        except (RuntimeError, ValueError) as error:
            raise RuntimeError(
                f"the {name} extractor that the model was trained with is not available: {error}. "
                f"Save the model with include_extractors=True, or in Python pass the extractor to "
                f"cmad.load as {name}"
            ) from error
    elif getattr(given, "takes_statistics", False):
        given = copy.deepcopy(given)  # its statistics are about to be replaced
    trained, found = str(config["sha256"]), given.fingerprint()
    if found != trained:
        raise ValueError(
            f"the model was trained with other {name} weights than those found now "
            f"({given.describe()}): sha256 {trained[:12]}, found {found[:12]}"
        )
    return given


def calibrated_in(header: Mapping[str, object], now: str) -> str:
    """Return the arithmetic of a saved model's thresholds; warn where it is not that of now.

    Args:
        header: of the model file.
        now: the pipeline's, see `Pipeline.arithmetic`.

    """
    older = precision_of(str(header["precision"]), gpu.CPU)  # files of before there were others
    then = str(header.get("calibrated_in", arithmetic_of(older, gpu.CPU)))
    if header.get("calibration") and then != now:
        notices.warn(
            "calibrated elsewhere",
            f"the model was calibrated in {then}, this is {now}: scores differ a little, so that "
            "the rate of false rejects may not hold; calibrate it here",
        )
    return then


def decisive(method: Any, training: Any) -> Header:
    """Return all that decides what comes of a training but the parts, fit for JSON.

    Args:
        method: the detector, before it is fitted.
        training: its record of the arguments of training.

    """
    pipeline: Pipeline = method.pipeline
    preparation = asdict(pipeline.preprocessing)
    return {
        "method": method.who,
        **{f"{name} extractor": said for name, said in _named(pipeline).items()},
        "preset": method.preset,
        **asdict(method.options),
        **asdict(training),
        "image_size": pipeline.preprocessing.image_size,
        "precision": method.precision,
        "device": str(method.device),
        "seed": method.seed,
        "preparation": digest(preparation, CONSTANTS)[:16],
        "versions": versions(),
    }


def _named(pipeline: Pipeline) -> dict[str, str]:
    """Tell each extractor and its weights from others."""
    return {
        name: f"{extractor.describe()}, {digest(extractor.config(), extractor.fingerprint())[:16]}"
        for name, extractor in pipeline.extractors.items()
    }
