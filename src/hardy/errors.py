"""The kinds of failure a user meets; each message is a sentence: what was wrong, what was given, what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class HardyError(Exception):
    """Anything this library reports to its user as a sentence rather than as a traceback."""


class UsageError(HardyError, ValueError):
    """What was asked for cannot be done as asked: a wrong name, value, file or tensor. Exit code 2."""


class FailedError(HardyError, RuntimeError):
    """What was asked for was right, and went wrong on the way. Exit code 1."""


class StoppedError(HardyError):
    """The user, or the system, asked for an end, and got one with everything saved. Exit code 128 + signal."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal


def unknown(kind: str, given: str, allowed: Iterable[str]) -> UsageError:
    """The error for a name that is not in a list: it says the nearest names, or all where none is near."""
    names = sorted(allowed)
    plain = {name.lower(): name for name in names}
    near = [plain[name] for name in get_close_matches(given.lower(), plain, n=3, cutoff=0.5)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(names)}."
    return UsageError(f"There is no {kind} named {given!r}; {hint}")
