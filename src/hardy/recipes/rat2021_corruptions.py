"""The RAT paper's Table 2: accuracy on naturally corrupted images.

    hardy table rat-2 --scale small

Twelve types, without the benchmark's noises, at five severities each; mCA is the mean over all of them, an accuracy. At the
paper's scale the images are those of the releases CIFAR-10-C and CIFAR-100-C, 2.9 GB each where they have to be downloaded; at
the others they are made here, which is not the same to the bit.
"""

from hardy.data.corruptions import RAT_PAPER
from hardy.jobs.measures import RowOf
from hardy.jobs.studies import Corruptions
from hardy.recipes import scales
from hardy.recipes.rat2021_tables import PAPER, SETS, SMALL, beside, images, rows
from hardy.recipes.table import Column, Part, Scale, Setting, Table, cells_of
from hardy.report.tables import Printed

_COLUMNS = (
    "mCA", "Defocus", "Glass", "Motion", "Zoom", "Snow", "Frost", "Fog", "Bright", "Contrast", "Elastic", "Pixelate", "JPEG",
)  # fmt: skip
_TABLE_2 = {
    "cifar10": {
        "ST": (81.15, 83.40, 53.27, 79.51, 77.23, 83.57, 82.03, 90.59, 94.42, 92.68, 84.18, 75.72, 77.19),
        "SAT": (81.58, 83.05, 79.97, 80.02, 82.20, 82.40, 85.26, 71.70, 86.70, 76.38, 81.13, 85.07, 85.06),
        "TRADES": (80.67, 82.34, 79.02, 79.32, 81.41, 81.00, 84.22, 71.13, 85.83, 75.80, 80.24, 83.94, 83.80),
        "AVM": (87.05, 88.52, 82.67, 85.24, 87.57, 86.98, 89.50, 81.29, 91.85, 84.12, 86.91, 89.99, 89.96),
        "ADT": (77.36, 82.76, 80.30, 78.32, 81.59, 81.49, 78.51, 62.54, 84.52, 45.67, 81.50, 85.66, 85.51),
        "RAT": (87.94, 89.12, 83.25, 85.75, 88.45, 87.90, 90.15, 83.04, 92.76, 85.70, 87.95, 90.35, 90.86),
    },
    "cifar100": {
        "ST": (57.45, 62.73, 21.30, 58.27, 57.47, 56.63, 52.75, 69.95, 75.46, 71.89, 61.79, 54.13, 46.98),
        "SAT": (52.87, 54.84, 50.85, 51.30, 53.13, 52.80, 56.76, 41.80, 59.07, 47.26, 52.30, 57.59, 56.71),
        "TRADES": (50.99, 52.89, 50.15, 49.57, 51.60, 51.04, 54.81, 39.64, 57.26, 44.85, 50.26, 55.35, 54.47),
        "AVM": (61.48, 63.77, 55.37, 59.51, 62.39, 61.26, 64.46, 52.62, 67.75, 57.68, 61.38, 65.75, 65.86),
        "ADT": (50.79, 55.97, 52.69, 51.56, 54.75, 53.37, 49.66, 34.80, 57.99, 25.37, 54.30, 60.02, 59.04),
        "RAT": (62.44, 64.20, 55.39, 59.84, 62.70, 62.20, 65.71, 54.55, 69.27, 59.92, 62.00, 67.30, 66.21),
    },
}


def tables() -> dict[str, Table]:
    """Table 2."""

    def part(scale: Scale, data: str) -> Part:
        study = Corruptions(RAT_PAPER, "released" if scale == "paper" else "made", images(scale, data))
        whats = ("mCA-12", *(f"accuracy under {kind}, mean over severities" for kind in RAT_PAPER))
        columns = tuple(Column(title, RowOf(study, what)) for title, what in zip(_COLUMNS, whats, strict=True))
        return Part(rows(scale, data), columns, beside(scale, data), SETS[data][0])

    cells: dict[tuple[str, str], Printed] = {}
    for data, printed in _TABLE_2.items():
        named = {f"{row}, {SETS[data][0]}": values for row, values in printed.items()}
        cells |= cells_of("Table 2", _COLUMNS, named)
    table = Table(
        name="rat-2",
        title="RAT paper, Table 2: accuracy on corrupted images",
        settings={
            "smoke": Setting(scales.SMOKE, (part("smoke", "cifar10"),)),
            "small": Setting(f"{SMALL['cifar10']}, images corrupted here", (part("small", "cifar10"),)),
            "paper": Setting(f"{PAPER}; CIFAR-10-C and CIFAR-100-C", tuple(part("paper", data) for data in _TABLE_2)),
        },
        cells=cells,
        ranked_by="mCA",
        notes=(
            "Accuracy is the mean over five severities of each type; mCA is the mean over the twelve types, without noise, and "
            "no number to compare with one over fifteen.",
        ),
    )
    return {table.name: table}
