"""The one small set of the zoo, in memory and as python-casacore writes it.

Five sources, six antennas and noise, so that every number hangs on every row and its weight. What
is true (`vis`, `weight`, `good`) and what is written (`cells`, `columns`, `tables`) are apart;
`SmallSet.rows` is the truth as `oracles.rows_…` take it. (u, v, w) of a row are those of its
field's phase centre, along the axes of the frame in which it is given. Nothing of the package is
imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import oracles

ARCSEC = np.pi / 180 / 3600
I, RR, RL, LR, LL, XX, XY, YX, YY = 1, 5, 6, 7, 8, 9, 10, 11, 12
PARALLEL = (I, RR, LL, XX, YY)
#: Pixels to the east and north of the pointing, and Jy; what is stacked; which pixels of an image
#: are looked at.
SOURCES = ((12, -7, 1.0), (-9, 15, 2.0), (3, 4, 0.5), (25, 22, 1.5), (-21, -13, 0.7))
TARGETS = ((12, -7), (-9, 15), (-20, -11))
PIXELS = ((0, 0), (12, -7), (-21, 13))
FIRST_TIME, INTEGRATION = 59000.25 * 86400.0, 10.0
NOISE = 0.3
GARBAGE = 1e4
_EARTH, _RADIUS = 7.2921159e-5, 6.371e6  # rad/s, m
_LONGITUDE, _LATITUDE = -1.88, 0.59
#: Columns of the main table that hold one number a row, beside UVW.
_INTEGERS = ("ANTENNA1", "ANTENNA2", "ARRAY_ID", "DATA_DESC_ID", "FEED1", "FEED2", "FIELD_ID",
             "OBSERVATION_ID", "PROCESSOR_ID", "SCAN_NUMBER", "STATE_ID")
#: Column of arrays → default, type of casacore and of numpy.
_KINDS = {"DATA": (0j, "complex", np.complex64), "FLAG": (False, "boolean", np.bool_),
          "WEIGHT": (0.0, "float", np.float32)}
_DYSCO = {"dataBitCount": 12, "weightBitCount": 12, "distribution": "TruncatedGaussian",
          "distributionTruncation": 2.5, "normalization": "AF", "studentTNu": 0.0}
#: Columns of main table and subtables that point into a subtable.
POINTERS = {"ANTENNA": (("", "ANTENNA1"), ("", "ANTENNA2"), ("FEED", "ANTENNA_ID")),
            "FIELD": (("", "FIELD_ID"),), "DATA_DESCRIPTION": (("", "DATA_DESC_ID"),),
            "OBSERVATION": (("", "OBSERVATION_ID"),),
            "SPECTRAL_WINDOW": (("DATA_DESCRIPTION", "SPECTRAL_WINDOW_ID"),),
            "POLARIZATION": (("DATA_DESCRIPTION", "POLARIZATION_ID"),)}


@dataclass(frozen=True)
class Scene:
    """Where and at what scale the set is observed.

    Phase centre (rad), spread of the antennas (m), pixel (rad), beam.
    """

    centre: tuple[float, float] = (0.7, -0.5)
    extent: float = 300.0
    cell: float = 10 * ARCSEC
    beam: str = "meerkat"

    @property
    def power(self) -> Callable | None:
        return None if self.beam == "constant" else oracles.cosine_taper(57.5 * 60 * ARCSEC, 1.5e9)

    def at(self, offsets: Sequence[tuple]) -> list[tuple]:
        """(ra, dec, …) of (pixels east, pixels north, …) of the centre."""
        return [(*oracles.direction(x * self.cell, y * self.cell, *self.centre), *rest)
                for x, y, *rest in offsets]

    @property
    def sources(self) -> list[tuple]:
        return self.at(SOURCES)

    @property
    def targets(self) -> list[tuple]:
        return self.at(TARGETS)


@dataclass(frozen=True)
class Window:
    """A spectral window and its correlations."""

    first: float = 1.40e9
    width: float = 10e6
    n: int = 3
    correlations: tuple[int, ...] = (RR, LL)

    @property
    def frequency(self) -> np.ndarray:
        return self.first + self.width * np.arange(self.n)


@dataclass
class SmallSet:
    """A set in memory.

    Attributes
    ----------
    scene : Scene
    centres, pointings, frequencies, correlations : list
        Of every row: the truth, whatever the subtables say.
    vis, weight, good : list of ndarray (chan, corr)
        The truth.
    columns : dict
        Scalar columns and UVW of the main table, (row, …).
    cells : dict
        Columns of arrays: one array a row, or None for a cell that is left undefined.
    tables : dict
        Subtable → its rows, a dict of column → value each; what is not named stays undefined or 0.
    frames : dict
        Subtable → column of directions → its MEASINFO, where that is not J2000.
    manager : str
        How visibilities, flags and weights are stored.
    """

    scene: Scene
    centres: list
    pointings: list
    frequencies: list
    correlations: list
    vis: list
    weight: list
    good: list
    columns: dict
    cells: dict
    tables: dict
    frames: dict = field(default_factory=dict)
    manager: str = "TiledShapeStMan"

    @property
    def n(self) -> int:
        return len(self.vis)

    def rows(self) -> list[dict]:
        """The truth for `oracles.rows_…`.

        Cross-correlations, parallel hands, weight 0 where a value does not count.
        """
        found = []
        for i in range(self.n):
            if self.columns["ANTENNA1"][i] != self.columns["ANTENNA2"][i]:
                hands = [k for k, c in enumerate(self.correlations[i]) if c in PARALLEL]
                found.append({"uvw": self.uvw[i], "frequency": self.frequencies[i],
                              "centre": self.centres[i], "pointing": self.pointings[i],
                              "vis": self.vis[i][:, hands],
                              "weight": np.where(self.good[i], self.weight[i], 0.0)[:, hands]})
        return found

    def __post_init__(self):
        self.uvw = self.columns["UVW"].copy()

    def take(self, order) -> None:
        """Rows in this order, or only these."""
        for name in ("centres", "pointings", "frequencies", "correlations", "vis", "weight",
                     "good"):
            setattr(self, name, [getattr(self, name)[i] for i in order])
        self.columns = {name: values[order] for name, values in self.columns.items()}
        self.cells = {name: [values[i] for i in order] for name, values in self.cells.items()}
        self.uvw = self.uvw[order]

    def touches(self, antenna: int) -> np.ndarray:
        """Rows of an antenna."""
        return np.flatnonzero((self.columns["ANTENNA1"] == antenna)
                              | (self.columns["ANTENNA2"] == antenna))

    def lose(self, rows, channels=slice(None), value=GARBAGE) -> None:
        """What is there does not count any more, and a value is written there instead."""
        for i in rows:
            self.good[i][channels] = False
            self.cells["DATA"][i][channels] = value

    def flag(self, rows, channels=slice(None)) -> None:
        """Set FLAG."""
        for i in rows:
            self.cells["FLAG"][i][channels] = True

    def insert(self, table: str, at: int, row: dict) -> None:
        """A row of a subtable that nothing points to; ids behind it move on."""
        self.tables[table].insert(at, row)
        for where, column in POINTERS.get(table, ()):
            if where:
                for other in self.tables[where]:
                    other[column] += other[column] >= at
            else:
                self.columns[column] = self.columns[column] + (self.columns[column] >= at)

    def spectrum(self, rows=None) -> None:
        """A column WEIGHT_SPECTRUM, in these rows different in every channel, in all others undefined."""
        rng = np.random.default_rng(5)
        self.cells["WEIGHT_SPECTRUM"] = [None] * self.n
        for i in range(self.n) if rows is None else rows:
            self.weight[i] = rng.uniform(1, 4, self.weight[i].shape)
            self.cells["WEIGHT_SPECTRUM"][i] = self.weight[i].copy()


def plain(scene: Scene = Scene(), windows: Sequence[Window] = (Window(),), fields: int = 1,
          shift: tuple[float, float] = (0.0, 0.0), jitter: float = 0.0, n_times: int = 3,
          autocorrelations: bool = False) -> SmallSet:
    """The set before it is changed.

    Six antennas, integrations an hour apart, that many fields in one direction.

    `shift` (pixels) moves the phase centre away from the pointing; `jitter` (m) makes (u, v, w)
    that are no differences of antennas.
    """
    rng = np.random.default_rng(11)
    itrf = _antennas(scene.extent, rng)
    phase = oracles.direction(shift[0] * scene.cell, shift[1] * scene.cell,
                              *scene.centre) if any(shift) else scene.centre
    first, second = np.triu_indices(len(itrf), 0 if autocorrelations else 1)
    time, description, baseline = (x.ravel()
                                   for x in np.indices((n_times, len(windows), first.size)))
    when = FIRST_TIME + 3600.0 * time
    columns = {name: np.zeros(time.size, np.int32) for name in _INTEGERS}
    columns |= {"ANTENNA1": first[baseline].astype(np.int32),
                "ANTENNA2": second[baseline].astype(np.int32),
                "DATA_DESC_ID": description.astype(np.int32),
                "FIELD_ID": (time % fields).astype(np.int32), "TIME": when,
                "TIME_CENTROID": when.copy(), "INTERVAL": np.full(time.size, INTEGRATION),
                "EXPOSURE": np.full(time.size, INTEGRATION),
                "SCAN_NUMBER": np.ones(time.size, np.int32),
                "FLAG_ROW": np.zeros(time.size, np.bool_)}
    uvw = np.array([_project(itrf[second[b]] - itrf[first[b]], t, scene, phase)
                    for b, t in zip(baseline, when, strict=True)])
    columns["UVW"] = uvw + jitter * rng.standard_normal(uvw.shape)
    of_row = [windows[d] for d in description]
    made = SmallSet(scene, [phase] * time.size, [scene.centre] * time.size,
                    [w.frequency for w in of_row], [w.correlations for w in of_row], [], [], [],
                    columns, {}, _tables(scene, windows, fields, phase, itrf))
    for i, window in enumerate(of_row):
        shape = window.n, len(window.correlations)
        row = {"uvw": made.uvw[i], "frequency": window.frequency, "centre": phase,
               "pointing": scene.centre}
        noise = NOISE * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))
        if columns["ANTENNA1"][i] == columns["ANTENNA2"][i]:
            noise += GARBAGE
        seen = oracles.rows_seen(row, scene.sources, scene.power)[:, None]
        cross = ~np.isin(window.correlations, PARALLEL)
        made.vis.append((np.where(cross, 0.1j, seen) + noise).astype(np.complex64).astype(complex))
        made.weight.append(np.broadcast_to(rng.uniform(1, 4,
                                                       shape[1]).astype(np.float32).astype(float),
                                           shape).copy())
        made.good.append(np.ones(shape, np.bool_))
    made.cells = {"DATA": [v.copy() for v in made.vis],
                  "FLAG": [np.zeros(v.shape, np.bool_) for v in made.vis],
                  "WEIGHT": [w[0].copy() for w in made.weight],
                  "SIGMA": [w[0] ** -0.5 for w in made.weight]}
    return made


def _antennas(extent: float, rng) -> np.ndarray:
    """Earth-centred positions (ant, 3), m, on a sphere, spread about one place."""
    east, north = extent * rng.uniform(-1, 1, (2, 6)) / _RADIUS
    a, b = _LONGITUDE, _LATITUDE
    up = np.array([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
    place = up + np.outer(east, [-np.sin(a), np.cos(a), 0]) + np.outer(
        north, [-np.sin(b) * np.cos(a), -np.sin(b) * np.sin(a), np.cos(b)])
    return _RADIUS * place / np.linalg.norm(place, axis=1)[:, None]


def axes(ra: float, dec: float) -> np.ndarray:
    """Unit vectors to the east, to the north and along a direction, (3, 3)."""
    return np.array([[-np.sin(ra), np.cos(ra), 0.0],
                     [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
                     [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]])


def _project(baseline: np.ndarray, time: float, scene: Scene,
             phase: tuple[float, float]) -> np.ndarray:
    """(u, v, w) of a baseline of the turning Earth, from which the scene is an hour before transit at first."""
    turned = scene.centre[0] - _LONGITUDE - 0.26 + _EARTH * (time - FIRST_TIME)
    sin, cos = np.sin(turned), np.cos(turned)
    x, y, z = baseline
    return axes(*phase) @ np.array([x * cos - y * sin, x * sin + y * cos, z])


def _tables(scene: Scene, windows: Sequence[Window], fields: int, phase,
            itrf: np.ndarray) -> dict[str, list[dict]]:
    """Rows of the subtables."""
    products = list(dict.fromkeys(w.correlations for w in windows))
    return {"ANTENNA": [antenna_row(f"A{i}", position) for i, position in enumerate(itrf)],
            "FEED": [{"ANTENNA_ID": i, "FEED_ID": 0, "SPECTRAL_WINDOW_ID": -1, "TIME": 0.0,
                      "INTERVAL": 0.0, "NUM_RECEPTORS": 2, "BEAM_ID": -1,
                      "BEAM_OFFSET": np.zeros((2, 2)), "POLARIZATION_TYPE": ["R", "L"],
                      "POL_RESPONSE": np.eye(2, dtype=complex), "POSITION": np.zeros(3),
                      "RECEPTOR_ANGLE": np.zeros(2)} for i in range(len(itrf))],
            "FIELD": [field_row("target" if fields == 1 else f"target{i}", phase, scene.centre)
                      for i in range(fields)],
            "SPECTRAL_WINDOW": [window_row(f"window{i}", w.frequency)
                                for i, w in enumerate(windows)],
            "POLARIZATION": [polarization_row(product) for product in products],
            "DATA_DESCRIPTION": [{"SPECTRAL_WINDOW_ID": i,
                                  "POLARIZATION_ID": products.index(w.correlations),
                                  "FLAG_ROW": False} for i, w in enumerate(windows)],
            "OBSERVATION": [observation_row("MeerKAT")],
            "PROCESSOR": [{"TYPE": "CORRELATOR", "MODE_ID": -1, "TYPE_ID": -1}],
            "STATE": [{"SIG": True, "OBS_MODE": "OBSERVE_TARGET"}]}


def antenna_row(name: str, position) -> dict:
    return {"NAME": name, "STATION": name, "TYPE": "GROUND-BASED", "MOUNT": "ALT-AZ",
            "POSITION": np.asarray(position, float), "OFFSET": np.zeros(3), "DISH_DIAMETER": 13.5}


def field_row(name: str, phase, pointing=None) -> dict:
    directions = {"PHASE_DIR": phase, "DELAY_DIR": pointing or phase,
                  "REFERENCE_DIR": pointing or phase}
    return {"NAME": name, "CODE": "", "TIME": FIRST_TIME, "NUM_POLY": 0, "SOURCE_ID": -1,
            **{column: np.array([direction], float) for column, direction in directions.items()}}


def window_row(name: str, frequency) -> dict:
    width = np.full(len(frequency), frequency[1] - frequency[0] if len(frequency) > 1 else 10e6)
    return {"NAME": name, "NUM_CHAN": len(frequency), "CHAN_FREQ": np.asarray(frequency, float),
            "CHAN_WIDTH": width, "EFFECTIVE_BW": abs(width), "RESOLUTION": abs(width),
            "REF_FREQUENCY": float(frequency[0]), "MEAS_FREQ_REF": 5,
            "TOTAL_BANDWIDTH": float(abs(width).sum()), "NET_SIDEBAND": 1}


def polarization_row(correlations: tuple[int, ...]) -> dict:
    receptors = [divmod(c - 5 if c < 9 else c - 9, 2) if c > 4 else (0, 0) for c in correlations]
    return {"NUM_CORR": len(correlations), "CORR_TYPE": np.array(correlations, np.int32),
            "CORR_PRODUCT": np.array(receptors, np.int32)}


def observation_row(telescope: str) -> dict:
    return {"TELESCOPE_NAME": telescope,
            "TIME_RANGE": np.array([FIRST_TIME, FIRST_TIME + 3 * 3600.0]), "OBSERVER": "nobody",
            "PROJECT": ""}


# ------------------------------------------------------------------------------------------ writing


def write(made: SmallSet, path: Path) -> Path:
    """The set in a folder that does not exist, by python-casacore."""
    from casacore.tables import default_ms, makearrcoldesc, makescacoldesc, maketabdesc, table

    main = default_ms(str(path))
    main.removecols(["FLAG", "WEIGHT", "SIGMA"]
                    + [name for name in ("FLAG_ROW",) if name not in made.columns])
    for name, cells in made.cells.items():
        value, kind, _ = _KINDS.get(name, _KINDS["WEIGHT"])
        manager = "TiledShapeStMan" if made.manager == "DyscoStMan" and name not in (
            "DATA", "WEIGHT_SPECTRUM") else made.manager
        # Columns of one shape are stored directly, which is option 5.
        fixed = {"shape": cells[0].shape,
                 "options": 5} if manager in ("TiledColumnStMan", "DyscoStMan") else {}
        n_dim = 1 if name in ("WEIGHT", "SIGMA") else 2
        main.addcols(maketabdesc(makearrcoldesc(name, value, ndim=n_dim, valuetype=kind, **fixed)),
                     {"*1": {"TYPE": manager, "NAME": f"{name}_manager", "SEQNR": 0,
                             "COLUMNS": [name],
                             "SPEC": _DYSCO if manager == "DyscoStMan"
                             else {"DEFAULTTILESHAPE": [2, 4, 16][-n_dim - 1:]}}})
    main.addrows(made.n)
    for name, values in made.columns.items():
        main.putcol(name, values)
    for name, cells in made.cells.items():
        for i, cell in enumerate(cells):
            if cell is not None:
                main.putcell(name, i, cell.astype(_KINDS.get(name, _KINDS["WEIGHT"])[2]))
    main.close()
    for name, rows in made.tables.items():
        with table(f"{path}/{name}", readonly=False, ack=False) as subtable:
            added = sorted({column for row in rows for column in row} - set(subtable.colnames()))
            for column in added:
                subtable.addcols(maketabdesc(makescacoldesc(column, 0)))
            for column, measure in made.frames.get(name, {}).items():
                subtable.putcolkeyword(column, "MEASINFO", measure)
            subtable.addrows(len(rows))
            for i, row in enumerate(rows):
                for column, value in (dict.fromkeys(added, -1) | row).items():
                    subtable.putcell(column, i, value)
    return path
