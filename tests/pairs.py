"""Processes that work together, as torchrun starts them, on CPUs: what the tests of shared work begin them with."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def environment() -> dict[str, str]:
    """This process's, in which the modules of the tests are found."""
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def together(function: str, folder: Path, size: int = 2) -> None:
    """Let so many processes, which find each other, call module:function with the folder."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    module, _, name = function.partition(":")
    code = f"import sys, pathlib; from {module} import {name}; {name}(pathlib.Path(sys.argv[1]))"
    shared = {**environment(), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = [one.communicate(timeout=900)[1] for one in processes]
    assert [one.returncode for one in processes] == [0] * size, "\n".join(said)
