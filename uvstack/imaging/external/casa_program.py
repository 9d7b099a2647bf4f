"""The program that `uvstack.imaging.external.casa_files` starts in a Python of its own.

Two calls of tclean and their images.

It is run as a file, with the name of a JSON file in the current folder: arguments of tclean for the
dirty image ("dirty") and for the CLEAN that goes on from there ("clean", or null), the number of
Taylor terms, whether there is a mask.npy. It writes result.npz, arrays (term, m, l), and
result.json. It imports nothing of uvstack, which a CASA of its own may not have.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import numpy as np


def main(name: str) -> None:
    """Run what the JSON file says."""
    try:
        import casatasks
        import casatools
    except Exception as error:
        _fail(error, 3)
    request = json.loads(Path(name).read_text(encoding="utf-8"))
    multi_term = request["dirty"]["deconvolver"] == "mtmfs"
    terms = [f".tt{t}" for t in range(request["terms"])] if multi_term else [""]
    more = [f".tt{t}" for t in range(2 * request["terms"] - 1)] if multi_term else [""]
    done: dict[str, Any] = casatasks.tclean(**request["dirty"]) or {}
    planes: dict[str, Any] = {"dirty": _stack("residual", terms), "psf": _stack("psf", more)}
    if request["clean"] is not None:
        if request["mask"]:
            _write_mask(f"out.residual{terms[0]}", np.load("mask.npy"))
        done = casatasks.tclean(**request["clean"]) or {}
    for kind in ("residual", "model", "image"):
        planes[kind] = _stack(kind, terms)
    for kind, path in (("alpha", "out.alpha"), ("alpha_error", "out.alpha.error")):
        if Path(path).is_dir():
            planes[kind] = _read(path)
    np.savez("result.npz", **planes)
    beam, frequency = _beam_and_frequency(f"out.image{terms[0]}", f"out.psf{more[0]}")
    cleaned = request["clean"] is not None
    Path("result.json").write_text(json.dumps({
        "version": casatools.version_string(), "beam": beam, "frequency": frequency, "stop": int(done.get("stopcode", 0)),
        "iterations": int(done.get("iterdone", 0)) if cleaned else 0,
        # The first of these computes the residual to begin with.
        "cycles": max(int(done.get("nmajordone", 0)), 0) if cleaned else 0}), encoding="utf-8")


def _read(path: str) -> np.ndarray:
    """Pixels (m, l), NaN where they are masked."""
    import casatools

    tool = casatools.image()
    tool.open(path)
    plane, good = tool.getchunk()[:, :, 0, 0], tool.getchunk(getmask=True)[:, :, 0, 0]
    tool.close()
    return np.where(good, plane, np.nan).T


def _stack(kind: str, terms: list[str]) -> np.ndarray:
    return np.stack([_read(f"out.{kind}{term}") for term in terms])


def _write_mask(like: str, mask: np.ndarray) -> None:
    """An image of 0 and 1 with the coordinates of another."""
    import casatools

    shutil.copytree(like, "allowed.image")
    tool = casatools.image()
    tool.open("allowed.image")
    tool.putchunk(mask.T[:, :, None, None].astype(float))
    tool.close()


def _beam_and_frequency(image: str, psf: str) -> tuple[list[float] | None, float]:
    """FWHM major, minor and position angle, degrees; frequency, Hz."""
    import casatools

    tool, quanta, beam = casatools.image(), casatools.quanta(), None
    for path in (image, psf):
        tool.open(path)
        found = tool.restoringbeam()
        frequency = float(tool.coordsys().referencevalue(type="spectral")["numeric"][0])
        tool.close()
        if found and beam is None:
            beam = [float(quanta.convert(found[name], "deg")["value"])
                    for name in ("major", "minor", "positionangle")]
    return beam, frequency


def _fail(error: Exception, status: int) -> NoReturn:
    """End with one line that the caller finds among CASA's own."""
    print(f"uvstack: {' '.join(str(error).split())}", flush=True)
    sys.exit(status)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except Exception as error:
        _fail(error, 1)
