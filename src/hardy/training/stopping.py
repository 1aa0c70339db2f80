"""SIGTERM and Ctrl-C end a run after the step under way, with everything saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Asked:
    """Whether an end was asked for, and by which signal."""

    signal: int | None = None


@contextmanager
def stops_on_request() -> Iterator[Asked]:
    """Inside, the first SIGINT or SIGTERM is only noted, for the caller to act upon; the second ends at once.

    Outside the main thread, where Python takes no signals, nothing is noted.
    """
    asked = Asked()

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if asked.signal is not None:
            raise KeyboardInterrupt
        asked.signal = number

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            # None: the handler was not set from Python, and cannot be set again from here
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
