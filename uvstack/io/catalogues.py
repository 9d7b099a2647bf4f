"""Catalogues in files: what was measured, what CLEAN found, the truth of a simulation.

Columns are those of `uvstack.sky.catalogue`. A file is ECSV, FITS, VOTable or CSV, told by its
ending; each gives back all that was written: units, errors, descriptions, frame and reference
frequency. Headers of FITS have ASCII alone: other letters of texts in `meta` are escaped in them,
as in the path `caf\\xe9.fits`. A CSV that is written here is an ECSV with commas, whose remarks say the units; one that
comes without them is in the units of `COLUMNS`, and in J2000.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import QTable, Table

from uvstack.errors import ComponentError, PositionsError
from uvstack.io.output import written_whole
from uvstack.io.tables import read_table
from uvstack.sky.catalogue import COLUMNS, components_of, normalised
from uvstack.sky.components import Components

#: Kinds of files by the endings of their names.
KINDS = {".ecsv": "ecsv", ".csv": "csv", ".fits": "fits", ".fit": "fits", ".xml": "votable",
          ".vot": "votable", ".votable": "votable"}
#: Systems of coordinates as a VOTable names them, and their equinox.
_SYSTEMS = {"J2000": ("eq_FK5", "J2000"), "ICRS": ("ICRS", None), "B1950": ("eq_FK4", "B1950"),
            "B1950_VLA": ("eq_FK4", "B1950"), "GALACTIC": ("galactic", None)}


def catalogue_kind(path: str | Path) -> str:
    """What kind of file a path is, by its ending; ComponentError where it is none of a catalogue."""
    path = Path(path)
    name = path.name.lower().removesuffix(".gz")
    kind = KINDS.get(Path(name).suffix)
    if kind is None:
        raise ComponentError(f"{path.name} is no {', '.join(KINDS)} file")
    return kind


def read_catalogue(path: str | Path) -> QTable:
    """Table of a file with the columns of `uvstack.sky.catalogue`, in their units.

    Raises
    ------
    ComponentError
        The file is missing, of another kind, or cannot be read; or as `normalised`.
    """
    path = Path(path)
    kind = catalogue_kind(path)
    if not path.is_file():
        raise ComponentError(f"{path}: no such catalogue")
    try:
        rows = read_table(path)
    except PositionsError as error:
        raise ComponentError(str(error)) from error
    for name in (set(rows.colnames) & set(COLUMNS)) if kind == "csv" else ():
        if rows[name].unit is None:
            rows[name].unit = COLUMNS[name].unit
    return normalised(rows, str(path))


def read_components(path: str | Path) -> Components:
    """Components of a file; errors and warnings as `read_catalogue` and `components_of`."""
    return components_of(read_catalogue(path), source=str(path))


def write_catalogue(path: str | Path, catalogue: Table) -> None:
    """Write a catalogue whole, as the ending of the path says; `read_catalogue` gives it back.

    Raises
    ------
    ComponentError
        The ending is of no kind that is known; or as `normalised`.
    OutputError
        It cannot be written.
    """
    path = Path(path)
    kind, table = catalogue_kind(path), normalised(catalogue)
    with written_whole(path) as partial:
        if kind == "votable":
            _votable(table).to_xml(str(partial))
        elif kind == "fits":
            _write_fits(table, partial)
        else:
            table.write(partial, format="ascii.ecsv", delimiter="," if kind == "csv" else " ")


def _write_fits(table: QTable, path: Path) -> None:
    from astropy.io.fits.verify import VerifyWarning

    with warnings.catch_warnings():
        # Keywords longer than eight letters get the card that the standard has for them.
        warnings.simplefilter("ignore", VerifyWarning)
        table = table.copy(copy_data=False)
        table.meta.update({key: value.encode("ascii", "backslashreplace").decode()
                           for key, value in table.meta.items() if isinstance(value, str)})
        table.write(path, format="fits")


def _votable(table: QTable) -> Any:
    """Document with the frame as a system of coordinates and the rest of `meta` as parameters."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import CooSys, Param

    document = from_table(Table(table))
    found = document.get_first_table()
    meta = dict(table.meta)
    system, equinox = _SYSTEMS[meta.pop("frame")]
    document.resources[0].coordinate_systems.append(
        CooSys(ID="frame", system=system, equinox=equinox))
    for one in found.fields:
        if one.name in ("ra", "dec"):
            one.ref = "frame"
    for name, value in meta.items():
        if isinstance(value, str):
            kind = {"datatype": "unicodeChar", "arraysize": "*"}
        elif isinstance(value, bool | int | float | np.number):
            kind = {"datatype": "boolean" if isinstance(value, bool) else "double"}
        else:
            continue
        found.params.append(Param(document, ID=f"meta_{name}", name=name, value=value, **kind))
    return document
