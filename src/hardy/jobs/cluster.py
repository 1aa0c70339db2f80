"""A Ray cluster: jobs on whatever machine has room for them, a GPU each where there are any."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from hardy.describe import require
from hardy.errors import FailedError, UsageError
from hardy.jobs.beside import LAG, Beside, comes
from hardy.jobs.job import Job, Place
from hardy.jobs.nodes import Look, Node, check_nodes
from hardy.jobs.runner import BUSY, LostError, Runner, start

_MOST = 64  # jobs given to Ray at once: those without room wait there, and have an autoscaler start machines
_POLL, _KNOCK = 0.5, 15.0  # seconds


def check_address(on: str) -> None:
    """Raises: UsageError for what is neither this machine nor a cluster."""
    allowed = "here, ray, or ray://HOST:PORT"
    require(on in ("here", "ray") or (on.startswith("ray://") and len(on) > len("ray://")), "on", on, allowed)


@contextlib.contextmanager
def on_ray(
    address: str, place: Place, folder: Path, jobs: int, note: Callable[[str], None] = lambda line: None
) -> Iterator[Sequence[Runner]]:
    """Runners of a Ray cluster, for that many jobs at once at most, once its machines have been checked.

    address: "ray" is the cluster that $RAY_ADDRESS names, or one that runs on this machine; without either, Ray is started on
    this machine and ends with the context. "ray://HOST:PORT" is a cluster seen through its client server. place: its device
    may be "cpu" or "cuda", of which Ray chooses one; without it a GPU each where the cluster has any. folder: the queue's.

    Raises: UsageError if Ray is not installed, or a machine is not fit for the jobs; FailedError if the cluster is not reached.
    """
    if place.device not in (None, "cpu", "cuda"):
        raise UsageError(f"device is {place.device!r}; on a cluster it must be cpu or cuda, of which Ray chooses one.")
    root = place.data_root or (Path(os.environ["HARDY_DATA"]) if os.environ.get("HARDY_DATA") else None)
    with _connected(address, note) as ray:
        nodes = [_node(told) for told in ray.nodes() if told["Alive"]]
        gpu = place.device == "cuda" or (place.device is None and any(node.gpus >= 1 for node in nodes))
        fit = [
            node for node in nodes if node.cpus >= 1 and (node.gpus >= 1 or not gpu)
        ]  # a GPU's job needs a CPU beside it
        if not fit:
            raise UsageError(
                f"No machine of the cluster has a {'GPU, with a CPU beside it,' if gpu else 'CPU'} for jobs."
            )
        root = root and root.expanduser().absolute()
        looks, answers = _asking(ray)
        check_nodes(fit, folder, root, looks, answers, note)
        # a GPU's job has its share of the machine's cores; jobs on CPUs use many cores better beside one another than within one
        cpus = max(1, min(int(node.cpus / node.gpus) for node in fit)) if gpu else 1
        task = ray.remote(num_cpus=cpus, num_gpus=int(gpu), max_retries=0, scheduling_strategy="SPREAD")(_work)
        note(f"Ray: machines: {len(fit)}; jobs at a time: {_room(fit, cpus, gpu=gpu)}.")
        there = replace(place, data_root=root, device="cuda" if gpu else "cpu")
        yield [OnRay(ray, task, there, cpus) for _ in range(min(jobs, _MOST))]


class OnRay(Runner):
    """A task of Ray's, which starts the job's process on whatever machine has room. threads: of that process."""

    lag = LAG

    def __init__(self, ray: ModuleType, task: Any, place: Place, threads: int) -> None:
        self.place = place
        self._ray, self._task, self._threads = ray, task, threads
        self._asked: Any = None
        self._stopped = False
        self._guard = threading.Lock()

    def run(self, job: Job, beside: Beside) -> int:
        """The exit code of a process that does the job; BUSY if it was stopped before it began."""
        beside.tell(job, self.place)
        errors = self._ray.exceptions
        try:
            with self._guard:
                if self._stopped:
                    return BUSY
                self._asked = self._task.remote(str(beside.told), self._threads)
            return int(self._ray.get(self._asked))
        except errors.TaskCancelledError:
            return BUSY
        except errors.RayTaskError as error:
            with beside.log.open("a", encoding="utf-8") as log:
                log.write(f"{error.cause}\n")
            return 1
        except (errors.LocalRayletDiedError, ConnectionError) as error:
            raise FailedError("The Ray cluster is not reached any more; the same command goes on.") from error
        except errors.RayError as error:
            raise LostError(f"its process or machine was lost ({type(error).__name__})") from error

    def stop(self) -> None:
        """Let the job under way save and end; one that waits for room does not begin."""
        with self._guard:
            self._stopped = True
            if self._asked is not None:
                # of a cluster that is gone `run` tells
                with contextlib.suppress(self._ray.exceptions.RayError, ConnectionError):
                    self._ray.cancel(self._asked, force=False)


def _work(told: str, threads: int) -> int:
    """What Ray runs: the exit code of the process that does a job, as on one machine."""
    beside = Beside(Path(told))
    if not comes(beside.told.exists, LAG):
        raise UsageError(f"{os.uname().nodename} does not see {told}; outputs must lie where all machines see them.")
    with beside.log.open("ab") as log:
        child = start(beside.told, log, {"OMP_NUM_THREADS": str(threads)})
    try:
        while child.poll() is None:
            time.sleep(_POLL)
    except KeyboardInterrupt:  # how Ray asks for an end
        child.terminate()
        child.wait()
    return int(child.returncode)


@contextlib.contextmanager
def _connected(address: str, note: Callable[[str], None]) -> Iterator[ModuleType]:
    """Ray, without a word of its own on the screen."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault(
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"
    )  # the default to come; without it Ray warns of that
    try:
        import ray
    except ImportError as error:
        raise UsageError("--on ray needs Ray: pip install 'hardy[cluster]'.") from error
    where = os.environ.get("RAY_ADDRESS", "") or _running_here(ray) if address == "ray" else address
    if where is None:
        note("No Ray runs on this machine: one is started, and ends with this command.")
    elif (refused := _refused(where)) is not None:
        raise FailedError(f"The Ray cluster at {where} was not reached: {refused}.")
    try:
        _join(ray, where)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError, and Exception itself
        ray.shutdown()
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise FailedError(f"The Ray cluster at {where or 'this machine'} was not reached: {said[-1]}") from error
    ray._private.worker._worker_logs_enabled = False  # as Ray's debugger does: deaths of workers are told by our notes
    try:
        yield ray
    finally:
        ray.shutdown()


def _join(ray: ModuleType, where: str | None) -> None:
    """Let this process be a driver of the cluster, or of one that is started here."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    if where is None:
        ray.init("local", include_dashboard=False, object_store_memory=80 * 2**20, **quiet)
        return
    try:
        ray.init(where, **quiet)
    except ConnectionAbortedError:  # it was reached, and its part for us did not start within 30 seconds: it may by now
        ray.init(where, **quiet)


def _running_here(ray: ModuleType) -> str | None:
    """HOST:PORT of a cluster that has a process on this machine, as `ray.init("auto")` would find it."""
    with contextlib.suppress(ConnectionError):
        where = str(ray._private.services.get_ray_address_from_environment("auto", None))
        return where if _refused(where) is None else None
    return None


def _refused(where: str) -> str | None:
    """Why nobody answers at [ray://]HOST:PORT; Ray itself would ask for minutes. None where somebody does."""
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return None  # "local", "auto" and what else Ray has words for
    try:
        socket.create_connection((host, int(port)), timeout=_KNOCK).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _node(told: dict[str, Any]) -> Node:
    has = told["Resources"]
    return Node(
        told["NodeID"], f"{told['NodeManagerHostname']} ({told['NodeID'][:6]})", has.get("CPU", 0), has.get("GPU", 0)
    )


def _room(nodes: Sequence[Node], cpus: int, *, gpu: bool) -> int:
    return sum(min(int(node.gpus) if gpu else _MOST, int(node.cpus / cpus)) for node in nodes)


def _asking(ray: ModuleType) -> tuple[Callable[..., Any], Callable[..., list[dict[str, Any] | None]]]:
    """How machines are asked for a look, and their answers got."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def ask(node: Node, look: Look, given: tuple[str, str, str | None]) -> Any:
        there = NodeAffinitySchedulingStrategy(node.identity, soft=False)
        return ray.remote(num_cpus=0, max_retries=2, scheduling_strategy=there)(look).remote(*given)

    def answers(asked: list[Any], seconds: float) -> list[dict[str, Any] | None]:
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=seconds)
        found: list[dict[str, Any] | None] = []
        for one in asked:
            try:
                found.append(ray.get(one) if one in ready else None)
            except ray.exceptions.RayError:
                found.append(None)
        return found

    return ask, answers
