"""What a measurement set holds, to look at before one starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.time import Time

from uvstack.constants import CORRELATIONS, SPEED_OF_LIGHT
from uvstack.io.casa import open_table
from uvstack.io.ms import read_structure
from uvstack.records import Structure

#: Values that are looked at together when flags are counted.
_CELLS_PER_BLOCK = 20_000_000


def describe(path: str | Path) -> dict[str, Any]:
    """Fields, windows, columns, flags, times and uv range of a measurement set, as numbers and texts.

    One pass over (u, v, w), flags and times, in blocks of rows.
    """
    structure = read_structure(path)
    counts = _scan(structure)
    highest = max(float(d.spw.frequency.max()) for d in structure.data_descriptions)
    resolution = SPEED_OF_LIGHT / highest / counts["longest_baseline_m"] if counts["longest_baseline_m"] > 0 else float("nan")
    return {
        "path": structure.path, "telescope": structure.telescope, "n_rows": structure.n_rows,
        "antennas": {
            "n": len(structure.antenna_names), "names": list(structure.antenna_names),
            "dish_diameters_m": sorted({round(float(d), 3) for d in structure.dish_diameters})},
        "fields": [
            {"id": f.id, "name": f.name, "frame": f.frame, "longitude_deg": float(np.rad2deg(f.ra) % 360),
             "latitude_deg": float(np.rad2deg(f.dec)), "n_rows": counts["rows_per_field"].get(f.id, 0)} for f in structure.fields],
        "data_descriptions": [
            {"id": d.id, "spw": d.spw.id, "spw_name": d.spw.name, "n_channels": d.spw.frequency.size,
             "first_channel_ghz": float(d.spw.frequency[0] / 1e9), "last_channel_ghz": float(d.spw.frequency[-1] / 1e9),
             "channel_width_mhz": float(np.median(d.spw.width) / 1e6),
             "correlations": [CORRELATIONS.get(c, str(c)) for c in d.correlations],
             "n_rows": counts["rows_per_description"].get(d.id, 0)} for d in structure.data_descriptions],
        "columns": list(structure.columns), "data_columns": _data_columns(structure), "weights_from": structure.weight_source,
        **{k: v for k, v in counts.items() if not k.startswith("rows_per")},
        "resolution_arcsec": float(np.rad2deg(resolution) * 3600), "suggested_cell_arcsec": float(np.rad2deg(resolution) * 3600 / 5)}


def _data_columns(structure: Structure) -> list[str]:
    with open_table(structure.path) as table:
        description = table.description()
    return [c for c in structure.columns if description[c]["valueType"] in ("complex", "dcomplex")]


def _scan(structure: Structure) -> dict[str, Any]:
    """Counts of rows and flags, range of times and uv distances."""
    fields: dict[int, int] = {}
    descriptions: dict[int, int] = {}
    flagged = cells = autocorrelations = 0
    shortest, longest, first, last = np.inf, 0.0, np.inf, -np.inf
    widest = max(d.shape[0] * d.shape[1] for d in structure.data_descriptions)
    step = max(_CELLS_PER_BLOCK // widest, 1)
    with open_table(structure.path) as table:
        for start in range(0, structure.n_rows, step):
            n = min(step, structure.n_rows - start)
            cross = table.read("ANTENNA1", start, n) != table.read("ANTENNA2", start, n)
            autocorrelations += int((~cross).sum())
            for column, counter in (("FIELD_ID", fields), ("DATA_DESC_ID", descriptions)):
                for value, count in zip(*np.unique(table.read(column, start, n), return_counts=True), strict=True):
                    counter[int(value)] = counter.get(int(value), 0) + int(count)
            time = table.read("TIME", start, n)
            first, last = min(first, float(time.min())), max(last, float(time.max()))
            uvw = table.read("UVW", start, n)
            used = cross & np.isfinite(uvw).all(axis=1)
            distance = np.hypot(uvw[used, 0], uvw[used, 1])
            distance = distance[distance > 0]
            shortest, longest = min(shortest, float(distance.min(initial=np.inf))), max(longest, float(distance.max(initial=0.0)))
            for values in _flags(structure, table, start, n):
                flagged += int(values.sum())
                cells += values.size
    return {
        "rows_per_field": fields, "rows_per_description": descriptions, "autocorrelations": autocorrelations,
        "flagged_fraction": flagged / cells if cells else 0.0, "first_time_mjd_s": first, "last_time_mjd_s": last,
        "shortest_baseline_m": shortest if np.isfinite(shortest) else 0.0, "longest_baseline_m": longest}


def _flags(structure: Structure, table, start: int, n: int):
    """Flags of rows start … start + n − 1 with FLAG_ROW applied, in pieces of one shape each."""
    if "FLAG" not in structure.columns:
        return
    row_flag = table.read("FLAG_ROW", start, n) if "FLAG_ROW" in structure.columns else np.zeros(n, np.bool_)
    description = table.read("DATA_DESC_ID", start, n)
    if len({d.shape for d in structure.data_descriptions}) == 1:
        yield table.read("FLAG", start, n) | row_flag[:, None, None]
        return
    for value in np.unique(description):
        rows = np.flatnonzero(description == value)
        yield table.read_rows("FLAG", start + rows) | row_flag[rows, None, None]


def format_description(found: dict[str, Any]) -> str:
    """The description as text for a terminal."""
    def when(seconds: float) -> str:
        return Time(seconds / 86400.0, format="mjd", scale="utc").isot[:19] if np.isfinite(seconds) else "never"

    lines = [
        f"{found['path']}: {found['telescope']}, {found['n_rows']} rows, {found['antennas']['n']} antennas of "
        f"{', '.join(f'{d:g}' for d in found['antennas']['dish_diameters_m'])} m",
        f"antennas     {' '.join(found['antennas']['names'])}",
        f"time         {when(found['first_time_mjd_s'])} to {when(found['last_time_mjd_s'])} UTC",
        f"columns      {', '.join(found['data_columns'])}; weights from {found['weights_from']}",
        f"flagged      {100 * found['flagged_fraction']:.1f} %, {found['autocorrelations']} autocorrelations",
        f"uv range     {found['shortest_baseline_m']:.4g} m to {found['longest_baseline_m']:.5g} m",
        f"resolution   {found['resolution_arcsec']:.3g}\"; suggested cell {found['suggested_cell_arcsec']:.2g}\"",
        "fields"]
    for f in found["fields"]:
        lon = Angle(f["longitude_deg"], u.deg).to_string(unit=u.hourangle, sep=":", precision=3, pad=True)
        lat = Angle(f["latitude_deg"], u.deg).to_string(sep=":", precision=2, pad=True, alwayssign=True)
        lines.append(f"  {f['id']:3d}  {f['name']:20s} {lon} {lat} {f['frame']}  {f['n_rows']} rows")
    lines.append("data descriptions")
    for d in found["data_descriptions"]:
        lines.append(f"  {d['id']:3d}  spw {d['spw']} ({d['spw_name']})  {d['n_channels']} channels of {d['channel_width_mhz']:.4g} MHz, "
                     f"{d['first_channel_ghz']:.6g} to {d['last_channel_ghz']:.6g} GHz  {' '.join(d['correlations'])}  {d['n_rows']} rows")
    return "\n".join(lines)
