"""The process that does one job: `python -m hardy.jobs.work DESCRIPTION`, started by a runner."""

import json
import os
import signal
import socket
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from hardy.describe import rebuild
from hardy.errors import FailedError, HardyError, StoppedError, UsageError
from hardy.files import locked
from hardy.jobs.beside import LAG, Beside, comes
from hardy.jobs.job import Job, Place
from hardy.jobs.runner import BUSY
from hardy.training.progress import Watch


def main(told: Path, parent: int) -> int:
    """Do the job described in a file; the exit code is BUSY where another process is doing it. parent: who started this."""
    _end_with(parent)
    said = json.loads(told.read_text(encoding="utf-8"))
    job = rebuild(said["job"], Job)  # type: ignore[type-abstract]
    root = said["place"]["data_root"]
    place = Place(Path(root) if root else None, said["place"]["offline"], said["place"]["device"])
    busy, beside = "another process is doing it", Beside(told)
    try:
        with locked(beside.lock, busy):
            if beside.elsewhere():
                return BUSY
            with beside.alive():
                _do(job, place)
    except StoppedError as error:
        _note(str(error))
        return 128 + error.signal
    except HardyError as error:
        _note(str(error))
        return BUSY if str(error) == busy else 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        _note(str(FailedError(f"{error.filename or 'A file'}: {error.strerror or error}.")))
        return 1
    return 0


def _do(job: Job, place: Place) -> None:
    if job.done():
        return
    for need in job.needs:
        if not comes(need.done, LAG):  # another machine did it, as the queue has seen
            raise FailedError(f"{need.name}, which it needs, is not to be seen on {socket.gethostname()}.")
    _note(f"{job.name} begins on {socket.gethostname()}")
    job.execute(place, Watch(row=lambda row: _note(json.dumps(row)), note=_note))
    _note(f"{job.name} is done")


def _note(line: str) -> None:
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}", flush=True)


def _end_with(parent: int) -> None:
    """Who started us and is killed, even before we came here, leaves no job behind: who is orphaned saves and ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
