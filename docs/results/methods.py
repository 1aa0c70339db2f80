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


def found() -> dict[str, dict[str, Any]]:
    """{method: {column: its row}}, of all that was measured."""
    rows: dict[str, dict[str, Any]] = {}
    for row in _rows():
        rows.setdefault(row["row"], {})[row["column"]] = row
    return rows


def cells(rows: dict[str, Any]) -> list[str]:
    """A method's numbers in per cent and its verdict, a dash where there is none yet."""
    numbers = [_cell(rows[column]) if column in rows else "–" for column in COLUMNS]
    return [*numbers, rows["verdict"]["verdict"].replace("no sign", "none") if "verdict" in rows else "–"]


def show() -> str:
    """The table as Markdown, of the methods whose every number is there, the most robust under AutoAttack first."""
    whole = {method: rows for method, rows in found().items() if rows.keys() >= {*COLUMNS, "verdict"}}
    order = sorted(whole, key=lambda method: -whole[method]["AutoAttack"]["value"])
    heads = ["method", *COLUMNS, "signs of masking"]
    lines = [heads, ["---"] * len(heads), *([f"`{method}`", *cells(whole[method])] for method in order)]
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
