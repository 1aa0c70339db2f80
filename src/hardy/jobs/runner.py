"""Runner: where jobs run, one at a time; Here is a process on this machine."""

import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import IO

import torch

from hardy.errors import HardyError
from hardy.jobs.beside import Beside
from hardy.jobs.job import Job, Place

BUSY = 75  # exit code of a worker whose job another process is doing


class LostError(HardyError):
    """The machine or the process that did a job is gone; what the job saved is not."""


class Runner(ABC):
    """Does one job at a time, in a process of its own. lag: seconds until what a job made is seen here, at most."""

    lag: float = 0

    @abstractmethod
    def run(self, job: Job, beside: Beside) -> int:
        """The exit code of a process that does the job and adds to its log. Raises: LostError."""

    @abstractmethod
    def stop(self) -> None:
        """Let the job under way save and end; none begins afterwards."""


class Here(Runner):
    """A process on this machine."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._child: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._guard = threading.Lock()

    def run(self, job: Job, beside: Beside) -> int:
        """The exit code of a process that does the job."""
        beside.tell(job, self.place)
        with self._guard:
            if self._stopped:
                return BUSY
            with beside.log.open("ab") as log:
                self._child = start(beside.told, log, {})
        return self._child.wait()

    def stop(self) -> None:
        """Let the job under way save and end."""
        with self._guard:
            self._stopped = True
            if self._child is not None:
                self._child.send_signal(signal.SIGTERM)


def start(told: Path, log: IO[bytes], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    """A process that does the job of a description, and ends when this one does."""
    # -P: a json.py where the user stands is not Python's. In a session of its own: Ctrl-C reaches this process alone,
    # which tells the others once
    command = [sys.executable, "-P", "-m", "hardy.jobs.work", str(told), str(os.getpid())]
    return subprocess.Popen(
        command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, **environment, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def on_each_gpu(place: Place) -> list[Here]:
    """A runner at the place itself where a device was asked for or there is no GPU, else one for each GPU."""
    if place.device is not None or not torch.cuda.is_available():
        return [Here(place)]
    return [Here(replace(place, device=f"cuda:{i}")) for i in range(torch.cuda.device_count())]
