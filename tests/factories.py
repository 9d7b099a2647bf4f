"""Small measurement sets with a known truth, each made in well under a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.coordinates import SkyCoord

import oracles
from simulate.arrays import vla_like
from simulate.tracks import antenna_uvw
from uvstack.io.casa import open_table
from uvstack.io.new_ms import Observation, create_measurement_set
from uvstack.io.provenance import provenance_of
from uvstack.records import DataDescription, Field, SpectralWindow
from uvstack.report.files import Saved
from uvstack.sky.components import components

ARCSEC = np.pi / 180 / 3600
ARCMIN = 60 * ARCSEC
CENTRE = (3.1, 0.55)
I, RR, RL, LR, LL, XX, XY, YX, YY = 1, 5, 6, 7, 8, 9, 10, 11, 12
PARALLEL = (I, RR, LL, XX, YY)
FIRST_TIME = 58849.5 * 86400.0
INTEGRATION = 10.0
_RADIANS_PER_SECOND = 2 * np.pi * 1.0027379 / 86400.0


def offset(east: float, north: float, centre: tuple[float, float] = CENTRE) -> tuple[float, float]:
    """(ra, dec) at a small distance east and north (rad) of a centre."""
    ra, dec = centre
    return ra + east / np.cos(dec + north), dec + north


@dataclass(frozen=True)
class Spw:
    """A spectral window by its first channel, channel width (Hz, negative for falling frequencies) and channel count."""

    first: float = 1.4e9
    width: float = 10e6
    n: int = 3

    @property
    def frequency(self) -> np.ndarray:
        return self.first + self.width * np.arange(self.n)


@dataclass(frozen=True)
class Recipe:
    """What `make_ms` makes.

    Attributes
    ----------
    fields : sequence of (ra, dec)
        Phase centres, rad. Every time visits every field.
    frame : str
        Of the fields and of the sources.
    spws : sequence of Spw
    descriptions : sequence of (spw, correlations), optional
        The rows of DATA_DESCRIPTION; default each spw with `correlations`.
    correlations : tuple of int
    sources : sequence of (ra, dec, flux)
    beam : callable, optional
        beam(l, m, frequency) → A (chan,).
    cross_hand : complex
        What cross hands hold; parallel hands hold the sources.
    autocorrelation : complex, optional
        What autocorrelations hold; None makes none.
    noise : float
        Standard deviation of the real and of the imaginary part, Jy.
    weights : dict
        Weight column → number or array that broadcasts to its cells of all rows (with one shape),
        or a function of the row's DATA_DESC_ID; "empty" leaves the cells undefined. Weight columns
        that are not named do not exist.
    data_columns : sequence of str
        All hold the same visibilities.
    shuffle : bool
        Rows in random order, so that fields and data descriptions interleave.
    jitter : float
        Standard deviation of what is added to (u, v, w) of every row, m, before the sources are
        predicted: then a baseline is no difference of two antennas, as after averaging that depends
        on the baseline.
    """

    fields: Sequence[tuple[float, float]] = (CENTRE,)
    frame: str = "J2000"
    spws: Sequence[Spw] = (Spw(),)
    correlations: tuple[int, ...] = (RR, LL)
    descriptions: Sequence[tuple[int, tuple[int, ...]]] | None = None
    sources: Sequence[tuple[float, float, float]] = ()
    beam: Callable | None = None
    cross_hand: complex = 0.0
    autocorrelation: complex | None = None
    n_ant: int = 7
    n_times: int = 4
    scale: float = 0.1
    noise: float = 0.0
    seed: int = 1
    weights: dict = field(default_factory=lambda: {"WEIGHT": 1.0, "SIGMA": 1.0})
    data_columns: Sequence[str] = ("DATA",)
    shuffle: bool = False
    jitter: float = 0.0
    telescope: str = "VLA"
    antenna_prefix: str = "VA"
    first_time: float = FIRST_TIME


def make_ms(path: Path, **options) -> Path:
    """Path of a new measurement set after a `Recipe`."""
    recipe = Recipe(**options)
    return _write(Path(path), recipe, lambda rows, d: _sky(recipe, rows, d))


def make_ramp_ms(path: Path, **options) -> Path:
    """A measurement set whose visibilities say where they stand.

    Row·1000 + chan·10 + corr, the negative imaginary.
    """
    recipe = Recipe(**options)

    def ramp(rows, description):
        n_chan, n_corr = description.spw.frequency.size, len(description.correlations)
        value = rows["row"][:, None,
                            None] * 1000.0 + np.arange(n_chan)[:, None] * 10.0 + np.arange(n_corr)
        return value * (1 - 1j)

    return _write(Path(path), recipe, ramp)


def _sky(recipe: Recipe, rows: dict, description: DataDescription) -> np.ndarray:
    frequency = description.spw.frequency
    cross = ~np.isin(description.correlations, PARALLEL)
    vis = np.zeros((rows["row"].size, frequency.size, cross.size), complex)
    for i, (ra, dec) in enumerate(recipe.fields):
        here = rows["FIELD_ID"] == i
        vis[here] = oracles.predict(rows["UVW"][here], frequency, recipe.sources, ra, dec,
                                    recipe.beam)[:, :, None]
    vis[:, :, cross] = recipe.cross_hand
    rng = np.random.default_rng([recipe.seed, description.id])
    vis += recipe.noise * (rng.standard_normal(vis.shape) + 1j * rng.standard_normal(vis.shape))
    if recipe.autocorrelation is not None:
        vis[rows["ANTENNA1"] == rows["ANTENNA2"]] = recipe.autocorrelation
    return vis


def _rows(recipe: Recipe, itrf: np.ndarray, n_descriptions: int) -> dict[str, np.ndarray]:
    """Columns that every row has, time by time, field by field, description by description."""
    ant1, ant2 = np.triu_indices(recipe.n_ant, 1 if recipe.autocorrelation is None else 0)
    shape = (recipe.n_times, len(recipe.fields), n_descriptions, ant1.size)
    time, field_id, description, baseline = (index.ravel() for index in np.indices(shape))
    longitude = np.arctan2(*itrf.mean(axis=0)[[1, 0]])
    # Two hours before transit: u, v and w all differ from 0 and from each other.
    elapsed = INTEGRATION * np.arange(recipe.n_times)
    sidereal = recipe.fields[0][0] - longitude - np.pi / 6 + elapsed * _RADIANS_PER_SECOND
    coordinate = np.stack([antenna_uvw(itrf, sidereal, ra, dec) for ra, dec in recipe.fields])
    columns = {"ANTENNA1": ant1[baseline], "ANTENNA2": ant2[baseline], "FIELD_ID": field_id,
               "DATA_DESC_ID": description, "TIME": recipe.first_time + elapsed[time],
               "SCAN_NUMBER": field_id + 1}
    columns["UVW"] = coordinate[field_id, time, columns["ANTENNA2"]] - coordinate[
        field_id, time, columns["ANTENNA1"]]
    columns["UVW"] += recipe.jitter * np.random.default_rng(recipe.seed).standard_normal(
        (time.size, 3))
    if recipe.shuffle:
        order = np.random.default_rng(recipe.seed).permutation(time.size)
        columns = {name: values[order] for name, values in columns.items()}
    return columns | {"row": np.arange(time.size)}


def _write(path: Path, recipe: Recipe, visibilities: Callable) -> Path:
    pairs = recipe.descriptions or [(i, recipe.correlations) for i in range(len(recipe.spws))]
    windows = [SpectralWindow(i, f"spw{i}", s.frequency, np.full(s.n, abs(s.width)))
               for i, s in enumerate(recipe.spws)]
    descriptions = tuple(DataDescription(i, windows[spw], tuple(corr))
                         for i, (spw, corr) in enumerate(pairs))
    itrf = vla_like(recipe.scale)[0][np.linspace(0, 26, recipe.n_ant).round().astype(int)]
    rows = _rows(recipe, itrf, len(descriptions))
    fields = tuple(Field(i, f"field{i}", recipe.frame, ra, dec)
                   for i, (ra, dec) in enumerate(recipe.fields))
    observation = Observation(recipe.telescope,
                              tuple(f"{recipe.antenna_prefix}{i:02d}" for i in range(recipe.n_ant)),
                              itrf, np.full(recipe.n_ant, 25.0), fields, descriptions,
                              (recipe.first_time, recipe.first_time + INTEGRATION * recipe.n_times))
    n = rows["row"].size
    table = create_measurement_set(path, observation, n, tuple(recipe.data_columns),
                                   tuple(recipe.weights))
    integers = {name: 0
                for name in ("ARRAY_ID", "OBSERVATION_ID", "PROCESSOR_ID", "STATE_ID", "FEED1",
                             "FEED2", "SCAN_NUMBER", "FIELD_ID", "DATA_DESC_ID", "ANTENNA1",
                             "ANTENNA2")}
    for name, value in integers.items():
        table.write(name, rows.get(name, np.full(n, value)).astype(np.int32))
    for name in ("TIME", "TIME_CENTROID"):
        table.write(name, rows["TIME"])
    for name in ("INTERVAL", "EXPOSURE"):
        table.write(name, np.full(n, INTEGRATION))
    table.write("UVW", rows["UVW"])
    table.write("FLAG_ROW", np.zeros(n, np.bool_))
    for description in descriptions:
        here = {name: values[rows["DATA_DESC_ID"] == description.id]
                for name, values in rows.items()}
        _write_cells(table, recipe, description, here, visibilities(here, description))
    table.close()
    return path


def _write_cells(table, recipe: Recipe, description: DataDescription, rows: dict,
                 vis: np.ndarray) -> None:
    """Columns of arrays of one data description, in runs of consecutive rows."""
    cells = {name: vis.astype(np.complex64) for name in recipe.data_columns}
    cells["FLAG"] = np.zeros(vis.shape, np.bool_)
    for name, value in recipe.weights.items():
        if isinstance(value, str):
            continue
        shape = vis.shape if name == "WEIGHT_SPECTRUM" else (vis.shape[0], vis.shape[2])
        value = value(description.id) if callable(value) else value
        cells[name] = np.broadcast_to(np.asarray(value, np.float32), shape)
    row = rows["row"]
    for run in np.split(np.arange(row.size), np.flatnonzero(np.diff(row) > 1) + 1):
        if run.size:
            for name, values in cells.items():
                table.write(name, np.ascontiguousarray(values[run]), int(row[run[0]]))


def read(path: Path, column: str, subtable: str = "") -> np.ndarray:
    """A column by plain python-casacore, whatever the package's own reader does."""
    from casacore.tables import table

    with table(f"{path}/{subtable}".rstrip("/"), ack=False) as opened:
        values = opened.getcol(column)
    return values if isinstance(values, np.ndarray) else np.array(values)


def edit(path: Path, column: str, change: Callable[[np.ndarray], np.ndarray | None],
         subtable: str = "") -> None:
    """Change a column whose cells have one shape.

    change(values) modifies them in place or returns new ones.
    """
    with open_table(f"{path}/{subtable}".rstrip("/"), readonly=False) as table:
        values = table.read(column)
        changed = change(values)
        table.write(column, values if changed is None else changed)


def at(*points: tuple[float, float]) -> SkyCoord:
    """SkyCoord in FK5 (CASA's J2000) of (ra, dec) in rad."""
    return SkyCoord([p[0] for p in points], [p[1] for p in points], unit="rad", frame="fk5")


def made_up(number, fluxes, factor=1.0, weightings=("natural",)):
    """Realisations of an experiment with given uv fluxes.

    Images find `factor` of them, and all fluxes are in the paper's unit.
    """
    from simulate.experiment.paper import TABLE_2
    from simulate.experiment.uv_side import uv_edges

    unit, found, n_bins = TABLE_2[number].unit, [], uv_edges(number).size - 1
    for i, flux in enumerate(fluxes):
        way = {"flux": factor * flux * unit, "flux_corrected": flux * unit,
               "fit": {"flux": factor * flux * unit, "fwhm": 1.6}}
        fit = {"flux": flux * unit, "fwhm": 1.5}
        part = {"expected_error": 0.47 * unit,
                "uv": {"flux": flux * unit, "flux_uncut": flux * unit,
                       "least_variance": {"flux": flux * unit},
                       "fit": {"cut": fit, "uncut": fit},
                       "profile": {"re": [flux * unit] * n_bins,
                                   "re_error": [0.1 * unit] * n_bins}},
                "image": {name: way for name in ("nearest", "subpixel", "median", "filter")},
                "map": {"rms": 2.0 * unit},
                "null": {"uv": [0.3 * unit, -0.3 * unit], "image": [0.4 * unit, -0.4 * unit],
                         "subset_sizes": [10, 100], "bin_noise": [unit] * n_bins,
                         "profile": [0.0] * n_bins,
                         "subset_noise": {"uv": [unit, 0.3 * unit], "image": [unit, 0.4 * unit]}}}
        found.append({"type": number, "realisation": i,
                      "truth": {"flux": 6.0 * unit, "n_targets": 25, "fwhm": 1.5,
                                "bright_flux": 1.0},
                      "weightings": {name: part for name in weightings}})
    return found


def simulated_results(folder: Path) -> dict[str, Saved]:
    """A result of every kind of `simulate`, small, by the name of its class."""
    import simulate
    from simulate.corruption import PhaseErrors
    from simulate.experiment.collect import collect
    from simulate.experiment.result import ExperimentResult

    sky = components(*np.transpose([CENTRE, offset(1 * ARCMIN, 0.0)]), [1.0, 0.5],
                     reference_frequency=1.4e9, target=[True, False])
    # Fluxes of type 8 alone, one realisation: most scatters are not a number.
    realisations = tuple(made_up(8, [0.98]))
    images = simulate.epochs(
        sky, [{"beam": (12 * ARCSEC, 9 * ARCSEC, 0.5), "date": "2018-01-01T00:00:00"},
              {"beam": (9 * ARCSEC, 9 * ARCSEC, 0.0), "flux_scale": 1.03, "name": "second"}],
        centre=CENTRE, size=(40, 64), cell=3 * ARCSEC, frequency=1.4e9, noise=0.01, seed=2, blank=4)
    found = [
        simulate.observe(array="vla.d", sky=sky, frequency=[1.4e9, 1.5e9], integration=60.0,
                         duration=120.0, noise=0.01, out=folder / "sim.ms", seed=4,
                         corruptions=[PhaseErrors(0.1, 600.0)]), images, images[1],
        simulate.single_dish_cube(sky, frequency=[1.3e9, 1.4e9], dish_diameter=100.0,
                                  centre=CENTRE, size=(16, 24), cell=2 * ARCMIN, noise=0.01,
                                  rng=np.random.default_rng(1)),
        ExperimentResult(collect(realisations), realisations, 0, 1, folder,
                         provenance_of({"scale": 1.0}, seed=0))]
    return {type(one).__name__: one for one in found}
