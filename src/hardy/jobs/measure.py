"""Measuring a run's weights: a row that its results.jsonl has already, or a new one added to it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from hardy.attacks.attack import Attack
from hardy.data.dataset import Dataset
from hardy.data.split import Split
from hardy.describe import rebuild
from hardy.errors import UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.stream import Judge, Progress
from hardy.files import digest
from hardy.models.checkpoints import Which, find_weights, load, read_weights
from hardy.results import Measurement, append, read
from hardy.training.precision import Precision, prepare

# what a row tells beside `about`; with more than that it is of other images, or of an attack crafted on another network
_USUAL = {"attack", "summary", "judge", "seed", "data", "correct after", "illegal", "by class"}


def about_weights(file: Path, which: Which | None, header: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says of the weights that were measured; header: what their file says of itself."""
    return {
        "weights": which or "file",
        "weights sha256": digest(file),
        "network": header["model"],
        "step": header.get("step"),
    }


def test_images(header: Mapping[str, Any], file: Path, root: Path | None, *, offline: bool) -> Split:
    """The test images of the data that the weights in `file` were trained on."""
    if "data" not in header:
        raise UsageError(f"{file} does not say which data its network was trained on; weights that a run saved do.")
    try:
        data = rebuild(header["data"], Dataset)  # type: ignore[type-abstract]
    except UsageError as error:
        raise UsageError(f"{file} names data that this version does not know: {error}") from error
    return data.load(root, offline=offline)[1]


def known(
    results: Path, about: Mapping[str, Any], attack: Attack | None, n: int, *, judge: Judge = "last", seed: int = 0
) -> Measurement | None:
    """The newest row of this attack on the first n test images by the weights `about` tells of; None where there is none."""
    return newest(read(results)[0] if results.exists() else [], about, attack, n, judge=judge, seed=seed)


def newest(
    rows: Sequence[Measurement],
    about: Mapping[str, Any],
    attack: Attack | None,
    n: int,
    *,
    judge: Judge = "last",
    seed: int = 0,
) -> Measurement | None:
    """The last of the rows that is of this, as in `known`."""
    return next((row for row in reversed(rows) if _is_of(row, about, attack, n, judge, seed)), None)


def of_weights(rows: Iterable[Measurement], about: Mapping[str, Any]) -> list[Measurement]:
    """The accuracies among the rows that are of the weights `about` tells of, whatever their file was called, on their images.

    Crafted on other networks they may be; with anything else that `about` does not tell they are of something else.
    """
    wanted = {key: value for key, value in about.items() if key != "weights"}
    allowed = {*about, *_USUAL, "weights", "precision", "crafted on"}
    return [
        row
        for row in rows
        if row.unit == "fraction"
        and (row.what == "clean accuracy" or row.what.startswith("accuracy under "))
        and all(row.settings.get(key) == value for key, value in wanted.items())
        and row.settings.keys() <= allowed
    ]


def _is_of(row: Measurement, about: Mapping[str, Any], attack: Attack | None, n: int, judge: Judge, seed: int) -> bool:
    settings = row.settings
    if not isinstance(settings, dict) or row.n != n or any(settings.get(key) != value for key, value in about.items()):
        return False
    if settings.keys() - about.keys() - _USUAL:
        return False
    if attack is None:
        return row.what == "clean accuracy"
    judged = "any" if attack.stops_at_success else judge
    return (settings.get("attack"), settings.get("judge"), settings.get("seed")) == (attack.described, judged, seed)


def measured(
    folder: Path,
    name: str,
    attack: Attack | None,
    n: int,
    *,
    which: Which = "last",
    precision: Precision = "float32",
    data_root: Path | None = None,
    offline: bool = False,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    store: Callable[[Path, list[Measurement]], None] = append,
) -> Measurement:
    """Accuracy of a run's weights on the first n test images: known from before, or measured now and added to results.jsonl.

    name: what the row calls the attack. precision: while crafting. store: what adds a row to the file.
    """
    file, found = find_weights(folder, which)
    _, header = read_weights(file)
    about = {**about_weights(file, found, header), "precision": precision}
    results = folder / "results.jsonl"
    there = known(results, about, attack, n)
    if there is not None:
        return there
    test = test_images(header, file, data_root, offline=offline).take(slice(n)).to(device)
    model = prepare(load(file), torch.device(device), precision)
    run = str(header.get("run", file.stem))
    (row,) = evaluate(model, test, {name: attack}, run=run, settings=about, progress=progress)
    store(results, [row])
    return row
