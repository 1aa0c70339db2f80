"""The comparison of all methods of the README: its rows and table, from what `hardy table methods --scale small` wrote.

python docs/results/methods.py collect FOLDER   copies results.jsonl of the table's folder to methods.jsonl, beside other methods'
python docs/results/methods.py show             prints the table
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROWS = Path(__file__).parent / "methods.jsonl"
COLUMNS = ("clean", "PGD-20", "CW-20", "AutoAttack")


def collect(folder: Path) -> None:
    """The table's rows, without where the data lay on the machine."""
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if "settings" in row:
            row["settings"]["data"] = re.sub(r" from /\S+(?=;)", "", row["settings"]["data"])
    there = {row["row"] for row in rows}
    kept = [row for row in _rows() if row["row"] not in there]
    ROWS.write_text("".join(json.dumps(row) + "\n" for row in kept + rows), encoding="utf-8")


def show() -> str:
    """The table as Markdown, of the methods whose every number is there, the most robust under AutoAttack first."""
    found: dict[str, dict[str, Any]] = {}
    for row in _rows():
        found.setdefault(row["row"], {})[row["column"]] = row
    whole = [method for method, rows in found.items() if rows.keys() >= {*COLUMNS, "verdict"}]
    order = sorted(whole, key=lambda method: -found[method]["AutoAttack"]["value"])
    heads = ("method", *COLUMNS, "signs of masking")
    lines = [heads, ("---",) * len(heads)]
    for method in order:
        cells = [_cell(found[method][column]) for column in COLUMNS]
        lines.append((f"`{method}`", *cells, found[method]["verdict"]["verdict"].replace("no sign", "none")))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]


def _cell(row: dict[str, Any]) -> str:
    return f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["collect", folder]:
            collect(Path(folder))
        case ["show"]:
            print(show())
        case _:
            raise SystemExit(__doc__)
