"""What is to be done to peel a set, as far as it is known before anything is done."""

from __future__ import annotations

from dataclasses import dataclass, field
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
from uvstack.records import Provenance
from uvstack.report.files import Saved
from uvstack.report.numbers import rows_of
from uvstack.report.page import Section
from uvstack.sky.coordinates import centre_of, direction_cosines
from uvstack.sky.primary_beam import PrimaryBeam


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
    rounds : int
        How often the second and third solves are repeated, each time with a better model.
    columns : tuple of str
        That are written: the models, the residual, and last the peeled data.
    existing : tuple of str
        Those of them that the set has already.
    n_bytes, n_bytes_free : int
        That the columns take, and that the disk has.
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
    rounds: int
    columns: tuple[str, ...]
    existing: tuple[str, ...]
    n_bytes: int
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

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        return {"ms": self.ms, "column": self.column,
                "directions": [direction.summary() for direction in self.directions],
                "fields": rows_of(self.fields()), "rounds": self.rounds,
                "columns": list(self.columns), "existing_columns": list(self.existing),
                "bytes": self.n_bytes, "bytes_free": self.n_bytes_free,
                "quartical": self.quartical,
                "recipes": {recipe.name: recipe.options for recipe in self.recipes}}

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
                 f"{'s' * (n_fields > 1)}, {len({v.window.id for v in self.visits})} windows, "
                 f"{sum(v.n_rows for v in self.visits)} rows"),
                ("time", f"{first} to {last}"),
                *((f"direction {one.name}", _told(one)) for one in self.directions),
                ("columns", f"{', '.join(self.columns)}: {size_text(self.n_bytes)}, and the disk "
                 f"has {size_text(self.n_bytes_free)}"),
                ("solves", f"{', '.join(recipe.name for recipe in self.recipes)}; those of each "
                 f"round ({', '.join(EACH_ROUND)}) {self.rounds} time{'s' * (self.rounds > 1)}")]
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
        if self.n_bytes > self.n_bytes_free:
            told.append(("warning", "the disk has no room for the columns"))
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


def _told(direction: Direction) -> str:
    ra, dec = direction.centre
    lon = Angle(ra % (2 * np.pi), u.rad).to_string(unit=u.hourangle, sep=":", precision=2, pad=True)
    lat = Angle(dec, u.rad).to_string(unit=u.deg, sep=":", precision=1, pad=True, alwayssign=True)
    return (f"J2000 {lon} {lat}: {direction.peak:.4g} Jy/beam, "
            f"{direction.peak / direction.rms:.0f} times the noise, {direction.n_sources} "
            f"source{'s' * (direction.n_sources > 1)}")
