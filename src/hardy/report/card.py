"""Card: a network's model card for the Hugging Face hub: numbers, threat model, data, training, limits, how to load it."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hardy.describe import counted
from hardy.report.claim import Paper
from hardy.report.collect import Diagnosed
from hardy.report.document import Block, Document, Items, Paragraph, Section, grid
from hardy.report.plain import markdown
from hardy.report.tables import with_interval
from hardy.report.training import leaves, text
from hardy.results import Measurement

# our settings' names -> ids at huggingface.co/datasets
_DATASETS = {"CIFAR10": "uoft-cs/cifar10", "CIFAR100": "uoft-cs/cifar100"}
_TAGS = ["adversarial-robustness", "adversarial-training", "image-classification", "pytorch"]
_VERSIONS = ("hardy", "commit", "torch", "python", "device", "precision", "started")
_UNDER = "accuracy under "
_READING = (
    "Accuracies in %, each with the 95 % interval of having tested these images and no others. What PGD, CW and NATTACK leave "
    "is an upper bound of robustness, and for some networks a loose one; AutoAttack's number is the one to quote."
)


@dataclass(frozen=True)
class Card:
    """name: of the model. network: its settings as JSON has them, architecture: in words. shape: of an image.

    file, digest: of its weights here. measured: SHA-256 of the file that the rows are of, another one where that was not
    hardy's. clean: accuracy on all test images. rows: the others, one for each measurement. trained: the adversary's ball in
    training, None without one or where it is not known. run: what run.json tells, nothing where there was none. which: "last"
    or "best" weights of a run. steps: after how many of how many they were saved. unfinished: a sentence on a run that was not
    trained to its end. data: settings of the data that judged it. code: module:function of the user's own network; arguments: of
    that function.
    """

    name: str
    paper: Paper
    license: str
    network: Any
    architecture: str
    parameters: int
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    file: str
    digest: str
    measured: str
    clean: Measurement
    rows: tuple[Measurement, ...]
    diagnoses: tuple[Diagnosed, ...]
    trained: str | None
    run: Mapping[str, Any]
    which: str | None
    data: Mapping[str, Any]
    code: str | None = None
    arguments: str = ""
    steps: tuple[int, int] | None = None
    unfinished: str = ""


def card(of: Card) -> str:
    """README.md of the model's repository: metadata in front, then the card.

    Source (of the metadata's fields): huggingface/hub-docs, modelcard.md. Its values are JSON, which is YAML too.
    """
    front = "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _metadata(of).items())
    return f"---\n{front}\n---\n\n{markdown(_document(of))}"


def config(of: Card, version: str) -> dict[str, Any]:
    """config.json: everything that is not a tensor. version: of hardy, that wrote it."""
    trained = {name: value for name, value in of.run.items() if name != "run"}
    if "origin" in trained:
        trained["origin"] = _placeless(str(trained["origin"]))
    return {
        "model": of.network,
        "shape": of.shape,
        "class names": of.classes,
        "weights": {"file": of.file, "sha256": of.digest, "measured sha256": of.measured, "which": of.which},
        "data": of.data,
        "run": of.run.get("run"),
        "trained": trained,
        "hardy": version,
    }


def _metadata(of: Card) -> dict[str, Any]:
    judge = str(of.data.get("type"))
    trained_on = _DATASETS.get(str(of.run.get("run", {}).get("data", {}).get("type")))
    found = {
        "task": {"type": "image-classification"},
        "dataset": {
            "name": _images(of).partition(";")[0],
            "type": _DATASETS.get(judge, judge.lower()),
            "split": "test",
        },
        "metrics": [
            {"type": "accuracy", "name": _named(row), "value": round(100 * row.value, 2)}
            for row in (of.clean, *of.rows)
        ],
    }
    return {
        **_license(of),
        "library_name": "hardy",
        "pipeline_tag": "image-classification",
        "tags": _TAGS,
        **({"datasets": [trained_on]} if trained_on else {}),
        "metrics": ["accuracy"],
        "model-index": [{"name": of.name, "results": [found]}],
    }


def _named(row: Measurement) -> str:
    """What a number is of, for a reader who sees no table beside it."""
    how = _how(row)
    return f"{row.what}{f' ({how})' if how else ''}, {counted(row.n, 'image')}"


def _license(of: Card) -> dict[str, str]:
    """The hub's ids are in small letters; one that it has no id for is an address, with a name beside."""
    if "://" in of.license:
        return {"license": "other", "license_name": f"{of.name.lower()}-license", "license_link": of.license}
    return {"license": of.license.lower()} if of.license else {}


def _document(of: Card) -> Document:
    lead = (
        f"{of.architecture} with {of.parameters:,} parameters, for images of {'x'.join(map(str, of.shape))} values in [0, 1] "
        f"(channels, rows, columns) and {len(of.classes)} classes. It gives logits; normalisation is inside. `{of.file}` has the "
        f"SHA-256 {of.digest}; it was read back, and gives the logits that were measured, to the last bit, on "
        f"{counted(of.clean.n, 'image')}."
    )
    sections = [
        Section("measured", "Measured", tuple(_measured(of))),
        Section("threat", "Threat model", (Paragraph(_threat(of)),)),
        Section("data", "Data", (Items(tuple(_data(of))),)),
        Section("training", "Training", tuple(_training(of))),
        Section("limits", "Limits", (Items(tuple(_limits(of))),)),
        Section("loading", "How to load it", tuple(_loading(of))),
    ]
    if of.paper.title:
        told = ", ".join(filter(None, (of.paper.authors, f"*{of.paper.title}*", of.paper.venue, of.paper.link)))
        sections.append(Section("paper", "Paper", (Paragraph(f"{told}."),)))
    return Document(of.name, lead, tuple(sections))


def _measured(of: Card) -> Iterator[Block]:
    yield Paragraph(f"{_images(of)}. {_READING}")
    lines = [
        (row.what.removeprefix(_UNDER), _how(row), with_interval(row), f"{row.n:,}") for row in (of.clean, *of.rows)
    ]
    yield grid("", ("attack", "how", "accuracy", "images"), lines, left=2)
    by = dict.fromkeys(f"hardy {row.hardy}, torch {row.torch}, on {row.device}" for row in (of.clean, *of.rows))
    yield Paragraph(f"Measured with {'; '.join(by)}.")
    if of.measured != of.digest:
        yield Paragraph(
            f"All but clean accuracy are of the file with the SHA-256 {of.measured}; these are the same weights."
        )


def _how(row: Measurement) -> str:
    if row.settings.get("attack") is None:
        return ""
    judged = "; judged at the last iterate" if row.settings.get("judge") == "last" else ""
    crafted = "; crafted on another network" if "crafted on" in row.settings else ""
    precision = row.settings.get("precision", "float32")
    lower = f"; crafted in {precision}" if precision != "float32" else ""
    return f"{row.settings.get('summary', '')}{judged}{crafted}{lower}; seed {row.settings.get('seed')}"


def _threat(of: Card) -> str:
    without = (
        "It was trained without an adversary. "
        if "run" in of.run
        else "Which adversary it was trained with is not told. "
    )
    trained = f"It was trained against perturbations within {of.trained}, in pixel units of [0, 1]. "
    return (trained if of.trained else without) + (
        "Each attack above may move every image within the ball that its line names, and keeps pixels in [0, 1]; it knows the "
        "network and its gradients, but where it is a black box or crafted on another network. An image counts as robust if it "
        "is classified correctly as it is and after the attack. Other norms, larger radii, patches, shifts and natural "
        "corruptions are no part of these numbers."
    )


def _data(of: Card) -> Iterator[str]:
    settings = of.run.get("run", {})
    origin = of.run.get("origin")
    yield f"Trained on: {_placeless(str(origin)) if origin else 'not told'}."
    if isinstance(settings.get("extra"), Mapping):
        extra = ", ".join(f"{name} {text(value)}" for name, value in leaves(settings["extra"]))
        yield f"Images beyond the data set were mixed into each batch: {extra}."
    yield f"Judged by: {_images(of)}."
    yield f"Classes, in the order of the logits: {', '.join(of.classes)}."


def _training(of: Card) -> Iterator[Block]:
    if "run" not in of.run:
        yield Paragraph("These weights came without the record of their run: how they were trained is not told.")
        return
    versions = ", ".join(f"{name} {of.run[name]}" for name in _VERSIONS if of.run.get(name) is not None)
    after = f", after {of.steps[0]:,} of {of.steps[1]:,} steps" if of.steps else ""
    which = f" These are its {of.which} weights{after}." if of.which else ""
    yield Paragraph(f"By `hardy train` ({versions}), with these settings, which `config.json` has too.{which}")
    settings = [(name, text(value)) for name, value in leaves(of.run["run"])]
    yield grid("", ("setting", "value"), settings, left=2)


def _limits(of: Card) -> Iterator[str]:
    auto = [
        row
        for row in of.rows
        if re.match(rf"{_UNDER}autoattack(?!-rand)", row.what) and "crafted on" not in row.settings
    ]
    most = max((row.n for row in auto), default=0)
    if most == 0:
        yield "AutoAttack was not measured: no number here is one to quote as robustness."
    elif most < of.clean.n:
        yield f"AutoAttack was measured on {counted(most, 'image')} of {of.clean.n:,} only."
    yield "Nothing is certified: a stronger attack may break more images."
    yield from [of.unfinished] if of.unfinished else []
    if not of.diagnoses:
        yield "It was not tested for masked gradients."
    for it in of.diagnoses:
        yield f"Signs of masked gradients ({it.ball}, {counted(it.n, 'image')}): {it.verdict}. {it.why}"
    yield "The intervals say how far a number may move with other test images; networks of other seeds differ too."
    yield "Every image is given one of its classes, whatever it shows."


def _loading(of: Card) -> Iterator[Block]:
    shape = ", ".join(map(str, of.shape))
    call = f"logits = model(images)  # float32 (N, {shape}), pixels in [0, 1]"
    own = [f'hardy.models.own("{of.code}")  # the function that builds it'] if of.code else []
    yield Paragraph("With hardy, which attacks and measures it:")
    yield _python("import hardy", "", *own, f'model = hardy.load("{of.file}")', call)
    if of.code:
        yield Paragraph("With PyTorch alone, by the function that builds it, whose code is not here:")
        yield _python(*_by_function(of, of.code, call))
        return
    yield Paragraph("With PyTorch alone; `network.py`, beside the weights, has the layers:")
    yield _python(
        "from safetensors.torch import load_file",
        "",
        "from network import network",
        "",
        "model = network()",
        f'model.load_state_dict(load_file("{of.file}"))',
        call,
    )


def _by_function(of: Card, code: str, call: str) -> Iterator[str]:
    """The lines that load weights into what one's own function builds, and normalise where hardy did."""
    module, _, function = code.partition(":")
    mean, deviation = of.network.get("mean"), of.network.get("deviation")
    yield from (*(["import torch"] if mean else []), "from safetensors.torch import load_file", "")
    yield from (f"from {module} import {function}", "", f"model = {function}({of.arguments}).eval()")
    yield f'tensors = load_file("{of.file}")'
    yield 'model.load_state_dict({name.removeprefix("module."): value for name, value in tensors.items()})'
    if mean:
        yield f"mean, deviation = (torch.tensor(each).view(1, -1, 1, 1) for each in ({list(mean)}, {list(deviation)}))"
        call = call.replace("model(images)", "model((images - mean) / deviation)")
    yield call


def _python(*lines: str) -> Paragraph:
    return Paragraph("\n".join(("```python", *lines, "```")))


def _images(of: Card) -> str:
    """What it is judged by."""
    return _placeless(str(of.clean.settings.get("data", "")))


def _placeless(origin: str) -> str:
    """Where images come from, without where they lay on the user's machine."""
    return re.sub(r" from [^;]*[/\\][^;]*(?=;|$)", "", origin)
