"""Draw the pictures of docs/ from what `cmad demo` wrote.

    cmad demo --out demo && python docs/gallery.py demo [OUT]

Writes demo.jpg, gallery/modalities.jpg and gallery/regions.jpg to OUT, docs/ by default.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import cmad
from cmad.report import captioned, depth, outline, overlay, sheet, verdict

QUALITY = 80
LARGEST = 300_000
"""Bytes of a picture."""
MARGIN = 12


def parts(folder):
    """Yield kind, sample and truth of the demo's parts."""
    for kind in ("good", "hole", "bump", "stain", "scratch"):
        rgb, xyz, mask = (
            next((folder / "parts" / kind / name).iterdir()) for name in ("rgb", "xyz", "gt")
        )
        yield kind, cmad.datasets.read_frame(rgb, xyz), np.asarray(Image.open(mask)) > 0


def box(map_):
    """Return what of the picture to show: the part, left, top, right, bottom."""
    row, column = np.nonzero(map_)
    return (
        int(column.min()) - MARGIN,
        int(row.min()) - MARGIN,
        int(column.max()) + MARGIN,
        int(row.max()) + MARGIN,
    )


def modalities(detector, seen):
    """Show image, points and the map of each modality beside the fused one and the truth."""
    rows, captions = [], []
    for kind, sample, mask in seen:
        prediction = detector.predict(sample.rgb, sample.xyz)
        maps = [*prediction.maps.values(), prediction.map]
        images = [Image.fromarray(sample.rgb), depth(sample.xyz)]
        images += [overlay(sample.rgb, m, float(m.max()) / 4, float(m.max())) for m in maps]
        images.append(outline(sample.rgb, mask))
        rows.append([i.crop(box(prediction.maps["3d"])) for i in images])
        captions.append(kind)
    titles = ["RGB", "depth", *(f"map {m}" for m in prediction.maps), "map, fused", "truth"]
    return sheet(rows, titles, captions, cell=180, foot="Each map on its own scale.")


def regions(detector, seen):
    """Show a rejected part with its regions outlined, and what is said of it."""
    pictures = []
    for _, sample, _ in seen:
        prediction = detector.predict(sample.rgb, sample.xyz)
        drawn = verdict.draw(sample.rgb, prediction).crop(box(prediction.maps["3d"]))
        pictures.append(
            captioned(
                drawn.resize((440, 440 * drawn.height // drawn.width)), verdict.caption(prediction)
            )
        )
    return sheet([pictures], ["accepted", "rejected"], cell=440)


def save(picture, path):
    """Write a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").save(path, quality=QUALITY, optimize=True)
    size = path.stat().st_size
    print(f"{path}: {size // 1000} kB")
    if size > LARGEST:
        sys.exit(f"{path} is larger than {LARGEST // 1000} kB")


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    folder, out = Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else "docs")
    detector = cmad.load(folder / "demo.cmad")
    seen = list(parts(folder))
    save(Image.open(folder / "picture.png"), out / "demo.jpg")
    save(modalities(detector, seen[1:]), out / "gallery" / "modalities.jpg")
    save(regions(detector, [seen[0], seen[3]]), out / "gallery" / "regions.jpg")


if __name__ == "__main__":
    main()
