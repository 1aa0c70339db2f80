"""TensorBoard events of a run, where tensorboard is installed; metrics.jsonl has the same numbers everywhere."""

import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NOT_VALUES = ("kind", "step", "epoch", "n")


class Events:
    """Writes the rows of metrics.jsonl as scalars, named kind/value, into the folder tensorboard/ of a run.

    after: the step a run goes on from; events beyond it, of a killed process, are struck out.
    """

    def __init__(self, folder: Path, after: int) -> None:
        self._folder, self._after = folder / "tensorboard", after
        self._writer: Any = None

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the numbers of a row, and have them written."""
        writer = self._opened()
        if writer is None:
            return
        # a disk that is full is told by whoever writes the rows themselves
        with contextlib.suppress(OSError):
            for name, value in {**row, **row.get("terms", {})}.items():
                if name not in _NOT_VALUES and isinstance(value, int | float):
                    writer.add_scalar(f"{row['kind']}/{name}", value, row["step"])
            writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()

    def _opened(self) -> Any:
        """TensorBoard's writer, made when there is something to write; None where tensorboard is not installed."""
        if self._writer is None and importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=self._after + 1)
        return self._writer
