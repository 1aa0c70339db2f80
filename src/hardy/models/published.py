"""Published networks: small ones that come with the package, each with its settings, measured numbers and a digest."""

import json
from pathlib import Path
from typing import Any

from hardy.errors import UsageError, unknown
from hardy.files import digest

FOLDER = Path(__file__).parents[1] / "published"  # <name>.safetensors, and <name>.json that tells about it


def published() -> list[str]:
    """The names of all published networks."""
    return sorted(file.stem for file in FOLDER.glob("*.json"))


def find(name: str) -> Path:
    """The weights file of a published network.

    Raises: UsageError for a name that is none, or a file that is not as it was published.
    """
    told = about(name)
    file = FOLDER / f"{name}.safetensors"
    if not file.is_file() or digest(file) != told["sha256"]:
        raise UsageError(
            f"{file} is not the file that was published: its SHA-256 must be {told['sha256']}. Install hardy anew."
        )
    return file


def about(name: str) -> dict[str, Any]:
    """What is told about a published network.

    run: its settings. trained: versions, device and more of its training. measured: rows of results.jsonl. sha256: of its
    weights file. Raises: UsageError for a name that is none, or if what is told is damaged.
    """
    if name not in published():
        raise unknown("published network", name, published())
    file = FOLDER / f"{name}.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or not {"measured", "sha256"} <= told.keys():
        raise UsageError(f"{file} is damaged: it does not tell about a published network. Install hardy anew.")
    return told
