"""The tables of docs/speed.md, written from the results that are kept in docs/results.

    python benchmarks/page.py            # after `bench.py --write`, or parity.py with --json docs/results/parity-cpu.json

A table stands between the lines `<!-- NAME of KIND -->` and `<!-- end -->`; everything else on the page is written by hand. KIND
is cpu or cuda; where there are no results of it, or none of that part, there is "Not measured." in place of the table.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench import parts
from starting import MEMORY
from timing import COMPARED

DOCS = Path(__file__).parents[1] / "docs"
PLACE = re.compile(r"(<!-- (\w+) of (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
NOT_MEASURED = "Not measured.\n"

Found = dict[str, Any]


def markdown(head: str, rows: Iterable[Iterable[str]]) -> str:
    """A table; the first column to the left, numbers to the right. head: names with ` | ` between."""
    align = "|---|" + "---:|" * head.count("|")
    return "\n".join([f"| {head} |", align, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def machine(found: Found) -> str:
    """What it was measured on."""
    told = found["machine"]
    device = f"{told['gpu']}, {told['cpu']}" if "gpu" in told else f"{told['cpu']}, {told['threads']} threads"
    peers = "".join(f", {name} {told[name]}" for name in COMPARED if name in told)
    return f"{device}; torch {told['torch']}{peers}, hardy {told['hardy']} at commit {told['commit']}.\n"


def step(found: Found) -> str:
    """Training steps beside peers."""
    rows = []
    for part in parts(found):
        (rival,) = (row["seconds of rounds"] for row in part["contestants"] if row["ratio"] == 1)
        for row in part["contestants"]:
            what = f"{part['method']}, {part['network']}"
            ratios = [of / mine for of, mine in zip(rival, row["seconds of rounds"], strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if len(set(ratios)) > 1 else ""
            numbers = f"{row['images per second']:.3g}", f"{row['ratio']:.2f}", spread, f"{row['share']:.0%}"
            rows.append((what, row["name"], row["precision"], *numbers))
    return markdown(
        "step | of | precision | images/s | over the fastest peer | in its rounds | of a bare product", rows
    )


def products(found: Found) -> str:
    """The rates of bare products that steps are set beside."""
    rates: dict[str, list[float]] = {}
    for part in parts(found):
        for row in part["products"]:
            rates.setdefault(row["precision"], []).append(row["gflops"])
    told = (f"{precision} {min(of):,.0f} to {max(of):,.0f}" for precision, of in rates.items())
    return f"Bare products in these runs, GFLOP/s: {', '.join(told)}.\n"


def evaluation(found: Found) -> str:
    """PGD-20 and NATTACK."""
    rows = []
    for row in found["evaluation"]["rows"]:
        robust = "" if row["robust"] is None else str(row["robust"])
        rows.append((row["attack"], row["name"], robust, f"{row['seconds']:.3g}", f"{row['ratio']:.2f}"))
    return markdown("attack | by | robust | seconds | ratio", rows)


def autoattack(found: Found) -> str:
    """AutoAttack's standard version beside its reference."""
    rows = []
    for name, what in (("autoattack", "robust"), ("undefended", "undefended")):
        of = found[name]["found"]
        rival = sum(of["pyautoattack"][0]["seconds"])
        for who, (one, *_) in of.items():
            forwards, backwards = (sum(one[passes]) / 1000 for passes in ("forwards", "backwards"))
            robust = f"{sum(one['robust'][-1])} of {len(one['robust'][-1])}"
            seconds = sum(one["seconds"])
            numbers = f"{forwards:,.1f} + {backwards:,.1f}", f"{seconds:.3g}", f"{rival / seconds:.2f}"
            rows.append((what, who, robust, *numbers))
    return markdown("network | by | robust | thousands of passes | seconds | over pyautoattack", rows)


def costs(found: Found) -> str:
    """What a step of each method costs."""
    of = found["costs"]
    rows = [(row["name"], f"{row['seconds']:.3g}", f"{row['over PGD-AT']:.3f}") for row in of["methods"]]
    said = (
        f"\nA block shuffle of the batch takes {of['rbs']:.2%} of RLFAT-P's step. Batches, shuffled, flipped and cropped, come "
        f"at {of['batches']:,.0f} images/s: {of['batches over step']:,.0f} times what PGD-AT's step takes.\n"
    )
    return markdown("step of | seconds | over PGD-AT", rows) + said


def growth(found: Found) -> str:
    """Seconds over what is counted."""
    rows = [
        (row["name"], str(row["counted"]), f"{row['grown']:.2f}", f"{row['seconds']:.3g}")
        for row in found["costs"]["growth"]
    ]
    return markdown("PGD on | times as much | times the seconds | seconds", rows)


def starting(found: Found) -> str:
    """Seconds until something happens, and memory."""
    of = found["starting"]
    rows = [(name, f"{value:.2f} s") for name, value in of["seconds"].items()]
    rows += [(f"memory of {MEMORY[who]}", f"{value:,.0f} MiB") for who, value in of["memory"].items()]
    return markdown("what | ", rows)


def parity(found: Found) -> str:
    """Robust accuracy in bfloat16 and in float32."""
    rows = []
    named = [("the attack", found["attack"]), *((f"training, seed {row['seed']}", row) for row in found["seeds"])]
    for name, row in named:
        accuracies = f"{row['float32']:.2%}", f"{row['bfloat16']:.2%}"
        rows.append((name, *accuracies, str(row["only one"]), f"{row['points']:+.2f} ± {row['interval']:.2f}"))
    of = found["training"]
    said = f"\nMean of the seeds: {of['points']:+.2f} points"
    if of["between seeds"] is not None:
        said += f"; float32 networks of other seeds have a standard deviation of {of['between seeds']:.2f} points"
    head = "what is in bfloat16 | robust, float32 | robust, bfloat16 | images that differ | points"
    sizes = found["settings"]
    small = (
        f"{sizes['n']:,} test images; trainings of {sizes['epochs']} epochs, PreActResNet-18 of width {sizes['width']}"
    )
    return markdown(head, rows) + f"{said}. {small}. Measured on {machine(found)}"


# each table with the parts of the results that it is of
TABLES: dict[str, tuple[set[str], Callable[[Found], str]]] = {
    "machine": ({"machine"}, machine),
    "step": ({"step"}, step),
    "products": ({"step"}, products),
    "evaluation": ({"evaluation"}, evaluation),
    "autoattack": ({"autoattack", "undefended"}, autoattack),
    "costs": ({"costs"}, costs),
    "growth": ({"costs"}, growth),
    "starting": ({"starting"}, starting),
    "parity": ({"machine", "settings", "attack", "seeds", "training"}, parity),
}


def filled(text: str, results: Path) -> str:
    """The page with its tables as the results have them."""

    def made(place: re.Match[str]) -> str:
        first, name, kind, last = place.groups()
        file = results / f"{'parity' if name == 'parity' else 'speed'}-{kind}.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        needed, table = TABLES[name]
        return f"{first}\n{table(found) if needed <= found.keys() else NOT_MEASURED}\n{last}"

    return PLACE.sub(made, text)


if __name__ == "__main__":
    page = DOCS / "speed.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), DOCS / "results"), encoding="utf-8")
    print(f"{page} is written")
