"""Subject: the network that a command is told to look at, on the images that it is judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from hardy.attacks.balls import Ball, Linf, Norm
from hardy.cli.checks import device
from hardy.cli.console import err
from hardy.cli.flags import admit
from hardy.data.dataset import Dataset
from hardy.data.split import Split
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.evaluation.checks import inspect, normalisation
from hardy.files import digest
from hardy.jobs.measure import about_weights, test_images
from hardy.models import foreign, foreign_files
from hardy.models.checkpoints import Which, digest_of, find_weights, load, read_weights
from hardy.models.classifier import Architecture, Classifier, set_normalisation
from hardy.models.own import OwnNetwork

USUAL: Mapping[Norm, float] = {"linf": 8 / 255, "l2": 0.5}  # the radius where nothing says one
_COMPARED = 400  # images on which a file's normalisation is tried; a wrong one costs many points


@dataclass(frozen=True, kw_only=True)
class Flags:
    """The flags that say which network is meant and which images, of every command that looks at networks."""

    weights: Which | None = None  # of a run; where left out the best if it chose one on held-out images, else the last
    model: Annotated[
        Architecture | None,
        tyro.conf.arg(
            metavar="NAME",
            help="the network's name, or module:function, where the weights do not say it",
            help_behavior_hint="(default: what the weights say)",
        ),
    ] = None
    data: Annotated[
        Dataset | None,
        tyro.conf.arg(
            metavar="NAME",
            help="the data set's name, where the weights do not say it, or another is meant",
            help_behavior_hint="(default: what the weights say)",
        ),
    ] = None
    data_root: Path | None = None  # folder of the data set's files; else $HARDY_DATA, then the user's cache
    offline: bool = False  # open no connection
    device: str | None = None  # cpu, cuda, cuda:1; a GPU where there is one

    @property
    def told(self) -> "Told":
        """What they say. Raises: UsageError for a device that cannot be used."""
        return Told(self.weights, self.model, self.data, self.data_root, self.offline, device(self.device))


@dataclass(frozen=True)
class Told:
    """What a command's flags say of its networks.

    weights: which of a run. model: the architecture of weights that do not say it. data: where it is not that of the
    network's training. root, offline: where its files are. device: where the network is tried.
    """

    weights: Which | None
    model: Architecture | None
    data: Dataset | None
    root: Path | None
    offline: bool
    device: torch.device

    def images(self, test: Split | None) -> Split | None:
        """All test images of the data named, unless there are some; None where no data is named."""
        if test is not None or self.data is None:
            return test
        return self.data.load(self.root, offline=self.offline)[1]


@dataclass(frozen=True)
class Subject:
    """model: in evaluation mode. test: all test images. about: for rows. title: for people. run: for rows.

    eps: the Linf radius it was trained with, where that is known. asked: whether it needed the architecture that was told.
    """

    model: Classifier
    test: Split
    about: Mapping[str, Any]
    title: str
    run: str
    eps: float | None = None
    asked: bool = False


def subject(source: Path, told: Told, test: Split | None = None) -> Subject:
    """What a run's folder, a published name, a weights file, or module:function stands for; said to people on the way.

    test: the images it is judged by, where these are not those of its own data: of a network that attacks are crafted on.

    Raises: UsageError where a file is damaged or of another network, or nothing tells the network or its data; for a network
    whose numbers would be meaningless on these images.
    """
    found = _found(source, told, test)
    try:
        sentences = inspect(found.model.to(told.device), found.test.take(slice(200)).to(told.device))
    except UsageError as error:
        raise UsageError(f"{source} cannot be evaluated. {error}") from error
    for sentence in sentences:
        err.print(sentence if test is None else f"{found.title}, for crafting: {sentence}")
    return found


def _found(source: Path, told: Told, test: Split | None) -> Subject:
    if ":" in str(source) and not source.exists():
        return _from_code(str(source), told, test)
    file, which = find_weights(source, told.weights if test is None else None)
    if file.is_file() and foreign_files.is_foreign(file):
        return _from_elsewhere(file, told, test)
    _, header = read_weights(file)
    made = load(file)
    if told.data is None and "data" not in header and test is None:
        raise _missing(file)
    images = told.images(test) or test_images(header, file, told.root, offline=told.offline)
    _check_classes(file, header, images, asked=told.data is not None)
    about = about_weights(file, which, header)
    if told.data is not None and describe(told.data) != header.get("data"):
        about["data set"] = describe(told.data)  # its rows are not those of the run's own images
    title = f"{which} weights of {source}" if which else str(source)
    run, eps = str(header.get("run", file.stem)), _training_eps(header, file)
    return Subject(made, images, about, title, run, eps)


def _from_code(name: str, told: Told, test: Split | None) -> Subject:
    architecture = admit(name)
    images = told.images(test)
    if images is None:
        raise _missing(name)
    model = architecture.build(len(images.classes), images.shape[0]).eval()
    about = {"weights": "code", "weights sha256": digest_of(model.state_dict()), "network": describe(architecture)}
    return Subject(model, images, about, name, name)


def _from_elsewhere(file: Path, told: Told, test: Split | None) -> Subject:
    state = foreign_files.read(file)  # a file that holds no weights is told of before anything is asked about them
    nowhere = told.data is None and test is None
    if told.model is None or nowhere:
        raise _missing(file, network=told.model is None, data=nowhere)
    images = told.images(test)
    assert images is not None
    found = foreign.load(state, told.model, len(images.classes))
    for note in found.notes:
        err.print(note)
    about = {"weights": "file", "weights sha256": digest(file), "network": describe(found.architecture)}
    if found.mean is not None and found.deviation is not None and found.architecture != told.model:
        some = images.take(slice(_COMPARED)).to(told.device)
        both = normalisation(found.model.to(told.device), found.mean, found.deviation, some)
        taken = "with" if both.better else "without"
        err.print(f"{both.summary} The network is evaluated {taken} it.")
        if not both.better:
            set_normalisation(found.model)
        about["normalisation"] = taken
    return Subject(found.model, images, about, str(file), file.stem, asked=True)


def _check_classes(file: Path, header: Mapping[str, Any], images: Split, *, asked: bool) -> None:
    """Raises UsageError where the images' classes are not those of training, by name and order; of other data asked for, says so.

    Weights of earlier versions do not tell theirs.
    """
    trained = header.get("class names", list(images.classes))
    if not isinstance(trained, list) or trained == list(images.classes):
        return
    differ = f"{file} was trained on the classes {_listed(trained)}; those of the images are {_listed(images.classes)}"
    if not asked:
        raise UsageError(f"{differ}. They must be the same, in the same order: was a folder renamed, added or removed?")
    err.print(f"{differ}. The first is taken for the first, and so on.")


def _listed(names: Sequence[Any], most: int = 12) -> str:
    return ", ".join(map(str, names[:most])) + ", ..." * (len(names) > most)


def check_model_wanted(flags: Flags, source: Path, *subjects: Subject) -> None:
    """Raises UsageError where an architecture was named, and every network says itself which it is."""
    if not (flags.model is None or isinstance(flags.model, OwnNetwork) or any(it.asked for it in subjects)):
        raise UsageError(f"{source} says itself which network it is; leave --model out.")


def _missing(source: object, *, network: bool = False, data: bool = True) -> UsageError:
    """The error for weights or code that do not say which network they are of, or which data it is for, nor did the user."""
    lists = "`hardy list models` and `hardy list data` have the names"
    if network and data:
        return UsageError(
            f"{source} does not say which network its weights belong to, nor which data they are for; name both, as in "
            f"--model preact_resnet_18 --data cifar10 ({lists})."
        )
    if network:
        return UsageError(
            f"{source} does not say which network its weights belong to; name it, as in --model preact_resnet_18 or "
            "--model mypackage.mymodule:build (`hardy list models` has the names)."
        )
    return UsageError(f"{source} does not say which data its network is for; name it, as in --data cifar10.")


def _training_eps(header: Mapping[str, Any], file: Path) -> float | None:
    """The Linf radius that weights were trained with, by their header; None without an adversary, or where it does not say."""
    if header.get("ball") is None:
        return None
    try:
        ball = rebuild(header["ball"], Ball)  # type: ignore[type-abstract]
    except UsageError as error:
        raise UsageError(f"{file} does not say which ball its network was trained against: {error}") from error
    return ball.eps if isinstance(ball, Linf) else None
