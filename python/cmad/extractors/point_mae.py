"""The 3D extractor of the papers: Point-MAE, a frozen transformer over groups of points."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from cmad import gpu, notices, ops
from cmad.extractors import weights as stored
from cmad.extractors.point_mae_network import Network
from cmad.ops._call import expect
from cmad.seeding import seeded
from cmad.types import Points


class PointMAE:
    """Features of the groups of a point cloud, from blocks 4, 8 and 12 of a frozen transformer.

    Farthest points are the centres; the nearest points of each, relative to it, are a group. Each
    chosen block's output goes through the one final LayerNorm; their concatenation is the feature.
    With fewer blocks the features come from 2, 5, 8 of 8; 2, 3, 4 of 4; else from the last.

    Args:
        groups: centres per cloud.
        group_size: points per group; 32 in CFM's text, 128 in its code.
        dim: width of the transformer.
        heads: attention heads, a divisor of ``dim``.
        depth: blocks that the weights have.
        blocks: blocks that are computed, the first ones; None takes all.
        weights: None takes the published ones (``cmad.extractors.weights``); ``"random"`` draws
            them under ``seed``; a path or a mapping gives them in the names of Point-MAE's
            repository, for the encoder alone or the whole autoencoder.
        seed: for random weights. torch's global generator is not touched.
        batchnorm: ``"eval"`` uses the stored statistics, ``"batch"`` those of the current cloud,
            as the published implementations do.
        published: choose centres as the published CUDA kernel does (see ``cmad.ops.fps``).

    Raises:
        ValueError: a size or choice out of range, or weights that do not fit.
        RuntimeError: the weights are not there.

    """

    dim: int
    """Channels of a feature."""

    def __init__(
        self,
        *,
        groups: int = 1024,
        group_size: int = 32,
        dim: int = 384,
        heads: int = 6,
        depth: int = 12,
        blocks: int | None = None,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        seed: int = 0,
        batchnorm: str = "eval",
        published: bool = False,
    ) -> None:
        """Build the network and get its weights."""
        used = depth if blocks is None else blocks
        if groups < 1 or group_size < 1:
            raise ValueError(
                f"PointMAE: groups and group_size must be at least 1, got {groups} and {group_size}"
            )
        if dim < 1 or heads < 1 or dim % heads:
            raise ValueError(f"PointMAE: dim must be a multiple of heads, got {dim} and {heads}")
        if not 1 <= used <= depth:
            raise ValueError(f"PointMAE: blocks must be in [1, depth={depth}], got {used}")
        if batchnorm not in ("eval", "batch"):
            raise ValueError(f"PointMAE: batchnorm must be 'eval' or 'batch', got {batchnorm!r}")
        origin = stored.origin(weights)
        self._config: dict[str, object] = {
            "kind": "point_mae",
            "groups": groups,
            "group_size": group_size,
            "dim": dim,
            "heads": heads,
            "depth": depth,
            "blocks": blocks,
            "weights": origin,
            "seed": seed,
            "batchnorm": batchnorm,
            "published": published,
        }
        self._groups, self._group_size = groups, group_size
        self._batch, self._published = batchnorm == "batch", published
        self._fingerprint: str | None = None
        self._forward: gpu.Graphed | None = None
        if weights == "random":
            self._source = f"random weights (seed {seed})"
            with seeded(seed), torch.device("cpu"):
                self.network = Network(dim, heads, used)
        else:
            if isinstance(weights, Mapping):
                state, self._source = stored.unwrap(weights), "given weights"
            elif weights is None:
                state, source = stored.point_mae()
                self._source = f"weights of {source}"
            else:
                state, self._source = stored.read(weights), f"weights of {weights}"
            with seeded(seed), torch.device("meta"):
                self.network = Network(dim, heads, used)
            stored.load(self.network, _encoder_only(state, used), "PointMAE")
        self.network.eval().requires_grad_(False)
        self.dim = dim * len(self.network.taps)

    def points(self, xyz: Tensor) -> Points:
        """Compute the features of a cloud's groups, and how its points interpolate between them.

        A cloud with fewer points than groups gets a group per point, with a warning.

        Args:
            xyz: (N, 3) float32, metres, finite, N at least 1, on the extractor's device.

        Returns:
            Features (G, D) of the centres; for each point the three nearest centres and weights.

        """
        return self.batch([xyz])[0]

    def batch(self, clouds: Sequence[Tensor]) -> list[Points]:
        """Compute what ``points`` does for clouds of several sizes, in one call.

        Clouds that have equally many groups go through the network together.

        Args:
            clouds: each (N, 3) float32, metres, finite, N at least 1.

        Returns:
            What ``points`` gives for each.

        """
        found: list[Points | None] = [None] * len(clouds)
        sizes = [self._sizes(xyz) for xyz in clouds]
        for groups, size in dict.fromkeys(sizes):
            chosen = [i for i, own in enumerate(sizes) if own == (groups, size)]
            together = [clouds[i] for i in chosen]
            made = zip(chosen, self._of_one_size(together, groups, size), strict=True)
            for i, points in made:
                found[i] = points
        return cast("list[Points]", found)

    def _of_one_size(self, clouds: Sequence[Tensor], groups: int, size: int) -> list[Points]:
        grouped, centre, xyz, ptr = self._grouped(clouds, groups, size)
        with torch.no_grad():
            run = self._features if self._forward is None else self._forward
            features = run(grouped, centre)
        each = torch.arange(len(clouds) + 1, device=xyz.device) * groups
        neighbour, weight = ops.three_nn(xyz, ptr, centre.flatten(0, 1), each, check=False)
        lengths = [len(cloud) for cloud in clouds]
        of_points = (torch.split(tensor, lengths) for tensor in (neighbour, weight))
        return [Points(*one) for one in zip(features.float(), *of_points, strict=True)]

    def _features(self, groups: Tensor, centre: Tensor) -> Tensor:
        made: Tensor = self.network(groups, centre, self._batch)
        return made

    @property
    def takes_statistics(self) -> bool:
        """Whether ``fit`` estimates anything: with random weights, and statistics that are used."""
        return self._config["weights"] == "random" and not self._batch

    def fit(self, clouds: Iterable[Tensor]) -> None:
        """Estimate what training clouds must tell: with random weights, BatchNorm's statistics.

        They are the exact mean and variance over all groups of all clouds, of one layer after
        the other. With real weights this does nothing.

        Args:
            clouds: each (N, 3) float32, metres; kept in memory during the call.

        """
        if not self.takes_statistics:
            return
        clouds = list(clouds)
        if not clouds:
            raise ValueError("PointMAE: clouds must hold at least one cloud, got none")

        def groups() -> Iterator[Tensor]:
            for xyz in clouds:
                yield self._grouped([xyz], *self._sizes(xyz, quiet=True))[0][0]

        with torch.no_grad():
            moments = self.network.encoder.moments(groups)
            for norm, (mean, var) in zip(self.network.encoder.norms, moments, strict=True):
                cast("Tensor", norm.running_mean).copy_(mean)
                cast("Tensor", norm.running_var).copy_(var)
                cast("Tensor", norm.num_batches_tracked).fill_(len(clouds))

    @property
    def statistics(self) -> dict[str, Tensor]:
        """What ``fit`` estimated, by name; empty with real weights."""
        if self._config["weights"] != "random":
            return {}
        return {k: v for k, v in self.state_dict().items() if _is_statistic(k)}

    def load_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        """Take over what ``fit`` estimated elsewhere."""
        own = self.statistics
        if set(own) != set(statistics):
            raise ValueError(
                f"PointMAE: statistics must be named {sorted(own)}, got {sorted(statistics)}"
            )
        for name, tensor in own.items():
            tensor.copy_(statistics[name])

    def to(self, device: torch.device | str) -> "PointMAE":
        """Move the weights to a device; return the extractor."""
        self.network.to(device)
        if self._forward is not None:  # graphs read the weights where they were
            self.compile()
        return self

    def compile(self) -> None:
        """Run the network as a CUDA graph from here on, see `cmad.gpu.Graphed`.

        The geometry before and after it, whose sizes are each cloud's own, is launched as it is.
        On the CPU nothing changes.
        """
        self._forward = gpu.Graphed(self._features)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the blocks that are used, in the published names."""
        return dict(self.network.state_dict())

    def fingerprint(self) -> str:
        """Return the SHA-256 over the names and values of the weights, without ``statistics``."""
        if self._fingerprint is None:
            skip = {k for k in self.state_dict() if k.endswith("num_batches_tracked")}
            skip |= set(self.statistics)
            state = {k: v for k, v in self.state_dict().items() if k not in skip}
            self._fingerprint = stored.fingerprint(state)
        return self._fingerprint

    def config(self) -> dict[str, object]:
        """Return what ``from_config`` needs to build the extractor again, but the weights."""
        return dict(self._config)

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], state: Mapping[str, Tensor] | None = None
    ) -> "PointMAE":
        """Build the extractor that ``config`` describes, with the weights of ``state`` if given.

        Raises:
            RuntimeError: the weights were passed in by a user and are not at hand.

        """
        if state is None and config["weights"] == "given":
            raise RuntimeError(
                "PointMAE: the model was trained with extractor weights that were passed in: "
                "save the model with include_extractors=True, or in Python pass the extractor "
                "again as xyz"
            )
        arguments = cast("dict[str, Any]", {k: v for k, v in config.items() if k != "kind"})
        if state is not None:
            arguments["weights"] = state
        extractor = cls(**arguments)
        extractor._config = dict(config)
        if config["weights"] == "random":
            extractor._source = f"random weights (seed {config['seed']})"
        return extractor

    def describe(self) -> str:
        """Say in one line what the extractor is and where its weights come from."""
        taps = ", ".join(map(str, self.network.taps))
        return (
            f"Point-MAE, {self._groups} groups of {self._group_size}, features of blocks {taps}, "
            f"{self.dim} wide, {self._source}"
        )

    def _sizes(self, xyz: Tensor, quiet: bool = False) -> tuple[int, int]:
        """Check a cloud; return how many groups of how many points it gets."""
        n = expect("PointMAE", xyz=(xyz, "N 3", torch.float32))["N"]
        if n == 0:
            raise ValueError("PointMAE: xyz must have at least one point, got (0, 3)")
        finite = xyz.isfinite().all()
        if xyz.device.type != "cpu":  # nobody waits for the answer; a bad one ends the GPU's work
            torch._assert_async(finite, "PointMAE: xyz must be finite")
        elif not finite:
            raise ValueError("PointMAE: xyz must be finite, got NaN or infinity")
        groups, size = min(self._groups, n), min(self._group_size, n)
        if (groups, size) != (self._groups, self._group_size) and not quiet:
            notices.warn(
                "PointMAE: too few points",
                f"PointMAE: the cloud has {n} points, too few for {self._groups} groups of "
                f"{self._group_size}: using {groups} groups of {size}",
            )
        return groups, size

    def _grouped(
        self, clouds: Sequence[Tensor], groups: int, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Find the groups of clouds that have equally many.

        Returns:
            The groups' points around their centres (B, G, K, 3), the centres (B, G, 3), and the
            clouds one after another (N, 3) with where each begins (B + 1,).

        """
        xyz = torch.cat(list(clouds))
        begin = [0]
        for cloud in clouds:
            begin.append(begin[-1] + len(cloud))
        [ptr] = gpu.upload([torch.tensor(begin)], xyz.device)
        ties, skip = ("published", 1e-3) if self._published else ("lowest", None)
        offset = ptr[:-1, None]
        picked = ops.fps(xyz, ptr, groups, ties=ties, skip=skip, check=False) + offset
        centre = xyz[picked]
        each = torch.arange(len(clouds) + 1, device=xyz.device) * groups
        index = ops.group(xyz, ptr, centre.flatten(0, 1), each, size, check=False)
        index = index.view(len(clouds), groups, size) + offset[..., None]
        return xyz[index] - centre[:, :, None], centre, xyz, ptr


def _is_statistic(name: str) -> bool:
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def _encoder_only(state: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """Pick the encoder's first ``blocks`` blocks out of a published checkpoint."""
    names = {k: k.removeprefix("base_model.").removeprefix("module.") for k in state}
    names = {k: n.removeprefix("MAE_encoder.") for k, n in names.items()}
    unused = tuple(f"blocks.blocks.{i}." for i in range(blocks, 100))
    wanted = ("encoder.", "pos_embed.", "blocks.blocks.", "norm.")
    return {
        n: state[k] for k, n in names.items() if n.startswith(wanted) and not n.startswith(unused)
    }
