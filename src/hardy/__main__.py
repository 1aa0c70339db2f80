"""The command line: `hardy COMMAND ...`."""

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable
from functools import partial

from hardy.errors import HardyError, StoppedError, UsageError, unknown

# command -> what it does; each is hardy.cli.<command> with a function main(args)
COMMANDS = {
    "demo": "train and attack five methods on scikit-learn's digits, in minutes, without a download",
    "train": "train a recipe, or go on with an interrupted run",
    "evaluate": "accuracy of a run or weights file, clean and under attack",
    "diagnose": "is it robust, or is its gradient masked: one verdict with its evidence",
    "table": "a paper's table, trained and measured here, beside the paper's numbers",
    "compare": "two files of outcomes that evaluate wrote, image by image",
    "analyse": "what lies beside accuracy: sweeps of eps, steps and restarts, loss surfaces, sensitivity and more",
    "report": "one page on runs, their numbers, verdicts and analyses, and what is missing",
    "export": "a network in a folder to share, for RobustBench or the Hugging Face hub, read back and verified",
    "list": "recipes, methods, attacks, data sets, networks, published networks, tables",
}


def main(args: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 (failed), 2 (wrong usage) or 128 + the signal that stopped it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where there is no ± a question mark stands for it
            stream.reconfigure(errors="replace")
    args = sys.argv[1:] if args is None else args
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        code = _code(partial(_run, args))
    else:  # one of several processes, which torchrun started
        together = importlib.import_module("hardy.cli.together").together
        code = _code(lambda: sys.exit(together(args[0] if args else "", partial(_run, args), _code, _said)))
    # here, where it can still be told that it fails
    flushed = _code(sys.stdout.flush) if sys.stdout is not None else 0
    return code or flushed


def _said(sentence: str, code: int) -> int:
    print(f"hardy: {sentence}", file=sys.stderr)
    return code


def _code(action: Callable[[], None], say: Callable[[str, int], int] = _said) -> int:
    """The exit code of an action; what goes wrong is said in a sentence."""
    try:
        action()
    except SystemExit as end:  # tyro has said why
        return end.code if isinstance(end.code, int) else 1
    except HardyError as error:
        failed = 128 + error.signal if isinstance(error, StoppedError) else 1
        return say(str(error), 2 if isinstance(error, UsageError) else failed)
    except KeyboardInterrupt:
        return say("stopped.", 130)
    except OSError as error:
        if error.filename is None:  # every file has a name
            with contextlib.suppress(OSError):  # or Python tries to write once more when it ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # whoever read our output has left
            return 1
        return say(f"{error.filename or 'Standard output'}: {error.strerror or error}.", 1)
    return 0


def _run(args: list[str]) -> None:
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage())
    elif args[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"hardy {version('hardy')}")
    elif args[0] in COMMANDS:
        importlib.import_module(f"hardy.cli.{args[0]}").main(args[1:])
    else:
        raise unknown("command", args[0], COMMANDS)


def _usage() -> str:
    commands = "\n".join(f"  hardy {name:<9} {what}" for name, what in COMMANDS.items())
    return (
        "Adversarial training that generalises, and robustness numbers one can trust.\n\n"
        f"{commands}\n\n"
        "`hardy COMMAND --help` shows a command's options; `hardy train RECIPE --help` all settings of a recipe."
    )


if __name__ == "__main__":
    sys.exit(main())
