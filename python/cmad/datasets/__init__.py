"""Data sets: sequences of `Sample`, each read or made when it is asked for."""

from cmad.datasets.adam3d import ADAM3D
from cmad.datasets.eyecandies import Eyecandies
from cmad.datasets.files import LazySamples
from cmad.datasets.folder import Folder
from cmad.datasets.folder3d import Folder3D
from cmad.datasets.frames import Pairs, read_frame
from cmad.datasets.layouts import DataSet, open
from cmad.datasets.loading import Loader
from cmad.datasets.mvtec3d import MVTec3D
from cmad.datasets.real_iad_d3 import RealIADD3
from cmad.datasets.synthetic import Synthetic

__all__ = [
    "ADAM3D",
    "DataSet",
    "Eyecandies",
    "Folder",
    "Folder3D",
    "LazySamples",
    "Loader",
    "MVTec3D",
    "Pairs",
    "RealIADD3",
    "Synthetic",
    "open",
    "read_frame",
]
