"""Group: the processes that torchrun started for one piece of work, and what they tell each other."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.rendezvous import rendezvous

from hardy.describe import first_line
from hardy.errors import FailedError, HardyError, UsageError

T = TypeVar("T")

_PATIENCE = timedelta(days=30)  # torchrun ends those that wait for a process that died; slow ones may take their time
_MEETING = timedelta(minutes=30)  # how long the processes wait for each other at their start, as torch has it
LOST = (
    "Another process of this group is gone. torchrun starts all of them again as often as its --max-restarts says; the same "
    "command goes on from what was saved."
)
_WORD = "hardy/word"
_SIGNS = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "gloo/transport",
)  # in what torch says where a process is gone


@dataclass(frozen=True)
class Group:
    """This process among those that share one piece of work; the only one, where nothing else is said.

    rank: its number, from 0. size: how many there are. local, beside: its number among those on this machine, and how many
    these are. store: of torch, where they leave each other word; a group that the caller made has none.

    Every method but `leave_word` and `word` is called by all processes at the same place of the work, or all of them wait.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    beside: int = 1
    store: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        """Every `size`-th row, from the `rank`-th on: this process's part, of all kinds of rows as many as the others have."""
        return index if self.size == 1 else index[self.rank :: self.size]

    def by_first(self, work: Callable[[], T]) -> T:
        """What the first process makes of `work` by itself, or the failure that it ends in, in all processes."""
        if self.size == 1:
            return work()
        made: list[Any] = [None, None]
        if self.is_first:
            try:
                with _alone():
                    made[0] = work()
            except HardyError as error:
                made[1] = error
        dist.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        if made[1] is not None:
            raise made[1]
        result: T = made[0]
        return result

    @contextmanager
    def one_first(self) -> Iterator[None]:
        """On each machine one process goes through alone, and the others after it: it may fill a cache for them."""
        if self.size > 1 and self.local:
            dist.barrier()
        try:
            yield
        finally:
            if self.size > 1 and not self.local:
                dist.barrier()

    def gathered(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def most(self, *numbers: int) -> list[int]:
        """Of each number the largest of all processes."""
        if self.size == 1:
            return list(numbers)
        largest = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()

    def mean(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of each scalar the mean over the processes."""
        if self.size == 1:
            return values
        means = torch.stack(list(values.values()))
        dist.all_reduce(means)
        return dict(zip(values, (means / self.size).unbind(), strict=True))

    def leave_word(self, sentence: str) -> None:
        """Leave the other processes a word of the first one, which stays when it ends."""
        if self.store is not None:
            with suppress(RuntimeError):  # torchrun itself is gone
                self.store.set(_WORD, sentence)

    def word(self, wait: float = 5.0) -> str | None:
        """What the first process left; None if that is nothing within so many seconds."""
        try:
            self.store.wait([_WORD], timedelta(seconds=wait))
            left: bytes = self.store.get(_WORD)
        except (AttributeError, RuntimeError):  # there is no store, no word, or torchrun itself is gone
            return None
        return left.decode()


_groups = [Group()]  # the last one is that of the moment


def this_group() -> Group:
    """The group that this process has `joined`; a group of one outside."""
    return _groups[-1]


@contextmanager
def joined() -> Iterator[Group]:
    """Inside, this process works together with the others that torchrun started beside it; alone, where there are none.

    Then `hardy.train` shares out the images of each batch, and `hardy.evaluate` those to be measured; without it every process
    does the whole by itself. Processes on CPUs talk by gloo; on GPUs, one a process, by nccl. A group that the caller made by
    torch.distributed is taken as it is.

    Raises: UsageError where the processes do not find each other, or the caller's group is for GPUs alone; FailedError where
    one of them is gone.
    """
    several = "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    others = dist.is_available() and (several or dist.is_initialized())
    if this_group().size > 1 or not others:
        with _lost_in_words():
            yield this_group()
        return
    begun = not dist.is_initialized()
    if not begun:
        _check_backend()
    store = _begin() if begun else None
    rank, size = dist.get_rank(), dist.get_world_size()
    local, beside = int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", size))
    _groups.append(Group(rank, size, local, beside, store))
    try:
        with _lost_in_words():
            yield this_group()
    finally:
        _groups.pop()
        if begun:
            dist.destroy_process_group()


@contextmanager
def _alone() -> Iterator[None]:
    """Inside, this process shares nothing out: no other comes to hear of it."""
    _groups.append(Group())
    try:
        yield
    finally:
        _groups.pop()


@contextmanager
def _lost_in_words() -> Iterator[None]:
    """Raises FailedError in place of what torch raises where another process is gone."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, HardyError) or not any(sign in str(error) for sign in _SIGNS):
            raise
        raise FailedError(LOST) from error


def _check_backend() -> None:
    """Raises UsageError where the processes of the caller's group cannot talk from CPU to CPU."""
    backend = dist.get_backend_config()
    if dist.get_world_size() > 1 and "cpu" not in backend:
        raise UsageError(
            f"The process group is of the backend {backend}, which is for GPUs alone; hardy's processes talk on CPUs too: "
            'torch.distributed.init_process_group("cpu:gloo,cuda:nccl"), or leave it to hardy.'
        )


def _begin() -> Any:
    """Find the other processes; where all can leave word. Raises: UsageError where that fails."""
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    try:
        store, rank, size = next(rendezvous("env://"))
        store = dist.PrefixStore(_start(store, rank, size), store)  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise UsageError(
            f"WORLD_SIZE is {os.environ.get('WORLD_SIZE')}, and the processes do not find each other: {first_line(error)}. "
            "Start them by torchrun, which sets what they need."
        ) from error
    return store


def _start(store: Any, rank: int, size: int) -> str:
    """A name that the processes which were started together have in common, and that no others had.

    Torchrun has one store for all its starts, in which the addresses of processes that are dead would be found. The first process
    gives every start a name, and tells it to those that ask, until all have it: what one of an earlier start asked is answered
    in vain.
    """
    if rank:
        question = uuid4().hex
        store.set(f"hardy/question/{rank}", question)
        store.wait([f"hardy/answer/{question}"], _MEETING)
        start: str = store.get(f"hardy/answer/{question}").decode()
        store.set(f"hardy/{start}/{rank}", "here")
        return start
    start, until, missing = uuid4().hex, time.monotonic() + _MEETING.total_seconds(), set(range(1, size))
    while missing:
        for other in missing:
            if store.check([f"hardy/question/{other}"]):
                store.set(f"hardy/answer/{store.get(f'hardy/question/{other}').decode()}", start)
        missing = {other for other in missing if not store.check([f"hardy/{start}/{other}"])}
        if time.monotonic() > until:
            raise RuntimeError(f"of {size} processes {len(missing)} are missing")
        time.sleep(0.02)
    return start
