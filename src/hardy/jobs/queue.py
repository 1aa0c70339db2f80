"""A queue of jobs: which of them may begin now, at runners here or on a cluster, none of them twice."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hardy.errors import StoppedError
from hardy.files import make_folder, write_text
from hardy.jobs.beside import Beside, comes
from hardy.jobs.job import Job
from hardy.jobs.runner import BUSY, LostError, Runner
from hardy.training.stopping import stops_on_request

_TRIES = 2
_LOSSES = 5  # of a job's machine or process, until it is taken for the job's own fault
_POLL = 0.5  # seconds


@dataclass(frozen=True)
class Failure:
    """A job that failed as often as it is tried, or that needs one which did. said: the end of its log."""

    job: str
    said: str
    log: Path | None


def run_jobs(
    jobs: Sequence[Job], folder: Path, runners: Sequence[Runner], note: Callable[[str], None] = lambda line: None
) -> list[Failure]:
    """Do every job that is not done yet, in order, and before it what it needs; what failed is returned.

    folder: for the jobs' descriptions, locks and logs. runners: one job at a time at each. A job that fails is tried a second
    time, one whose machine is lost goes on elsewhere. What another queue is doing is told, and waited for. What a killed queue
    left goes on the next time.

    Raises: WriteError if the folder cannot be made; StoppedError after SIGINT or SIGTERM, once the jobs under way have saved
    and ended; what broke beside the jobs, once those under way have ended.
    """
    queue = _Queue(with_needs(jobs), folder, note)
    make_folder(folder)
    free, threads = list(runners), list[threading.Thread]()
    with stops_on_request() as asked:
        while True:
            if asked.signal is not None and not queue.stopping:
                note("Stopping: the jobs under way save what they have.")
                queue.stop()
            while free and (job := queue.take()) is not None:
                threads.append(threading.Thread(target=queue.do, args=(job, free.pop(0), free), daemon=True))
                threads[-1].start()
            threads = [thread for thread in threads if thread.is_alive()]
            if not threads and queue.ended:
                break
            if not threads:
                queue.tell_of_others()
            queue.changed.wait(_POLL)  # what is not under way here is so elsewhere, or waits for something that is
            queue.changed.clear()
    if asked.signal is not None:
        left = sum(not job.done() for job in queue.jobs)
        raise StoppedError(
            f"Stopped with {left} of {len(queue.jobs)} jobs left; the same command goes on.", asked.signal
        )
    if queue.broken is not None:
        raise queue.broken
    return queue.failures


def with_needs(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, each once, and before each what it needs."""
    found: dict[Job, None] = {}
    for job in jobs:
        found |= dict.fromkeys((*with_needs(job.needs), job))
    return list(found)


@dataclass
class _Queue:
    jobs: list[Job]
    folder: Path
    note: Callable[[str], None]
    failures: list[Failure] = field(default_factory=list)
    stopping: bool = False
    broken: Exception | None = None
    settled: set[str] = field(default_factory=set)  # done or failed
    awaited: set[str] = field(default_factory=set)  # under way in another queue, which was told
    taken: dict[str, Runner | None] = field(default_factory=dict)  # under way in this queue, and where
    tried: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    guard: threading.RLock = field(default_factory=threading.RLock)
    changed: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to take."""
        return self.stopping or all(job.name in self.settled for job in self.jobs)

    def take(self) -> Job | None:
        """The first job that can be done now."""
        try:
            with self.guard:
                return None if self.stopping else self._next()
        except Exception as error:
            self._break(error)
            return None

    def do(self, job: Job, runner: Runner, free: list[Runner]) -> None:
        """Try a job once at a runner, which is free again afterwards."""
        try:
            self._try(job, runner)
        except Exception as error:  # a thread's own end would be a trace on the screen, and no failure
            self._break(error)
        with self.guard:
            self.taken.pop(job.name)
            free.append(runner)
        self.changed.set()

    def tell_of_others(self) -> None:
        """Note once what another queue is doing: there is nothing else to be seen of it here."""
        for job in self.jobs:
            where = None if job.name in self.settled | self.awaited else Beside.of(job, self.folder).runner()
            if where is not None:
                self.awaited.add(job.name)
                self.note(f"{job.name} is under way on {where}, and waited for.")

    def stop(self) -> None:
        """Take no more jobs, and let those under way save and end."""
        with self.guard:
            self.stopping = True
            for runner in self.taken.values():
                if runner is not None:
                    runner.stop()

    def _next(self) -> Job | None:
        for job in self.jobs:
            if job.name in self.taken or job.name in self.settled:
                continue
            if job.done():
                self.settled.add(job.name)
                continue
            missing = next((need for need in job.needs if need.name in self.settled and not need.done()), None)
            if missing is not None:
                self._fail(Failure(job.name, f"it needs {missing.name}", None))
            elif all(need.done() for need in job.needs) and Beside.of(job, self.folder).runner() is None:
                self.taken[job.name] = None
                return job
        return None

    def _try(self, job: Job, runner: Runner) -> None:
        beside = Beside.of(job, self.folder)
        with self.guard:
            if self.stopping:
                return
            self.taken[job.name] = runner
            again = " again" if self.tried[job.name] or self.lost[job.name] else ""
            self.note(f"{len(self.settled) + 1} of {len(self.jobs)}: {job.name}{again}")
        try:
            code = runner.run(job, beside)
        except LostError as error:
            self.lost[job.name] += 1
            said, given_up = str(error), self.lost[job.name] == _LOSSES
            self.note(f"{job.name}: {said}")
        else:
            if self.stopping or code == BUSY:
                return
            if code == 0 and comes(job.done, runner.lag):
                beside.failed.unlink(missing_ok=True)
                with self.guard:
                    self.settled.add(job.name)
                return
            self.tried[job.name] += 1
            said, given_up = _why(code, beside), self.tried[job.name] == _TRIES
        if given_up:
            write_text(beside.failed, said + "\n")
            with self.guard:
                self._fail(Failure(job.name, said, beside.log))

    def _fail(self, failure: Failure) -> None:
        self.settled.add(failure.job)
        self.failures.append(failure)
        self.note(f"{failure.job} failed: {failure.said}")

    def _break(self, error: Exception) -> None:
        self.broken = self.broken or error
        self.stop()


def _why(code: int, beside: Beside) -> str:
    """What an attempt that came to nothing ended in; the log of a process that was killed ends with anything."""
    if code < 0:
        return f"its process was ended by signal {-code} ({signal.strsignal(-code)})"
    return beside.said() if code else "its process ended well, but what it made is not to be seen"
