"""What ops.py times beside each op: NumPy, torch, and public libraries where they are installed."""

import importlib
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from _plain_frames import farthest
from bank import streaming, torch_topk

from cmad.extractors import FPFH

Baseline = tuple[str, Callable[[], object]]


def optional(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


ndimage, spatial, sparse = (optional(f"scipy.{name}") for name in ("ndimage", "spatial", "sparse"))
cluster, open3d = optional("sklearn.cluster"), optional("open3d")
fpsample, faiss = optional("fpsample"), optional("faiss")


def brute_fps(xyz, k):
    """Farthest points by whole-array NumPy, axis by axis and in place."""
    x, y, z = np.ascontiguousarray(xyz.T)
    nearest, index = np.full(len(x), np.inf, np.float32), np.zeros(k, np.int64)
    for i in range(1, k):
        here = index[i - 1]
        d = np.square(x - x[here])
        d += np.square(y - y[here])
        d += np.square(z - z[here])
        np.minimum(nearest, d, out=nearest)
        index[i] = nearest.argmax()
    return index


def sparse_product(a):
    """Make pixel weights by SciPy: smoothing matrix by interpolation matrix."""
    side, taps = len(a["point"]), a["tap"].shape[1]
    row = np.repeat(np.arange(len(a["tap"])), taps)
    column = (a["first"][:, None] + np.arange(taps)).ravel()
    inside = (column >= 0) & (column < side)
    entries = (a["tap"].ravel()[inside].astype(np.float64), (row[inside], column[inside]))
    line = sparse.csr_matrix(entries, (len(a["tap"]), side))
    seen = np.flatnonzero(a["point"].ravel() >= 0)
    n, near = a["neighbour"].shape
    weights = a["neighbour_weight"].astype(np.float64).ravel()
    points = sparse.csr_matrix((weights, (np.repeat(np.arange(n), near), a["neighbour"].ravel())))
    return (sparse.kron(line, line, "csr")[a["pixel"]][:, seen] @ points).astype(np.float32)


def pool_cascade(maps):
    for size in (5, 5, 5, 5, 5, 7, 7, 7):
        maps = torch.nn.functional.avg_pool2d(maps, size, 1, size // 2)
    return maps


def unit_distances(a, b):
    a, b = torch.nn.functional.normalize(a), torch.nn.functional.normalize(b)
    return (a - b).norm(dim=1), 1 - (a * b).sum(1)


def planes_by_torch(xyz, radii):
    """Fit planes in squares around pixels, of one grid, by sums over it in float64."""
    known = ~xyz[..., 0].isnan()
    points = torch.where(known[..., None], xyz, 0.0).double()
    points = torch.where(known[..., None], points - points[known].mean(0), 0.0)
    x, y, z = points.unbind(-1)
    planes = torch.stack([known.double(), x, y, z, x * x, x * y, y * y, x * z, y * z, z * z])
    sums = torch.nn.functional.pad(planes.cumsum(1).cumsum(2), (1, 0, 1, 0))
    near = _within(sums, known, 1)
    middle = (near[1:4] / near[0]).T
    return torch.cat([_square(_within(sums, known, r), middle) for r in radii], 1)


def _within(sums, known, radius):
    row, column = known.nonzero().T
    (top, bottom), (left, right) = (
        ((at - radius).clamp(min=0), (at + radius + 1).clamp(max=size))
        for at, size in ((row, known.shape[0]), (column, known.shape[1]))
    )
    inner = sums[:, bottom, right] - sums[:, top, right]
    return inner - sums[:, bottom, left] + sums[:, top, left]


def _square(sums, middle):
    mean = sums[1:] / sums[0]
    x, y, z = mean[:3]
    xx, xy, yy, xz, yz, zz = mean[3:] - torch.stack([x * x, x * y, y * y, x * z, y * z, z * z])
    size = xx + yy
    area = xx * yy - xy * xy
    flat = area > 1e-6 * size * size
    area = torch.where(flat, area, 1.0)
    a = torch.where(flat, (xz * yy - yz * xy) / area, 0.0)
    b = torch.where(flat, (yz * xx - xz * xy) / area, 0.0)
    normal = torch.stack([a, b, -torch.ones_like(a)], 1)
    normal = normal / normal.norm(dim=1, keepdim=True)
    extent = size.sqrt().clamp_min(1e-6)
    bend = ((middle - mean[:3].T) * normal).sum(1) / extent
    rough = (zz - a * xz - b * yz).clamp_min(0).sqrt() * -normal[:, 2] / extent
    return torch.cat([normal, bend[:, None], rough[:, None]], 1)


def label_by_scipy(mask):
    label, _ = ndimage.label(mask, np.ones((3, 3)))
    return label[mask] - 1


def count_by_search(a):
    """NumPy, without the lowest scores and their ties."""
    at = np.searchsorted(a["level"], a["score"][~a["skip"]], side="right")
    return np.bincount(at, minlength=len(a["level"]) + 1)


def count_by_sort(a):
    """NumPy: sort the scores, then look the levels up in them."""
    below = np.searchsorted(np.sort(a["score"][~a["skip"]]), a["level"])
    return np.diff(below, prepend=0, append=int((~a["skip"]).sum()))


def open3d_fpfh(xyz):
    """Histograms of one cloud; the search for neighbours, which ours are given, is in them."""
    around = open3d.geometry.KDTreeSearchParamHybrid
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz.astype(np.float64)))
    cloud.estimate_normals(around(radius=0.10, max_nn=30))
    compute = open3d.pipelines.registration.compute_fpfh_feature
    return np.asarray(compute(cloud, around(radius=0.25, max_nn=100)).data).T


def open3d_plane(a):
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(a["xyz"].astype(np.float64)))
    samples = a.get("samples", 3)
    # Probability 1: all 1000 tries, as ours.
    return lambda: cloud.segment_plane(a["threshold"], samples, 1000, probability=1.0)


def nearest_by_tree(a, **how):
    k = a.get("k", 3)
    points, queries = ("xyz", "centre") if "k" in a else ("centre", "xyz")
    return lambda: spatial.cKDTree(a[points], **how).query(a[queries], k=k)


def exact_samplers(a):
    """Yield public samplers that pick exactly; fpsample's height is the user's to choose."""
    xyz, k = a["xyz"], a["k"]
    if fpsample:
        tree, line = fpsample.bucket_fps_kdtree_sampling, fpsample.bucket_fps_kdline_sampling
        yield "fpsample bucket kd-tree", lambda: tree(xyz, k, start_idx=0)
        for h in (3, 5, 6, 7):
            yield f"fpsample kdline, h={h}", lambda h=h: line(xyz, k, h=h, start_idx=0)
    if open3d:
        cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(xyz.astype(np.float64)))
        yield "open3d", lambda: cloud.farthest_point_down_sample(k)


def flat_index(a):
    """Search by faiss, one thread; the index holds a copy of the rows."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatL2(a["bank"].shape[1])
    index.add(np.ascontiguousarray(a["bank"]))
    return index.search(np.ascontiguousarray(a["query"]), a["k"])


def nearest_by_cdist(t):
    if "k" in t:
        return lambda: torch.cdist(t["centre"], t["xyz"]).topk(t["k"], largest=False)
    return lambda: torch.cdist(t["xyz"], t["centre"]).topk(3, largest=False)


def baselines(op: str, a, t) -> list[Baseline]:
    """Return what to time beside an op: arrays in `a`, the same as tensors in `t`.

    What torch computes is where the tensors are; names of it begin with ``torch``.
    """
    found: list[Baseline] = []
    if op == "fps" and t["xyz"].device.type != "cpu":
        found.append(("torch loop", lambda: farthest(t["xyz"], t["k"])))
    if op == "fps":
        found.append(("NumPy brute force", lambda: brute_fps(a["xyz"], a["k"])))
        found.extend(exact_samplers(a))
    if op in ("group", "three_nn"):
        found.append(("torch.cdist + topk", nearest_by_cdist(t)))
        if spatial:
            found.append(("scipy cKDTree", nearest_by_tree(a)))
            quick = {"balanced_tree": False, "compact_nodes": False}
            found.append(("scipy cKDTree, unbalanced", nearest_by_tree(a, **quick)))
    if op == "interpolate":
        shape = (len(t["start"]) - 1, len(t["feature"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch: sparse CSR is in beta
            matrix = torch.sparse_csr_tensor(t["start"], t["index"].long(), t["weight"], shape)
        found.append(("torch sparse CSR mm", lambda: matrix @ t["feature"]))
    if op == "pixel_weights" and sparse:
        found.append(("scipy sparse products", lambda: sparse_product(a)))
    if op == "local_geometry":
        squares = (t["xyz"][0], t["radii"])
        found.append(("torch sums over the grid", lambda: planes_by_torch(*squares)))
    if op == "fpfh":  # what open3d's time is to be set beside
        found.append(("ours, with the search", lambda: FPFH().histograms(t["xyz"])))
    if op == "fpfh" and open3d:
        found.append(("open3d, with its search", lambda: open3d_fpfh(a["xyz"])))
    if op == "plane" and open3d:
        found.append(("open3d segment_plane", open3d_plane(a)))
    if op == "clusters" and cluster:
        scan = cluster.DBSCAN(eps=a["eps"], min_samples=a["min_points"])
        found.append(("scikit-learn DBSCAN", lambda: scan.fit(a["xyz"]).labels_))
    if op == "smooth" and ndimage:
        found.append(("scipy gaussian_filter", lambda: ndimage.gaussian_filter(a["maps"][0], 4.0)))
    if op == "box_cascade":
        found.append(("torch avg_pool2d x 8", lambda: pool_cascade(t["maps"])))
    if op == "discrepancy":
        found.append(("torch normalize + norm", lambda: unit_distances(t["a"], t["b"])))
    if op == "components" and ndimage:
        found.append(("scipy ndimage.label", lambda: label_by_scipy(a["mask"])))
    if op == "count_between":
        found.append(("NumPy sort + search", lambda: count_by_sort(a)))
        found.append(("NumPy searchsorted", lambda: count_by_search(a)))
    if op == "knn":
        found.append(("torch mm + topk", torch_topk(t["query"], t["bank"], t["k"], 16384)))
    if op == "knn" and faiss and a["query"].dtype == np.float32:
        found.append(("faiss IndexFlatL2", lambda: flat_index(a)))
    if op == "coreset":
        norm2 = (t["rows"] ** 2).sum(1)
        found.append(("torch streaming", lambda: streaming(torch.mv)(t["rows"], norm2, t["count"])))
    return found
