"""A survey written as one TOML file: telescope, pointings, sky, noise and errors, as keyword arguments of `observe`.

    survey = read_survey("survey.toml")
    made = observe(**survey.settings(), out="survey.ms")

`read_survey` checks every table and key against the lists of `simulate.survey_keys`, turns texts
with units into SI and radians, and opens the antenna file, so that a slip is one line (file, table,
key, what was found, what is wanted) before anything is drawn. `settings` draws the sky. Each
[[sky]] table draws from a generator of its own, seeded by the seed and the place of the table in
the file: tables added at the end leave those before them as they were. A key that would have no
effect beside the others (the `speed` of a mosaic, the `efficiency` of a σ per visibility) is an
error. Paths are relative to the file. Cost: that of drawing and of opening catalogues and images.
Limits: one spectral window, one array, one round of epochs; what is not in the file format is open
to Python through `observe`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from simulate import corruption as errors_of
from simulate import pointings as fields
from simulate.arrays import Array, read_array
from simulate.noise import Noise
from simulate.pointings import Pointings
from simulate.skies import Around, Rectangle, source_counts
from simulate.survey_keys import (
    TOP,
    Table,
    Unfit,
    directions,
    load,
    nearest,
    read_many,
    read_one,
    read_table,
)
from uvstack.errors import ComponentError, SurveyError
from uvstack.io.catalogues import read_catalogue
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.tables import read_positions
from uvstack.sky.catalogue import components_of
from uvstack.sky.components import Components, components, concatenate
from uvstack.sky.coordinates import to_frame
from uvstack.sky.primary_beam import PrimaryBeam

#: Keeps the generators of the sky apart from those of the noise, which are seeded by seed and
#: integration.
_SKY_STREAM = 0x736B79
_CORRUPTIONS: dict[str, Any] = {"phase-errors": errors_of.PhaseErrors, "delays": errors_of.Delays,
                                "complex-gains": errors_of.ComplexGains,
                                "bandpass": errors_of.Bandpass,
                                "direction-dependent-gains": errors_of.DirectionDependentGains,
                                "pointing-errors": errors_of.PointingErrors,
                                "random-flags": errors_of.RandomFlags,
                                "antenna-flags": errors_of.AntennaFlags}


@dataclass(frozen=True, eq=False)
class Survey:
    """A survey file, read and checked; `settings` turns it into keyword arguments of `simulate.observe`.

    Attributes
    ----------
    path : Path
        Of the file.
    seed : int
        That of the file, or 0.
    array : Array
    frequency, width : ndarray (chan,)
        Hz.
    integration : float
        Seconds.
    duration : float or None
        Seconds; None for one round of the pointings.
    start : str or None
        UTC of the first integration; None for a track centred on transit.
    correlations : tuple of str
    primary_beam : PrimaryBeam
    elevation_limit : float
        rad.
    noise : Noise
    pointing : table
    sky, corruption : tuples of tables
        In the order of the file.
    """

    path: Path
    seed: int
    array: Array
    frequency: NDArray[np.float64]
    width: NDArray[np.float64]
    integration: float
    duration: float | None
    start: str | None
    correlations: tuple[str, ...]
    primary_beam: PrimaryBeam
    elevation_limit: float
    noise: Noise
    pointing: Table
    sky: tuple[Table, ...]
    corruption: tuple[Table, ...]

    def settings(self, seed: int | None = None) -> dict[str, Any]:
        """Keyword arguments of `observe`, all but `out` and how to run; the sky is drawn here.

        Parameters
        ----------
        seed : int, optional
            Of sky, noise and corruptions; default that of the file.

        Raises
        ------
        SurveyError
            What a table asks for cannot be drawn, or a file that it names cannot be read.
        """
        chosen = self.seed if seed is None else seed
        drawn: dict[str, Components] = {}
        for index in range(len(self.sky)):
            self._draw(index, chosen, drawn)
        in_order = [drawn[table["name"]] for table in self.sky if table.kind != "image"]
        sky = concatenate(in_order) if in_order else None
        self._require_own_names(drawn)
        pointings = self._pointings(drawn)
        duration = self.duration
        if duration is None:
            duration = pointings.dwell * len(pointings) * self.integration
        return {"array": self.array, "sky": sky,
                "images": tuple(self._image(t) for t in self.sky if t.kind == "image"),
                "corruptions": tuple(self._corruption(table, drawn) for table in self.corruption),
                "frequency": self.frequency, "width": self.width, "integration": self.integration,
                "duration": duration, "start": self.start, "pointings": pointings,
                "noise": self.noise, "primary_beam": self.primary_beam,
                "correlations": self.correlations, "elevation_limit": self.elevation_limit,
                "seed": chosen}

    def _draw(self, index: int, seed: int, drawn: dict[str, Components],
              asked: tuple[str, ...] = ()) -> None:
        """Put the components of a [[sky]] table, and first those it lies around, into `drawn`."""
        table = self.sky[index]
        if table.kind == "image" or table["name"] in drawn:
            return
        if table["name"] in asked:
            raise table.fail("of",
                             f"{' around '.join((*asked, table['name']))} has no end; let one of "
                             "them have a centre and a width")
        around = None
        if table.kind == "source-counts" and table["of"] is not None:
            self._draw(_index(table, "of", self.sky), seed, drawn, (*asked, table["name"]))
            around = drawn[table["of"]]
        rng = np.random.default_rng([seed, index, _SKY_STREAM])
        with table.located():
            if table.kind == "source-counts":
                made = self._counted(table, around, rng)
            elif table.kind == "components":
                made = self._listed(table)
            else:
                made = _catalogue(table, self.path.parent)
        drawn[table["name"]] = made

    def _counted(self, table: Table, around: Components | None,
                 rng: np.random.Generator) -> Components:
        """Sources drawn from counts."""
        parameters = table.present("alpha", "s_star", "density", "slope", "amplitude", "flux",
                                   "fluxes")
        if around is not None:
            area: Rectangle | Around = Around(around.ra, around.dec, table["within"])
        else:
            area = Rectangle(*self._centre(table), table["width"],
                             table["width"] if table["height"] is None else table["height"])
        same = {key: table[key]
                for key in ("shape", "fwhm", "axis_ratio", "position_angle", "spectral_index",
                            "curvature", "q", "u", "v")}
        return source_counts(table["model"], table["n"], area=area, rng=rng,
                             flux_range=table["flux_range"], name=table["name"],
                             target=bool(table["target"]),
                             reference_frequency=self._reference(table), **same, **parameters)

    def _listed(self, table: Table) -> Components:
        """Sources written in the file itself."""
        ra, dec = _directions(table, "position")
        names = [table["name"]] if ra.size == 1 else [f"{table['name']}{i + 1}"
                                                      for i in range(ra.size)]
        for key, value in table.present(*table.values).items():
            if isinstance(value, list) and len(value) != ra.size:
                raise table.fail(key,
                                 f"{len(value)} values beside {ra.size} positions; wanted one "
                                 "value, or one for each")
        columns = ("shape", "fwhm_major", "fwhm_minor", "position_angle", "spectral_index",
                   "curvature", "q", "u", "v")
        return components(ra, dec, table["flux"], reference_frequency=self._reference(table),
                          names=names, target=bool(table["target"]),
                          **{key: table[key] for key in columns})

    def _reference(self, table: Table) -> float:
        """Frequency at which the fluxes hold, Hz: the middle of the band unless the table says another."""
        return float(self.frequency.mean()) if table["reference_frequency"] is None else table[
            "reference_frequency"]

    def _centre(self, table: Table) -> tuple[float, float]:
        """Where the sources of a table lie: around its own centre, or that of the pointings."""
        from_table = table if table["centre"] is not None else self.pointing
        ra, dec = _directions(from_table, "centre")
        return float(ra[0]), float(dec[0])

    def _require_own_names(self, drawn: Mapping[str, Components]) -> None:
        """Refuse a sky in which two sources have one name: corruptions and truth tell sources apart by it."""
        owner: dict[str, str] = {}
        for block, made in drawn.items():
            for name in map(str, made.names):
                if name in owner:
                    raise SurveyError(f"{self.path}: [[sky]]: the source {name!r} stands in "
                                      f"{owner[name]!r} and in {block!r}; "
                                      "give the tables names that do not meet, and each source of "
                                      "a catalogue its own")
                owner[name] = block

    def _image(self, table: Table) -> Any:
        from simulate.image_model import read_image_model

        with table.located():
            return read_image_model(self.path.parent / table["file"], table["spectral_index"],
                                    table["reference_frequency"])

    def _pointings(self, drawn: Mapping[str, Components]) -> Pointings:
        table = self.pointing
        with table.located():
            if table.kind == "list":
                ra, dec = self._pointing_list(drawn)
                return fields.at_positions(ra, dec, name=table["name"] or "field", **self._dwell())
            ra, dec = _directions(table, "centre")
            centre = float(ra[0]), float(dec[0])
            if table.kind == "single":
                return fields.single(*centre, name=table["name"] or "field")
            name = table["name"] or {"on-the-fly": "otf"}.get(table.kind, "mosaic")
            height = table["width"] if table["height"] is None else table["height"]
            if table.kind == "on-the-fly":
                return fields.on_the_fly(*centre, table["width"], height, table["row_spacing"],
                                         table["speed"], self.integration,
                                         table["phase_centre_every"], name)
            make = fields.hexagonal_mosaic if table.kind == "hexagonal" else fields.rectangular_mosaic
            return make(*centre, table["width"], height, table["spacing"], name, **self._dwell())

    def _pointing_list(self, drawn: Mapping[str, Components]) -> tuple[NDArray, NDArray]:
        """Directions of a list of pointings, rad: of texts, of a file, or of the sources of a [[sky]] table."""
        table = self.pointing
        if table["sources"] is not None:
            made = drawn[self.sky[_index(table, "sources", self.sky)]["name"]]
            return made.ra, made.dec
        if isinstance(table["positions"], str):
            found = read_positions(self.path.parent / table["positions"],
                                   frame=table["frame"] if "frame" in table.given else None)
            return to_frame(found.coord, "J2000")
        return _directions(table, "positions")

    def _dwell(self) -> dict[str, int]:
        """Integrations on a pointing, as a keyword; none where the file does not say."""
        seconds = self.pointing["dwell"]
        if seconds is None:
            return {}
        number = seconds / self.integration
        if abs(number - round(number)) > 1e-6 * number or round(number) < 1:
            raise self.pointing.fail("dwell",
                                     f"{seconds:g} s are {number:.4g} integrations of "
                                     f"{self.integration:g} s; wanted is a whole number")
        return {"dwell": round(number)}

    def _corruption(self, table: Table, drawn: Mapping[str, Components]) -> Any:
        values = table.present(*(key for key in table.values if key != "kind"))
        if table.kind == "direction-dependent-gains":
            values["sources"] = tuple(_source_names(table, drawn))
        if table.kind == "antenna-flags":
            values = {"antennas": tuple(_antenna(table, a, self.array) for a in table["antennas"])}
            if table["from"] is not None or table["to"] is not None:
                values["time_ranges"] = ((-math.inf if table["from"] is None else _mjd_seconds(
                                              table["from"]),
                                          math.inf if table["to"] is None
                                          else _mjd_seconds(table["to"])),)
        with table.located():
            return _CORRUPTIONS[table.kind](**values)


def read_survey(path: str | Path) -> Survey:
    """Survey of a TOML file, whose format `docs/` describes and `docs/survey_example.toml` shows.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    SurveyError
        The file is missing or no TOML; a table or key is unknown or missing; a value has the wrong
        type, no unit or the wrong one, or cannot be. The message names file, table and key.
    """
    path = Path(path)
    content = load(path)
    top = read_table(f"{path}:", content, TOP)
    observation, pointing, noise = (read_one(path, content, name)
                                    for name in ("observation", "pointing", "noise"))
    sky = tuple(_named(table, i) for i, table in enumerate(read_many(path, content, "sky"), 1))
    errors = read_many(path, content, "corruption")
    array, beam = _opened(observation, path.parent)
    frequency, width = _channels(observation)
    _require_whole(path, observation, pointing, sky)
    _require_directions(pointing, sky)
    _require_times(observation, errors)
    return Survey(path, top["seed"], array, frequency, width, observation["integration"],
                  observation["duration"], observation["start"], tuple(observation["correlations"]),
                  beam, observation["elevation_limit"], _noise(noise, array), pointing, sky, errors)


def _opened(table: Table, folder: Path) -> tuple[Array, PrimaryBeam]:
    """Array and primary beam, from files beside the survey where they name any."""
    array: str | Path = table["array"]
    if (folder / array).is_file() or "/" in str(array) or str(array).endswith((".cfg", ".txt")):
        array = folder / array
    prefix, colon, rest = table["primary_beam"].partition(":")
    beam = table["primary_beam"]
    if colon and prefix.lower() in ("table", "image"):
        beam = f"{prefix}:{folder / rest}"
    elif re.search(r"\.fits?(\.gz)?(@[^/]*)?$", beam, re.IGNORECASE):
        beam = str(folder / beam)
    with table.located():
        return read_array(array), read_primary_beam(beam)


def _channels(table: Table) -> tuple[NDArray, NDArray]:
    """Centres and widths of the channels, Hz."""
    if table["frequencies"] is not None:
        clash = table.present("frequency", "bandwidth", "channels")
        if clash:
            raise table.fail(next(iter(clash)),
                             "contradicts frequencies; give frequency, bandwidth and channels, or "
                             "frequencies")
        centres = np.array(table["frequencies"], float)
        if table["channel_width"] is None and centres.size == 1:
            raise table.lacks("channel_width", "one frequency has no spacing to take it from")
        width = np.abs(np.gradient(centres)) if table["channel_width"] is None else np.full(
            centres.size, table["channel_width"])
        if not width.all():
            raise table.fail("frequencies", "two neighbours are equal; wanted is each channel once")
        return centres, width
    for key in ("frequency", "bandwidth"):
        if table[key] is None:
            raise table.lacks(key, "give frequency, bandwidth and channels, or frequencies")
    if table["channel_width"] is not None:
        raise table.fail("channel_width",
                         "goes with frequencies; here it is bandwidth over channels")
    n = table["channels"]
    step = table["bandwidth"] / n
    centres = table["frequency"] + step * (np.arange(n) - 0.5 * (n - 1))
    if centres[0] <= 0.5 * step:
        raise table.fail("bandwidth", "reaches down to frequency 0")
    return centres, np.full(n, step)


def _named(table: Table, index: int) -> Table:
    """The table with a name of its own."""
    return replace(table, values={**table.values, "name": table["name"] or f"sky{index}-"})


def _require_whole(path: Path, observation: Table, pointing: Table, sky: Sequence[Table]) -> None:
    """Refuse what no single key shows: keys that want or exclude each other, and names that lead nowhere."""
    if not sky:
        raise SurveyError(f"{path}: there is no [[sky]] table; wanted one or more")
    names = [table["name"] for table in sky]
    for table in sky:
        if names.count(table["name"]) > 1:
            raise table.fail("name",
                             f"{table['name']!r} is the name of two [[sky]] tables; wanted a name "
                             "of its own")
        if table.kind == "source-counts":
            _require_place(table, pointing)
            _require_effect(table)
            if table["of"] is not None:
                _index(table, "of", sky)
    if pointing.kind == "single" and observation["duration"] is None:
        raise observation.lacks("duration", "a single pointing is observed for as long as it says")
    if pointing.kind == "list":
        if (pointing["positions"] is None) == (pointing["sources"] is None):
            raise pointing.fail("positions", "a list wants either positions or sources")
        if pointing["sources"] is not None and "frame" in pointing.given:
            raise pointing.fail("frame", "has no effect on sources of the sky")
        if pointing["sources"] is not None:
            _index(pointing, "sources", sky)


def _require_times(observation: Table, errors: Sequence[Table]) -> None:
    """Flags between two times want an observation whose time is known."""
    for table in errors:
        given = list(table.present("from", "to")) if table.kind == "antenna-flags" else []
        if given and observation["start"] is None:
            raise table.fail(given[0],
                             "wants start in [observation], or nobody knows when the observation "
                             "is")
        if len(given) == 2 and not _mjd_seconds(table["from"]) <= _mjd_seconds(table["to"]):
            raise table.fail("to", f"{table['to']} lies before from, {table['from']}")


def _require_directions(pointing: Table, sky: Sequence[Table]) -> None:
    """Every direction that is written in the file can be read."""
    for table in (pointing, *sky):
        for key in ("centre", "position", "positions"):
            written = table.values.get(key)
            if written is not None and not (key == "positions" and isinstance(written, str)):
                _directions(table, key)


def _require_place(table: Table, pointing: Table) -> None:
    """Sources lie on a rectangle or within a distance of others, not both nor neither."""
    if (table["within"] is None) != (table["of"] is None):
        raise table.fail("within",
                         'within and of go together: within = "11.2 arcsec", of = "the name of '
                         'another table"')
    if table["of"] is None and table["width"] is None:
        raise table.lacks("width", "give width of a rectangle, or within and of")
    if table["of"] is not None:
        clash = table.present("width", "height", "centre", "frame")
        if clash:
            raise table.fail(next(iter(clash)),
                             "contradicts within, which says where the sources lie")
        if table["n"] is None and table["model"] != "catalogue":
            raise table.lacks("n", "sources around others want a number")
    elif table["centre"] is None:
        if pointing.kind == "list":
            raise table.lacks("centre", "a list of pointings has none to take")
        if "frame" in table.given:
            raise table.fail("frame", "goes with centre, which is not given")


def _require_effect(table: Table) -> None:
    """Refuse keys of source counts that would change nothing beside the others."""
    idle = {
        "flux_range": table["model"] in ("fixed", "catalogue") and f"has no effect on the model {table['model']}",
        "density": table["n"] is not None and "has no effect beside n; give one of the two",
        "amplitude": table["n"] is not None and "has no effect beside n; give one of the two",
        "axis_ratio": "fwhm" not in table.given and "has no effect without fwhm",
        "position_angle": "axis_ratio" not in table.given and "has no effect without axis_ratio"}
    for key, problem in idle.items():
        if key in table.given and problem:
            raise table.fail(key, problem)


def _noise(table: Table, array: Array) -> Noise:
    """Noise from the one key that states it; the dishes are those of the array."""
    kinds: dict[str, tuple[str, ...]] = {"sigma": (), "sefd": ("efficiency",),
                                         "t_sys": ("aperture_efficiency", "dish_diameter",
                                                   "efficiency"),
                                         "pwv": ("t_receiver", "aperture_efficiency",
                                                 "dish_diameter", "efficiency", "surface_rms")}
    stated = list(table.present(*kinds))
    if len(stated) != 1 and table.given:
        raise SurveyError(f"{table.where}: found {' and '.join(stated) or 'none of them'}; wanted "
                          f"one of {', '.join(kinds)}")
    if not stated:
        return Noise.noise_per_visibility(0.0)
    kind = stated[0]
    for key in sorted(table.given - {kind, *kinds[kind]}):
        users = [other for other, keys in kinds.items() if key in keys]
        raise table.fail(key, f"has no effect on {kind}; it goes with {' or '.join(users)}")
    options = table.present(*kinds[kind])
    if kind in ("t_sys", "pwv") and "dish_diameter" not in options:
        if np.ptp(array.dish_diameters) > 0:
            raise table.lacks("dish_diameter", f"the dishes of {array.name} are of several sizes")
        options["dish_diameter"] = float(array.dish_diameters[0])
    if kind == "t_sys" and "aperture_efficiency" not in options:
        raise table.lacks("aperture_efficiency", "t_sys wants it")
    make: dict[str, Callable[..., Noise]] = {"sigma": Noise.noise_per_visibility,
                                             "sefd": Noise.from_sefd,
                                             "t_sys": Noise.from_system_temperature,
                                             "pwv": Noise.from_water_vapour}
    with table.located():
        return make[kind](table[kind], **options)


def _catalogue(table: Table, folder: Path) -> Components:
    """Components of a table in a file, as the truth of a simulation is one."""
    path = folder / table["file"]
    try:
        rows = read_catalogue(path)
    except ComponentError as error:
        raise table.fail("file", str(error)) from error
    if table["reference_frequency"] is not None:
        if "reference_frequency" in rows.meta:
            raise table.fail("reference_frequency",
                             f"{path.name} states its own, {rows.meta['reference_frequency']:g} "
                             "Hz; leave it out")
        rows.meta["reference_frequency"] = table["reference_frequency"]
    if "name" not in rows.colnames:
        rows["name"] = [f"{table['name']}{i + 1}" for i in range(len(rows))]
    if table["target"] is not None:
        rows["target"] = np.full(len(rows), table["target"])
    return components_of(rows)


def _index(table: Table, key: str, sky: Sequence[Table]) -> int:
    """Place of the [[sky]] table that a key names."""
    names = [other["name"] for other in sky if other.kind != "image"]
    if table[key] not in names:
        raise table.fail(key, f"{table[key]!r} is no [[sky]] table with sources{nearest(table[key], names)}; there are "
                              f"{', '.join(names) or 'none'}")
    return [other["name"] for other in sky].index(table[key])


def _source_names(table: Table, drawn: Mapping[str, Components]) -> Iterator[str]:
    """Names of sources, of which a [[sky]] table's name stands for all."""
    single = {str(name) for made in drawn.values() for name in made.names}
    for name in table["sources"]:
        if name in drawn:
            yield from map(str, drawn[name].names)
        elif name in single:
            yield name
        else:
            raise table.fail("sources",
                             f"{name!r} is neither a source nor a [[sky]] table with sources"
                             f"{nearest(name, [*drawn, *sorted(single)])}")


def _antenna(table: Table, antenna: int | str, array: Array) -> int:
    """Number of an antenna of the array."""
    names = array.antenna_names
    if isinstance(antenna, str):
        if antenna not in names:
            raise table.fail("antennas",
                             f"{array.name} has no antenna {antenna!r}{nearest(antenna, names)}; "
                             f"it has {', '.join(names)}")
        return names.index(antenna)
    if not 0 <= antenna < len(names):
        raise table.fail("antennas",
                         f"{array.name} has no antenna {antenna}; its {len(names)} antennas are "
                         "counted from 0")
    return antenna


def _directions(table: Table, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """J2000 ra and dec (n,) in rad of texts in the frame of the table."""
    try:
        return directions(table[key], table["frame"])
    except Unfit as error:
        raise table.fail(key, str(error)) from None


def _mjd_seconds(utc: str) -> float:
    return float(Time(utc, scale="utc").mjd * 86400.0)
