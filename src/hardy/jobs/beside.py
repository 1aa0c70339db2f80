"""What lies beside a job in its queue's folder: description, lock, sign of life, log; and how the job stands by them."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hardy.describe import describe
from hardy.errors import UsageError
from hardy.files import locked, write_text
from hardy.jobs.job import Job, Place

BEAT, STALE = 10.0, 60.0  # seconds between two signs of life, and until a machine that gives none is taken for lost
LAG = 60.0  # seconds until a network file system shows what another machine wrote, at most

State = Literal["done", "running", "failed", "waiting"]


@dataclass(frozen=True)
class Beside:
    """The files of one job. told: its description."""

    told: Path

    @classmethod
    def of(cls, job: Job, folder: Path) -> "Beside":
        """Those of a job in the folder of a queue."""
        return cls(folder / f"{job.name}.json")

    @property
    def lock(self) -> Path:
        """What whoever does the job holds."""
        return self.told.with_suffix(".lock")

    @property
    def life(self) -> Path:
        """What whoever does the job touches: on a network file system locks of other machines may not be seen."""
        return self.told.with_suffix(".life")

    @property
    def log(self) -> Path:
        """What was said while it was done, at every attempt."""
        return self.told.with_suffix(".log")

    @property
    def failed(self) -> Path:
        """The end of the log, where the job failed."""
        return self.told.with_suffix(".failed")

    def tell(self, job: Job, place: Place) -> None:
        """Write the description."""
        placed = {
            "data_root": place.data_root and str(place.data_root),
            "offline": place.offline,
            "device": place.device,
        }
        write_text(self.told, json.dumps({"job": describe(job), "place": placed}, indent=1) + "\n")

    def said(self) -> str:
        """The end of the log."""
        lines = [line for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    def runner(self) -> str | None:
        """The machine on which a process does the job; None where none does.

        Of a process on this machine its lock tells; of one on another machine its sign of life, too.
        """
        life, age = self._life()
        host = str(life.get("host", "this machine"))
        if self._is_locked():
            silent = bool(life) and age > STALE and life.get("kernel") != _kernel()
            return f"{host}, without a sign of life for {age / 60:.0f} minutes" if silent else host
        return host if self._lives_elsewhere(life, age) else None

    def elsewhere(self) -> bool:
        """Whether a process on another machine does the job."""
        return self._lives_elsewhere(*self._life())

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Give signs of life until the end."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(BEAT):
                with contextlib.suppress(OSError):
                    os.utime(self.life)

        write_text(
            self.life, json.dumps({"host": socket.gethostname(), "kernel": _kernel(), "process": os.getpid()}) + "\n"
        )
        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            self.life.unlink(missing_ok=True)

    def _life(self) -> tuple[dict[str, Any], float]:
        """What the last sign of life says, and its age in seconds."""
        with contextlib.suppress(OSError, ValueError), self.life.open(encoding="utf-8") as file:
            return json.load(file), time.time() - os.fstat(
                file.fileno()
            ).st_mtime  # of an open file the time is no old one
        return {}, 0.0

    @staticmethod
    def _lives_elsewhere(life: dict[str, Any], age: float) -> bool:
        return bool(life) and age < STALE and life.get("kernel") != _kernel()

    def _is_locked(self) -> bool:
        if not self.lock.exists():
            return False
        with contextlib.suppress(UsageError), locked(self.lock, ""):
            return False
        return True


def state_of(job: Job, folder: Path) -> State:
    """How a job stands, of a queue that works in `folder`; running where any process is doing it."""
    if job.done():
        return "done"
    beside = Beside.of(job, folder)
    if beside.runner() is not None:
        return "running"
    return "failed" if beside.failed.exists() else "waiting"


def comes(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition holds, or comes to within so many seconds."""
    end = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < end:
        time.sleep(0.5)
    return holds


def _kernel() -> str:
    """The same for all processes that see each other's locks for sure; elsewhere another, whatever names machines have."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    return socket.gethostname()
