"""The low-data comparison of the README: its rows, table, figure and published networks, from the runs of `hardy table rlfat-1b`.

python docs/results/low_data.py collect RUN ...   copies what complete runs measured to low-data.jsonl
python docs/results/low_data.py show              prints the table, draws low-data.png
python docs/results/low_data.py publish RUN ...   puts last weights, settings and rows under src/hardy/published
python docs/results/low_data.py add NAME.json ... adds AutoAttack's rows, of `hardy evaluate NAME --json NAME.json`, to both
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hardy.files import digest
from hardy.models.published import FOLDER
from hardy.report import figures
from hardy.report.plots import draw
from hardy.results import read

HERE = Path(__file__).parent
ROWS = HERE / "low-data.jsonl"
METHODS = {
    "pgdat": "PGD-AT",
    "trades": "TRADES",
    "rlfat-p": "RLFAT-P",
    "rlfat-t": "RLFAT-T",
    "rbsat-p": "RBSAT-P",
    "pgdat-rolled": "PGD-AT, rolled",
}
ATTACKS = {
    "clean accuracy": "clean",
    "accuracy under pgd": "pgd",
    "accuracy under pgd-20": "pgd",
    "accuracy under cw": "cw",
    "accuracy under cw-20": "cw",
    "accuracy under nattack": "nattack",
    "accuracy under autoattack": "autoattack",
}
HEADS = ("method", "weights", "clean", "PGD-20", "CW-20", "NATTACK", "AutoAttack")
LARGEST = 3_000_000  # bytes of a published network
TRAINED = ("hardy", "commit", "torch", "python", "device", "precision", "threads", "origin", "steps", "started")

Line = dict[str, Any]


def collect(runs: list[Path]) -> None:
    """One line a run, a validation of its training, and a measurement; without where the data lay on the machine."""
    lines: list[Line] = []
    for run in runs:
        described = _described(run)
        which = {"method": described["run"]["name"].removesuffix("-cifar10-small"), "seed": described["run"]["seed"]}
        lines.append({"kind": "run", **which, **described})
        lines += [{**which, **row} for row in _rows(run / "metrics.jsonl") if row["kind"] == "validation"]
        lines += [{"kind": "measurement", **which, **row} for row in _measured(run)]
    ROWS.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def publish(run: Path) -> str:
    """Copy one network into the package, named by its recipe and, but for the first, its seed; its name."""
    described = _described(run)
    seed = described["run"]["seed"]
    name = described["run"]["name"] + (f"-seed{seed}" if seed else "")
    weights = run / "last.safetensors"
    if weights.stat().st_size > LARGEST:
        raise SystemExit(f"{weights} has {weights.stat().st_size:,} bytes; at most {LARGEST:,} are published.")
    sha256 = digest(weights)
    told = {
        "run": described["run"],
        "trained": {key: described[key] for key in TRAINED if key in described} | {"steps": _last_step(run)},
        "measured": [row for row in _measured(run) if row["settings"].get("weights sha256") == sha256],
        "sha256": sha256,
    }
    shutil.copyfile(weights, FOLDER / f"{name}.safetensors")
    (FOLDER / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return name


def add(file: Path) -> None:
    """AutoAttack's row of a published network, which are a run's last weights, to the rows and to what is told of the network."""
    described = FOLDER / file.name
    told = json.loads(described.read_text(encoding="utf-8"))
    method, _, seed = file.stem.partition("-cifar10-small")
    for row in json.loads(file.read_text(encoding="utf-8")):
        if row["what"] == "accuracy under autoattack":
            assert row["settings"]["weights sha256"] == told["sha256"], file
            row["settings"] |= {"weights": "last", "data": _without_place(row["settings"]["data"])}
            told["measured"] = [old for old in told["measured"] if old["what"] != row["what"]] + [row]
            line = {"kind": "measurement", "method": method, "seed": int(seed.removeprefix("-seed") or 0), **row}
            with ROWS.open("a", encoding="utf-8") as rows:
                rows.write(json.dumps(line) + "\n")
    described.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def table() -> Iterator[tuple[str, tuple[str, ...]]]:
    """(method, its cells under HEADS) of each network, the last weights before the best."""
    lines = _rows(ROWS)
    for which in ("last", "best"):
        for run in _runs(lines):
            own = _of(run, lines)
            # a measurement that was repeated counts once, the newest
            found = {
                ATTACKS[line["what"]]: line
                for line in own
                if line["kind"] == "measurement" and line["settings"].get("weights") == which
            }
            if found:
                cells = [_cell(found[name]) if name in found else "–" for name in dict.fromkeys(ATTACKS.values())]
                yield run["method"], (_title(run), f"{which} (epoch {_epoch(own, found)})", *cells)


def show() -> None:
    """The table as Markdown on standard output, and the figure."""
    for line in (HEADS, ("---",) * len(HEADS), *(cells for _, cells in table())):
        print(f"| {' | '.join(line)} |")
    lines = _rows(ROWS)
    drawn = []
    for run in _runs(lines):
        points = [line for line in _of(run, lines) if line["kind"] == "validation"]
        if run["seed"] == 0:
            drawn.append(figures.Line(_title(run), tuple(figures.Point(p["epoch"], 100 * p["robust"]) for p in points)))
    panel = figures.Panel("", "epoch", "accuracy under PGD-10 (%)", tuple(drawn))
    title = "5,000 training images of CIFAR-10, PreActResNet-18 of width 16, Linf 8/255, seed 0; 500 held-out images"
    draw(HERE / "low-data.png", figures.Bands(title, (panel,)))


def _runs(lines: list[Line]) -> list[Line]:
    """The runs, by method and seed."""
    runs = [line for line in lines if line["kind"] == "run"]
    return sorted(runs, key=lambda run: (list(METHODS).index(run["method"]), run["seed"]))


def _of(run: Line, lines: list[Line]) -> list[Line]:
    return [line for line in lines if (line["method"], line["seed"]) == (run["method"], run["seed"])]


def _title(run: Line) -> str:
    return METHODS[run["method"]] + (f", seed {run['seed']}" if run["seed"] else "")


def _described(run: Path) -> Line:
    described: Line = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {**described, "origin": _without_place(described["origin"])}


def _measured(run: Path) -> Iterator[Line]:
    for row in read(run / "results.jsonl")[0]:
        yield {**asdict(row), "settings": {**row.settings, "data": _without_place(row.settings["data"])}}


def _without_place(origin: str) -> str:
    return re.sub(r" from [^;]*;", ";", origin)


def _rows(file: Path) -> list[Line]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _last_step(run: Path) -> int:
    return int(_rows(run / "metrics.jsonl")[-1]["step"])


def _cell(row: Line) -> str:
    return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _epoch(lines: list[Line], found: dict[str, Line]) -> str:
    step = next(iter(found.values()))["settings"]["step"] if found else None
    return next((f"{line['epoch']:g}" for line in lines if line["kind"] == "validation" and line["step"] == step), "?")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collect", *runs] if runs:
            collect([Path(run) for run in runs])
        case ["publish", *runs] if runs:
            for folder in runs:
                print(publish(Path(folder)))
        case ["add", *files] if files:
            for file in files:
                add(Path(file))
        case ["show"]:
            show()
        case _:
            sys.exit(__doc__)
