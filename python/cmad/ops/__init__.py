"""One public function per native op: its docstring says what it computes and what it takes."""

from cmad.ops.clusters import clusters
from cmad.ops.components import components
from cmad.ops.coreset import coreset
from cmad.ops.count_between import count_between
from cmad.ops.discrepancy import discrepancy
from cmad.ops.fpfh import fpfh
from cmad.ops.fps import fps
from cmad.ops.group import group
from cmad.ops.interpolate import interpolate
from cmad.ops.knn import knn
from cmad.ops.local_geometry import local_geometry
from cmad.ops.mapping_discrepancy import mapping_discrepancy
from cmad.ops.pixel_weights import pixel_weights
from cmad.ops.plane import plane
from cmad.ops.smooth import box_cascade, smooth
from cmad.ops.three_nn import three_nn

__all__ = [
    "box_cascade",
    "clusters",
    "components",
    "coreset",
    "count_between",
    "discrepancy",
    "fpfh",
    "fps",
    "group",
    "interpolate",
    "knn",
    "local_geometry",
    "mapping_discrepancy",
    "pixel_weights",
    "plane",
    "smooth",
    "three_nn",
]
