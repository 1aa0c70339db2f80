"""Publish trained networks with the package: their last weights, settings and measured rows, under src/hardy/published.

python docs/results/publish.py RUN ...   folders of complete runs; a network is named by its recipe, and -seedN for N > 0
"""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

from hardy.files import digest
from hardy.models.published import FOLDER
from hardy.results import read

LARGEST = 3_000_000  # bytes
TRAINED = ("hardy", "commit", "torch", "python", "device", "precision", "threads", "origin", "steps", "started")


def publish(run: Path) -> str:
    """Copy one network; its name."""
    described = json.loads((run / "run.json").read_text(encoding="utf-8"))
    seed = described["run"]["seed"]
    name = described["run"]["name"] + (f"-seed{seed}" if seed else "")
    weights = run / "last.safetensors"
    if weights.stat().st_size > LARGEST:
        raise SystemExit(f"{weights} has {weights.stat().st_size:,} bytes; at most {LARGEST:,} are published.")
    sha256 = digest(weights)
    measured = [
        {**dataclasses.asdict(row), "settings": {**row.settings, "data": _without_place(row.settings["data"])}}
        for row in read(run / "results.jsonl")[0]
        if row.settings.get("weights sha256") == sha256
    ]
    trained = {key: described[key] for key in TRAINED if key in described}
    trained["origin"] = _without_place(trained["origin"])
    told = {"run": described["run"], "trained": trained, "measured": measured, "sha256": sha256}
    shutil.copyfile(weights, FOLDER / f"{name}.safetensors")
    (FOLDER / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return name


def _without_place(origin: str) -> str:
    return re.sub(r" from [^;]*;", ";", origin)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    for folder in sys.argv[1:]:
        print(publish(Path(folder)))
