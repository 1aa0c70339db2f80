"""Asked: a table at one scale as it was asked for: its jobs, and what they have found, as lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from hardy.errors import UsageError
from hardy.jobs import Diagnose, Job, Train
from hardy.jobs.measures import Accuracy, AtEpoch, MeanAccuracy, Measure, Network, StepCost
from hardy.jobs.queue import with_needs
from hardy.recipes.table import Also, Column, Part, Row, Scale, Setting, Table
from hardy.report.tables import Line
from hardy.training.precision import Precision


@dataclass(frozen=True)
class Asked:
    """seeds: how many networks of each row. titles: of the rows; None is all. out: the folder of all tables' runs.

    Raises: UsageError for a scale or row that the table has not.
    """

    table: Table
    scale: Scale
    seeds: int
    titles: tuple[str, ...] | None
    also: tuple[Also, ...]
    precision: Precision
    out: Path

    def __post_init__(self) -> None:
        if self.scale not in self.table.settings:
            scales = ", ".join(self.table.settings)
            raise UsageError(f"{self.table.name} has no scale {self.scale!r}; it has {scales}.")
        known = self.setting.rows
        for title in self.titles or ():
            if title not in known:
                raise UsageError(
                    f"{self.table.name} has no row {title!r} at scale {self.scale}; it has {', '.join(known)}."
                )

    @property
    def setting(self) -> Setting:
        """The table at the scale."""
        return self.table.settings[self.scale]

    @property
    def folder(self) -> Path:
        """Where the runs of this scale are, those of all tables."""
        return self.out / self.scale

    @property
    def diagnosed(self) -> bool:
        """Whether verdicts stand beside the rows."""
        return "diagnosis" in (*self.also, *self.table.always)

    @property
    def judges(self) -> bool:
        """Whether a column is of networks' weights on test images, and not of training alone."""
        return not all(isinstance(measure, AtEpoch | StepCost) for measure in self._measures)

    @property
    def stops(self) -> bool:
        """Whether a column's attack stops at a success: what that is crafted in is the precision asked for."""
        several = [measure.of if isinstance(measure, MeanAccuracy) else (measure,) for measure in self._measures]
        of_attacks = [one for of in several for one in of if isinstance(one, Accuracy)]
        return any(one.attack is not None and one.attack.stops_at_success for one in of_attacks)

    @property
    def chosen_of(self) -> dict[str, int]:
        """Of how many networks each row that stands for the best or worst of its seeds is chosen; of those that have one."""
        rows = [title for title, (_, row) in self.setting.rows.items() if row.of != "each"]
        found = {title: len(self._ranks(list(self._measured(title)))) for title in rows}
        return {title: n for title, n in found.items() if n}

    @property
    def _measures(self) -> list[Measure]:
        return [column.measure for part in self.setting.parts for column in self.columns(part)]

    def columns(self, part: Part) -> tuple[Column, ...]:
        """A part's columns, and AutoAttack's where it was asked for."""
        added = part.beside.autoattack
        wanted = "autoattack" in self.also and added.title not in [column.title for column in part.columns]
        return (*part.columns, added) if wanted else part.columns

    def jobs(self) -> list[Job]:
        """All that must be done, each once; what others need comes before them."""
        wanted: list[Job] = []
        for title, (part, row) in self.setting.rows.items():
            for seed in range(self._seeds(title)):
                network = self._network(row, seed)
                wanted += [job for column in self.columns(part) for job in column.measure.jobs(network)]
                wanted += [self._diagnose(part, row, seed)] if self.diagnosed else []
        return with_needs(wanted)

    def lines(self) -> list[Line]:
        """What was asked for, and what was measured before of other rows and seeds."""
        return [line for title in self.setting.rows for of_seed in self._shown(title) for line in of_seed]

    def verdicts(self, lines: Sequence[Line]) -> dict[tuple[str, int], dict[str, Any]]:
        """What the diagnosis of each row and seed among the lines has found, where it is there."""
        shown = dict.fromkeys((line.row, line.seed) for line in lines) if self.diagnosed else {}
        found = {(title, seed): self._diagnose(*self.setting.rows[title], seed).result() for title, seed in shown}
        return {place: said for place, said in found.items() if said is not None}

    def _seeds(self, title: str) -> int:
        return self.seeds if self.titles is None or title in self.titles else 0

    def _network(self, row: Row, seed: int) -> Network:
        return Network(Train(replace(row.run, seed=seed), str(self.folder)), self.precision, self.table.weights)

    def _diagnose(self, part: Part, row: Row, seed: int) -> Diagnose:
        train = self._network(row, seed).train
        return Diagnose(train, part.beside.ball, part.beside.plan, self.precision, self.table.weights)

    def _shown(self, title: str) -> list[list[Line]]:
        """The lines of a row, seed by seed; of one that stands for the best or worst of its seeds that one's.

        Where none has the number by which they are told apart, there is no best or worst, and no number is shown as such.
        """
        _, row = self.setting.rows[title]
        by_seed = list(self._measured(title))
        if row.of == "each":
            return by_seed
        ranked = self._ranks(by_seed)
        if not ranked:
            return [[replace(line, measured=None) for line in lines] for lines in by_seed[:1]]
        choose = max if row.of == "best" else min
        return [by_seed[choose(ranked, key=lambda seed: ranked[seed])]]

    def _ranks(self, by_seed: Sequence[Sequence[Line]]) -> dict[int, float]:
        """The number by which seeds are told apart, of those that have it."""
        return {
            seed: line.measured.value
            for seed, lines in enumerate(by_seed)
            for line in lines
            if line.column == self.table.ranked_by and line.measured is not None
        }

    def _measured(self, title: str) -> Iterator[list[Line]]:
        """The lines of each seed that was asked for, or of which there is something."""
        part, row = self.setting.rows[title]
        for seed in count():
            network = self._network(row, seed)
            found = {column.title: column.measure.found(network) for column in self.columns(part)}
            if seed >= self._seeds(title) and not any(found.values()):
                return
            yield [
                Line(title, column, seed, self.table.printed(self.scale, title, column), it)
                for column, it in found.items()
            ]
