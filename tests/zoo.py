"""A zoo of measurement sets.

One small set in the layouts that the definition allows and that are rarely met.

A layout changes what is written of the set of `zoo_set`, or rewrites its files, and changes the
truth only where less is left. A direct sum over the truth is then what any command must find in the
files. A new layout is one line of `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import oracles
from zoo_set import (
    ARCSEC,
    GARBAGE,
    INTEGRATION,
    LL,
    POINTERS,
    RR,
    XX,
    XY,
    YX,
    YY,
    I,
    Scene,
    SmallSet,
    Window,
    antenna_row,
    axes,
    field_row,
    observation_row,
    plain,
    polarization_row,
    window_row,
    write,
)


@dataclass(frozen=True)
class Layout:
    """One rare layout and what is to come of it.

    Attributes
    ----------
    change : callable, optional
        change(made) before the set is written.
    rewrite : callable, optional
        rewrite(path, made) → path, after it was written.
    setup : dict
        Of `plain`.
    select : dict
        Options without which no command takes this set.
    field : str
        A selection by which all that counts is found; default that of `select`, or all targets.
    fails : (str, str), optional
        Class of the error and a piece of its text: of all commands but `info`, or of those in
        `failing` alone.
    failing : tuple of str
    warns : str
        What the warnings say, as a pattern: of all commands but `info`.
    needs : str
        Package, or storage manager of casacore, without which there is no such layout.
    slack : float
        By how much more than their budget numbers may be off, where the layout itself is inexact.
    """

    change: Callable[[SmallSet], None] | None = None
    rewrite: Callable | None = None
    setup: dict = field(default_factory=dict)
    select: dict = field(default_factory=dict)
    field: str = ""
    fails: tuple[str, str] | None = None
    failing: tuple[str, ...] = ()
    warns: str = ""
    needs: str = ""
    slack: float = 1.0


@dataclass(frozen=True)
class Inhabitant:
    """A layout that was made: where it is, and what is true of it."""

    path: str
    scene: Scene
    layout: Layout
    rows: list[dict]
    n_rows: int
    longest: float


def inhabit(name: str, folder: Path) -> Inhabitant:
    """Make a layout in a folder."""
    layout = LAYOUTS[name]
    made = plain(**layout.setup)
    if layout.change is not None:
        layout.change(made)
    path: str | Path = write(made, folder / "zoo.ms")
    if layout.rewrite is not None:
        path = layout.rewrite(path, made)
    uvw, cross = made.columns["UVW"], made.columns["ANTENNA1"] != made.columns["ANTENNA2"]
    longest = float(np.nan_to_num(np.hypot(uvw[cross, 0], uvw[cross, 1])).max(initial=0.0))
    return Inhabitant(str(path), made.scene, layout, made.rows(), made.n, longest)


def _every(step: int, start: int = 0) -> Callable[[SmallSet], range]:
    return lambda made: range(start, made.n, step)


def _unused_rows(where: str) -> Callable[[SmallSet], None]:
    """Rows of subtables that no row of data points to, before, between or behind those that are used."""

    def change(made: SmallSet) -> None:
        place = {name: {"first": 0, "between": 1, "last": len(made.tables[name])}[where]
                 for name in ("FIELD", "SPECTRAL_WINDOW", "POLARIZATION", "DATA_DESCRIPTION",
                              "ANTENNA")}
        made.insert("FIELD", place["FIELD"],
                    field_row("elsewhere", (made.scene.centre[0] + 1.0, 0.3)))
        made.insert("SPECTRAL_WINDOW", place["SPECTRAL_WINDOW"],
                    window_row("other band", 8e9 + 2e6 * np.arange(7)))
        made.insert("POLARIZATION", place["POLARIZATION"], polarization_row((I, 2, 3, 4)))
        made.insert("DATA_DESCRIPTION", place["DATA_DESCRIPTION"],
                    {"SPECTRAL_WINDOW_ID": place["SPECTRAL_WINDOW"],
                     "POLARIZATION_ID": place["POLARIZATION"]})
        made.insert("ANTENNA", place["ANTENNA"],
                    antenna_row("absent", np.zeros(3)) | {"DISH_DIAMETER": 0.0})

    return change


def _unused_description(spw: dict | None) -> Callable[[SmallSet], None]:
    """A data description without rows, of a window that is added, or of none at all."""

    def change(made: SmallSet) -> None:
        if spw is not None:
            made.insert("SPECTRAL_WINDOW", 0, spw)
        made.insert("DATA_DESCRIPTION", 0,
                    dict.fromkeys(("SPECTRAL_WINDOW_ID", "POLARIZATION_ID"),
                                  -1 if spw is None else 0))

    return change


_EPHEMERIS = {"EPHEMERIS_ID": 0}
_POLYNOMIAL = {"NUM_POLY": 1,
               **{name: np.array([[0.7, -0.5], [1e-9, 0.0]])
                  for name in ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR")}}


def _moving(row: dict, at: int) -> Callable[[SmallSet], None]:
    """A field that moves; `at` is its row, which is taken out of the truth."""

    def change(made: SmallSet) -> None:
        if at == len(made.tables["FIELD"]):
            made.tables["FIELD"].append(field_row("moving", (1.0, 0.1)) | row)
        else:
            made.tables["FIELD"][at] |= row
            if at:
                made.tables["FIELD"][at]["NAME"] = "moving"
                made.lose(np.flatnonzero(made.columns["FIELD_ID"] == at))

    return change


def _other_field(made: SmallSet) -> None:
    """Of two fields and two bands, the second field in the second band is garbage and comes first."""
    made.take(np.flatnonzero(made.columns["FIELD_ID"] == made.columns["DATA_DESC_ID"])[::-1])
    made.lose(np.flatnonzero(made.columns["FIELD_ID"] == 1))


def _other_field_without_cells(made: SmallSet) -> None:
    _other_field(made)
    for i in np.flatnonzero(made.columns["FIELD_ID"] == 1):
        for cells in made.cells.values():
            cells[i] = None


def _conjugate(made: SmallSet) -> None:
    """Every third baseline the other way round."""
    for i in _every(3)(made):
        made.columns["ANTENNA1"][i], made.columns["ANTENNA2"][i] = made.columns["ANTENNA2"][i], made.columns["ANTENNA1"][i]
        made.columns["UVW"][i] *= -1
        made.uvw[i] *= -1
        made.vis[i], made.cells["DATA"][i] = made.vis[i].conj(), made.cells["DATA"][i].conj()


def _dead_antenna(column: str | None, value=GARBAGE) -> Callable[[SmallSet], None]:
    """One antenna holds garbage, which only a weight of 0 in a column, or a flag, tells."""

    def change(made: SmallSet) -> None:
        if column == "WEIGHT_SPECTRUM":
            made.spectrum()
        rows = made.touches(0)
        made.lose(rows, value=value)
        for i in rows:
            if column in ("FLAG", "FLAG_ROW"):
                made.cells["FLAG"][i][:] = column == "FLAG"
                made.columns["FLAG_ROW"][i] = column == "FLAG_ROW"
            else:
                made.cells[column][i][:] = 0

    return change


def _bad_channel(made: SmallSet) -> None:
    made.lose(range(made.n), 1)
    made.flag(range(made.n), 1)
    made.lose(_every(4)(made), 0, np.nan)
    made.flag(_every(4)(made), 0)


def _bad_uvw(value: float) -> Callable[[SmallSet], None]:
    def change(made: SmallSet) -> None:
        made.lose(_every(5)(made))
        made.columns["UVW"][::5] = value

    return change


def _no_weights(*names: str, zero: bool) -> Callable[[SmallSet], None]:
    """Weight columns that are 0 everywhere, or missing; all others are left.

    Then all weigh the same.
    """

    def change(made: SmallSet) -> None:
        for name in names:
            if zero:
                made.cells[name] = [np.zeros_like(cell) for cell in made.cells[name]]
            else:
                del made.cells[name]
        if "SIGMA" in names:
            made.weight = [np.ones_like(w) for w in made.weight]

    return change


def _zero_spectrum(made: SmallSet) -> None:
    made.cells["WEIGHT_SPECTRUM"] = [np.zeros(v.shape) for v in made.vis]


def _empty_spectrum(made: SmallSet) -> None:
    made.cells["WEIGHT_SPECTRUM"] = [None] * made.n


def _observations(made: SmallSet) -> None:
    """Several observations, arrays and scans."""
    made.tables["OBSERVATION"].insert(0, observation_row("MeerKAT"))
    row = np.arange(made.n)
    for name, values in {"OBSERVATION_ID": row % 2, "ARRAY_ID": row % 3,
                         "SCAN_NUMBER": 5 + row // 7}.items():
        made.columns[name] = values.astype(np.int32)


def _pointing(frame: str = "J2000",
              direction: tuple[float, float] | None = None) -> Callable[[SmallSet], None]:
    """POINTING for every antenna and integration; by default where the antennas did point."""

    def change(made: SmallSet) -> None:
        where = np.array([direction or made.scene.centre])
        made.tables["POINTING"] = [{"ANTENNA_ID": antenna, "TIME": time, "INTERVAL": INTEGRATION,
                                    "TIME_ORIGIN": time, "NUM_POLY": 0, "TRACKING": True,
                                    "NAME": "", "DIRECTION": where, "TARGET": where}
                                   for time in np.unique(made.columns["TIME"])
                                   for antenna in range(6)]
        made.frames["POINTING"] = {name: {"type": "direction", "Ref": frame}
                                   for name in ("DIRECTION", "TARGET")}

    return change


def _pointing_elsewhere(direction: tuple[float, float], **other: Any) -> Callable[[SmallSet], None]:
    """POINTING that says nothing of these data, whatever its directions are."""

    def change(made: SmallSet) -> None:
        _pointing(direction=direction)(made)
        for row in made.tables["POINTING"]:
            row.update(other)

    return change


def _turned_round(table: str) -> Callable[[SmallSet], None]:
    """Rows of a subtable in the opposite order."""

    def change(made: SmallSet) -> None:
        last = len(made.tables[table]) - 1
        made.tables[table].reverse()
        for where, column in POINTERS[table]:
            if not where:
                made.columns[column] = last - made.columns[column]
            for row in made.tables.get(where, ()):
                row[column] = last - row[column]

    return change


def _reference_in_another_frame(made: SmallSet) -> None:
    made.frames["FIELD"] = {"REFERENCE_DIR": {"type": "direction", "Ref": "GALACTIC"}}
    for row in made.tables["FIELD"]:
        row["REFERENCE_DIR"] = np.array([oracles.galactic(*made.scene.centre)])


def _unused_observation(made: SmallSet) -> None:
    """An observation by another telescope, whose beam points by DELAY_DIR, comes first and has no rows."""
    made.tables["OBSERVATION"].insert(0, observation_row("LOFAR"))
    made.columns["OBSERVATION_ID"] += 1
    for row in made.tables["FIELD"]:
        row["DELAY_DIR"] = np.array([[1.0, 0.1]])


def _spectrum_of_the_other_field(made: SmallSet) -> None:
    """WEIGHT_SPECTRUM says something in rows that are not selected alone."""
    _other_field(made)
    made.cells["WEIGHT_SPECTRUM"] = [np.full(v.shape, float(made.columns["FIELD_ID"][i]))
                                     for i, v in enumerate(made.vis)]


def _moved_together(made: SmallSet) -> None:
    """All directions of FIELD are the phase centre, which was shifted.

    POINTING alone tells where the antennas pointed.
    """
    _pointing()(made)
    for name in ("DELAY_DIR", "REFERENCE_DIR"):
        made.tables["FIELD"][0][name] = made.tables["FIELD"][0]["PHASE_DIR"]


def _averaged(made: SmallSet) -> None:
    """As after averaging that depends on the baseline.

    Every row has a length and time of its own.
    """
    rng = np.random.default_rng(4)
    length = INTEGRATION * rng.integers(1, 9, made.n)
    for name in ("INTERVAL", "EXPOSURE"):
        made.columns[name] = length.astype(float)
    for name in ("TIME", "TIME_CENTROID"):
        made.columns[name] = made.columns[name] + rng.uniform(-20, 20, made.n)


def _named(*names: str) -> Callable[[SmallSet], None]:
    def change(made: SmallSet) -> None:
        for row, name in zip(made.tables["FIELD"], names, strict=True):
            row["NAME"] = name

    return change


def _framed(frame: str, of_row: bool = False) -> Callable[[SmallSet], None]:
    """Directions of FIELD in another frame, and (u, v, w) along its axes.

    All of one frame, or a column of frames.
    """

    def change(made: SmallSet) -> None:
        turned = _turn(made.scene.centre, frame)
        made.columns["UVW"] = made.columns["UVW"] @ turned[1].T
        for row in made.tables["FIELD"]:
            for name in ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"):
                row[name] = np.array([turned[0]])
        names = {"PHASE_DIR": "PhaseDir_Ref", "DELAY_DIR": "DelayDir_Ref",
                 "REFERENCE_DIR": "RefDir_Ref"}
        if not of_row:
            made.frames["FIELD"] = {name: {"type": "direction", "Ref": frame} for name in names}
            return
        codes = {"J2000": 0, "ICRS": 21, "GALACTIC": 8}
        made.insert("FIELD", 0, field_row("elsewhere", (1.0, 0.2)))
        for row, code in zip(made.tables["FIELD"], ("J2000", frame), strict=True):
            row |= {name: codes[code] for name in names.values()}
        made.frames["FIELD"] = {name: {"type": "direction", "VarRefCol": ref,
                                       "TabRefTypes": list(codes),
                                       "TabRefCodes": np.array([*codes.values()], np.uint32)}
                                for name, ref in names.items()}

    return change


def _turn(centre: tuple[float, float], frame: str) -> tuple[tuple[float, float], np.ndarray]:
    """A direction of J2000 in another frame, and what turns (u, v, w) there to the axes of that frame.

    By casacore's measures, but for GALACTIC, which these take to be turned by the 0.5 arcsec of the
    equinox of FK4.
    """
    from casacore.measures import measures
    from casacore.quanta import quantity

    def converted(ra: float, dec: float) -> tuple[float, float]:
        if frame == "GALACTIC":
            return oracles.galactic(ra, dec)
        given = measures().direction("J2000", quantity(ra, "rad"), quantity(dec, "rad"))
        found = measures().measure(given, frame)
        return found["m0"]["value"], found["m1"]["value"]

    step = 1e-3
    there = converted(*centre)
    l, m, _ = oracles.cosines(*converted(centre[0], centre[1] + step), *there)
    sin, cos = np.array([l, m]) / np.hypot(l, m)
    return there, np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])


def _reference_table(order: Callable[[SmallSet], np.ndarray]) -> Callable[[Path, SmallSet], Path]:
    """A table that holds row numbers of another one."""

    def rewrite(path: Path, made: SmallSet) -> Path:
        from casacore.tables import table

        rows = order(made)
        with table(str(path), ack=False) as main:
            main.selectrows(rows).copy(str(path.with_name("reference.ms")), deep=False).close()
        made.take(rows)
        return path.with_name("reference.ms")

    return rewrite


def _compressed(made: SmallSet) -> None:
    """Lossy columns of Dysco, for visibilities and weights."""
    made.spectrum()
    made.manager = "DyscoStMan"


def _as_stored(path: Path, made: SmallSet) -> Path:
    """What python-casacore reads is the truth, since the columns are lossy."""
    from casacore.tables import table

    with table(str(path), ack=False) as main:
        assert any(manager["TYPE"] == "DyscoStMan" for manager in main.getdminfo().values())
        for i in range(made.n):
            stored = main.getcell("DATA", i)
            assert abs(stored - made.vis[i]).max() < 0.1
            made.vis[i], made.weight[i] = stored.astype(complex), main.getcell(
                "WEIGHT_SPECTRUM", i).astype(float)
    return path


def _read_only(path: Path, made: SmallSet) -> Path:
    for file in [*path.rglob("*"), path]:
        file.chmod(0o555 if file.is_dir() else 0o444)
    return path


def _renamed(name: str) -> Callable[[Path, SmallSet], str]:
    def rewrite(path: Path, made: SmallSet) -> str:
        path.rename(path.with_name(name.rstrip("/")))
        return f"{path.parent}/{name}"

    return rewrite


def _linked(path: Path, made: SmallSet) -> Path:
    path.with_name("linked").symlink_to(path, target_is_directory=True)
    return path.with_name("linked")


def _by_casa(task: str, **options) -> Callable[[Path, SmallSet], Path]:
    """What a task of CASA makes of the set, all of it."""

    def rewrite(path: Path, made: SmallSet) -> Path:
        import casatasks

        getattr(casatasks, task)(vis=str(path), outputvis=str(path.with_name("casa.ms")), **options)
        return path.with_name("casa.ms")

    return rewrite


def _one_field_by_casa(path: Path, made: SmallSet) -> Path:
    """The second of two fields alone, under its old number."""
    made.take(np.flatnonzero(made.columns["FIELD_ID"] == 1))
    return _by_casa("mstransform", field="target1", reindex=False, datacolumn="data")(path, made)


def _concatenated(path: Path, made: SmallSet) -> Path:
    """A set with WEIGHT_SPECTRUM and one without, made one."""
    import casatasks

    later = plain(made.scene)
    for name in ("TIME", "TIME_CENTROID"):
        later.columns[name] = later.columns[name] + 86400.0
    write(later, path.with_name("later.ms"))
    casatasks.concat(vis=[str(path), str(path.with_name("later.ms"))],
                     concatvis=str(path.with_name("both.ms")))
    for name in ("centres", "pointings", "frequencies", "correlations", "vis", "weight", "good"):
        getattr(made, name).extend(getattr(later, name))
    made.columns = {name: np.concatenate([values, later.columns[name]])
                    for name, values in made.columns.items()}
    made.uvw = np.concatenate([made.uvw, later.uvw])
    return path.with_name("both.ms")


def _phase_shifted(path: Path, made: SmallSet) -> Path:
    """CASA's phaseshift moves (u, v, w), data and PHASE_DIR.

    The truth on the sky is the same, seen from another phase centre.
    """
    ra, dec = oracles.direction(4 * made.scene.cell, -6 * made.scene.cell, *made.scene.centre)
    there = _by_casa("phaseshift", datacolumn="data",
                     phasecenter=f"J2000 {ra:.15f}rad {dec:.15f}rad")(path, made)
    for i in range(made.n):
        # From the axes of the old phase centre to those of the new one, and the data by the path
        # between them.
        made.uvw[i] = axes(ra, dec) @ axes(*made.centres[i]).T @ made.uvw[i]
        turned = oracles.phasor(made.columns["UVW"][i][None], made.frequencies[i], ra, dec,
                                *made.centres[i])[0].conj()
        made.vis[i] = made.vis[i] * turned[:, None]
        made.centres[i] = ra, dec
    made.columns["UVW"] = made.uvw.copy()
    return there


_TWO = (Window(), Window(1.5e9, -5e6, 4, (YY, XY, YX, XX)))
_NOT_WRITTEN: dict = {"fails": ("OutputError", "is a selection of rows of another set"),
                      "failing": ("subtract", "peel")}
_ALIKE = (Window(), Window(1.5e9))


def _correlations(*products: int) -> dict:
    return {"windows": (Window(correlations=products),)}


LAYOUTS: dict[str, Layout] = {
    "plain": Layout(),
    # Subtables
    **{f"unused rows {where}": Layout(_unused_rows(where), setup={"windows": _TWO, "fields": 2}) for where in ("first", "between", "last")},
    "unused window without channels": Layout(_unused_description({"NAME": "none", "NUM_CHAN": 0})),
    "unused description that points nowhere": Layout(_unused_description(None)),
    "unused field with an ephemeris": Layout(_moving(_EPHEMERIS, 1)),
    "unused field that is a polynomial": Layout(_moving(_POLYNOMIAL, 1)),
    "field with an ephemeris, not selected": Layout(_moving(_EPHEMERIS, 1), setup={"fields": 2}, select={"field": "target0"}),
    "field that is a polynomial, not selected": Layout(_moving(_POLYNOMIAL, 1), setup={"fields": 2}, select={"field": "target0"}),
    "field with an ephemeris": Layout(_moving(_EPHEMERIS, 0), fails=("MeasurementSetError", "ephemeris")),
    "field that is a polynomial": Layout(_moving(_POLYNOMIAL, 0), fails=("MeasurementSetError", "polynomial")),
    "other field in another band": Layout(_other_field, setup={"windows": (Window(), Window(8e9, 1e6, 5)), "fields": 2},
                                          select={"field": "target0"}),
    "other field without cells": Layout(
        _other_field_without_cells, setup={"windows": _ALIKE, "fields": 2}, select={"field": "target0"},
        fails=("ColumnError", "no value in some rows"), failing=("subtract", "peel")),
    "unused windows of no frequency": Layout(lambda made: [
        _unused_description(window_row("none", frequency))(made) for frequency in (np.full(3, np.nan), -1e9 - 1e6 * np.arange(3))]),
    "unused observation by another telescope": Layout(_unused_observation),
    **{f"{table} the other way round": Layout(_turned_round(table), setup={"windows": _TWO, "fields": 2})
       for table in ("DATA_DESCRIPTION", "ANTENNA")},
    "no observation": Layout(lambda made: made.tables["OBSERVATION"].clear()),
    "dishes of no size": Layout(lambda made: [row.update(DISH_DIAMETER=0.0) for row in made.tables["ANTENNA"]]),
    "antennas of one name": Layout(lambda made: [row.update(NAME="") for row in made.tables["ANTENNA"]]),
    # Fields and their frames
    "name -3": Layout(_named("-3"), field="-3"),
    "name empty": Layout(_named(""), field="0"),
    "name with a blank": Layout(_named("A B"), field="A B"),
    "names alike": Layout(_named("same", "same"), field="same", setup={"fields": 2}),
    # Budget: casacore and astropy agree on B1950 to 3 mas and on ICRS to 12, which at 4000 λ are
    # phases of 1e-3 at most.
    **{f"frame {frame}": Layout(_framed(frame), slack=slack) for frame, slack in (("B1950_VLA", 10.0), ("ICRS", 10.0), ("GALACTIC", 1.0))},
    "frame of each row": Layout(_framed("GALACTIC", of_row=True)),
    "across 0 h": Layout(setup={"scene": Scene((1e-4, 0.2))}),
    "north pole": Layout(setup={"scene": Scene((0.0, np.pi / 2))}),
    "south pole": Layout(setup={"scene": Scene((0.0, -np.pi / 2))}),
    "phase centre shifted": Layout(setup={"shift": (4, -6)}),
    "phase centre shifted, POINTING alone knows": Layout(_moved_together, setup={"shift": (4, -6)}),
    "POINTING that agrees": Layout(_pointing()),
    "POINTING of other antennas": Layout(_pointing_elsewhere((1.0, 1.0), ANTENNA_ID=17)),
    "POINTING at other times": Layout(_pointing_elsewhere((1.0, 1.0), TIME=0.0, INTERVAL=0.0)),
    "POINTING beyond the pole": Layout(_pointing_elsewhere((0.7, 90.0))),
    "REFERENCE_DIR in another frame": Layout(_reference_in_another_frame, setup={"shift": (4, -6)}),
    "POINTING in azimuth and elevation": Layout(_pointing("AZELGEO", (1.0, 0.8))),
    # Windows and correlations
    "windows of two shapes": Layout(setup={"windows": _TWO}),
    "falling channels": Layout(setup={"windows": (Window(1.42e9, -10e6),)}),
    "one channel": Layout(setup={"windows": (Window(n=1),)}),
    "LL RR": Layout(setup=_correlations(LL, RR)),
    "YY XY YX XX": Layout(setup=_correlations(YY, XY, YX, XX)),
    "RR alone": Layout(setup=_correlations(RR)),
    "YY YX": Layout(setup=_correlations(YY, YX)),
    "Stokes I alone": Layout(setup=_correlations(I)),
    # Rows
    "shuffled": Layout(lambda made: made.take(np.random.default_rng(2).permutation(made.n)), setup={"windows": _TWO, "fields": 2}),
    "back in time": Layout(lambda made: made.take(np.arange(made.n)[::-1])),
    "conjugate baselines": Layout(_conjugate),
    "autocorrelations": Layout(setup={"autocorrelations": True}),
    "several observations": Layout(_observations),
    "averaged by baseline": Layout(_averaged, setup={"jitter": 30.0}),
    "one row": Layout(lambda made: made.take([7]), fails=("ImageError", "no beam fits"),
                      failing=("image", "sdint", "sdint-assess", "compare")),
    "no rows": Layout(lambda made: made.take(np.arange(0)), fails=("MeasurementSetError", "no rows")),
    # Weights
    "spectrum of weights": Layout(lambda made: made.spectrum()),
    "spectrum of weights in some rows": Layout(lambda made: made.spectrum(_every(2)(made))),
    "spectrum of weights in later rows": Layout(lambda made: made.spectrum(range(20, made.n))),
    "spectrum of weights 0": Layout(_zero_spectrum, warns="WEIGHT_SPECTRUM is 0"),
    "spectrum of weights empty": Layout(_empty_spectrum),
    "spectrum of weights of one window": Layout(
        lambda made: made.spectrum(np.flatnonzero(made.columns["DATA_DESC_ID"] == 1)), setup={"windows": _TWO}),
    "spectrum of weights of the other field": Layout(
        _spectrum_of_the_other_field, setup={"windows": _ALIKE, "fields": 2}, select={"field": "target0"}, warns="WEIGHT_SPECTRUM is 0"),
    "SIGMA alone": Layout(_no_weights("WEIGHT", zero=False)),
    "no weights": Layout(_no_weights("WEIGHT", "SIGMA", zero=False), warns="weight"),
    "WEIGHT 0": Layout(_no_weights("WEIGHT", zero=True), warns="WEIGHT is 0"),
    "weights 0": Layout(_no_weights("WEIGHT", "SIGMA", zero=True), fails=("NoDataError", "no visibility has a weight")),
    "weights 0 on one antenna": Layout(_dead_antenna("WEIGHT")),
    "spectrum of weights 0 on one antenna": Layout(_dead_antenna("WEIGHT_SPECTRUM")),
    # Flags and bad values
    "antenna flagged": Layout(_dead_antenna("FLAG")),
    "antenna flagged by FLAG_ROW": Layout(_dead_antenna("FLAG_ROW")),
    "NaN under flags": Layout(_dead_antenna("FLAG", np.nan)),
    "channel flagged": Layout(_bad_channel),
    "NaN unflagged": Layout(lambda made: made.lose(_every(6)(made), 1, np.nan), warns="NaN or infinite"),
    "(u, v, w) of 0": Layout(_bad_uvw(0.0), warns=r"(have|had) no \(u, v, w\)"),
    "(u, v, w) of NaN": Layout(_bad_uvw(np.nan), warns=r"(have|had) no \(u, v, w\)"),
    "no FLAG": Layout(lambda made: made.cells.pop("FLAG")),
    "no FLAG_ROW": Layout(lambda made: made.columns.pop("FLAG_ROW")),
    "all flagged": Layout(lambda made: made.flag(range(made.n)), fails=("NoDataError", "flagged")),
    # How it is stored
    **{f"stored by {manager}": Layout(lambda made, manager=manager: setattr(made, "manager", manager))
       for manager in ("StandardStMan", "IncrementalStMan", "TiledColumnStMan")},
    "compressed by Dysco": Layout(_compressed, _as_stored, needs="DyscoStMan"),
    "reference table": Layout(rewrite=_reference_table(lambda made: np.arange(3, made.n, 2)), **_NOT_WRITTEN),
    "reference table in another order": Layout(
        rewrite=_reference_table(lambda made: np.random.default_rng(3).permutation(made.n)), **_NOT_WRITTEN),
    "read-only": Layout(rewrite=_read_only),
    "path with blanks": Layout(rewrite=_renamed("die süße Menge [1] *.ms/")),
    "symbolic link": Layout(rewrite=_linked),
    # Scale
    "VLBI": Layout(setup={"scene": Scene(extent=4e6, cell=4e-6 * ARCSEC, beam="constant"), "windows": (Window(230e9, 1e9),)}),
    "metre waves": Layout(setup={"scene": Scene(cell=np.deg2rad(0.2), beam="constant"), "windows": (Window(50e6, 1e5),)}),
    # Tasks of CASA
    "multi-MS": Layout(_observations, _by_casa("partition", createmms=True, separationaxis="scan", datacolumn="data"), needs="casatasks"),
    "mstransform without reindexing": Layout(rewrite=_one_field_by_casa, setup={"fields": 2}, needs="casatasks"),
    "split": Layout(rewrite=_by_casa("split", datacolumn="data"), needs="casatasks"),
    "phaseshift": Layout(rewrite=_phase_shifted, needs="casatasks"),
    "concat": Layout(lambda made: made.spectrum(), _concatenated, needs="casatasks"),
}
