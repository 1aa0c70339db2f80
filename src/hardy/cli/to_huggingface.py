"""The export for the Hugging Face hub: safetensors, config.json, a model card, and the layers for PyTorch alone."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from hardy.cli.shared import Shared
from hardy.describe import describe
from hardy.files import digest, write_bytes, write_text
from hardy.models import robustbench
from hardy.models.checkpoints import load, save_weights
from hardy.models.classifier import parameter_count
from hardy.models.own import OwnNetwork, arguments
from hardy.report.card import Card, card, config

_WEIGHTS = "model.safetensors"


def write(of: Shared, folder: Path) -> list[str]:
    """Write its files; what is to be said of them."""
    known, file = of.known, folder / _WEIGHTS
    if known.ours and known.file is not None:
        write_bytes(file, known.file.read_bytes())  # the very file that was measured: its digest is in the rows
    else:
        told = {"run": of.it.run, "data": known.data, "shape": of.it.test.shape, "class names": of.it.test.classes}
        channels = of.it.test.shape[0]
        save_weights(file, of.it.model.state_dict(), of.architecture, of.classes, channels, told)
    of.verify(load(file), _WEIGHTS)
    of.layers(folder, load_file(file))
    made = _card(of, digest(file))
    settings = config(made, version("hardy"))
    write_text(folder / "config.json", json.dumps(settings, indent=2) + "\n")
    write_text(folder / "README.md", card(made))
    said = [known.unfinished] if known.unfinished else []
    said += [] if of.options.license else ["The card names no license; --license does."]
    places = [place for place in _texts(settings) if Path(place).is_absolute()]
    if places:
        said.append(
            "config.json, and the weights' header and the card where they have these settings, name places on this machine: "
            f"{', '.join(dict.fromkeys(places))}."
        )
    return said


def _card(of: Shared, sha256: str) -> Card:
    it, known, which = of.it, of.known, of.it.about["weights"]
    source = of.architecture.source if isinstance(of.architecture, OwnNetwork) else None
    return Card(
        name=of.name,
        paper=of.options.paper,
        license=of.options.license,
        network=describe(of.architecture),
        architecture=robustbench.entry(of.architecture, of.classes).architecture,
        parameters=parameter_count(it.model),
        shape=it.test.shape,
        classes=it.test.classes,
        file=_WEIGHTS,
        digest=sha256,
        measured=str(it.about["weights sha256"]),
        clean=of.clean,
        rows=known.rows,
        diagnoses=known.diagnoses,
        trained=str(known.ball) if known.ball else None,
        run=known.run,
        which=which if which in ("best", "last") else None,
        data=known.data,
        code=source,
        arguments=arguments(source, of.classes) if source else "",
        steps=known.steps,
        unfinished=known.unfinished,
    )


def _texts(value: Any) -> Iterator[str]:
    """Every text in JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
