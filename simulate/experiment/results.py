"""Files of realisations: one JSON each, written whole, so that a run that is killed goes on from what is there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from simulate.experiment.settings import Settings
from uvstack.io.output import write_json

#: What a realisation holds at least.
_WANTED = ("format", "type", "realisation", "fingerprint", "truth", "uv", "image", "null", "map",
           "steps")


def result_path(folder: str | Path, number: int, index: int) -> Path:
    """Where a realisation is kept."""
    return Path(folder) / "realisations" / f"type{number:02d}-{index:04d}.json"


def write_result(folder: str | Path, found: dict[str, Any]) -> Path:
    """Write a realisation whole; its path."""
    path = result_path(folder, found["type"], found["realisation"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return path


def read_result(path: Path, settings: Settings, number: int,
                index: int) -> tuple[dict[str, Any] | None, str]:
    """A finished realisation, or None and why it has to be computed: "" where there is none yet."""
    if not path.exists():
        return None, ""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return None, f"{path}: cannot be read ({str(error)[:80]})"
    missing = [name for name in _WANTED if not isinstance(found, dict) or name not in found]
    if missing:
        return None, f"{path}: is not a whole realisation, it has no {missing[0]}"
    if (found["type"], found["realisation"]) != (number, index):
        return None, f"{path}: is of type {found['type']}, realisation {found['realisation']}"
    if found["fingerprint"] != settings.fingerprint(number):
        return None, f"{path}: was computed with other settings"
    return found, ""


def read_finished(folder: str | Path, settings: Settings,
                  jobs: Iterable[tuple[int, int]]) -> tuple[dict[tuple[int, int], dict[str, Any]],
                                                            list[str]]:
    """Finished realisations by (type, number), and what is said of those that must be computed again."""
    found, doubts = {}, []
    for number, index in jobs:
        one, doubt = read_result(result_path(folder, number, index), settings, number, index)
        if one is not None:
            found[number, index] = one
        elif doubt:
            doubts.append(f"{doubt}; it is computed again")
    return found, doubts
