"""Catalogues of components in files: the truth of a simulation is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.errors import ComponentError
from uvstack.sky.components import Components, components_from_table

_FORMATS = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv", ".fits": "fits"}
#: CSV has no units.
_CSV_UNITS = {"ra": u.deg, "dec": u.deg, "flux": u.Jy, "fwhm_major": u.arcsec, "fwhm_minor": u.arcsec, "position_angle": u.deg}


def read_catalogue(path: str | Path) -> QTable:
    """Table of a file (ECSV, CSV or FITS) with the columns of `Components.to_table`; those of CSV in deg, Jy and arcsec.

    Raises
    ------
    ComponentError
        The file is missing, of another kind, or cannot be read.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in _FORMATS:
        raise ComponentError(f"{path.name} is no {', '.join(_FORMATS)} file")
    if not path.is_file():
        raise ComponentError(f"{path}: no such catalogue")
    try:
        rows = QTable.read(path, format=_FORMATS[kind])
    except Exception as error:  # yaml, numpy and astropy each raise their own kinds on a broken file
        raise ComponentError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    for name, unit in _CSV_UNITS.items() if kind == ".csv" else ():
        if name in rows.colnames:
            try:
                rows[name] = np.asarray(rows[name], float) * unit
            except ValueError as error:
                raise ComponentError(f"{path}, column {name}: {error}; wanted numbers in {unit}") from error
    if "name" in rows.colnames:
        rows["name"] = [str(name) for name in rows["name"]]
    if "target" in rows.colnames and rows["target"].dtype.kind != "b":
        # Text, in CSV: every text that is not empty would count as true.
        words = np.char.lower(np.asarray(rows["target"], str))
        if not np.isin(words, ("true", "false", "0", "1")).all():
            raise ComponentError(f"{path}, column target: wanted are true and false")
        rows["target"] = np.isin(words, ("true", "1"))
    return rows


def read_components(path: str | Path) -> Components:
    """Components of a catalogue file; errors as from `read_catalogue` and `components_from_table`."""
    return components_from_table(read_catalogue(path))
