"""Where a result came from, in the same words for every task."""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

from uvstack._version import __version__
from uvstack.records import Provenance, plain

#: Arguments that are no options: what they name stands among the inputs, or is of no account for
#: the result.
_NO_OPTIONS = ("ms", "positions", "progress", "options")
#: Numbers of a list that are written out.
_MOST_NUMBERS = 64
#: Letters of an object beyond which its kind is told alone.
_MOST_LETTERS = 200


def provenance_of(asked: Mapping[str, Any], *, ms: Sequence[str | Path] = (),
                  positions: str | None = None, seed: int | None = None, **more: Any) -> Provenance:
    """Version, command, date, inputs and seed of a run that begins.

    Parameters
    ----------
    asked : mapping
        All arguments of the task, by name; those that are None are left out.
    ms : sequence of path
        The measurement sets that are read.
    positions : str, optional
        Source of the list.
    seed : int, optional
        Of everything random.
    **more
        Further inputs, or what was found in them: image, model, primary_beam, pointing …
    """
    options = {name: _told(value) for name, value in asked.items()
               if value is not None and name not in _NO_OPTIONS}
    inputs = {"ms": [str(path) for path in ms], "positions": positions,
              **{name: plain(value) for name, value in more.items()}, "options": options}
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Provenance(__version__, command_line(), inputs, seed, now)


def _told(value: Any) -> Any:
    """An option as JSON holds it; of an object of many numbers its kind and size."""
    if hasattr(value, "describe"):
        return value.describe()
    if isinstance(value, Mapping):
        return {str(name): _told(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_told(one) for one in value]
    if isinstance(value, np.ndarray) and value.size > _MOST_NUMBERS:
        return f"array of {' × '.join(str(n) for n in value.shape)}"
    if isinstance(value, u.Quantity):
        return " ".join(str(value).split())
    if isinstance(value, np.ndarray | np.generic | bool | int | float | str | Path | None):
        return plain(value)
    size = getattr(value, "shape", None)
    if not isinstance(size, tuple):
        size = (len(value),) if hasattr(value, "__len__") else ()
    if size:
        return f"{type(value).__name__} of {' × '.join(str(n) for n in size)}"
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_LETTERS else type(value).__name__


def command_line() -> str:
    """The command that runs, as it would be typed."""
    if not (sys.argv and sys.argv[0]):
        return "python"
    name = Path(sys.argv[0]).name
    return shlex.join([*(["python", "-m", "uvstack"] if name == "__main__.py" else [name]),
                       *sys.argv[1:]])
