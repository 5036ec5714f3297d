"""Data sets: sequences of `Sample`, each read or made when it is asked for."""

from cmad.datasets.folder import Folder, Pairs
from cmad.datasets.mvtec3d import MVTec3D
from cmad.datasets.synthetic import Synthetic

__all__ = ["Folder", "MVTec3D", "Pairs", "Synthetic"]
