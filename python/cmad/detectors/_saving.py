"""What every detector saves of its pipeline, and how it comes back."""

import copy
from collections.abc import Mapping
from typing import cast

from torch import Tensor

from cmad import extractors, model_file
from cmad.extractors import RgbExtractor, XyzExtractor
from cmad.pipeline import Pipeline
from cmad.preprocess import CONSTANTS

Header = dict[str, object]
Tensors = dict[str, Tensor]


def pipeline_to_file(pipeline: Pipeline, include_extractors: bool) -> tuple[Header, Tensors]:
    """Return what goes into the header and the tensors of a model file.

    Args:
        pipeline: with the statistics of the training.
        include_extractors: also the frozen extractors' weights.

    """
    rgb, xyz = pipeline.rgb, pipeline.xyz
    tensors = {f"xyz_statistics.{k}": v for k, v in xyz.statistics.items()}
    if include_extractors:
        tensors |= {f"rgb.{k}": v for k, v in rgb.state_dict().items()}
        tensors |= {f"xyz.{k}": v for k, v in xyz.state_dict().items()}
    header: Header = {
        "image_size": pipeline.preprocessing.image_size,
        "preprocessing": CONSTANTS,
        "rgb": {**rgb.config(), "sha256": rgb.fingerprint()},
        "xyz": {**xyz.config(), "sha256": xyz.fingerprint()},
        "versions": model_file.versions(),
    }
    return header, tensors


def extractors_from_file(
    header: Mapping[str, object],
    tensors: Mapping[str, Tensor],
    rgb: RgbExtractor | None,
    xyz: XyzExtractor | None,
) -> tuple[RgbExtractor, XyzExtractor]:
    """Return the extractors of a saved model, with the statistics of its training.

    Args:
        header: of the model file.
        tensors: of the model file.
        rgb: the 2D extractor passed by the caller; None rebuilds it.
        xyz: the 3D extractor, likewise; its statistics go into a copy.

    Raises:
        RuntimeError: an extractor is not available.
        ValueError: other weights than the training's, or a model whose parts were prepared in
            another way.

    """
    if header["preprocessing"] != CONSTANTS:
        raise ValueError(
            f"the model was trained on parts prepared with {header['preprocessing']}, this "
            f"version prepares them with {CONSTANTS}: train it again"
        )
    configs = {name: cast(Header, header[name]) for name in ("rgb", "xyz")}
    found_rgb = cast(RgbExtractor, _restored("rgb", rgb, configs["rgb"], tensors))
    found_xyz = cast(XyzExtractor, _restored("xyz", xyz, configs["xyz"], tensors))
    found_xyz.load_statistics(model_file.prefixed(tensors, "xyz_statistics."))
    return found_rgb, found_xyz


def _restored(
    name: str,
    given: RgbExtractor | XyzExtractor | None,
    config: Mapping[str, object],
    tensors: Mapping[str, Tensor],
) -> RgbExtractor | XyzExtractor:
    """Return the extractor of a saved model, and check that its weights are those of the training.

    Args:
        name: ``"rgb"`` or ``"xyz"``.
        given: the extractor passed by the caller; None rebuilds it.
        config: from the model's header, with the hash of its weights.
        tensors: of the model file, with the extractor's own if it was saved along.

    """
    if given is None:
        state = model_file.prefixed(tensors, f"{name}.") or None
        try:
            plain = {k: v for k, v in config.items() if k != "sha256"}
            given = extractors.from_config(plain, state)
        except (RuntimeError, ValueError) as error:
            raise RuntimeError(
                f"the {name} extractor that the model was trained with is not available: {error}. "
                f"Pass it to cmad.load as {name}=, or save with include_extractors=True"
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
