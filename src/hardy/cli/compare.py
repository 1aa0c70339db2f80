"""hardy compare: two files of outcomes, image by image."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from hardy.cli.console import out, percent, table
from hardy.cli.flags import parse
from hardy.describe import counted
from hardy.evaluation.outcomes import compare, measured_in

_Outcomes = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTCOMES")]


@dataclass(frozen=True)
class Two:
    """Two measurements image by image: are the networks, or the attacks, different, or is it chance?

    `hardy evaluate ... --outcomes FOLDER` writes such files, a run has them in its folder outcomes; all images that are decided
    in both are compared.
    """

    first: _Outcomes  # a file of outcomes, .jsonl
    second: _Outcomes  # another, of the same images


def main(args: list[str]) -> None:
    """Run `hardy compare OUTCOMES OUTCOMES`."""
    two = parse(Two, args, "hardy compare")
    paired = compare(two.first, two.second)
    one, other = measured_in(two.first), measured_in(two.second)
    for title, path, about in (("first", two.first, one), ("second", two.second, other)):
        told = [str(about[key]) for key in ("run", "summary") if about.get(key)]
        out.print(f"{title}: {'; '.join(told) or 'no name'} ({path})")
    for key in _differing(one, other):
        out.print(f"{key}: {one.get(key)} in the first, {other.get(key)} in the second")
    if one == other:
        out.print("Both files are of the same measurement: network, attack and seed.")
    out.print()
    groups = {
        "robust in both": paired.both,
        "only in the first": paired.only_first,
        "only in the second": paired.only_second,
        "in neither": paired.neither,
    }
    rows = ((name, f"{len(images):,}", percent(len(images) / paired.n)) for name, images in groups.items())
    table(None, ("", "images", "%"), rows)
    first, second = ((len(paired.both) + len(only)) / paired.n for only in (paired.only_first, paired.only_second))
    differ = len(paired.only_first) + len(paired.only_second)
    out.print(
        f"\nOn the same {counted(paired.n, 'image')} the accuracy is {percent(first)} % in the first and {percent(second)} % in "
        f"the second.\nThey differ on {counted(differ, 'image')}; were both equally good, so uneven a split of these would come "
        f"about by chance with {_probability(paired.p_value)} (exact McNemar test)."
    )
    if paired.not_in_first or paired.not_in_second:
        out.print(
            f"Left out: {counted(len(paired.not_in_first), 'image')} not decided in the first, {len(paired.not_in_second):,} not "
            "in the second. If a measurement was interrupted, let it end before you compare: broken images are decided before "
            "others."
        )


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What was measured differently, but for what the titles say."""
    said = ("run", "summary") + (("attack",) if one.get("summary") != other.get("summary") else ())
    return [key for key in sorted(one.keys() | other.keys()) if key not in said and one.get(key) != other.get(key)]


def _probability(p: float) -> str:
    return f"p = {p:.2g}" if p > 0 else "p < 1e-300"  # below what a float holds
