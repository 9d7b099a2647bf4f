"""CASA's Python modules, imported so that what is missing is one line.

casatools stops where it finds no tables of measures (the Earth's rotation, the positions of
observatories), with some ten lines on the terminal and a traceback. Where CASA has never been set
up for this user, but the package casadata is installed, its tables are taken; else the error names
the two remedies. What CASA says when all is well goes to the log.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from uvstack.errors import MissingDependencyError

_LOG = logging.getLogger(__name__)
#: Where CASA looks for the settings of a site, besides the module `casasiteconfig`.
_SITES = (Path("/opt/casa/casasiteconfig.py"), Path("/home/casa/casasiteconfig.py"))


def casatools() -> ModuleType:
    """The package casatools.

    Raises
    ------
    MissingDependencyError
        It cannot start, for want of its tables of measures as a rule.
    """
    if "casatools" in sys.modules:
        return sys.modules["casatools"]
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        before, own = os.environ.get("CASASITECONFIG"), site_settings(Path(folder),
                                                                      f"logfile = {os.devnull!r}\n")
        os.environ.update(own)
        try:
            with _terminal_into(said):
                return importlib.import_module("casatools")
        except Exception as error:
            raise cannot_start(str(error)) from error
        finally:
            if own and before is None:
                del os.environ["CASASITECONFIG"]
            if said:
                _LOG.info("CASA: %s", " ".join(" ".join(said).split()))


def cannot_start(why: str) -> MissingDependencyError:
    """The error where CASA cannot be imported, in one line with the remedy."""
    return MissingDependencyError("CASA cannot start: "
                                  f"{' '.join(why.split()) or 'it does not say why'}. If its "
                                  "tables of measures are missing, fetch them with "
                                  "`python -m casaconfig --update-all` (into ~/.casa/data), or "
                                  "`pip install casadata`, whose tables are then taken; if one of "
                                  "its "
                                  "libraries does not load, another release of casatools may, or "
                                  "python-casacore: pip install 'uvstack[casacore]'")


def site_settings(folder: Path, more: str = "") -> dict[str, str]:
    """Variables of the environment that point CASA to the tables of casadata.

    None where CASA has settings or tables of its own.

    Parameters
    ----------
    folder : Path
        Takes the file of settings.
    more : str
        Lines to add to it.
    """
    home = Path.home() / ".casa"
    found = importlib.util.find_spec("casadata")
    if found is None or "CASASITECONFIG" in os.environ or importlib.util.find_spec(
        "casasiteconfig") is not None or any(path.exists()
                                             for path in (home / "config.py", home / "data",
                                                          *_SITES)):
        return {}
    measures = str(Path(list(found.submodule_search_locations or [])[0]) / "__data__")
    settings = folder / "casa_site.py"
    settings.write_text(f"measurespath = {measures!r}\ndatapath = [measurespath]\nmeasures_auto_update = data_auto_update = False\n"
                        f"nologfile = log2term = False\nnogui = nologger = True\n{more}", encoding="utf-8")
    return {"CASASITECONFIG": str(settings)}


@contextmanager
def _terminal_into(said: list[str]) -> Iterator[None]:
    """Keep what this process writes to standard output and error, its C++ parts too, from the terminal."""
    sys.stdout.flush()
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        saved = [os.dup(stream) for stream in (1, 2)]
        try:
            for stream in (1, 2):
                os.dup2(kept.fileno(), stream)
            yield
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            for stream, original in zip((1, 2), saved, strict=True):
                os.dup2(original, stream)
                os.close(original)
            kept.seek(0)
            said.append(kept.read().decode("utf-8", "replace"))
