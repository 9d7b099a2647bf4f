"""PyBDSF: its catalogues in the words of ours, and its search of an image.

Of the lists that it writes the list of sources (srl) is read, or that of Gaussians. Sizes in it are
as observed, in degrees. It writes no area of an island: where it is run here, its own count of the
pixels is taken. (E_Isl_Total_flux of version 1.14 is no way to it: it counts the pixels of the
rectangle about the island that are not the island's.)
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from uvstack.errors import ImageError, MissingDependencyError
from uvstack.io.tables import read_table
from uvstack.sky.beam import Beam
from uvstack.sky.catalogue import normalised

#: Columns of PyBDSF, and what a catalogue calls them.
_NAMES = {"Source_id": "source", "RA": "ra", "DEC": "dec", "E_RA": "ra_error",
          "E_DEC": "dec_error", "Total_flux": "flux", "E_Total_flux": "flux_error",
          "Peak_flux": "peak", "E_Peak_flux": "peak_error", "Maj": "fwhm_major",
          "Min": "fwhm_minor", "PA": "position_angle", "Isl_Total_flux": "island_flux",
          "Isl_rms": "rms"}
#: Units where a file says none, as its CSV.
_UNITS = {"ra": u.deg, "dec": u.deg, "ra_error": u.deg, "dec_error": u.deg, "flux": u.Jy,
          "flux_error": u.Jy, "peak": u.Jy / u.beam, "peak_error": u.Jy / u.beam,
          "fwhm_major": u.deg, "fwhm_minor": u.deg, "position_angle": u.deg, "island_flux": u.Jy,
          "rms": u.Jy / u.beam}
#: A card of the image in the remarks of a catalogue.
_CARD = re.compile(r"^(BMAJ|BMIN|BPA|RADESYS)\s*=\s*'?([^'\s]+)'?$")


def is_pybdsf(table: Table) -> bool:
    """Whether a table is a list that PyBDSF wrote."""
    return {"Isl_rms", "Peak_flux"} <= set(table.colnames)


def from_pybdsf(table: Table, name: str) -> QTable:
    """A list of PyBDSF as a catalogue; errors as of `uvstack.sky.catalogue.normalised`."""
    found = Table({ours: table[theirs] for theirs, ours in _NAMES.items()
                   if theirs in table.colnames})
    for column, unit in _UNITS.items():
        if column in found.colnames and found[column].unit is None:
            found[column].unit = unit
    meta = {str(key).lower(): value for key, value in table.meta.items()}
    for remark in np.ravel(meta.get("comments", [])):
        if card := _CARD.match(str(remark).strip()):
            found.meta[card[1].lower()] = card[2]
    found.meta |= {key: meta[key] for key in ("equinox", "radesys", "bmaj", "bmin", "bpa")
                   if key in meta}
    if "freq0" in meta:
        found.meta["reference_frequency"] = float(meta["freq0"])
    return normalised(found, name)


def search(data: NDArray, wcs: WCS, beam: Beam, frequency: float | None, options: dict[str, Any],
           name: str) -> QTable:
    """Sources that PyBDSF finds in an image; `ra` and `dec` are longitude and latitude in its frame.

    Parameters
    ----------
    data : ndarray (m, l)
        Jy/beam.
    wcs : WCS
    beam : Beam
        rad.
    frequency : float or None
        Hz; a made-up one where it is not known, of which no flux depends.
    options : dict
        Of `bdsf.process_image`.
    name : str
        Of the image, for messages.

    Raises
    ------
    MissingDependencyError
        PyBDSF is not installed.
    ImageError
        It gives up.
    """
    try:
        import bdsf
    except ImportError as error:
        raise MissingDependencyError("finder bdsf needs the package bdsf (PyBDSF): pip install "
                                     "bdsf, or take the finder uvstack") from error
    with tempfile.TemporaryDirectory(prefix="uvstack-") as folder:
        image, out = Path(folder) / "image.fits", Path(folder) / "sources.fits"
        header = wcs.to_header()
        header["BUNIT"] = "Jy/beam"
        # No output of ours, which would be put in its place when this folder is gone.
        fits.writeto(image, np.asarray(data, np.float32), header)
        given = {"beam": tuple(float(one) for one in np.rad2deg(beam)),
                 "frequency": frequency or 1.4e9}
        try:
            with _silent():
                done = bdsf.process_image(str(image), outdir=folder, quiet=True, **given,
                                          **options)
                done.write_catalog(outfile=str(out), format="fits", catalog_type="srl",
                                    clobber=True)
        except Exception as error:  # it raises RuntimeError, and what numpy and its kernels do
            raise ImageError(f"{name}: PyBDSF gave up: {' '.join(str(error).split())[:200]}; take "
                             "the finder uvstack, or another box or threshold") from error
        found = read_table(out) if out.is_file() else Table()
    # What its header says of a frame may be none that catalogues know.
    found.meta.clear()
    if not is_pybdsf(found):
        return QTable({column: np.zeros(0) * unit for column, unit in _UNITS.items()})
    catalogue = from_pybdsf(found, name)
    beams = {one.island_id: one.size_active / done.pixel_beamarea() for one in done.islands}
    catalogue["island_beams"] = [beams[island] for island in found["Isl_id"]]
    return catalogue


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without its words: what matters is in errors."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), \
            contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
