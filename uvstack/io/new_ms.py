"""A new measurement set from arrays.

What a simulator or a test needs, valid for CASA and WSClean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from uvstack.io.casa import Table
from uvstack.io.ms_columns import SUBTABLES, create_main_table, create_subtable
from uvstack.records import DataDescription, Field

#: Receptors of each correlation product (codes of casacore).
_RECEPTORS = {1: (0, 0), 2: (0, 0), 3: (0, 1), 4: (0, 1), 5: (0, 0), 6: (0, 1), 7: (1, 0),
              8: (1, 1), 9: (0, 0), 10: (0, 1), 11: (1, 0), 12: (1, 1)}


@dataclass(frozen=True)
class Observation:
    """What does not change from row to row.

    Attributes
    ----------
    telescope : str
    antenna_names : tuple of str
    antenna_positions : ndarray (ant, 3)
        ITRF, m.
    dish_diameters : ndarray (ant,)
        Metres.
    fields : tuple of Field
        All in one frame.
    data_descriptions : tuple of DataDescription
    time_range : tuple of float
        First and last time, MJD seconds UTC.
    """

    telescope: str
    antenna_names: tuple[str, ...]
    antenna_positions: np.ndarray
    dish_diameters: np.ndarray
    fields: tuple[Field, ...]
    data_descriptions: tuple[DataDescription, ...]
    time_range: tuple[float, float]


def create_measurement_set(path: str | Path, observation: Observation, n_rows: int,
                           data_columns: tuple[str, ...] = ("DATA",),
                           weight_columns: tuple[str, ...] = ("WEIGHT", "SIGMA")) -> Table:
    """Main table of a new measurement set with all its subtables, open for writing.

    The caller writes the columns of the main table and closes it. `path` must not exist. Spectral
    windows stand in the order of their ids; without gaps between these an id is a row.
    """
    path = str(path)
    shapes = {d.shape for d in observation.data_descriptions}
    table = create_main_table(path, n_rows, shapes, data_columns, weight_columns)
    rows = {"ANTENNA": _antenna_rows(observation), "DATA_DESCRIPTION": [],
            "FEED": _feed_rows(observation), "FIELD": _field_rows(observation),
            "OBSERVATION": [{"TELESCOPE_NAME": observation.telescope,
                             "TIME_RANGE": np.array(observation.time_range), "OBSERVER": "",
                             "SCHEDULE_TYPE": "", "PROJECT": "", "RELEASE_DATE": 0.0,
                             "FLAG_ROW": False}],
            "PROCESSOR": [{"TYPE": "CORRELATOR", "SUB_TYPE": "", "TYPE_ID": -1, "MODE_ID": -1,
                           "FLAG_ROW": False}],
            "STATE": [{"SIG": True, "REF": False, "CAL": 0.0, "LOAD": 0.0, "SUB_SCAN": 0,
                       "OBS_MODE": "OBSERVE_TARGET", "FLAG_ROW": False}]}
    spws = {d.spw.id: d.spw for d in observation.data_descriptions}
    products = sorted({d.correlations for d in observation.data_descriptions})
    spw_ids = sorted(spws)
    rows["SPECTRAL_WINDOW"] = [_spectral_window_row(spws[i]) for i in spw_ids]
    rows["POLARIZATION"] = [_polarization_row(product) for product in products]
    rows["DATA_DESCRIPTION"] = [{"SPECTRAL_WINDOW_ID": spw_ids.index(d.spw.id),
                                 "POLARIZATION_ID": products.index(d.correlations),
                                 "FLAG_ROW": False} for d in observation.data_descriptions]
    for name in SUBTABLES:
        with create_subtable(path, name, len(rows.get(name, []))) as subtable:
            for i, row in enumerate(rows.get(name, [])):
                for column, value in row.items():
                    subtable.write_cell(column, i, value)
            if name == "FIELD":
                for column in ("DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR"):
                    subtable.set_column_reference(column, observation.fields[0].frame)
        table.set_keyword(name, f"Table: {path}/{name}")
    return table


def _antenna_rows(observation: Observation) -> list[dict]:
    return [{"NAME": name, "STATION": name, "TYPE": "GROUND-BASED", "MOUNT": "ALT-AZ",
             "POSITION": np.asarray(position, float), "OFFSET": np.zeros(3),
             "DISH_DIAMETER": float(diameter), "FLAG_ROW": False}
            for name, position, diameter in zip(observation.antenna_names,
                                                observation.antenna_positions,
                                                observation.dish_diameters, strict=True)]


def _feed_rows(observation: Observation) -> list[dict]:
    circular = observation.data_descriptions[0].correlations[0] in (5, 6, 7, 8)
    return [{"ANTENNA_ID": i, "FEED_ID": 0, "SPECTRAL_WINDOW_ID": -1, "TIME": 0.0, "INTERVAL": 1e30,
             "NUM_RECEPTORS": 2, "BEAM_ID": -1, "BEAM_OFFSET": np.zeros((2, 2)),
             "POLARIZATION_TYPE": np.array(["R", "L"] if circular else ["X", "Y"]),
             "POL_RESPONSE": np.eye(2, dtype=np.complex64), "POSITION": np.zeros(3),
             "RECEPTOR_ANGLE": np.zeros(2)} for i in range(len(observation.antenna_names))]


def _field_rows(observation: Observation) -> list[dict]:
    return [{"NAME": f.name, "CODE": "", "TIME": observation.time_range[0], "NUM_POLY": 0,
             "SOURCE_ID": -1, "FLAG_ROW": False,
             **{column: np.array([[f.ra, f.dec]])
                for column in ("DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR")}}
            for f in observation.fields]


def _spectral_window_row(spw) -> dict:
    width = np.asarray(spw.width, float)
    return {"NUM_CHAN": spw.frequency.size, "NAME": spw.name,
            "REF_FREQUENCY": float(spw.frequency[0]), "CHAN_FREQ": np.asarray(spw.frequency, float),
            "CHAN_WIDTH": width, "MEAS_FREQ_REF": 5, "EFFECTIVE_BW": width, "RESOLUTION": width,
            "TOTAL_BANDWIDTH": float(width.sum()), "NET_SIDEBAND": 1, "IF_CONV_CHAIN": 0,
            "FREQ_GROUP": 0, "FREQ_GROUP_NAME": "", "FLAG_ROW": False}


def _polarization_row(product: tuple[int, ...]) -> dict:
    return {"NUM_CORR": len(product), "CORR_TYPE": np.array(product, np.int32),
            "CORR_PRODUCT": np.array([_RECEPTORS[c] for c in product], np.int32), "FLAG_ROW": False}
