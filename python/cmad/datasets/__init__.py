"""Data sets: sequences of `Sample`, each read or made when it is asked for."""

from cmad.datasets.eyecandies import Eyecandies
from cmad.datasets.files import LazySamples
from cmad.datasets.folder import Folder
from cmad.datasets.folder3d import Folder3D
from cmad.datasets.frames import Pairs, read_frame
from cmad.datasets.layouts import DataSet, open
from cmad.datasets.loading import Loader
from cmad.datasets.mvtec3d import MVTec3D
from cmad.datasets.synthetic import Synthetic

__all__ = [
    "DataSet",
    "Eyecandies",
    "Folder",
    "Folder3D",
    "LazySamples",
    "Loader",
    "MVTec3D",
    "Pairs",
    "Synthetic",
    "open",
    "read_frame",
]
