"""The parts that a command line names: listed, and read one after the other."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from cmad.cli._common import EXPECTED
from cmad.datasets import Folder, Pairs
from cmad.datasets.files import LazySamples
from cmad.datasets.names import plain, shown
from cmad.types import Sample
from cmad.units import Units

Sources = list[tuple[str, LazySamples]]


def sources_of(paths: list[Path], units: Units, good: Sequence[str]) -> Sources:
    """List what to score: a prefix for the names, needed where there are several, and the parts."""
    folders = [path for path in paths if path.is_dir()]
    files = [path for path in paths if not path.is_dir()]
    sources: Sources = []
    if files:
        sources = [("", Pairs(files, **vars(units)))]
    several = len(folders) + len(sources) > 1
    for folder in folders:
        sources.append(
            (
                f"{plain(folder.absolute().name)}/" if several else "",
                Folder(folder, good, **vars(units)),
            )
        )
    return sources


def read_parts(sources: Sources) -> Iterator[tuple[str, tuple[str, str], Sample | Exception]]:
    """Read one part after the other, with its files; one that cannot be read comes as the error."""
    for prefix, samples in sources:
        for i, (name, files) in enumerate(zip(samples.names, samples.files, strict=True)):
            rgb, xyz = (shown(os.path.abspath(path)) for path in files or ("", ""))
            try:
                yield f"{prefix}{name}", (rgb, xyz), samples[i]
            except EXPECTED as error:
                yield f"{prefix}{name}", (rgb, xyz), error
