"""Visibilities in the schema of MSv4 (xradio, xarray-ms) as the tables of a measurement set.

A dataset is a grid of times and baselines with its own frequencies and correlations; antennas and
fields stand beside it, as children of its node in a tree. A grid is read as rows, time by time;
baselines that were not observed, with NaN in UVW, are left out. Visibilities and (u, v, w) have the
signs of the older format: (u, v, w) is antenna 2 − antenna 1, in metres. Times are seconds
since 1970 there, and MJD seconds here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy import units

from uvstack.constants import CORRELATIONS
from uvstack.errors import MeasurementSetError
from uvstack.io.lazy_table import ArrayPart, LazyTable, Part, values_of
from uvstack.io.ms import structure_of
from uvstack.records import Datasets, Structure

#: 1970 January 1 as MJD, s.
_UNIX = 40587 * 86400.0
_AXES = ("time", "baseline_id", "frequency", "polarization")
#: Names of visibilities that have one in the older format.
_OLD_NAMES = {
    "VISIBILITY": "DATA",
    "VISIBILITY_CORRECTED": "CORRECTED_DATA",
    "VISIBILITY_MODEL": "MODEL_DATA",
}
#: Frames of directions and of frequencies by astropy's names and by casacore's numbers.
_FRAMES = {"fk5": "J2000", "icrs": "ICRS", "fk4": "B1950", "galactic": "GALACTIC"}
_OBSERVERS = ("REST", "LSRK", "LSRD", "BARY", "GEO", "TOPO", "GALACTO", "LGROUP", "CMB")
_TABLES = (
    "ANTENNA", "FIELD", "SPECTRAL_WINDOW", "POLARIZATION", "DATA_DESCRIPTION", "OBSERVATION"
)  # fmt: skip
#: Rows of (u, v, w) that are looked at together.
_ROWS = 200_000


def is_msv4(dataset: Any) -> bool:
    """Whether a dataset is visibilities of MSv4."""
    return {"time", "baseline_id"} <= set(dataset.dims)


def visibilities_in(datasets: Sequence[Any]) -> list[Any]:
    """All datasets with visibilities of MSv4, of trees those of their nodes."""
    nodes = [node for dataset in datasets for node in getattr(dataset, "subtree", [dataset])]
    return [node for node in nodes if is_msv4(node) and _axes_of_data(node)]


def _axes_of_data(node: Any) -> list[str]:
    return [
        str(name)
        for name, variable in node.data_vars.items()
        if variable.dims == _AXES and variable.dtype.kind == "c"
    ]


class GridPart(Part):
    """Times × baselines as rows.

    Parameters
    ----------
    grids : mapping
        Column → variable (time, baseline, …).
    by_time, by_baseline, constants : mapping
        Column → values (time,); values (baseline,); the value of all rows.
    seconds : mapping
        Column → what is added to its values.
    """

    def __init__(
        self,
        grids: Mapping[str, Any],
        by_time: Mapping[str, np.ndarray],
        by_baseline: Mapping[str, np.ndarray],
        constants: Mapping[str, Any],
        seconds: Mapping[str, float],
    ):
        self._grids, self._by_time, self._by_baseline = (
            dict(grids),
            dict(by_time),
            dict(by_baseline),
        )
        self._constants = {name: np.asarray(value) for name, value in constants.items()}
        self._seconds = dict(seconds)
        self._shape = grids["UVW"].shape[:2]
        self.kinds = {
            name: np.dtype(v.dtype)
            for group in (self._grids, self._by_time, self._by_baseline, self._constants)
            for name, v in group.items()
        }
        self._observed = self._find_observed()
        self.n = int(np.prod(self._shape)) if self._observed is None else self._observed.size

    def _find_observed(self) -> np.ndarray | None:
        """Numbers of the places in the grid that were observed; None where all were."""
        n_time, n_baseline = self._shape
        step = max(_ROWS // max(n_baseline, 1), 1)
        found = [
            start * n_baseline
            + np.flatnonzero(
                ~np.isnan(values_of(self._grids["UVW"][start : start + step])).all(axis=2)
            )
            for start in range(0, n_time, step)
        ]
        observed = np.concatenate(found) if found else np.zeros(0, np.int64)
        return None if observed.size == n_time * n_baseline else observed

    def read(self, column: str, rows: slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(self.n))
        place = rows if self._observed is None else self._observed[rows]
        time, baseline = np.divmod(place, self._shape[1]) if place.size else (place, place)
        if column in self._by_time:
            return self._by_time[column][time]
        if column in self._by_baseline:
            return self._by_baseline[column][baseline]
        if column in self._constants:
            return np.full(rows.size, self._constants[column])
        first, last = (int(time[0]), int(time[-1]) + 1) if time.size else (0, 0)
        values = values_of(self._grids[column][first:last])
        return (
            values[time - first, baseline] + self._seconds[column]
            if column in self._seconds
            else values[time - first, baseline]
        )


class _Numbered:
    """Rows of a subtable, each once, and their numbers."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable, row: dict[str, Any]) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.rows)
            self.rows.append(row)
        return self._numbers[key]


def msv4_structure(given: Datasets, nodes: Sequence[Any]) -> Structure:
    """Structure of datasets with visibilities.

    Raises
    ------
    MeasurementSetError
        Antennas, fields or (u, v, w) are missing, or something is in units that are not known.
    """
    name = given.name or "datasets"
    tables = {table: _Numbered() for table in _TABLES}
    parts, scales = [], set()
    for node in nodes:
        where = f"{name}: {getattr(node, 'path', '') or 'dataset'}"
        part, scale = _read_node(where, node, given, tables)
        parts.append(part)
        scales.add(scale)
    if len(scales) > 1:
        raise MeasurementSetError(
            f"{name}: times in {' and '.join(sorted(scales))}; wanted is one scale"
        )
    frames = {row.pop("frame") for row in tables["FIELD"].rows}
    if len(frames) > 1:
        raise MeasurementSetError(
            f"{name}: fields in the frames {', '.join(sorted(frames))}; wanted is one, so give "
            "them as several sets"
        )
    keywords = {"PHASE_DIR": {"MEASINFO": {"type": "direction", "Ref": frames.pop()}}}
    subtables = {
        table: LazyTable(
            f"{name}: {table}",
            [ArrayPart({c: _cell(v) for c, v in row.items()}) for row in numbered.rows],
            keywords,
        )
        for table, numbered in tables.items()
    }
    main = LazyTable(
        name, parts, {"TIME": {"MEASINFO": {"type": "epoch", "Ref": scales.pop().upper()}}}
    )
    return structure_of(name, main, subtables)


def _cell(value: Any) -> np.ndarray:
    """A value as a column of one row."""
    return np.asarray([value], object) if isinstance(value, str) else np.asarray(value)[None]


def _read_node(
    where: str, node: Any, given: Datasets, tables: dict[str, _Numbered]
) -> tuple[GridPart, str]:
    """Rows of a dataset with numbers of antennas, fields and windows; the scale of its times."""
    groups = node.attrs.get("data_groups") or {}
    group: Mapping[str, Any] = groups.get("base") or next(iter(groups.values()), {})
    time, scale, shift = _times(where, node["time"])
    antennas = _child(where, node, given, "antenna_xds")
    named = str(group.get("field_and_source", "")).rsplit("/", 1)[-1]
    fields = _child(where, node, given, "field_and_source_base_xds", "field_and_source_xds", named)
    of_antenna = _antenna_numbers(antennas, tables["ANTENNA"])
    of_field = _field_numbers(where, fields, tables["FIELD"])
    by_baseline = {
        f"ANTENNA{i}": _numbers(where, node, f"baseline_antenna{i}_name", of_antenna)
        for i in (1, 2)
    }
    field = np.broadcast_to(_numbers(where, node, "field_name", of_field), time.size)
    telescope = _telescope(antennas)
    constants = {
        "DATA_DESC_ID": np.int32(_description(where, node, tables)),
        "OBSERVATION_ID": np.int32(
            tables["OBSERVATION"].number(telescope, {"TELESCOPE_NAME": telescope})
        ),
        "FLAG_ROW": np.bool_(False),
    }
    length = _number(node["time"].attrs.get("integration_time"))
    if length is not None:
        constants["INTERVAL"] = np.float64(length)
    grids = _grids(where, node, group)
    by_time = {"TIME": time, "FIELD_ID": field}
    return GridPart(grids, by_time, by_baseline, constants, {"TIME_CENTROID": shift}), scale


def _grids(where: str, node: Any, group: Mapping[str, Any]) -> dict[str, Any]:
    """Column → what it is read from."""
    visibilities = _axes_of_data(node)
    names = {_OLD_NAMES.get(v, v): v for v in visibilities}
    if group.get("correlated_data") in visibilities:
        names["DATA"] = group["correlated_data"]
    names |= {
        column: str(group.get(key, default))
        for column, key, default in (
            ("UVW", "uvw", "UVW"),
            ("FLAG", "flag", "FLAG"),
            ("WEIGHT_SPECTRUM", "weight", "WEIGHT"),
            ("TIME_CENTROID", "", "TIME_CENTROID"),
            ("EXPOSURE", "", "EFFECTIVE_INTEGRATION_TIME"),
        )
    }
    if names["UVW"] not in node.data_vars:
        raise MeasurementSetError(f"{where}: no {names['UVW']} beside the visibilities")
    return {c: _variable(where, node[v]) for c, v in names.items() if v in node.data_vars}


def _numbers(where: str, node: Any, name: str, of_name: Mapping[str, int]) -> np.ndarray:
    """Numbers of antennas or fields by a coordinate with their names."""
    found = [str(one) for one in np.ravel(node[name].values)] if name in node.coords else []
    strange = [one for one in found if one not in of_name]
    if strange or not found:
        raise MeasurementSetError(
            f"{where}: {name} {f'is {strange[0]!r}' if strange else 'is missing'}; wanted is one "
            f"of {', '.join(of_name)}"
        )
    return np.array([of_name[one] for one in found], np.int32)


def _variable(where: str, array: Any) -> Any:
    """What a column is read from, time and baseline first."""
    variable = array.variable
    if variable.dims[:2] != _AXES[:2] or (variable.ndim == 4 and variable.dims != _AXES):
        raise MeasurementSetError(
            f"{where}: {array.name} has the axes {', '.join(variable.dims)}; wanted are first "
            "time, then baseline_id"
        )
    if array.name == "UVW" and array.attrs.get("units", "m") not in ("m", ["m"], ["m", "m", "m"]):
        raise MeasurementSetError(f"{where}: UVW is in {array.attrs['units']}; wanted is m")
    return variable.data if variable.chunks else variable


def _times(where: str, time: Any) -> tuple[np.ndarray, str, float]:
    """MJD seconds (time,), their scale, and what was added."""
    unit, form, scale = (
        time.attrs.get("units", "s"),
        str(time.attrs.get("format", "unix")),
        str(time.attrs.get("scale", "utc")).lower(),
    )
    if (
        unit not in ("s", ["s"])
        or form not in ("unix", "mjd")
        or scale not in ("utc", "tai")
        or time.dtype.kind != "f"
    ):
        raise MeasurementSetError(
            f"{where}: time is {time.dtype} in {unit}, {form}, {scale}; wanted is seconds, unix or "
            "mjd, in utc or tai"
        )
    shift = _UNIX if form == "unix" else 0.0
    return np.asarray(time.values, np.float64) + shift, scale, shift


def _child(where: str, node: Any, given: Datasets, *names: str) -> Any:
    """A dataset beside the visibilities: a child of the node, an attribute of it, or given."""
    beside = given.subtables if isinstance(given.subtables, Mapping) else {}
    for name in names:
        for place in (getattr(node, "children", {}), beside, node.attrs):
            if name in place:
                return place[name]
    raise MeasurementSetError(
        f"{where}: no {names[0]} beside the visibilities; give the node of the tree that has it, "
        "or "
        f'uvstack.Datasets(datasets, subtables={{"{names[0]}": …}})'
    )


def _telescope(antennas: Any) -> str:
    name = antennas.attrs.get("overall_telescope_name")
    if not name and "telescope_name" in antennas.variables and antennas["telescope_name"].size:
        name = np.ravel(antennas["telescope_name"].values)[0]
    return str(name or "unknown")


def _antenna_numbers(antennas: Any, table: _Numbered) -> dict[str, int]:
    """Name → number of every antenna; the same one at the same place is one."""
    names = [str(name) for name in antennas["antenna_name"].values]
    zeros = np.zeros(len(names))
    position = (
        np.asarray(antennas["ANTENNA_POSITION"].values)
        if "ANTENNA_POSITION" in antennas
        else np.zeros((len(names), 3))
    )
    diameter = (
        np.asarray(antennas["ANTENNA_DISH_DIAMETER"].values)
        if "ANTENNA_DISH_DIAMETER" in antennas
        else zeros
    )
    station = (
        [str(s) for s in antennas["station_name"].values]
        if "station_name" in antennas.variables
        else names
    )
    return {
        name: table.number(
            (name, *position[i]),
            {
                "NAME": name,
                "STATION": station[i],
                "TYPE": "GROUND-BASED",
                "MOUNT": "ALT-AZ",
                "POSITION": position[i],
                "OFFSET": np.zeros(3),
                "DISH_DIAMETER": float(diameter[i]),
                "FLAG_ROW": False,
            },
        )
        for i, name in enumerate(names)
    }


def _field_numbers(where: str, fields: Any, table: _Numbered) -> dict[str, int]:
    """Name → number of every field of a dataset."""
    centre = next(
        (
            fields[name]
            for name in ("FIELD_PHASE_CENTER_DIRECTION", "FIELD_PHASE_CENTER")
            if name in fields.data_vars
        ),
        None,
    )
    if centre is None:
        raise MeasurementSetError(f"{where}: its fields have no FIELD_PHASE_CENTER_DIRECTION")
    frame = _FRAMES.get(str(centre.attrs.get("frame", "")).lower())
    if frame is None:
        raise MeasurementSetError(
            f"{where}: phase centres in the frame {centre.attrs.get('frame')!r}; wanted is one of "
            f"{', '.join(_FRAMES)}"
        )
    follows = "time" in centre.dims or "time_ephemeris" in centre.dims
    values = np.asarray(centre.values, np.float64) * _unit(where, centre.attrs.get("units", "rad"))
    found = {}
    for i, name in enumerate(np.ravel(fields["field_name"].values)):
        ra, dec = (float(x) for x in (values[0] if follows else values.reshape(-1, 2)[i]))
        row = {
            "NAME": str(name),
            "PHASE_DIR": np.array([[ra, dec]]),
            "frame": frame,
            "NUM_POLY": 0,
            "EPHEMERIS_ID": 0 if follows else -1,
        }
        found[str(name)] = table.number((str(name), ra, dec, frame, follows), row)
    return found


def _unit(where: str, unit: Any) -> float:
    """Radians in a unit, which may be named for each axis."""
    names = {unit} if isinstance(unit, str) else set(unit)
    if len(names) != 1 or names > {"rad", "deg"}:
        raise MeasurementSetError(f"{where}: directions in {unit}; wanted is rad or deg")
    return float(units.Unit(names.pop()).to(units.rad))


def _description(where: str, node: Any, tables: dict[str, _Numbered]) -> int:
    """Number of a dataset's spectral window and correlations."""
    axis = node["frequency"]
    if axis.attrs.get("units", "Hz") not in ("Hz", ["Hz"]):
        raise MeasurementSetError(f"{where}: frequency is in {axis.attrs['units']}; wanted is Hz")
    frequency = np.asarray(axis.values, np.float64)
    codes = {name: code for code, name in CORRELATIONS.items()}
    labels = [str(label) for label in node["polarization"].values]
    if "polarization_mixed" in node.coords or not set(labels) <= set(codes):
        raise MeasurementSetError(
            f"{where}: correlations {', '.join(labels)}, which may be of several kinds; wanted are "
            "some of "
            f"{', '.join(codes)}, the same on all baselines"
        )
    width = _number(axis.attrs.get("channel_width"))
    if width is None:
        width = float(np.median(np.abs(np.diff(frequency)))) if frequency.size > 1 else 0.0
    widths = np.full(frequency.size, width)
    name = str(axis.attrs.get("spectral_window_name", ""))
    observer = str(axis.attrs.get("observer", "TOPO")).upper()
    window = tables["SPECTRAL_WINDOW"].number(
        (name, width, *frequency),
        {
            "NAME": name,
            "NUM_CHAN": frequency.size,
            "CHAN_FREQ": frequency,
            "CHAN_WIDTH": widths,
            "EFFECTIVE_BW": widths,
            "RESOLUTION": widths,
            "REF_FREQUENCY": float(frequency[0]) if frequency.size else 0.0,
            "TOTAL_BANDWIDTH": float(widths.sum()),
            "MEAS_FREQ_REF": _OBSERVERS.index(observer) if observer in _OBSERVERS else 5,
            "NET_SIDEBAND": 1,
            "FLAG_ROW": False,
        },
    )
    product = tuple(codes[label] for label in labels)
    receptors = [
        (
            ("RL", "XY")[code > 8].index(CORRELATIONS[code][0]),
            ("RL", "XY")[code > 8].index(CORRELATIONS[code][1]),
        )
        if code > 4
        else (0, 0)
        for code in product
    ]
    polarization = tables["POLARIZATION"].number(
        product,
        {
            "NUM_CORR": len(product),
            "CORR_TYPE": np.array(product, np.int32),
            "CORR_PRODUCT": np.array(receptors, np.int32),
            "FLAG_ROW": False,
        },
    )
    return tables["DATA_DESCRIPTION"].number(
        (window, polarization),
        {"SPECTRAL_WINDOW_ID": window, "POLARIZATION_ID": polarization, "FLAG_ROW": False},
    )


def _number(quantity: Any) -> float | None:
    """A number in an attribute, by itself or as {"data": number}; None where there is none."""
    value = quantity.get("data") if isinstance(quantity, Mapping) else quantity
    return (
        float(value) if isinstance(value, int | float | np.number) and np.isfinite(value) else None
    )
