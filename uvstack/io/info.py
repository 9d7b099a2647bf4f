"""What a measurement set holds, to look at before one starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.time import Time

from uvstack.constants import ARCMIN, ARCSEC, CORRELATIONS, SPEED_OF_LIGHT
from uvstack.errors import MeasurementSetError, NoDataError
from uvstack.io.casa import open_table
from uvstack.io.dataset import structure_of_source
from uvstack.io.ms import of_selection, weight_remark
from uvstack.io.pointing import distance_of, with_pointings
from uvstack.records import (
    DataDescription,
    Datasets,
    Field,
    Selection,
    Structure,
    frequency_text,
    has_baseline,
)

#: Values that are looked at together when flags are counted.
_CELLS_PER_BLOCK = 20_000_000


def describe(path: str | Path | Datasets) -> dict[str, Any]:
    """Fields, windows, columns, flags, times and uv range of a measurement set, as numbers and texts.

    One pass over (u, v, w), flags and times, in blocks of rows. What has no rows is listed with 0
    rows.
    """
    structure = of_selection(structure_of_source(path))
    counts = _scan(structure)
    pairs = frozenset(counts.pop("rows_per_pair"))
    used = Selection(frozenset(f for f, _ in pairs), frozenset(d for _, d in pairs), (), pairs)
    structure = with_pointings(structure, used)
    highest = max((float(d.spw.frequency.max()) for d in structure.used(used)
                   if d.spw.frequency.size), default=0.0)
    longest = counts["longest_baseline_m"]
    resolution = float(SPEED_OF_LIGHT / highest / longest) if highest > 0 and longest > 0 else None
    return {"path": structure.path, "telescope": structure.telescope, "n_rows": structure.n_rows,
            "antennas": {"n": len(structure.antenna_names), "names": list(structure.antenna_names),
                         "dish_diameters_m": sorted({round(float(d), 3)
                                                     for d in structure.dish_diameters}),
                         "unused": [name for i, name in enumerate(structure.antenna_names)
                                    if i not in counts["antennas"]]},
            "fields": [_field(f, counts["rows_per_field"].get(f.id, 0)) for f in structure.fields],
            "data_descriptions": [_description(d, counts["rows_per_description"].get(d.id, 0))
                                  for d in structure.data_descriptions],
            "columns": list(structure.columns), "data_columns": _data_columns(structure),
            "weights_from": structure.weight_source, "weights_remark": _remark(structure),
            "time_scale": _time_scale(structure),
            **{k: v for k, v in counts.items() if not k.startswith("rows_per") and k != "antennas"},
            "resolution_rad": resolution,
            "suggested_cell_rad": None if resolution is None else resolution / 5}


def _field(field: Field, n_rows: int) -> dict[str, Any]:
    known = bool(np.isfinite(field.ra))
    return {"id": field.id, "name": field.name, "frame": field.frame,
            "longitude_rad": float(field.ra % (2 * np.pi)) if known else None,
            "latitude_rad": float(field.dec) if known else None, "n_rows": n_rows,
            "defect": field.defect, "pointing_from": field.pointing_source if n_rows else None,
            "pointing_offset_rad": float(distance_of(field)) if n_rows and known else None}


def _description(d: DataDescription, n_rows: int) -> dict[str, Any]:
    frequency = d.spw.frequency if d.spw.frequency.size else np.full(1, np.nan)
    first, last = (float(x) if np.isfinite(x) else None for x in frequency[[0, -1]])
    return {"id": d.id, "spw": d.spw.id, "spw_name": d.spw.name, "n_channels": d.spw.frequency.size,
            "first_channel_hz": first, "last_channel_hz": last,
            "channel_width_hz": float(np.median(d.spw.width)) if d.spw.width.size else None,
            "correlations": [CORRELATIONS.get(c, str(c)) for c in d.correlations], "n_rows": n_rows}


def _remark(structure: Structure) -> str:
    try:
        return weight_remark(structure)
    except NoDataError as error:
        return str(error)


def _time_scale(structure: Structure) -> str:
    """Scale in which the set counts its times: UTC, or TAI as some writers have it."""
    with open_table(structure.main) as table:
        return str(table.keywords("TIME").get("MEASINFO", {}).get("Ref", "UTC"))


def _data_columns(structure: Structure) -> list[str]:
    with open_table(structure.main) as table:
        description = table.description()
    return [c for c in structure.columns if description[c]["valueType"] in ("complex", "dcomplex")]


def _scan(structure: Structure) -> dict[str, Any]:
    """Counts of rows and flags, range of times and uv distances."""
    fields, descriptions, pairs, antennas = {}, {}, set(), set()  # type: ignore[var-annotated]
    flagged = cells = autocorrelations = without_uvw = 0
    shortest, longest, first, last = np.inf, 0.0, np.inf, -np.inf
    widest = max([d.shape[0] * d.shape[1] for d in structure.data_descriptions] + [1])
    step = max(_CELLS_PER_BLOCK // widest, 1)
    with open_table(structure.main) as table:
        for start in range(0, structure.n_rows, step):
            n = min(step, structure.n_rows - start)
            field, description, one, other = (table.read(c, start, n)
                                              for c in ("FIELD_ID", "DATA_DESC_ID", "ANTENNA1",
                                                        "ANTENNA2"))
            cross = one != other
            autocorrelations += int((~cross).sum())
            antennas |= {int(a) for a in np.union1d(one, other)}
            for values, counter in ((field, fields), (description, descriptions)):
                for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                    counter[int(value)] = counter.get(int(value), 0) + int(count)
            pairs |= {(int(f), int(d))
                      for f, d in np.unique(np.stack([field, description])[:, cross], axis=1).T}
            time = table.read("TIME", start, n)
            first, last = min(first, float(time.min())), max(last, float(time.max()))
            uvw = table.read("UVW", start, n)
            used = cross & has_baseline(uvw)
            without_uvw += int((cross & ~used).sum())
            distance = np.hypot(uvw[used, 0], uvw[used, 1])
            shortest, longest = min(shortest,
                                    float(distance.min(initial=np.inf))), max(
                longest, float(distance.max(initial=0.0)))
            for values in _flags(structure, table, start, n):
                flagged += int(values.sum())
                cells += values.size
    for name, counter, n in (("FIELD_ID", fields, len(structure.fields)),
                             ("DATA_DESC_ID", descriptions, len(structure.data_descriptions))):
        if counter and not 0 <= min(counter) <= max(counter) < n:
            raise MeasurementSetError(f"{structure.path}: rows have {name} from {min(counter)} to "
                                      f"{max(counter)}, and its subtable has {n} "
                                      "rows; the set is damaged: make it again")
    return {"rows_per_field": fields, "rows_per_description": descriptions, "rows_per_pair": pairs,
            "antennas": antennas, "autocorrelations": autocorrelations,
            "rows_without_uvw": without_uvw, "flagged_fraction": flagged / cells if cells else 0.0,
            "first_time_mjd_s": first if np.isfinite(first) else None,
            "last_time_mjd_s": last if np.isfinite(last) else None,
            "shortest_baseline_m": shortest if np.isfinite(shortest) else 0.0,
            "longest_baseline_m": longest}


def _flags(structure: Structure, table, start: int, n: int):
    """Flags of rows start … start + n − 1 with FLAG_ROW applied, in pieces of one shape each."""
    if "FLAG" not in structure.columns:
        return
    row_flag = table.read("FLAG_ROW", start,
                          n) if "FLAG_ROW" in structure.columns else np.zeros(n, np.bool_)
    description = table.read("DATA_DESC_ID", start, n)
    present, filled = np.unique(description), np.ones(n, np.bool_)
    if table.any_row("FLAG", "undefined"):
        filled = table.defined("FLAG", np.arange(start, start + n))
    if present.size == 1 and filled.all():
        yield table.read("FLAG", start, n) | row_flag[:, None, None]
        return
    for value in present:
        rows = np.flatnonzero((description == value) & filled)
        if rows.size:
            yield table.read_rows("FLAG", start + rows) | row_flag[rows, None, None]


def format_description(found: dict[str, Any]) -> str:
    """The description as text for a terminal."""
    scale = found["time_scale"].upper()

    def when(seconds: float | None) -> str:
        if seconds is None:
            return "never"
        return Time(seconds / 86400.0, format="mjd",
                    scale="tai" if scale == "TAI" else "utc").utc.isot[:19]

    told = "UTC" if scale in ("UTC", "TAI") else f"by its scale {found['time_scale']}"
    resolution, cell = found["resolution_rad"], found["suggested_cell_rad"]
    lines = [
        f"{found['path']}: {found['telescope']}, {found['n_rows']} rows, {found['antennas']['n']} antennas of "
        f"{', '.join(f'{d:g}' for d in found['antennas']['dish_diameters_m'])} m",
        f"antennas     {' '.join(found['antennas']['names'])}"
        + (f"; unused {' '.join(found['antennas']['unused'])}" if found["antennas"]["unused"] else ""),
        f"time         {when(found['first_time_mjd_s'])} to {when(found['last_time_mjd_s'])} {told}"
        + (" (the set counts in TAI)" if scale == "TAI" else ""),
        f"columns      {', '.join(found['data_columns'])}; weights from {found['weights_from']}",
        f"flagged      {100 * found['flagged_fraction']:.1f} %, {found['autocorrelations']} autocorrelations"
        + (f", {found['rows_without_uvw']} rows without (u, v, w)" if found["rows_without_uvw"] else ""),
        f"uv range     {found['shortest_baseline_m']:.4g} m to {found['longest_baseline_m']:.5g} m"]
    if resolution is not None:
        lines.append(f"resolution   {resolution / ARCSEC:.3g}\"; suggested cell "
                     f"{cell / ARCSEC:.2g}\"")
    if found["weights_remark"]:
        lines.append(f"weights      {found['weights_remark']}")
    lines += ["fields", *(_field_line(f) for f in found["fields"])]
    return "\n".join([*lines, "data descriptions",
                      *(_description_line(d) for d in found["data_descriptions"])])


def _field_line(f: dict[str, Any]) -> str:
    text = f"  {f['id']:3d}  {f['name']:20s} "
    if f["longitude_rad"] is not None:
        lon = Angle(f["longitude_rad"], u.rad).to_string(unit=u.hourangle, sep=":", precision=3,
                                                         pad=True)
        lat = Angle(f["latitude_rad"], u.rad).to_string(unit=u.deg, sep=":", precision=2,
                                                        pad=True, alwayssign=True)
        text += f"{lon} {lat} {f['frame']}  "
    text += f"{f['n_rows']} rows" if f["n_rows"] else "unused"
    if f["n_rows"] and f["pointing_offset_rad"]:
        text += f", points {f['pointing_offset_rad'] / ARCMIN:.3g}′ away by {f['pointing_from']}"
    elif f["n_rows"] and f["pointing_from"] == "POINTING":
        text += ", points there by POINTING"
    return text + (f", {f['defect']}" if f["defect"] else "")


def _description_line(d: dict[str, Any]) -> str:
    text = f"  {d['id']:3d}  spw {d['spw']} ({d['spw_name']})  "
    if d["n_channels"] and None in (d["first_channel_hz"], d["last_channel_hz"]):
        text += f"{d['n_channels']} channels without frequencies  "
    elif d["n_channels"]:
        text += f"{d['n_channels']} channels of {d['channel_width_hz'] / 1e6:.6g} MHz, {_frequencies(d)} GHz  "
    else:
        text += "no channels  "
    return text + f"{' '.join(d['correlations'])}  " + (f"{d['n_rows']} rows" if d["n_rows"]
                                                        else "unused")


def _frequencies(d: dict[str, Any]) -> str:
    """First and last channel with so many digits that a tenth of a channel's width shows."""
    return " to ".join(frequency_text(d[name], d["channel_width_hz"])
                       for name in ("first_channel_hz", "last_channel_hz"))
