"""Names of objects, asked of SIMBAD and then of NED through astroquery."""

from __future__ import annotations

import functools
import queue
import threading
from typing import Any

import numpy as np

from uvstack.errors import MissingDependencyError, NameLookupError

#: Seconds to wait for an answer.
_PATIENCE = 10.0
_LONGEST = 100


@functools.lru_cache(maxsize=1024)
def resolve(name: str) -> tuple[float, float]:
    """RA and Dec (ICRS, degrees) of an object.

    Raises
    ------
    NameLookupError
        Nobody knows it (status 404), or neither can be reached (503).
    MissingDependencyError
        Without astroquery.
    """
    name = " ".join(name.split())
    if len(name) > _LONGEST or not name.isprintable():
        raise NameLookupError(f"{name[:40]!r}… is no name of an object; give a shorter name, or RA and Dec")
    try:
        from astroquery.ipac.ned import Ned
        from astroquery.simbad import Simbad
    except ImportError as error:
        raise MissingDependencyError("names of objects need astroquery: pip install 'uvstack[epochs]'; "
                                     "or give RA and Dec") from error
    unreachable = []
    for service, ask in (("SIMBAD", Simbad.query_object), ("NED", Ned.query_object)):
        try:
            found = _within_patience(ask, name)
        except Exception as error:  # whatever it raises: the next one is asked
            if service == "NED" and type(error).__name__ == "RemoteServiceError" and "not" in str(error):
                continue  # so it says that it does not know
            unreachable.append(service)
            continue
        position = _position(found)
        if position is not None:
            return position
    if unreachable:
        raise NameLookupError(f"the name {name!r} could not be looked up: {' and '.join(unreachable)} cannot be "
                              "reached from this server; give RA and Dec instead", 503)
    raise NameLookupError(f"neither SIMBAD nor NED knows {name!r}; check the name, or give RA and Dec")


def _within_patience(ask: Any, name: str) -> Any:
    """The answer; ConnectionError where there is none in time. The thread that waits for it holds up nobody's end."""
    answers: queue.Queue = queue.Queue()

    def wait() -> None:
        try:
            answers.put((ask(name), None))
        except Exception as error:  # handed on to who asked
            answers.put((None, error))

    threading.Thread(target=wait, daemon=True).start()
    try:
        found, error = answers.get(timeout=_PATIENCE)
    except queue.Empty:
        raise ConnectionError("no answer in time") from None
    if error is not None:
        raise error
    return found


def _position(table: Any) -> tuple[float, float] | None:
    """Of the first row of an answer, in degrees."""
    if table is None or len(table) == 0:
        return None
    names = {column.lower(): column for column in table.colnames}
    if not {"ra", "dec"} <= set(names):
        return None
    ra, dec = (float(np.ma.filled(table[names[name]][0], np.nan)) for name in ("ra", "dec"))
    return (ra % 360.0, dec) if np.isfinite([ra, dec]).all() else None
