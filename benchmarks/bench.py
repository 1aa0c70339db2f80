"""All benchmarks one after another, and which of their ratios fell against the results that are kept in docs/results.

    python benchmarks/bench.py                    # two CPU cores: 14 minutes
    python benchmarks/bench.py --device cuda
    python benchmarks/bench.py --write            # and keep what was found as docs/results/speed-cpu.json

Run it on an idle machine, with the test extra installed, torchattacks in benchmarks/.peers (see peers.py; left out where it is
not), and $HARDY_DATA holding CIFAR-10. Ratios of another kind of processor are others: the kept results name theirs.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timing import Flags, machine, some_of, written

from hardy.files import write_text

HERE = Path(__file__).parent
KEPT = HERE.parent / "docs" / "results"
FELL = 0.9  # of what is kept; these machines are noisy
ROBUST, UNDEFENDED = "pgdat-cifar10-small", "undefended"

PARTS: dict[str, list[str]] = {
    "step": ["step.py"],
    "wide": ["step.py", "--network", "WRN-34-10", "--methods", "PGD-AT"],
    "evaluation": ["evaluation.py"],
    "autoattack": ["autoattack.py", "--network", ROBUST, "--seeds", "1", "--bfloat16"],
    "undefended": ["autoattack.py", "--network", UNDEFENDED, "--seeds", "1", "--bfloat16"],
    "costs": ["costs.py"],
    "starting": ["starting.py"],
}
SIZES: dict[str, dict[str, list[str]]] = {  # what fits into the time on each kind of device
    "cpu": {"wide": ["--batch", "8", "--rounds", "1"], "autoattack": ["--n", "50"], "undefended": ["--n", "100"]},
    "cuda": {
        "autoattack": ["--n", "1000", "--batch", "500"],
        "undefended": ["--n", "1000", "--batch", "500"],
        "costs": ["--width", "64", "--batch", "128"],
    },
}


def parts(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was found of steps: a part for each method and network."""
    return [part for name in ("step", "wide") for part in found.get(name, {}).get("parts", [])]


def ratios(found: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(what, how much better than what it is compared with) of all parts; more is better in each."""
    for part in parts(found):
        of = f"{part['method']} step, {part['network']}"
        for row in part["contestants"]:
            if row["name"] in ("hardy", "compiled"):
                yield f"{of}: {row['name']} over the fastest peer", row["ratio"]
                yield f"{of}: {row['name']}, share of a bare product", row["share"]
    for row in found.get("evaluation", {}).get("rows", []):
        if row["name"].startswith("hardy"):
            beside = "foolbox" if row["attack"] == "pgd-20" else "bare passes"
            yield f"{row['attack']}: {row['name']} over {beside}", row["ratio"]
    for name in ("autoattack", "undefended"):
        seconds = {who: sum(seeds[0]["seconds"]) for who, seeds in found.get(name, {}).get("found", {}).items()}
        network = "an undefended network" if name == "undefended" else "a robust network"
        for who, of in seconds.items():
            if who != "pyautoattack":
                yield f"AutoAttack, {network}: {who} over pyautoattack", seconds["pyautoattack"] / of
    if "costs" in found:
        yield "batches over the step", found["costs"]["batches over step"]


def fallen(now: dict[str, float], kept: dict[str, float]) -> list[str]:
    """A line for each ratio that is clearly lower than it was."""
    return [
        f"fell: {name} is {now[name]:.2f}, was {was:.2f}"
        for name, was in kept.items()
        if now.get(name, was) < FELL * was
    ]


def main(args: list[str] | None = None) -> None:
    """Run and compare; a part that fails is named, and the others go on."""
    parser = Flags(__doc__)
    parser.add_argument("--parts", type=some_of(list(PARTS)), default=list(PARTS), help="commas between (all)")
    parser.add_argument("--write", action="store_true", help="keep what was found in docs/results")
    flags = parser.read(args)
    if flags.write and set(flags.parts) < set(PARTS):
        parser.error("--write replaces what is kept of all parts; leave --parts out, or take --json for some of them.")
    kind, failed = flags.device.type, []
    threads = [] if flags.threads is None else ["--threads", str(flags.threads)]
    found: dict[str, Any] = {"machine": machine(flags.device)}
    for name in flags.parts:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "found.json"
            command = [*PARTS[name], *SIZES[kind].get(name, []), *threads, "--device", kind, "--json", str(out)]
            print(f"\npython benchmarks/{' '.join(command[:-2])}", flush=True)
            ended = subprocess.run([sys.executable, str(HERE / command[0]), *command[1:]], check=False)
            if ended.returncode:
                failed.append(name)
                continue
            found[name] = json.loads(out.read_text(encoding="utf-8"))
        print(f"{time.perf_counter() - started:.0f} s")
    now, file = dict(ratios(found)), KEPT / f"speed-{kind}.json"
    print()
    print("\n".join(f"{value:>10.2f}  {name}" for name, value in now.items()))
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        lines = fallen(now, dict(ratios(kept)))
        print(f"\nbeside {file.name}, of {kept['machine']}:")
        print("\n".join(lines) if lines else "no ratio fell")
    if flags.write and not failed:
        write_text(file, json.dumps(found, indent=1) + "\n")
        print(f"{file} is written")
    written(flags.json, found)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
