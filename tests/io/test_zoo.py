"""Every command reads every layout of the zoo.

The same numbers as a direct sum over what counts, or the one error for it.
"""

import importlib.util
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

import oracles
import uvstack
from peel.passes_files import Passes
from peel.plan_files import open_set
from peel.visits import scan_visits
from uvstack import errors
from uvstack.io.info import describe, format_description
from uvstack.io.write_columns import check_column
from uvstack.sky.components import components
from zoo import LAYOUTS, Inhabitant, inhabit
from zoo_set import PIXELS, Scene, plain, write

SIZE = 64


@dataclass(frozen=True)
class Visit:
    """A layout, the options it is read with, a folder for what is written, and plain sets by their scenes."""

    who: Inhabitant
    folder: Path
    plain: dict[Scene, tuple[Path, list[dict]]]

    @property
    def path(self) -> str:
        return self.who.path

    @property
    def select(self) -> dict[str, Any]:
        return self.who.layout.select

    @property
    def beam(self) -> dict[str, Any]:
        return {"primary_beam": self.who.scene.beam}

    @property
    def targets(self) -> SkyCoord:
        return SkyCoord(*np.array(self.who.scene.targets).T, unit="rad", frame="fk5")

    @property
    def truth(self) -> float:
        return oracles.rows_stacked(self.who.rows, self.who.scene.targets, self.who.scene.power)


def stack(visit: Visit):
    return uvstack.stack(visit.path, visit.targets, **visit.beam, **visit.select).flux


def stack_a_field(visit: Visit):
    field = visit.who.layout.field or visit.select.get("field", "target*")
    return uvstack.stack(visit.path, visit.targets, **visit.beam,
                         **visit.select | {"field": field}).flux


def stack_to_a_set(visit: Visit):
    return _flux_of_the_set_of(visit, visit.path)


def stack_of_two_sets(visit: Visit):
    """With a plain one of the same scene, whose subtables are joined."""
    return _flux_of_the_set_of(visit, [visit.path, visit.plain[visit.who.scene][0]])


def _flux_of_the_set_of(visit: Visit, paths):
    """The flux from the set that is written, which CASA opens."""
    out = visit.folder / "out.ms"
    uvstack.stack(paths, visit.targets, out=out, **visit.beam, **visit.select)
    (found,) = describe(out)["fields"]
    _open_in_casa(out)
    return uvstack.stack(out,
                         SkyCoord(found["longitude_rad"], found["latitude_rad"], unit="rad",
                                  frame=FRAMES[found["frame"]])).flux


FRAMES = {"J2000": "fk5", "ICRS": "icrs", "GALACTIC": "galactic",
          "B1950_VLA": SkyCoord(0, 0, unit="deg", frame="fk4", obstime="B1979.9")}


def _open_in_casa(path: Path) -> None:
    """Windows, field and rows of a written set by the tools of CASA, where these are installed."""
    if importlib.util.find_spec("casatools") is None:
        return
    from casatools import ms, msmetadata

    metadata, tool = msmetadata(), ms()
    try:
        assert metadata.open(str(path))
        used = {int(metadata.spwfordatadesc(d["id"])) for d in describe(path)["data_descriptions"]
                if d["n_rows"]}
        assert used
        assert all(metadata.chanfreqs(w).size for w in used)
        assert metadata.nfields() == 1
        assert "m0" in metadata.phasecenter(0)
        assert tool.open(str(path))
        assert tool.nrow() == metadata.nrows()
    finally:
        metadata.done()
        tool.close()


def montecarlo(visit: Visit):
    return uvstack.montecarlo(visit.path, visit.targets, realisations=2, seed=1, **visit.beam,
                              **visit.select).flux


def fit(visit: Visit):
    """Flux of a point at the phase centre."""
    return uvstack.fit(visit.path, model="delta", stokes="PI", **visit.select).flux


def image(visit: Visit):
    made = uvstack.image(visit.path, size=SIZE, cell=visit.who.scene.cell, iterations=0,
                         weighting="natural", threads=1, **visit.select)
    return [made.dirty[0][SIZE // 2 + y, SIZE // 2 - x] for x, y in PIXELS]


def sdint(visit: Visit):
    """The interferometer's part of a joint reconstruction, all channels as one."""
    made = uvstack.sdint(visit.path, _dish(visit), use="int", channels=1, size=SIZE,
                         cell=visit.who.scene.cell, iterations=0, weighting="natural", threads=1,
                         **visit.select)
    return [made.dirty[0][SIZE // 2 + y, SIZE // 2 - x] for x, y in PIXELS]


def sdint_assess(visit: Visit):
    """Spacings of the interferometer beside a dish with a blob in its map."""
    found = uvstack.sdint_assess(visit.path, _dish(visit), size=SIZE, cell=visit.who.scene.cell,
                                 weighting="natural", threads=1, **visit.select).spacings
    unit = _spacings(visit)
    return [found.shortest / unit[0], found.longest / unit[1], found.most_wavelengths / unit[2]]


def _spacings(visit: Visit) -> list[float]:
    """Of rows that count: shortest and longest (u, v), m, and the longest in wavelengths."""
    rows = [row for row in visit.who.rows if (row["weight"] > 0).any()]
    length = [np.hypot(*row["uvw"][:2]) for row in rows]
    waves = [one * row["frequency"][(row["weight"] > 0).any(axis=1)].max() / 299792458.0
             for one, row in zip(length, rows, strict=True)]
    return [min(length), max(length), max(waves)]


def _dish(visit: Visit) -> Path:
    """A map that covers the image, with a beam a quarter of it."""
    path, step = visit.folder / "dish.fits", np.rad2deg(4 * visit.who.scene.cell)
    ra, dec = np.rad2deg(visit.who.rows[0]["centre"] if visit.who.rows else visit.who.scene.centre)
    y, x = np.indices((32, 32)) - 16
    fits.writeto(path, np.exp(-4 * np.log(2) * (x**2 + y**2) / 6.0**2), fits.Header({
        "CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": 17.0,
        "CRPIX2": 17.0, "CDELT1": -step, "CDELT2": step, "CUNIT1": "deg", "CUNIT2": "deg",
        "BMAJ": 4 * step, "BMIN": 4 * step, "BPA": 0.0, "BUNIT": "Jy/beam", "RADESYS": "FK5",
        "EQUINOX": 2000.0}), overwrite=True)
    return path


def subtract(visit: Visit):
    """The stack of what is left when the sky is taken away."""
    ra, dec, flux = np.array(visit.who.scene.sources).T
    uvstack.subtract(visit.path, components(ra, dec, flux), into="LEFT", **visit.beam,
                     **visit.select)
    return uvstack.stack(visit.path, visit.targets, column="LEFT", **visit.beam,
                         **visit.select).flux


def peel_passes(visit: Visit):
    """The stack of a column that peeling's passes wrote: half of the data."""
    select = {name: visit.select[name] for name in visit.select if name not in ("timerange",)}
    if len(select) < len(visit.select) or "pointing" in select:
        pytest.skip("peeling takes no times or pointings")
    column = select.get("column", "DATA")
    if visit.who.layout is LAYOUTS["no FLAG"]:
        with pytest.raises(errors.MeasurementSetError, match="has no column FLAG, which QuartiCal"):
            open_set(visit.path, None, None, column)
        return visit.truth
    selection, structure = open_set(visit.path, select.get("field"), select.get("spw"), column)
    for name in ("PEEL_A", "PEELED_DATA"):
        check_column(structure, name, False, [column])
    passes = Passes(structure, selection, scan_visits(structure, selection)[0], column)
    passes.write("PEEL_A", [column], lambda part: part.values[column])
    passes.write("PEELED_DATA", [column, "PEEL_A"],
                 lambda part: part.values[column] - 0.5 * part.values["PEEL_A"])
    return 2 * uvstack.stack(visit.path, visit.targets, **visit.beam,
                             **visit.select | {"column": "PEELED_DATA"}).flux


def compare(visit: Visit):
    how = {"cell": visit.who.scene.cell, "size": 2 * SIZE, "stamp": 8, "weights": "equal",
           "methods": ("mean",)}
    found = uvstack.compare(visit.path, visit.targets, **how, **visit.beam, **visit.select)
    return [found.uv.flux, found.find().flux]


def info(visit: Visit):
    found = describe(visit.path)
    assert format_description(found)
    return [found["n_rows"], sum(f["n_rows"] for f in found["fields"]), found["longest_baseline_m"]]


def _at_the_phase_centre(visit: Visit) -> float:
    return oracles.rows_stacked(visit.who.rows, [visit.who.rows[0]["centre"]])


def _pixels(visit: Visit) -> list[float]:
    cell = visit.who.scene.cell
    return [oracles.rows_imaged(visit.who.rows, x * cell, y * cell) for x, y in PIXELS]


def _left(visit: Visit) -> float:
    scene = visit.who.scene
    rows = [row | {"vis": row["vis"] - oracles.rows_seen(row, scene.sources, scene.power)[:, None]}
            for row in visit.who.rows]
    return oracles.rows_stacked(rows, scene.targets, scene.power)


def _of_two(visit: Visit) -> float:
    scene = visit.who.scene
    return oracles.rows_stacked(visit.who.rows + visit.plain[scene][1], scene.targets, scene.power)


#: Command → what it finds, what is true, and the budget in Jy. The visibilities are of some Jy.
#: Phasors of float32 are good to 5e-6, of what is stacked here 2e-5 Jy; the gridder is asked for
#: 1e-5; an image-stack takes the beam at one frequency of the band.
COMMANDS = {
    "stack": (stack, lambda visit: visit.truth, 2e-5),
    "stack, a field": (stack_a_field, lambda visit: visit.truth, 2e-5),
    "stack, to a set": (stack_to_a_set, lambda visit: visit.truth, 2e-5),
    "stack, of two sets": (stack_of_two_sets, _of_two, 2e-5),
    "montecarlo": (montecarlo, lambda visit: visit.truth, 2e-5),
    "fit": (fit, _at_the_phase_centre, 2e-5),
    "image": (image, _pixels, 4e-5),
    "sdint": (sdint, _pixels, 4e-5),
    "sdint-assess": (sdint_assess, lambda visit: [1.0] * 3, 1e-6),
    "subtract": (subtract, _left, 2e-5),
    "peel": (peel_passes, lambda visit: visit.truth, 4e-5),
    "compare": (compare, lambda visit: [visit.truth, visit.truth], 2e-4),
    "info": (info, lambda visit: [visit.who.n_rows, visit.who.n_rows, visit.who.longest], 1e-6)}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Function: name → the layout, made once."""
    found: dict[str, Inhabitant] = {}
    plain_sets: dict[Scene, tuple[Path, list[dict]]] = {}

    def visit(name: str) -> Visit:
        needs = LAYOUTS[name].needs
        absent = f"the layout {name!r} wants {needs}, which is not installed"
        if needs == "casatasks":
            pytest.importorskip(needs, reason=absent)
        folder = tmp_path_factory.mktemp("zoo")
        if name not in found:
            try:
                found[name] = inhabit(name, folder)
            except RuntimeError:
                if needs != "DyscoStMan":
                    raise
                pytest.skip(absent)
        scene = found[name].scene
        if scene not in plain_sets:
            made = plain(scene)
            plain_sets[scene] = write(made, folder / "plain.ms"), made.rows()
        return Visit(found[name], folder, plain_sets)

    return visit


#: A selection by name would have to fit both of two sets, and a plain one beside a set that fails
#: leaves something to stack.
PAIRS = [(name, command) for name, layout in LAYOUTS.items() for command in COMMANDS
         if command != "stack, of two sets" or not (layout.select or layout.fails)]


@pytest.mark.parametrize(("name", "command"), PAIRS)
def test_every_command_reads_every_layout(zoo, name, command):
    visit, layout = zoo(name), LAYOUTS[name]
    run, truth, budget = COMMANDS[command]
    if layout.fails is not None and (command in layout.failing if layout.failing
                                     else command != "info"):
        kind, text = layout.fails
        with pytest.raises(getattr(errors, kind), match=text):
            run(visit)
        return
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", errors.UvstackWarning)
        found = run(visit)
    np.testing.assert_allclose(found, truth(visit), rtol=0, atol=layout.slack * budget)
    words = [str(one.message) for one in told]
    if layout.warns and command != "info":
        assert words
    assert all(layout.warns and re.search(layout.warns, text) for text in words), words


def test_a_fit_does_not_fill_a_column_from_cells_without_values(zoo):
    """casacore ends the process where such a cell is read."""
    visit = zoo("other field without cells")
    with pytest.raises(errors.ColumnError, match="column DATA has no value in some rows"):
        uvstack.fit(visit.path, model="delta", stokes="PI", write="model", into="FITTED",
                    **visit.select)
