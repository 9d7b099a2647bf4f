"""What is to be done to peel a set, as far as it is known before, and what was done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle
from astropy.table import QTable
from astropy.time import Time
from numpy.typing import NDArray

from peel.directions import Direction
from peel.recipe import EACH_ROUND, Recipe
from peel.region_files import separation
from peel.visits import Visit
from uvstack.constants import ARCMIN
from uvstack.io.output import size_text
from uvstack.pixels.noise import robust_noise
from uvstack.records import Provenance
from uvstack.report.files import Saved
from uvstack.report.numbers import rows_of
from uvstack.report.page import Section
from uvstack.sky.coordinates import centre_of, direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam

#: Seconds that QuartiCal takes to start, and for a visibility in a solve of three terms.
_START, _PER_VISIBILITY = 8.0, 5e-6


@dataclass(frozen=True, eq=False, repr=False)
class PeelPlan(Saved):
    """Directions, data, columns and recipes of a run of peeling.

    Attributes
    ----------
    ms : str
    column : str
        Of the data.
    directions : tuple of Direction
    visits : tuple of Visit
        What of the set is peeled.
    recipes : tuple of Recipe
        In the order of their solves.
    rounds : (int, int)
        How often at least and at most the solves of a round are repeated, each time with a better model.
    columns : tuple of str
        That are written.
    existing : tuple of str
        Those of them that the set has already.
    scratch : tuple of str
        Columns of the copy that is worked on: the models, and what is left.
    n_bytes, n_bytes_copy, n_bytes_free : int
        That the columns and the copy take, and that the disk of the set has.
    primary_beam : PrimaryBeam or None
    quartical : str or None
        Version that has checked the recipes; None where there is none.
    """

    JSON = "peel-plan.json"
    REPORT = ("fields.ecsv",)

    ms: str
    column: str
    directions: tuple[Direction, ...]
    visits: tuple[Visit, ...]
    recipes: tuple[Recipe, ...]
    rounds: tuple[int, int]
    columns: tuple[str, ...]
    existing: tuple[str, ...]
    scratch: tuple[str, ...]
    n_bytes: int
    n_bytes_copy: int
    n_bytes_free: int
    primary_beam: PrimaryBeam | None
    quartical: str | None
    provenance: Provenance | None = field(default=None)

    def fields(self) -> QTable:
        """A row for each field, window and direction.

        How far the direction is from where the antennas look, and the power of the primary beam
        there at the middle of the window (NaN without a beam, 0 where its model ends).
        """
        rows = [(visit, direction) for visit in self.visits for direction in self.directions]
        at = [self._offset(*row) for row in rows]
        return QTable({
            "field": [visit.field.name for visit, _ in rows],
            "field_id": [visit.field.id for visit, _ in rows],
            "spw": [visit.window.spw.id for visit, _ in rows],
            "direction": [direction.name for _, direction in rows],
            "distance": [distance for distance, _ in at] * u.rad,
            "beam_power": np.array([power for _, power in at]),
            "n_rows": [visit.n_rows for visit, _ in rows],
            "n_times": [visit.n_times for visit, _ in rows],
            "n_scans": [len(visit.scans) for visit, _ in rows],
            "first_time": [visit.first for visit, _ in rows] * u.s,
            "last_time": [visit.last for visit, _ in rows] * u.s,
            "flagged": np.array([1 - visit.n_good / visit.n_visibilities for visit, _ in rows])})

    def _offset(self, visit: Visit, direction: Direction) -> tuple[float, float]:
        """Distance from the pointing, rad, and power of the primary beam."""
        ra, dec, _ = centre_of(visit.field.frame, *visit.field.beam_centre)
        place = np.array([direction.centre[0]]), np.array([direction.centre[1]])
        distance = float(separation(*place, ra, dec)[0])
        if self.primary_beam is None:
            return distance, np.nan
        l, m, _ = direction_cosines(*place, ra, dec)
        power: NDArray = self.primary_beam(l, m, np.array([visit.window.spw.central_frequency]))
        return distance, float(power[0, 0])

    def solving_time(self) -> float:
        """Seconds that QuartiCal takes, about, in the least rounds: its start, and 5 µs a visibility, each."""
        return sum((_START + _PER_VISIBILITY * recipe.n_visibilities)
                   * (self.rounds[0] if recipe.name.startswith(EACH_ROUND) else 1)
                   for recipe in self.recipes)

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return {"ms": self.ms, "column": self.column,
                "directions": [direction.summary() for direction in self.directions],
                "fields": rows_of(self.fields()), "rounds": list(self.rounds),
                "columns": list(self.columns), "existing_columns": list(self.existing),
                "scratch_columns": list(self.scratch), "bytes": self.n_bytes,
                "bytes_of_copy": self.n_bytes_copy, "bytes_free": self.n_bytes_free,
                "quartical": self.quartical, "solving_time": self.solving_time(),
                "recipes": {recipe.name: recipe.options for recipe in self.recipes},
                "provenance": None if self.provenance is None else vars(self.provenance)}

    def _times(self) -> str:
        """How often there is a round, in words."""
        least, most = self.rounds
        return (f"{least} time{'s' * (least > 1)}" if least == most else
                f"{least} to {most} times, while the noise falls")

    def tables(self) -> dict[str, QTable]:
        """The table of fields."""
        return {"fields": self.fields()}

    def overview(self) -> Section:
        """What is to be done."""
        n_fields = len({visit.field.id for visit in self.visits})
        first, last = (Time(pick([getattr(visit, name) for visit in self.visits]) / 86400,
                            format="mjd").isot[:19]
                       for pick, name in ((min, "first"), (max, "last")))
        rows = [("data", f"{self.ms}, column {self.column}: {n_fields} field"
                 f"{'s' * (n_fields > 1)}, {_counted(len({v.window.id for v in self.visits}), 'window')}, "
                 f"{sum(v.n_rows for v in self.visits)} rows"),
                ("time", f"{first} to {last}"),
                *((f"direction {one.name}", _told(one)) for one in self.directions),
                ("columns", f"{', '.join(self.columns)}: {size_text(self.n_bytes)}, and the disk "
                 f"has {size_text(self.n_bytes_free)}"),
                ("copy of the data", f"with {', '.join(self.scratch)}: "
                 f"{size_text(self.n_bytes_copy)} in the folder of the run, until its end"),
                ("solves", f"{', '.join(recipe.name for recipe in self.recipes)}; those of each "
                 f"round ({', '.join(EACH_ROUND)}) {self._times()}")]
        rows += [("time", f"QuartiCal about {self.solving_time() / 60:.1g} min on one processor, "
                  "once compiled; images come on top")]
        rows += [("QuartiCal", f"{self.quartical} reads the recipes" if self.quartical
                  else "is not there, so the recipes are not checked")]
        return Section(f"Peeling {self.ms}", rows, text=self._warnings(), grid=self._grid())

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """The overview, and each recipe."""
        return [Section(self.overview().title, self.overview().rows, text=self._warnings(),
                        grid=self._grid(), tables=self.tables()),
                *(Section(f"Recipe {recipe.name}", [("", line) for line in
                                                    recipe.yaml.splitlines()])
                  for recipe in self.recipes)]

    def _warnings(self) -> list[tuple[str, str]]:
        flagged = sorted({f"{v.field.name} in spectral window {v.window.spw.id}"
                          for v in self.visits if not v.n_good})
        told = []
        if flagged:
            told.append(("warning", f"all flagged, and left out: {', '.join(flagged)}"))
        if self.existing:
            told.append(("warning", f"the set has {', '.join(self.existing)} already"))
        if self.n_bytes + self.n_bytes_copy > self.n_bytes_free:
            told.append(("warning", "the disk of the set has no room for the columns and the copy"))
        return told

    def _grid(self) -> list[tuple[str, ...]]:
        lines: list[tuple[str, ...]] = [
            ("field", "spw", "direction", "distance", "beam", "rows", "times", "scans", "flagged")]
        for row in self.fields():
            power = "" if np.isnan(row["beam_power"]) else f"{row['beam_power']:.3f}"
            lines.append((str(row["field"]), str(row["spw"]), str(row["direction"]),
                          f"{row['distance'].value / ARCMIN:.2f}′", power, str(row["n_rows"]),
                          str(row["n_times"]), str(row["n_scans"]),
                          f"{100 * row['flagged']:.0f} %"))
        return lines


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n > 1)}"


def _told(direction: Direction) -> str:
    ra, dec = direction.centre
    lon = Angle(ra % (2 * np.pi), u.rad).to_string(unit=u.hourangle, sep=":", precision=2, pad=True)
    lat = Angle(dec, u.rad).to_string(unit=u.deg, sep=":", precision=1, pad=True, alwayssign=True)
    return (f"J2000 {lon} {lat}: {direction.peak:.4g} Jy/beam, "
            f"{direction.peak / direction.rms:.0f} times the noise, {direction.n_sources} "
            f"source{'s' * (direction.n_sources > 1)}")


#: What its pictures of gains show.
_GAINS = [("field", "phase of the middle of each window, and delay over it, of S G′ K′"),
          ("directions", "those of each over those of the field, T⁻¹ B; 1 where they do not stand out"),
          ("shown", "the first receptor, against antennas and minutes; files of all gains are in gains/")]


@dataclass(frozen=True, eq=False, repr=False)
class PeelResult(Saved):
    """What was peeled off a measurement set.

    Attributes
    ----------
    ms, folder : str
    columns : tuple of str
        That were written.
    directions : tuple of dict
        Name, ra_rad, dec_rad, peak_jy_per_beam … of each.
    table : QTable
        A row for each image and direction: rms of all of it (`rms_global`) and around the direction
        (`rms_local`), the peak before peeling, and that over the local rms (`dynamic_range`). After
        peeling the source is gone, so the peak is that after self-calibration.
    fields : QTable
        A row for each field, window and direction: flux and index that were fitted, flux corrected
        for what its gains say was lost, its signal to noise for an antenna, receptor and cell,
        whether it had gains of its own, by how far their phases move it, reduced χ² before and
        after, how many gains converged, visibilities that stay as they were.
    fluxes : QTable
        The other sources: fluxes before and after.
    notes : tuple of (str, str)
        What must be known before the numbers are believed: ("warning" or "advice", text).
    bound : float
        Noise that all gain sets move at most coherently into the image, over the noise.
    rounds : int
        That were made.
    settings : mapping
        What was asked for.
    """

    JSON = "peel.json"
    REPORT = ("images.ecsv", "fields.ecsv", "fluxes.ecsv", "images.png", "fluxes.png", "models.png",
              "gains-field.png", "gains-directions.png")

    ms: str
    folder: str
    columns: tuple[str, ...]
    directions: tuple[dict[str, Any], ...]
    table: QTable
    fields: QTable
    fluxes: QTable
    notes: tuple[tuple[str, str], ...]
    bound: float
    rounds: int
    settings: Mapping[str, str]
    figures: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance | None = field(default=None)

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return {"ms": self.ms, "folder": self.folder, "columns": list(self.columns),
                "directions": list(self.directions), "table": rows_of(self.table),
                "fields": rows_of(self.fields), "fluxes": rows_of(self.fluxes),
                "notes": [list(one) for one in self.notes], "bound": self.bound,
                "rounds": self.rounds, "settings": dict(self.settings),
                "provenance": None if self.provenance is None else vars(self.provenance)}

    def tables(self) -> dict[str, QTable]:
        """Images, fields and fluxes of other sources."""
        return {"images": self.table, "fields": self.fields, "fluxes": self.fluxes}

    def overview(self) -> Section:
        """Noise and dynamic range before and after."""
        grid: list[tuple[str, ...]] = [("image", "direction", "rms, all", "rms, around it",
                                        "peak before", "dynamic range")]
        for row in self.table:
            grid.append((str(row["image"]), str(row["direction"]),
                         *(f"{row[name].to_value('uJy/beam'):.4g} µJy"
                           for name in ("rms_global", "rms_local")),
                         f"{row['peak'].to_value('Jy/beam'):.4g} Jy",
                         f"{row['dynamic_range']:.0f}"))
        rows = [("columns", ", ".join(self.columns)), ("files", self.folder),
                ("rounds", str(self.rounds)),
                ("bound", f"gains move at most {self.bound:.2f} of the noise coherently into the "
                 "image")]
        return Section(f"Peeled {self.ms}", rows, text=self.notes, grid=grid)

    def figure(self, *args: Any, **options: Any) -> Any:
        """Images before and after on one scale; None of a result that was read again, whose pictures are in its folder."""
        return self.figures.get("images")

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """The overview with images, other sources, fields, gains."""
        first = self.overview()
        parts = [Section(first.title, first.rows, text=self.notes, grid=first.grid,
                         figures=_some(self.figures, "images"), tables={"images": self.table})]
        if len(self.fluxes):
            parts.append(Section("Other sources", self._of_fluxes(),
                                 figures=_some(self.figures, "fluxes")))
        lines: list[tuple[str, ...]] = [("field", "spw", "direction", "flux", "index", "S/N of a gain",
                                         "χ² before", "after", "converged", "left as it was")]
        for row in self.fields:
            lines.append((str(row["field"]), str(row["spw"]), str(row["direction"]),
                          f"{row['flux'].to_value('mJy'):.3g} mJy", f"{row['spectral_index']:.2f}",
                          f"{row['gain_snr']:.1f}", f"{row['chi_squared_before']:.3g}",
                          f"{row['chi_squared_after']:.3g}", f"{100 * row['converged']:.0f} %",
                          str(row["n_left"])))
        parts.append(Section("Fields", grid=lines, tables={"fields": self.fields,
                                                           "fluxes": self.fluxes}))
        parts.append(Section("Gains", _GAINS, figures=_some(self.figures, "gains-field", "gains-directions")))
        parts.append(Section("Models, as the antennas see them",
                             figures=_some(self.figures, "models")))
        return [one for one in parts if one.rows or one.grid or one.figures]

    def _of_fluxes(self) -> list[tuple[str, ...]]:
        ratio = (self.fluxes["flux_peeled"] / self.fluxes["flux_selfcal"]).to_value("")
        good = ratio[np.isfinite(ratio)]
        if not good.size:
            return [("sources", str(len(self.fluxes)))]
        return [("sources", str(len(self.fluxes))),
                ("flux after peeling over that after self-calibration", f"median {np.median(good):.3f}, scatter "
                 f"{robust_noise(good[None]):.3f}")]


def _some(figures: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: figures[name] for name in names if name in figures}


def finished_result(folder: Path, settings: Mapping[str, str]) -> PeelResult | None:
    """The result of a run of these settings that is finished in a folder, None where there is none."""
    path = folder / PeelResult.JSON
    if not path.exists():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    if told["settings"] != dict(settings):
        return None
    table, fields, fluxes = (QTable.read(folder / f"{name}.ecsv")
                             for name in ("images", "fields", "fluxes"))
    return PeelResult(told["ms"], told["folder"], tuple(told["columns"]),
                      tuple(told["directions"]), table, fields, fluxes,
                      tuple(tuple(one) for one in told["notes"]), told["bound"], told["rounds"],
                      told["settings"], provenance=Provenance(**told["provenance"]) if told.get("provenance") else None)
