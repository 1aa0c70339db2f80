"""A queue on this machine: jobs one after another on each device, each in a process of its own, none of them twice."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from hardy.describe import describe
from hardy.errors import StoppedError, UsageError
from hardy.files import locked, make_folder, write_text
from hardy.jobs.job import Job, Place
from hardy.training.stopping import stops_on_request

BUSY = 75  # exit code of a worker whose job another process is doing
_TRIES = 2
_POLL = 0.5  # seconds

State = Literal["done", "running", "failed", "waiting"]


@dataclass(frozen=True)
class Failure:
    """A job that failed as often as it is tried, or that needs one which did. said: the end of its log."""

    job: str
    said: str
    log: Path | None


def state_of(job: Job, folder: Path) -> State:
    """How a job stands, of a queue that works in `folder`; running where any process is doing it."""
    if job.done():
        return "done"
    if _is_locked(job, folder):
        return "running"
    return "failed" if _path(job, folder, "failed").exists() else "waiting"


def run_jobs(
    jobs: Sequence[Job], folder: Path, places: Sequence[Place], note: Callable[[str], None] = lambda line: None
) -> list[Failure]:
    """Do every job that is not done yet, in order, those that others need before them; what failed is returned.

    folder: for the jobs' descriptions, locks and logs. places: one job at a time at each. A job that fails is tried a second
    time. What another queue is doing is waited for. Jobs whose process is killed go on the next time.

    Raises: WriteError if the folder cannot be made; StoppedError after SIGINT or SIGTERM, once the jobs under way have saved
    and ended; what a worker's thread raised, once the others have ended.
    """
    queue = _Queue(list(jobs), folder, note)
    make_folder(folder)
    threads = [threading.Thread(target=queue.work, args=(place,), daemon=True) for place in places]
    with stops_on_request() as asked:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(_POLL / 10)
            if asked.signal is not None and not queue.stopping:
                note("Stopping: the jobs under way save what they have.")
                queue.stop()
    if asked.signal is not None:
        left = sum(not job.done() for job in jobs)
        raise StoppedError(f"Stopped with {left} of {len(jobs)} jobs left; the same command goes on.", asked.signal)
    if queue.broken is not None:
        raise queue.broken
    return queue.failures


@dataclass
class _Queue:
    jobs: list[Job]
    folder: Path
    note: Callable[[str], None]
    failures: list[Failure] = field(default_factory=list)
    stopping: bool = False
    broken: Exception | None = None
    settled: set[str] = field(default_factory=set)  # done or failed
    taken: set[str] = field(default_factory=set)  # under way in this queue
    children: set["subprocess.Popen[bytes]"] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def work(self, place: Place) -> None:
        """Do jobs at one place until none is left."""
        try:
            while not self.stopping and (left := self._left()):
                job = self._take(left)
                if job is None:
                    time.sleep(_POLL)  # the rest is under way elsewhere, or waits for something that is
                    continue
                self._do(job, place)
                with self.guard:
                    self.taken.discard(job.name)
        except Exception as error:  # a thread's own end would be a trace on the screen, and no failure
            self.broken = error
            self.stop()

    def stop(self) -> None:
        """Take no more jobs, and ask those under way to save and end."""
        with self.guard:
            self.stopping = True
            for child in self.children:
                child.send_signal(signal.SIGTERM)

    def _left(self) -> list[Job]:
        return [job for job in self.jobs if job.name not in self.settled]

    def _take(self, left: list[Job]) -> Job | None:
        """The first job that can be done now, for this place alone."""
        with self.guard:
            for job in left:
                if job.name in self.taken or job.name in self.settled:
                    continue
                if job.done():
                    self.settled.add(job.name)
                    continue
                missing = next((need for need in job.needs if need.name in self.settled and not need.done()), None)
                if missing is not None:
                    self._fail(Failure(job.name, f"it needs {missing.name}", None))
                elif all(need.done() for need in job.needs) and not _is_locked(job, self.folder):
                    self.taken.add(job.name)
                    return job
            return None

    def _do(self, job: Job, place: Place) -> None:
        log, failed = (_path(job, self.folder, ending) for ending in ("log", "failed"))
        count = f"{len(self.settled) + 1} of {len(self.jobs)}"
        for attempt in range(1, _TRIES + 1):
            self.note(f"{count}: {job.name}" + (" again" if attempt > 1 else ""))
            code = self._run(job, place, log)
            if self.stopping or code == BUSY:
                return
            if code == 0 and job.done():
                failed.unlink(missing_ok=True)
                with self.guard:
                    self.settled.add(job.name)
                return
        said = _end(log)
        write_text(failed, said + "\n")
        with self.guard:
            self._fail(Failure(job.name, said, log))

    def _run(self, job: Job, place: Place, log: Path) -> int:
        """The exit code of a process that does the job."""
        told = _path(job, self.folder, "json")
        placed = {
            "data_root": place.data_root and str(place.data_root),
            "offline": place.offline,
            "device": place.device,
        }
        write_text(told, json.dumps({"job": describe(job), "place": placed}, indent=1) + "\n")
        # -P: a json.py where the user stands is not Python's. In a session of its own: Ctrl-C reaches this process alone,
        # which tells the others once
        command = [sys.executable, "-P", "-m", "hardy.jobs.work", str(told), str(os.getpid())]
        with log.open("ab") as out, self.guard:
            if self.stopping:
                return BUSY
            child = subprocess.Popen(
                command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )  # fmt: skip
            self.children.add(child)
        try:
            return child.wait()
        finally:
            with self.guard:
                self.children.discard(child)

    def _fail(self, failure: Failure) -> None:
        self.settled.add(failure.job)
        self.failures.append(failure)
        self.note(f"{failure.job} failed: {failure.said}")


def on_each_gpu(place: Place) -> list[Place]:
    """The place itself where a device was asked for or there is no GPU, else one for each GPU."""
    if place.device is not None or not torch.cuda.is_available():
        return [place]
    return [replace(place, device=f"cuda:{i}") for i in range(torch.cuda.device_count())]


def lock_of(told: Path) -> Path:
    """The lock that whoever does a job holds, beside its description."""
    return told.with_suffix(".lock")


def _path(job: Job, folder: Path, ending: str) -> Path:
    return folder / f"{job.name}.{ending}"


def _is_locked(job: Job, folder: Path) -> bool:
    lock = lock_of(_path(job, folder, "json"))
    if not lock.exists():
        return False
    with contextlib.suppress(UsageError), locked(lock, ""):
        return False
    return True


def _end(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
