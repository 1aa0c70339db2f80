"""Claim: what is claimed of a network at RobustBench: the entry of its model_info, and the text of the issue that asks for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hardy.describe import counted
from hardy.report.tables import with_interval
from hardy.results import Measurement


@dataclass(frozen=True)
class Paper:
    """What only its authors know of the paper that a network belongs to; "" where nothing was said."""

    title: str = ""
    link: str = ""
    authors: str = ""
    venue: str = ""


@dataclass(frozen=True)
class Claim:
    """name: of the model. dataset, norm, eps, architecture: RobustBench's spelling. in_zoo: whether its code has the network;
    made: what makes it, there or elsewhere, and takes the weights; normalises: by buffers mu and sigma among these.

    clean: accuracy on all test images. attacked: under AutoAttack's standard version in this ball, on as many images as it was
    measured on; None where it was not. verdict: of a diagnosis of these weights. The others: what only the user knows; None
    and "" where it was not said. weights: the file's name and SHA-256.
    """

    name: str
    paper: Paper
    dataset: str
    norm: str
    eps: str
    architecture: str
    in_zoo: bool
    made: str
    normalises: bool
    clean: Measurement
    attacked: Measurement | None
    verdict: str | None
    weights: tuple[str, str]
    additional_data: bool | None = None
    forward_passes: int | None = None
    reported: str = ""
    footnote: str = ""
    checkpoint: str = ""
    license: str = ""

    @property
    def complete(self) -> bool:
        """Whether AutoAttack was measured on all test images: what the leaderboard has is that number, and no other."""
        return self.attacked is not None and self.attacked.n == self.clean.n

    @property
    def info(self) -> dict[str, Any]:
        """Every field of model_info/<dataset>/<norm>/<name>.json; None, or no text, where nothing is known.

        unreliable: whether a diagnosis saw signs of masked gradients. `external`, which is for evaluations by others, and the
        fields of corruptions are left out.

        Source: RobustBench/robustbench @0132419, robustbench/utils.py (ModelInfo, ACC_FIELDS) and README.md ("Claim"); the
        fields footnote, unreliable and external as in model_info/cifar10/Linf/Kang2021Stable.json.
        """
        return {
            "link": self.paper.link,
            "name": self.paper.title,
            "authors": self.paper.authors,
            "additional_data": self.additional_data,
            "number_forward_passes": self.forward_passes,
            "dataset": self.dataset,
            "venue": self.paper.venue,
            "architecture": self.architecture,
            "eps": self.eps,
            "clean_acc": _number(self.clean),
            "reported": self.reported or None,
            "autoattack_acc": _number(self.attacked) if self.attacked is not None and self.complete else None,
            "footnote": self.footnote or None,
            "unreliable": None if self.verdict is None else self.verdict != "no sign",
        }

    @property
    def open(self) -> list[str]:
        """The fields that nothing is in yet, but could be; a footnote need not."""
        return [name for name, value in self.info.items() if value in (None, "") and name != "footnote"]

    @property
    def shortfall(self) -> str:
        """What keeps it from being a claim, in a sentence; "" where nothing does."""
        if self.complete:
            return ""
        n = self.clean.n
        if self.attacked is None:
            return f"AutoAttack was not measured in {self.norm} {self.eps}; RobustBench's number is that on all {n:,} images."
        return (
            f"AutoAttack was measured on the first {self.attacked.n:,} of {n:,} images: {with_interval(self.attacked)} %. "
            "RobustBench's number is that on all of them."
        )

    @property
    def doubt(self) -> str:
        """What `hardy diagnose` has against the number, in a sentence; "" where it has nothing, or was not asked."""
        if self.verdict in (None, "no sign"):
            return ""
        return f"The verdict of `hardy diagnose` on masked gradients is {self.verdict!r}: the number may be too high."

    @property
    def text(self) -> str:
        """The issue's text, by the form of RobustBench's template for new models.

        Source: RobustBench/robustbench @47a493f, .github/ISSUE_TEMPLATE/new-model.md; data set and footnote as in its issue 29.
        """
        paper, info = self.paper, self.info
        robust = f"{info['autoattack_acc']}" if self.complete else "not measured on all test images"
        parts = [f"<!-- Title of the issue: [New Model] {self.name} -->"]
        parts += [f"**Not yet a claim.** {self.shortfall}"] if self.shortfall else []
        parts += [f"**Unreliable.** {self.doubt}"] if self.doubt else []
        parts += [
            "# Paper Information",
            _items({"Paper Title": paper.title, "Paper URL": paper.link, "Paper authors": paper.authors}),
            "# Leaderboard Claim(s)",
            "## Model 1",
            _items({
                "Architecture": self.architecture,
                "Dataset": self.dataset,
                "Threat Model": self.norm,
                "eps": self.eps,
                "Clean accuracy": _number(self.clean),
                "Robust accuracy": robust,
                "Additional data": "" if self.additional_data is None else str(self.additional_data).lower(),
                "Evaluation method": self._method(),
                "Checkpoint and code": self._checkpoint(),
                **({"Footnote": self.footnote} if self.footnote else {}),
            }),
            "# Model Zoo:",
            "\n".join(self._zoo()),
        ]  # fmt: skip
        return "\n\n".join(parts) + "\n"

    def _method(self) -> str:
        row = self.attacked
        if row is None:
            return ""
        crafted = row.settings.get("precision", "float32")
        return (
            f"{row.settings.get('summary')}, {counted(row.n, 'image')}, seed {row.settings.get('seed')}, crafted in {crafted}, "
            f"every verdict a float32 forward pass; hardy {row.hardy}'s implementation, torch {row.torch}"
        )

    def _checkpoint(self) -> str:
        file, digest = self.weights
        normalised = ", in a subclass that normalises by the buffers mu and sigma" if self.normalises else ""
        where = self.checkpoint or "(address of the file)"
        return f"{where}: {file} (SHA-256 {digest}), a state_dict for `{self.made}`{normalised}"

    def _zoo(self) -> list[str]:
        mit, other = self.license.lower() == "mit", "" if self.license.lower() == "mit" else self.license
        return [
            "- [ ] I want to add my models to the Model Zoo (check if true)",
            f"- [{' ' if self.in_zoo else 'x'}] I use an architecture that is **not** included among those of the Model Zoo",
            f"- [{'x' if mit else ' '}] I agree to release my model(s) under MIT license (check if true) **OR**",
            f"- [{'x' if other else ' '}] I want my models to be released under a custom license, located here: {other}".rstrip(),
        ]


def _items(told: Mapping[str, str]) -> str:
    return "\n".join(f"- **{name}**: {value}".rstrip() for name, value in told.items())


def _number(row: Measurement) -> str:
    """In per cent with two digits, as RobustBench has it."""
    return f"{100 * row.value:.2f}"
