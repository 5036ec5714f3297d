"""One row of `fps.py`, in a process of its own: what it measures is printed as JSON, last line.

    python benchmarks/_fps_rows.py '{"row": "Ours-T", "part": "times", ...}'

See `fps.py` for the settings; it starts these processes.
"""

import ctypes
import gc
import importlib.util
import itertools
import json
import sys
import time
import warnings

import torch
from _environment import fastest_float32
from _fps_learnt import DRAWN, learnt, trained
from _plain_ast import ast
from _plain_banks import btf, g2sf, m3dm, patchcore
from _plain_frames import cfm, extracted, of_images, settings

from cmad.calibrate import Calibration
from cmad.datasets import Synthetic
from cmad.detectors import METHODS
from cmad.detectors._extraction import extract
from cmad.detectors.method import Method
from cmad.environment import forget_peak, peak_memory
from cmad.extractors.weights import find
from cmad.gpu import WARM
from cmad.store import FeatureStore

ROWS = {
    "BTF": ("btf", "full"),
    "AST": ("ast", "full"),
    "M3DM": ("m3dm", "full"),
    "Ours": ("cfm", "full"),
    "Ours-M": ("cfm", "medium"),
    "Ours-S": ("cfm", "small"),
    "Ours-T": ("cfm", "tiny"),
    "G2SF": ("g2sf", "full"),
    "PatchCore": ("patchcore", "full"),
}
"""Method and variant of each row of the table."""
VIT = Method.usual["rgb"]
WITHOUT = ("fpfh", "normals", "geometry", "depth_blocks")
"""3D extractors without weights of their own."""
LARGE = (1944, 2592)
LEAST = 5.0
"""Seconds that whole calls are timed for, 100 of them at most."""
ALLOWED = {
    # psi is a difference of unit vectors: of 0.5 and more, what float32 extractors leave in it.
    "fp32": {"psi": 2e-4, "map": 1e-3, "banks": 2 / 255},
    # bfloat16 has 8 bits; on a processor, Point-MAE stays in float32 and sums are float32's: 5e-4.
    "bf16": {"psi": 5e-3, "map": 5e-3, "banks": 0.05},
    # Three bits more.
    "fp16": {"psi": 0.01, "map": 0.02, "banks": 0.02},
}
"""Largest difference from the plain form in float32: of psi in [0, 2]; of maps and scores, relative
to the map's maximum, for CFM and AST and for methods with banks, whose maps have 256 levels."""
ON_GPU = {**ALLOWED, "bf16": {"psi": 0.1, "map": 0.1, "banks": 0.05}}
"""There Point-MAE is in half precision, too, as in the plain form, which with drawn weights is off
by 0.059 for that (psi of Ours-T)."""


def drawn(asked):
    """Return the detector of a row, not trained, and what its extractors' weights are."""
    method, variant = ROWS[asked["row"]]
    usual = METHODS[method].usual
    names = {**usual, "rgb": asked["rgb"] if usual["rgb"] == VIT else usual["rgb"]}
    found = {name: find(model) for name, model in names.items() if model not in WITHOUT}
    own = {f"{name}_weights": None if file else "random" for name, file in found.items()}
    detector = METHODS[method](
        variant,
        preset=asked["preset"],
        **names,
        image_size=asked["size"],
        precision=asked["precision"],
        device=asked["device"],
        **own,
    )
    if usual["xyz"] == "point_mae" and found["xyz"] is None:
        # As trained ones have: without, a row's channels add up to 0 but for the rounding, and the
        # published rule that leaves such pixels out would draw lots.
        detector.pipeline.extractors["xyz"].network.norm.bias.fill_(0.1)
    weights = {name: str(file or "random") for name, file in found.items()}
    return detector, weights


def prepared(asked):
    """Return a detector as after training, parts to judge, and where its weights are from."""
    detector, weights = drawn(asked)
    good = list(Synthetic(good=1, size=asked["input"]))
    if detector.who == "AST" and weights["rgb"] == "random":
        normalised(detector.pipeline.extractors["rgb"], detector.pipeline.frame(good[0]).rgb)
    if detector.who not in DRAWN:
        trained(detector, good)
        return detector, list(Synthetic("test", good=2, size=asked["input"])), weights
    with FeatureStore(torch.float32) as store:
        detector.pipeline, ranges = extract(detector.pipeline, good, store, 1, False, [])
        tensors = learnt(detector, list(store))
    detector._accept(tensors, (), ranges)
    return detector, list(Synthetic("test", good=2, size=asked["input"])), weights


def normalised(extractor, rgb):
    """Have a drawn EfficientNet's normalisations normalise an image, as a trained one's parts.

    As they are drawn its features are some 1e-4, and nothing would depend on them.
    """
    norms = [m for m in extractor._net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    extractor.tokens(rgb[None].to(norms[0].weight.device))
    for norm in norms:  # channels that this image leaves constant would make another's huge
        norm.eval().running_var.clamp_(min=float(norm.running_var.mean()))


def ours(detector, frame):
    """The paper's protocol: a prepared frame to its smoothed map and score."""
    return detector.judge(detector.pipeline.features([frame])[0])


def plain(detector, frame, of_image=None):
    """The same by the plain form; what comes of it ends with the map and the score."""
    if detector.who == "CFM":
        return cfm(detector, frame, of_image)
    if detector.who in ("AST", "BTF"):
        return {"AST": ast, "BTF": btf}[detector.who](detector, frame, of_image)
    after = {"PatchCore": patchcore, "G2SF": g2sf, "M3DM": m3dm}[detector.who]
    # Distances to rows nearby need float32.
    features = extracted(detector, frame, half=False, of_image=of_image)
    with torch.autocast(detector.device.type, enabled=False):
        return after(detector, features)


def all_of_ours(detector, frames):
    """Several frames together."""
    return detector.all_maps(detector.pipeline.features(frames))


def has_plain(detector):
    """Whether somebody wrote a plain form of a method, of which all is installed."""
    of_torch = ("CFM", "PatchCore", "G2SF", "M3DM", "AST")
    needs = {**dict.fromkeys(of_torch, "torch"), "BTF": "open3d"}
    return detector.who in needs and importlib.util.find_spec(needs[detector.who]) is not None


def all_plain(detector, frames):
    """Several frames, their images in one pass, the rest one after the other."""
    made = zip(frames, of_images(detector, frames), strict=True)
    return [plain(detector, frame, of_image) for frame, of_image in made]


def check(detector, grid, other, precision):
    """Raise where ours is not what the plain form gives; return the largest differences."""
    on_gpu = detector.device.type == "cuda"
    allowed = (ON_GPU if on_gpu else ALLOWED)[precision]
    bound = allowed["map" if detector.who in ("CFM", "AST") else "banks"]
    bounds = {"map": bound, "score": bound, "2d": allowed["psi"], "3d": allowed["psi"]}
    map_ = torch.from_numpy(grid.map)
    if detector.who == "CFM":
        maps = [torch.from_numpy(grid.maps[name]) for name in ("2d", "3d")]
    else:
        maps, other = [], other[-2:]
    found = apart((*maps, map_, grid.score), other)
    for name, error in found.items():
        if not error <= bounds[name]:
            raise ValueError(
                f"{detector.who}: {name} differs from the plain form's by {error:.2g}, "
                f"allowed {bounds[name]:.2g}"
            )
    return found


def apart(one, other):
    """Return the largest differences of what `plain` gives, relative ones of map and score."""
    (*maps, map_, score), (*others, other_map, other_score) = one, other
    found = {
        "map": float((map_.cpu() - other_map.cpu()).abs().max()) / float(other_map.max()),
        "score": abs(score - other_score) / abs(other_score),
    }
    for name, psi, other_psi in zip(("2d", "3d"), maps, others, strict=False):
        found[name] = float((psi.cpu() - other_psi.cpu()).abs().max())
    return found


def calibrated(detector, grid):
    """Give a detector thresholds, so that it decides and looks for regions."""
    peak = float(grid.map.max())
    each = {m: float(grid.maps[m].max()) for m in detector.modalities}
    detector.calibration = Calibration(0.05, (grid.score,), grid.score, 0.9 * peak, each)


def row(asked):
    """Measure the memory, which must be of the first frame, then the times."""
    given = prepared(asked)
    return {**memory(asked, given), **times(asked, given)}


def times(asked, given=None):
    """Compare, then time a prepared frame by turns, then whole calls."""
    detector, samples, weights = given or prepared(asked)
    frames = [detector.pipeline.frame(s) for s in batch(samples, asked)]
    if asked["graphs"]:
        detector.compile()
    with settings(asked["threads"], asked["precision"], asked["device"]) as plainly:
        for _ in range(1 if asked["device"] == "cpu" else WARM + 2):
            grid = all_of_ours(detector, frames)[0]
        seconds, beside = {"ours": [], "plain": []}, has_plain(detector)
        errors = of_plain = None
        if beside:
            other = all_plain(detector, frames)[0]
            errors = check(detector, grid, other, asked["precision"])
            if asked["precision"] != "fp32":
                with plainly:
                    of_plain = apart(all_plain(detector, frames)[0], other)
        for _ in range(asked["repeats"]):
            seconds["ours"].append(timed(all_of_ours, detector, frames) / len(frames))
            if not beside:
                continue
            with plainly:
                seconds["plain"].append(timed(all_plain, detector, frames) / len(frames))
    calibrated(detector, grid)
    seconds["whole"] = whole(detector, samples, asked)
    return {
        "seconds": seconds,
        "errors": errors,
        "plain errors": of_plain,
        "weights": weights,
        "extractors": detector.pipeline.describe(),
        "points": int(frames[0].valid.sum()) if frames[0].valid is not None else 0,
        "weights MB": weights_mb(detector),
    }


def whole(detector, samples, asked):
    """Time calls from arrays to decisions, a part: as many as asked for, and more of fast ones."""
    taken, begin = [], time.perf_counter()
    while len(taken) < asked["repeats"] or (
        time.perf_counter() - begin < LEAST and len(taken) < 100
    ):
        given = batch(samples[len(taken) % len(samples) :] + samples, asked)
        rgb, xyz = [s.rgb for s in given], [s.xyz for s in given]
        taken.append(timed(detector.predict, rgb, xyz) / len(given))
    return taken


def batch(samples, asked):
    """As many samples as are judged together, the first ones again and again."""
    return list(itertools.islice(itertools.cycle(samples), asked["batch"]))


def large(asked):
    """Time whole calls on images of two sizes, by turns."""
    detector, samples, _ = prepared(asked)
    if asked["device"] == "cpu":
        fastest_float32()
    parts = {"400x400": samples[0], "2592x1944": Synthetic("test", good=1, size=LARGE)[0]}
    calibrated(detector, ours(detector, detector.pipeline.frame(samples[0])))
    seconds = {name: [] for name in parts}
    for _ in range(asked["repeats"]):
        for name, part in parts.items():
            seconds[name].append(timed(detector.predict, part.rgb, part.xyz))
    return {"seconds": seconds}


def memory(asked, given=None):
    """Measure the peaks of the first frame, ours and plain, beside what is there before, in MB."""
    detector, samples, _ = given or prepared(asked)
    frames = [detector.pipeline.frame(s) for s in batch(samples, asked)]
    with settings(asked["threads"], asked["precision"], asked["device"]) as plainly:
        # Ours first, so that what it keeps from its first frame on counts.
        found = {"ours peak MB": peak(all_of_ours, detector, frames)}
        if has_plain(detector):
            with plainly:
                found["plain peak MB"] = peak(all_plain, detector, frames)
    return found


def peak(work, detector, *arguments):
    """Return what a call takes at most beside what is there: of a GPU its own memory."""
    gc.collect()
    if detector.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work(detector, *arguments)
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # freed pages that are kept would hide a peak
    forget_peak()
    before = peak_memory()
    work(detector, *arguments)
    return peak_memory() - before


def weights_mb(detector):
    """What parameters and banks take, computed from their sizes, in MB (2^20 bytes)."""
    tensors = [t for e in detector.pipeline.extractors.values() for t in e.state_dict().values()]
    tensors += detector.tensors().values()
    return sum(t.nbytes for t in tensors) / 2**20


def timed(work, *arguments):
    finish()
    start = time.perf_counter()
    work(*arguments)
    finish()
    return time.perf_counter() - start


def finish():
    """Wait for a GPU, where one is in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


PARTS = {f.__name__: f for f in (row, times, memory, large)}


def main():
    asked = json.loads(sys.argv[1])
    torch.set_num_threads(asked["threads"])
    warnings.simplefilter("ignore")  # one part to learn from: others may be unlike it
    try:
        found = PARTS[asked["part"]](asked)
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
