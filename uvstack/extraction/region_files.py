"""Sources as regions of DS9, CARTA and CASA."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from uvstack.errors import ComponentError
from uvstack.io.output import written_whole

_FORMATS = {".reg": "ds9", ".crtf": "crtf"}
_HEADS = {"ds9": "# Region file format: DS9 astropy/regions\n", "crtf": "#CRTFv0\n"}


def region_kind(path: str | Path) -> str:
    """What kind of regions a path is for, by its ending; ComponentError where it is for none."""
    kind = _FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise ComponentError(f"{Path(path).name} is no region file; wanted is .reg (DS9) or .crtf "
                             "(CASA, CARTA)")
    return kind


def write_regions(path: str | Path, catalogue: QTable) -> None:
    """Write an ellipse a source, whose axes are its FWHM (DS9's and CASA's radii are half of it).

    Both count the angle of an ellipse from the first axis, to the east's side: 90° more than the
    position angle.

    Raises
    ------
    ComponentError
        The ending is neither .reg nor .crtf, or the sources have no place on the sky.
    """
    from astropy.coordinates import SkyCoord
    from regions import EllipseSkyRegion, RegionMeta, Regions

    path = Path(path)
    kind = region_kind(path)
    frame = {"J2000": "fk5", "ICRS": "icrs", "B1950": "fk4"}[catalogue.meta["frame"]]
    good = np.isfinite(catalogue["ra"]) & np.isfinite(catalogue["fwhm_major"])
    if len(catalogue) and not good.any():
        raise ComponentError(f"{path.name}: no source has a place on the sky")
    regions = [EllipseSkyRegion(SkyCoord(row["ra"], row["dec"], frame=frame),
                                width=row["fwhm_major"], height=row["fwhm_minor"],
                                angle=row["position_angle"] + 90 * u.deg,
                                meta=RegionMeta({"label": str(row["source"])}))
               for row in catalogue[good]]
    with written_whole(path) as partial:
        if not regions:
            # A file without regions would have no head either.
            partial.write_text(_HEADS[kind], encoding="utf-8")
            return
        Regions(regions).write(str(partial), format=kind, overwrite=True)
