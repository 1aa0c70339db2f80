"""The process that does one job: `python -m hardy.jobs.work DESCRIPTION`, started by the queue."""

import json
import os
import signal
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

from hardy.describe import rebuild
from hardy.errors import FailedError, HardyError, StoppedError, UsageError
from hardy.files import locked
from hardy.jobs.job import Job, Place
from hardy.jobs.queue import BUSY, lock_of
from hardy.training.loop import Watch


def main(told: Path, parent: int) -> int:
    """Do the job described in a file; the exit code is BUSY where another process is doing it. parent: the queue's process."""
    _end_with(parent)
    said = json.loads(told.read_text(encoding="utf-8"))
    job = rebuild(said["job"], Job)  # type: ignore[type-abstract]
    root = said["place"]["data_root"]
    place = Place(Path(root) if root else None, said["place"]["offline"], said["place"]["device"])
    busy = "another process is doing it"
    try:
        with locked(lock_of(told), busy):
            if not job.done():
                _note(f"{job.name} begins")
                job.execute(place, Watch(row=lambda row: _note(json.dumps(row)), note=_note))
                _note(f"{job.name} is done")
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


def _note(line: str) -> None:
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}", flush=True)


def _end_with(parent: int) -> None:
    """A queue that is killed, even before we came here, leaves no job behind: who is orphaned saves and ends."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
