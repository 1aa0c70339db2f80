"""How the tests run a command: in this process, with what it printed and its exit code."""

from typing import NamedTuple

from hardy.__main__ import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str


def run(capsys, *args: object) -> Ran:
    capsys.readouterr()
    try:
        code = main([str(arg) for arg in args])
    except SystemExit as stop:  # tyro ends the program itself
        code = stop.code if isinstance(stop.code, int) else 1
    said = capsys.readouterr()
    return Ran(code, said.out, said.err)
