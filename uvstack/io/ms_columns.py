"""Columns of measurement sets that this project writes, and how casacore stores them.

After the MeasurementSet definition version 2.0 (Kemball & Wieringa 2000). A column is given as type
and number of axes; "double3" is a fixed axis of three. casacore refuses a subtable whose units or
fixed shapes differ from the definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from uvstack.io.casa import Table, create_table

_TIME = {"QuantumUnits": ["s"], "MEASINFO": {"type": "epoch", "Ref": "UTC"}}
_SECONDS = {"QuantumUnits": ["s"]}
_UVW = {"QuantumUnits": ["m", "m", "m"], "MEASINFO": {"type": "uvw", "Ref": "J2000"}}

#: Scalar columns of the main table that a stack takes over from its input as they are, beside those
#: it has read anyway.
PASSED_ON = ("TIME_CENTROID", "EXPOSURE", "INTERVAL", "SCAN_NUMBER", "ARRAY_ID", "OBSERVATION_ID",
             "PROCESSOR_ID", "STATE_ID", "FEED1", "FEED2")
_INTEGERS = ("ANTENNA1", "ANTENNA2", "SCAN_NUMBER", "ARRAY_ID", "OBSERVATION_ID", "PROCESSOR_ID",
             "STATE_ID", "FEED1", "FEED2", "DATA_DESC_ID", "FIELD_ID")
#: Columns whose shapes are those of another one, in whose manager they are.
_SHARED = {"FLAG": "DATA", "SIGMA": "WEIGHT"}


def _column(kind: str, n_dim: int = 0, keywords: dict | None = None, shape: list[int] | None = None,
            manager: str = "StandardStMan", group: str = "standard") -> dict:
    column = {"valueType": kind, "dataManagerType": manager, "dataManagerGroup": group, "option": 0,
              "maxlen": 0, "comment": "", "keywords": keywords or {}}
    if n_dim:
        column["ndim"] = n_dim
    if shape:
        column |= {"shape": shape, "option": 5, "_c_order": True}
    return column


def main_columns(data_columns: tuple[str, ...] = ("DATA",),
                 weight_columns: tuple[str, ...] = ("WEIGHT", "SIGMA")) -> dict:
    """Description of the columns of the main table, as `create_table` takes it.

    Every cell may have a shape of its own, even where all have one: CASA's concat appends to a copy
    of the first set, and cuts without a word what does not fit a fixed shape. casacore then notes
    the shape of each row, once for all columns in one manager: those that every set has, and that
    no one removes, share it in twos. Others must not: in rows for which one is written the others
    hold zeros, no empty cells.
    """
    slow: dict[str, Any] = {"manager": "IncrementalStMan", "group": "slow"}
    columns = {name: _column("int", **({} if name in ("ANTENNA1", "ANTENNA2") else slow))
               for name in _INTEGERS}
    columns |= {name: _column("double", keywords=_TIME, **slow)
                for name in ("TIME", "TIME_CENTROID")}
    columns |= {name: _column("double", keywords=_SECONDS, **slow)
                for name in ("EXPOSURE", "INTERVAL")}
    columns["FLAG_ROW"] = _column("boolean", **slow)
    columns["UVW"] = _column("double", 1, _UVW, [3], "TiledColumnStMan", "tiled_UVW")
    kinds = {"FLAG": ("boolean", 2), "FLAG_CATEGORY": ("boolean", 3)}
    kinds |= {name: ("float", 2 if name == "WEIGHT_SPECTRUM" else 1) for name in weight_columns}
    kinds |= {name: ("complex", 2) for name in data_columns}
    for name, (kind, n_dim) in kinds.items():
        keywords = {"CATEGORY": ["FLAG_CMD"]} if name == "FLAG_CATEGORY" else {"UNIT": "Jy"} if kind == "complex" else None
        columns[name] = _column(kind, n_dim, keywords, manager="TiledShapeStMan",
                                group=f"tiled_{_SHARED.get(name, name)}")
    return columns


def data_managers(columns: dict, n_chan: int, n_corr: int) -> dict:
    """casacore's dminfo for these columns, with tiles of about a megabyte of visibilities."""
    rows = max(131072 // (n_chan * n_corr), 16)
    managers: dict[str, dict] = {}
    for name, column in columns.items():
        group = column["dataManagerGroup"]
        manager = managers.setdefault(group,
                                      {"TYPE": column["dataManagerType"], "NAME": group,
                                       "SEQNR": len(managers), "COLUMNS": [], "SPEC": {}})
        manager["COLUMNS"].append(name)
        if name == "UVW":
            manager["SPEC"] = {"DEFAULTTILESHAPE": [3, 16384]}
        elif name == "FLAG_CATEGORY":
            manager["SPEC"] = {"DEFAULTTILESHAPE": [n_corr, n_chan, 1, rows]}
        elif column["dataManagerType"] != "StandardStMan" and "ndim" in column:
            manager["SPEC"] = {"DEFAULTTILESHAPE": [n_corr, n_chan, rows] if column["ndim"] == 2
                               else [n_corr, 16384]}
    return {f"*{i + 1}": manager for i, manager in enumerate(managers.values())}


def create_main_table(path: str, n_rows: int, shapes: set[tuple[int, int]],
                      data_columns: tuple[str, ...] = ("DATA",),
                      weight_columns: tuple[str, ...] = ("WEIGHT", "SIGMA")) -> Table:
    """New main table of a measurement set, open for writing.

    Shapes are those (chan, corr) that its cells will have.
    """
    columns = main_columns(data_columns, weight_columns)
    table = create_table(path, columns, data_managers(columns, *max(shapes)), n_rows)
    table.set_info({"type": "Measurement Set", "subType": "",
                    "readme": "Measurements from a telescope\n"})
    table.set_keyword("MS_VERSION", 2.0)
    return table


_DIRECTION = {"QuantumUnits": ["rad", "rad"], "MEASINFO": {"type": "direction", "Ref": "J2000"}}
_FREQUENCY = {"QuantumUnits": ["Hz"],
              "MEASINFO": {"type": "frequency", "VarRefCol": "MEAS_FREQ_REF",
                           "TabRefTypes": ["REST", "LSRK", "LSRD", "BARY", "GEO", "TOPO", "GALACTO",
                                           "LGROUP", "CMB", "Undefined"],
                           "TabRefCodes": np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 64], np.uint32)}}
_HZ = {"QuantumUnits": ["Hz"]}
_POSITION = {"QuantumUnits": ["m", "m", "m"], "MEASINFO": {"type": "position", "Ref": "ITRF"}}
_METRE = {"QuantumUnits": ["m"]}
_RADIANS = {"QuantumUnits": ["rad"]}
_KELVIN = {"QuantumUnits": ["K"]}
_EPOCHS = {"QuantumUnits": ["s"], "MEASINFO": {"type": "epoch", "Ref": "UTC"}}

#: Required subtables: column → (type, axes, keywords).
SUBTABLES: dict[str, dict[str, tuple]] = {"ANTENNA": {"NAME": ("string",), "STATION": ("string",),
                                                      "TYPE": ("string",), "MOUNT": ("string",),
                                                      "POSITION": ("double3", 1, _POSITION),
                                                      "OFFSET": ("double3", 1, _POSITION),
                                                      "DISH_DIAMETER": ("double", 0, _METRE),
                                                      "FLAG_ROW": ("boolean",)},
                                          "DATA_DESCRIPTION": {"SPECTRAL_WINDOW_ID": ("int",),
                                                               "POLARIZATION_ID": ("int",),
                                                               "FLAG_ROW": ("boolean",)},
                                          "FEED": {"ANTENNA_ID": ("int",), "FEED_ID": ("int",),
                                                   "SPECTRAL_WINDOW_ID": ("int",),
                                                   "TIME": ("double", 0, _TIME),
                                                   "INTERVAL": ("double", 0, _SECONDS),
                                                   "NUM_RECEPTORS": ("int",), "BEAM_ID": ("int",),
                                                   "BEAM_OFFSET": ("double", 2, _DIRECTION),
                                                   "POLARIZATION_TYPE": ("string", 1),
                                                   "POL_RESPONSE": ("complex", 2),
                                                   "POSITION": ("double3", 1, _POSITION),
                                                   "RECEPTOR_ANGLE": ("double", 1, _RADIANS)},
                                          "FIELD": {"NAME": ("string",), "CODE": ("string",),
                                                    "TIME": ("double", 0, _TIME),
                                                    "NUM_POLY": ("int",),
                                                    "DELAY_DIR": ("double", 2, _DIRECTION),
                                                    "PHASE_DIR": ("double", 2, _DIRECTION),
                                                    "REFERENCE_DIR": ("double", 2, _DIRECTION),
                                                    "SOURCE_ID": ("int",),
                                                    "FLAG_ROW": ("boolean",)},
                                          "FLAG_CMD": {"TIME": ("double", 0, _TIME),
                                                       "INTERVAL": ("double", 0, _SECONDS),
                                                       "TYPE": ("string",), "REASON": ("string",),
                                                       "LEVEL": ("int",), "SEVERITY": ("int",),
                                                       "APPLIED": ("boolean",),
                                                       "COMMAND": ("string",)},
                                          "HISTORY": {"TIME": ("double", 0, _TIME),
                                                      "OBSERVATION_ID": ("int",),
                                                      "MESSAGE": ("string",),
                                                      "PRIORITY": ("string",),
                                                      "ORIGIN": ("string",), "OBJECT_ID": ("int",),
                                                      "APPLICATION": ("string",),
                                                      "CLI_COMMAND": ("string", 1),
                                                      "APP_PARAMS": ("string", 1)},
                                          "OBSERVATION": {"TELESCOPE_NAME": ("string",),
                                                          "TIME_RANGE": ("double2", 1, _EPOCHS),
                                                          "OBSERVER": ("string",),
                                                          "LOG": ("string", 1),
                                                          "SCHEDULE_TYPE": ("string",),
                                                          "SCHEDULE": ("string", 1),
                                                          "PROJECT": ("string",),
                                                          "RELEASE_DATE": ("double", 0, _TIME),
                                                          "FLAG_ROW": ("boolean",)},
                                          "POINTING": {"ANTENNA_ID": ("int",),
                                                       "TIME": ("double", 0, _TIME),
                                                       "INTERVAL": ("double", 0, _SECONDS),
                                                       "NAME": ("string",), "NUM_POLY": ("int",),
                                                       "TIME_ORIGIN": ("double", 0, _TIME),
                                                       "DIRECTION": ("double", 2, _DIRECTION),
                                                       "TARGET": ("double", 2, _DIRECTION),
                                                       "TRACKING": ("boolean",)},
                                          "POLARIZATION": {"NUM_CORR": ("int",),
                                                           "CORR_TYPE": ("int", 1),
                                                           "CORR_PRODUCT": ("int", 2),
                                                           "FLAG_ROW": ("boolean",)},
                                          "PROCESSOR": {"TYPE": ("string",),
                                                        "SUB_TYPE": ("string",),
                                                        "TYPE_ID": ("int",), "MODE_ID": ("int",),
                                                        "FLAG_ROW": ("boolean",)},
                                          "SPECTRAL_WINDOW": {"NUM_CHAN": ("int",),
                                                              "NAME": ("string",),
                                                              "REF_FREQUENCY": (
                                                                  "double", 0, _FREQUENCY),
                                                              "CHAN_FREQ": (
                                                                  "double", 1, _FREQUENCY),
                                                              "CHAN_WIDTH": ("double", 1, _HZ),
                                                              "MEAS_FREQ_REF": ("int",),
                                                              "EFFECTIVE_BW": ("double", 1, _HZ),
                                                              "RESOLUTION": ("double", 1, _HZ),
                                                              "TOTAL_BANDWIDTH": ("double", 0, _HZ),
                                                              "NET_SIDEBAND": ("int",),
                                                              "IF_CONV_CHAIN": ("int",),
                                                              "FREQ_GROUP": ("int",),
                                                              "FREQ_GROUP_NAME": ("string",),
                                                              "FLAG_ROW": ("boolean",)},
                                          "STATE": {"SIG": ("boolean",), "REF": ("boolean",),
                                                    "CAL": ("double", 0, _KELVIN),
                                                    "LOAD": ("double", 0, _KELVIN),
                                                    "SUB_SCAN": ("int",), "OBS_MODE": ("string",),
                                                    "FLAG_ROW": ("boolean",)}}


def create_subtable(path: str, name: str, n_rows: int = 0) -> Table:
    """New subtable of the given name with its required columns at `path/name`, open for writing."""
    columns = {}
    for column, specification in SUBTABLES[name].items():
        kind, n_dim, keywords = (*specification, 0, None)[:3]
        shape = [int(kind[-1])] if kind[-1].isdigit() else None
        columns[column] = _column(kind.rstrip("23"), n_dim, keywords, shape)
    table = create_table(f"{path}/{name}", columns, {}, n_rows)
    table.set_info({"type": "", "subType": "", "readme": ""})
    return table
