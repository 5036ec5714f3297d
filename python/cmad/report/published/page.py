"""The page docs/results/published.md: ``python -m cmad.report.published.page > FILE`` writes it."""

from collections.abc import Iterator
from itertools import groupby

from cmad.report.published import Published, published

INTRODUCTION = """\
# The papers' numbers

What two papers print in their tables, for comparison with one's own runs: CFM (Costanzino et al.,
"Multimodal Industrial Anomaly Detection by Crossmodal Feature Mapping", CVPR 2024) and G2SF (Tao et
al., "G²SF-MIAD: Geometry-Guided Score Fusion for Multimodal Industrial Anomaly Detection"). The
best mean of each table is in bold. The same numbers are data files in
[`python/cmad/report/published`](../../python/cmad/report/published), read by
`cmad.report.published.published`; this page is made from them.

**AUPRO here is that of the published grid: compare it with the column "grid" of `cmad evaluate`.**
The published code takes few points of the curve, at thresholds in equal steps through the sorted
scores of the good pixels: 99 in the code of CFM, 100 in that of G2SF, M3DM and BTF. Their
false-positive rates are 1/98 = 1.02 % (1/99 = 1.01 %) apart, so that AUPRO@1% comes from a single
straight segment, between the rates 0 and 1.02 %:

    AUPRO@1% = 0.51 PRO(0) + 0.49 PRO(1.02 %)    99 thresholds; 0.505 and 0.495 with 100

A detector that finds nothing before its first false positive, PRO(0) = 0, cannot exceed 0.49
(0.495), however steep its curve is, and the best numbers below are close to that. With every
threshold the same maps reach clearly more: 0.489 instead of 0.321 on
[some real parts](cable_gland.md). Where a paper quotes a method from elsewhere, that code's
thresholds apply.

What follows a method's name after a comma differs from the full method. CFM: the number of training
parts (Table 4), epochs and mapping network (Table 9; 250 epochs otherwise, says the text), a single
map or another aggregation than the product (Tables 6 and 10), networks within a modality (phi)
instead of across (psi, Table 7), another 2D extractor (Table 8). G2SF: distances s and scaling
factors w alone, of colour (R) and points (P), in Table III and supplementary Table I; some of the
losses in Table IV; the nearest local space l_0 alone or another operator than the minimum in Table
V and supplementary Table II. M3DM\\* is M3DM trained again by the authors of CFM, on all training
parts of Eyecandies. A dash: not printed.

Printed so, but to be read with care:

- CFM Table 13, AUPRO@30% of M3DM: the mean of the categories is 0.887, not 0.882. Table 3 has the
  0.882, too, and 0.331 for AUPRO@1%, which Table 13 gives to M3DM\\*.
- CFM Tables 3 and 13 differ for AST: I-AUROC 0.758 and 0.780, AUPRO@30% 0.878 and 0.744, AUPRO@1%
  0.224 and 0.149. The latter agree with the categories.
- CFM Tables 6 and 10 differ by up to 0.002 in AUPRO@1% of sum and maximum; Tables 7 and 9 (and 8)
  by up to 0.005 for the MLP of 50 epochs.
- G2SF supplementary Table I, AUPRO@1%: s^P and s^R seem to be exchanged. Table III of the main text
  has 0.363 for s^R and 0.319 for s^P.
- Some means are cut off rather than rounded: AUPRO of AST in CFM Tables 1 (and G2SF Table I), 2 and
  13, I-AUROC and AUPRO@5% of M3DM\\* in CFM Table 13.
"""


def page() -> str:
    """Write all numbers as Markdown, by data set: a table for each table and metric of a paper.

    Metrics of which only means are printed share a table; training parts (5-shot, ...) have theirs.
    """
    parts = [INTRODUCTION]
    for dataset in ("MVTec 3D-AD", "Eyecandies"):
        parts.append(f"## {dataset}\n")
        for (paper, table), numbers in groupby(published(dataset), lambda n: (n.paper, n.table)):
            parts.append(f"### Table {table} of {paper}\n")
            parts.extend(_tables(list(numbers)))
    return "\n".join(parts)


def _shots(setting: str) -> str:
    return setting if setting.endswith("-shot") else ""


def _tables(numbers: list[Published]) -> Iterator[str]:
    """One table for each metric with categories, and one for all metrics that have means only."""
    with_categories = dict.fromkeys(n.metric for n in numbers if n.category != "mean")
    for metric in with_categories:
        rows = [n for n in numbers if n.metric == metric]
        yield f"{metric}\n"
        yield _table({(_label(n), n.category): n for n in rows})
    means = [n for n in numbers if n.metric not in with_categories]
    for shots in dict.fromkeys(_shots(n.setting) for n in means):
        rows = [n for n in means if _shots(n.setting) == shots]
        yield f"Means{', ' if shots else ''}{shots}\n"
        yield _table({(_label(n), n.metric): n for n in rows})


def _label(number: Published) -> str:
    label = f"{number.method}, {number.setting}" if number.setting else number.method
    return label.replace("*", "\\*")


def _table(cells: dict[tuple[str, str], Published]) -> str:
    rows, columns = (dict.fromkeys(keys) for keys in zip(*cells, strict=True))
    best: dict[str, float] = {}
    for (_, column), number in cells.items():
        if number.category == "mean":
            choose = min if number.metric == "memory MB" else max
            best[column] = choose(number.value, best.get(column, number.value))
    lines = [f"| method | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        shown = (_shown(cells.get((row, column)), best.get(column)) for column in columns)
        lines.append(f"| {row} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def _shown(number: Published | None, best: float | None) -> str:
    if number is None:
        return "-"
    area = number.metric not in ("fps", "memory MB")
    text = f"{number.value:.3f}" if area else str(number.value)
    return f"**{text}**" if number.value == best else text


if __name__ == "__main__":
    print(page(), end="")
