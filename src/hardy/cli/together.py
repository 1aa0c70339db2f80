"""A command in each of the processes that torchrun started: they share its work, and the first of them speaks."""

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

from hardy.errors import UsageError
from hardy.parallel import LOST, joined

SHARED = ("train", "evaluate")  # commands whose work can be shared out

Say = Callable[[str, int], int]  # says a sentence and hands back the exit code
CodeOf = Callable[[Callable[[], None], Say], int]  # the exit code of an action; what goes wrong is said


def together(name: str, command: Callable[[], None], code_of: CodeOf, say: Say) -> int:
    """The exit code of a command in this process. What goes wrong with all processes, or with the first, is said once."""
    with joined() as group:

        def first(sentence: str, code: int) -> int:
            group.leave_word(sentence)
            return say(sentence, code)

        def another(sentence: str, code: int) -> int:
            heard = group.word()
            if heard is None or sentence not in (heard, LOST):
                print(f"hardy: process {group.rank}: {sentence}", file=loud)
            return code

        work = command if name in SHARED else partial(_refuse, name)
        if group.is_first:
            return code_of(partial(_work, work), first)
        loud = sys.stderr
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return code_of(partial(_work, work), another)


def _work(command: Callable[[], None]) -> None:
    with joined():  # says in a sentence where another process is gone
        command()


def _refuse(name: str) -> None:
    raise UsageError(
        f"`hardy {name}` is the work of one process; start it without torchrun, whose processes share that of "
        f"{' and '.join(SHARED)} alone."
    )
