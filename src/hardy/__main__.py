"""The command line: `hardy COMMAND ...`."""

import importlib
import os
import sys

from hardy.errors import FailedError, HardyError, StoppedError, UsageError, unknown

# command -> what it does; each is hardy.cli.<command> with a function main(args)
COMMANDS = {
    "demo": "train and attack five methods on scikit-learn's digits, in minutes, without a download",
    "train": "train a recipe, or go on with an interrupted run",
    "evaluate": "accuracy of a run or weights file, clean and under attack",
    "analyse": "sensitivity: loss gradients under shifts; shuffle: a picture of the block shuffle",
    "list": "recipes, methods, attacks, data sets, networks",
}


def main(args: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 (failed) or 2 (wrong usage)."""
    args = sys.argv[1:] if args is None else args
    try:
        return _run(args)
    except StoppedError as error:
        print(f"hardy: {error}", file=sys.stderr)
        return 128 + error.signal
    except HardyError as error:
        print(f"hardy: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("hardy: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read our output has left
        return 1


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if args[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"hardy {version('hardy')}")
        return 0
    if args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    try:
        importlib.import_module(f"hardy.cli.{args[0]}").main(args[1:])
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise FailedError(f"{error.filename or 'A file'}: {error.strerror or error}.") from error
    return 0


def _usage() -> str:
    commands = "\n".join(f"  hardy {name:<9} {what}" for name, what in COMMANDS.items())
    return (
        "Adversarial training that generalises, and robustness numbers one can trust.\n\n"
        f"{commands}\n\n"
        "`hardy COMMAND --help` shows a command's options; `hardy train RECIPE --help` all settings of a recipe."
    )


if __name__ == "__main__":
    sys.exit(main())
