"""Files of realisations: one JSON each, written whole, so that a run that is killed goes on from what is there.

A run also leaves them together in `PACKED`: a file to keep, from which another folder
takes what it has not got. It has what tables and figures are made of, 1 kB for each realisation:
figures of one set are made of the first of a type, so of the others there are only sums.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from simulate.experiment.settings import Settings
from uvstack.errors import OutputError
from uvstack.io.output import json_text, write_json, written_whole

#: What a realisation holds at least.
_WANTED = ("format", "type", "realisation", "fingerprint", "truth", "weightings")
#: All realisations of a run.
PACKED = "realisations.json.gz"
#: What a realisation is packed without, and what of those after the first of a type.
_TOLD = ("steps", "peak_memory", "versions", "kept", "response", "off_centre_rms", "n_positions",
         "flux_error", "flux_error_expected", "flux_uncut_error", "fwhm_error", "resolved",
         "converged", "noise", "iterations", "further")
_OF_ONE_SET = ("bin_noise", "re_error", "fwhm_major", "fwhm_minor", "position_angle")


def result_path(folder: str | Path, number: int, index: int) -> Path:
    """Where a realisation is kept."""
    return Path(folder) / "realisations" / f"type{number:02d}-{index:04d}.json"


def write_result(folder: str | Path, found: dict[str, Any]) -> Path:
    """Write a realisation whole; its path."""
    path = result_path(folder, found["type"], found["realisation"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    return path


def write_packed(path: str | Path, found: Sequence[dict[str, Any]]) -> None:
    """Write realisations as one file; the same bytes for the same realisations."""
    firsts = {one["type"]: one["realisation"] for one in reversed(found)}
    kept = [_without(one, _TOLD if firsts[one["type"]] == one["realisation"]
                     else _TOLD + _OF_ONE_SET) for one in found]
    with written_whole(path) as partial:
        partial.write_bytes(gzip.compress(json_text(kept).encode(), mtime=0))


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {key: _without(one, names) for key, one in value.items() if key not in names}
    return value


def unpack(path: str | Path, folder: str | Path) -> int:
    """Give a folder the realisations of a packed file that it has not got; their number.

    Raises
    ------
    OutputError
        The file is no packed one.
    """
    number = 0
    try:
        for one in json.loads(gzip.decompress(Path(path).read_bytes())):
            if not result_path(folder, one["type"], one["realisation"]).exists():
                write_result(folder, one)
                number += 1
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: cannot be read as realisations "
                          f"({str(error)[:80]}); wanted is the {PACKED} of a run") from None
    return number


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
