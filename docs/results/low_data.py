"""The table and the figure of the low-data comparison in the README, from the runs' own rows.

python docs/results/low_data.py collect RUNS   copies what RUNS/<method>-cifar10-small measured to low-data.jsonl
python docs/results/low_data.py show           prints the table, draws low-data.png
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

from hardy.report.plots import curves
from hardy.results import read

HERE = Path(__file__).parent
ROWS = HERE / "low-data.jsonl"
METHODS = {"pgdat": "PGD-AT", "trades": "TRADES", "rlfat-p": "RLFAT-P", "rlfat-t": "RLFAT-T"}
ATTACKS = ("clean accuracy", "accuracy under pgd-20", "accuracy under cw-20", "accuracy under nattack")


def collect(runs: Path) -> None:
    """One line a run, a validation of the training, and a measurement; without where the data lay on the machine."""
    lines = []
    for method in METHODS:
        folder = runs / f"{method}-cifar10-small"
        if not (folder / "results.jsonl").exists():
            continue
        described = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        described["origin"] = _without_place(described["origin"])
        lines.append({"kind": "run", "method": method, **described})
        metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        lines += [{"method": method, **row} for row in metrics if row["kind"] == "validation"]
        for row in read(folder / "results.jsonl")[0]:
            settings = {**row.settings, "data": _without_place(row.settings["data"])}
            lines.append({"kind": "measurement", "method": method, **asdict(row), "settings": settings})
    ROWS.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _without_place(origin: str) -> str:
    return re.sub(r" from [^;]*;", ";", origin)


def show() -> None:
    """The table as Markdown on standard output, and the figure."""
    lines = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    print("| method | weights | clean | PGD-20 | CW-20 | NATTACK |\n|---|---|---|---|---|---|")
    measured = {method: title for method, title in METHODS.items() if any(line["method"] == method for line in lines)}
    for which in ("last", "best"):
        for method, title in measured.items():
            # a measurement that was repeated counts once, the newest
            found = {
                line["what"]: line
                for line in lines
                if line["kind"] == "measurement"
                and line["method"] == method
                and line["settings"].get("weights") == which
            }
            cells = [_cell(found[what]) if what in found else "–" for what in ATTACKS]
            label = f"{which} (epoch {_epoch(lines, found)})"
            print(f"| {title} | {label} | {' | '.join(cells)} |")
    drawn = {}
    for method, title in measured.items():
        points = [line for line in lines if line["kind"] == "validation" and line["method"] == method]
        drawn[title] = ([p["epoch"] for p in points], [100 * p["robust"] for p in points])
    curves(
        HERE / "low-data.png",
        drawn,
        x_label="epoch",
        y_label="accuracy under PGD-10, % of 500 held-out images",
        title="5,000 training images of CIFAR-10, PreActResNet-18 of width 16, Linf 8/255",
    )


def _cell(row: dict) -> str:
    return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _epoch(lines: list[dict], found: dict) -> str:
    step = next(iter(found.values()))["settings"]["step"] if found else None
    return next((f"{line['epoch']:g}" for line in lines if line["kind"] == "validation" and line["step"] == step), "?")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collect", runs]:
            collect(Path(runs))
        case ["show"]:
            show()
        case _:
            sys.exit(__doc__)
