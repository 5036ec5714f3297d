"""Under which licence an extractor's weights come, as far as that is known."""

from cmad.extractors._timm import timm

UNKNOWN = "not known"
POINT_MAE = "MIT"
"""Of the repository that publishes Point-MAE's weights: https://github.com/Pang-Yatian/Point-MAE."""


def licence_of(config: dict[str, object]) -> str:
    """Return the licence of an extractor's weights.

    Args:
        config: what its ``config()`` returned.

    Returns:
        The licence of the published weights, for a model of timm as that states it;
        ``"none needed"`` where there are no weights, or drawn ones;
        ``"not known"`` for those that a user passed in.

    """
    of_image = config.get("vit")
    if config.get("kind") in ("normals", "depth") and isinstance(of_image, dict):
        return licence_of(of_image)
    kind, weights = config.get("kind"), config.get("weights")
    if kind in ("fpfh", "geometry", "depth_blocks") or weights == "random":
        return "none needed"
    if weights is not None:
        return UNKNOWN
    if kind == "point_mae":
        return POINT_MAE
    model = config.get("model")
    if kind not in ("vit", "pyramid", "efficientnet") or not isinstance(model, str):
        return UNKNOWN
    stated = getattr(timm().get_pretrained_cfg(model), "license", None)
    return str(stated or UNKNOWN)
