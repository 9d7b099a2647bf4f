"""Antenna positions of interferometers: built-in arrays, and any antenna file in CASA's cfg format.

An antenna file has one line ``x y z diameter [pad [name]]`` (m) for each antenna; ``#`` starts a
remark, and a remark ``# key = value`` at the start of a line is a header. ``coordsys`` says what x
y z are:

- ``XYZ``: geocentric, ITRF;
- ``LOC``: east, north and up on the plane that touches the WGS84 ellipsoid below the observatory, whose height is added:
  this wants ``observatory`` with a name of `data/observatories.txt`, or ``COFA = longitude,
  latitude`` (deg, height 0);
- ``UTM``: easting, northing, height above the ellipsoid, with ``zone``, ``hemisphere`` (N or S) and ``datum`` (WGS84,
  SAM56, NAD27).

These are the rules of CASA's simobserve, so a file gives the same positions here and there (to 0.3
mm, for 236 files that come with CASA). Differences: a line that CASA would skip in silence (fewer
than four columns) or a name that stands twice is an error here, with its line number.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import EarthLocation

from uvstack.errors import ArrayError

_DATA = Path(__file__).resolve().parent / "data"
#: Datum: semi-major axis (m) and flattening of its ellipsoid, shift to geocentric (m). Those of
#: CASA's own files, with the shifts of the US Defense Mapping Agency (TR 8350.2), which are good to
#: some 10 m for the older two.
_DATUMS = {
    "WGS84": (6378137.0, 1 / 298.257223563, (0.0, 0.0, 0.0)),
    "SAM56": (6378388.0, 1 / 297.0, (-288.0, 175.0, -376.0)),  # provisional South American 1956, International 1924
    "NAD27": (6378206.4, 1 / 294.9786982, (-8.0, 160.0, 176.0)),  # North American 1927, Clarke 1866
}
#: Scale on the central meridian and false origin of UTM, m.
_UTM_SCALE, _UTM_EAST, _UTM_SOUTH = 0.9996, 500_000.0, 10_000_000.0
#: Centre of the Very Large Array (casacore's Observatories table): longitude, latitude (deg),
#: height (m).
VLA_CENTRE = (-107.618333, 34.078749, 2115.0)
#: Azimuths of the three arms, degrees (Thompson, Clark, Wade & Napier 1980).
_ARM_AZIMUTHS = (236.0, 114.995, 354.9976)
#: Length of an arm in the A configuration, m, and exponent of the power law of station distances
#: (same source).
_ARM_LENGTH = 21_000.0
_STATION_EXPONENT = 1.716


@dataclass(frozen=True, eq=False)
class Array:
    """Antennas of an interferometer.

    Attributes
    ----------
    name : str
        Built-in name, or that of the file.
    telescope : str
        For TELESCOPE_NAME of a measurement set; "SIMULATED" where the file says none, as in CASA.
    antenna_names : tuple of str
        No name stands twice.
    positions : ndarray (ant, 3) float64
        ITRF, m.
    dish_diameters : ndarray (ant,) float64
        Metres.
    longitude, latitude : float
        Geodetic (WGS84), of the centre, rad: the observatory's where it is known, else of the mean
        position.
    height : float
        Of the centre above the ellipsoid, m.
    """

    name: str
    telescope: str
    antenna_names: tuple[str, ...]
    positions: np.ndarray
    dish_diameters: np.ndarray
    longitude: float
    latitude: float
    height: float = 0.0

    @property
    def centre(self) -> np.ndarray:
        """ITRF position of the centre, (3,), m."""
        return _geocentric(math.degrees(self.longitude), math.degrees(self.latitude), self.height)

    @property
    def zenith(self) -> np.ndarray:
        """Unit vector (3,) in ITRF that is normal to the ellipsoid at the centre."""
        return _axes(math.degrees(self.longitude), math.degrees(self.latitude))[2]

    @property
    def baseline_lengths(self) -> np.ndarray:
        """Of every pair of antennas, in the order of `numpy.triu_indices`, m."""
        ant1, ant2 = np.triu_indices(len(self.antenna_names), 1)
        return np.linalg.norm(self.positions[ant2] - self.positions[ant1], axis=1)


def list_arrays() -> list[str]:
    """Names of the built-in arrays, sorted."""
    return sorted(file.name.removesuffix(".cfg") for file in (_DATA / "arrays").glob("*.cfg"))


def read_array(name_or_path: str | Path) -> Array:
    """Array of a built-in name or of an antenna file.

    Parameters
    ----------
    name_or_path : str or Path
        A name of `list_arrays`, in any case, or the path of a file in CASA's cfg format.

    Raises
    ------
    ArrayError
        The name is unknown (the message gives the nearest ones) or the file cannot be read or has a
        bad line, which is named with its number.
    """
    text = str(name_or_path)
    if not isinstance(name_or_path, Path) and text.lower() in list_arrays():
        return _read_file(_DATA / "arrays" / f"{text.lower()}.cfg", text.lower())
    path = Path(name_or_path)
    if path.is_file():
        return _read_file(path, path.name.removesuffix(".cfg"))
    if isinstance(name_or_path, Path) or "/" in text or path.suffix in (".cfg", ".txt"):
        raise ArrayError(f"{text}: no such antenna file")
    near = difflib.get_close_matches(text.lower(), list_arrays(), n=4, cutoff=0.4) or list_arrays()
    raise ArrayError(f"unknown array {text!r}, nor is it a file; the nearest names are "
                     f"{', '.join(near)}")


def local_to_itrf(local: np.ndarray, longitude: float, latitude: float,
                  height: float = 0.0) -> np.ndarray:
    """ITRF positions (ant, 3), m, of positions east, north and up (ant, 3), m, of a point on the WGS84 ellipsoid (rad, m)."""
    lon, lat = math.degrees(longitude), math.degrees(latitude)
    return _geocentric(lon, lat, height) + np.asarray(local, float) @ _axes(lon, lat)


def itrf_to_local(itrf: np.ndarray, longitude: float, latitude: float,
                  height: float = 0.0) -> np.ndarray:
    """Inverse of `local_to_itrf`."""
    lon, lat = math.degrees(longitude), math.degrees(latitude)
    return (np.asarray(itrf, float) - _geocentric(lon, lat, height)) @ _axes(lon, lat).T


def vla_like(scale: float = 1.0, stations: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a Y-shaped array laid out by the power law of the Very Large Array.

    Parameters
    ----------
    scale : float
        1 is the A configuration; B, C and D are 3.28 times smaller each.
    stations : int
        Antennas on each arm.

    Returns
    -------
    itrf : ndarray (ant, 3)
        Metres, geocentric.
    local : ndarray (ant, 3)
        Metres east, north and up of the centre.

    Notes
    -----
    Thompson, Clark, Wade & Napier (1980): station n of nine stands at L (n/9)^1.716 along arms at
    azimuths 236°, 115° and 355°. Flat ground is assumed; the pads of the real array differ from
    this by some tens of metres.
    """
    distance = scale * _ARM_LENGTH * (np.arange(1, stations + 1) / stations) ** _STATION_EXPONENT
    azimuth = np.deg2rad(_ARM_AZIMUTHS)[:, None]
    local = np.stack([distance * np.sin(azimuth), distance * np.cos(azimuth),
                      np.zeros((3, stations))], axis=-1).reshape(-1, 3)
    longitude, latitude, height = VLA_CENTRE
    centre = EarthLocation.from_geodetic(longitude * u.deg, latitude * u.deg, height * u.m)
    return np.array([x.to_value(u.m)
                     for x in centre.to_geocentric()]) + local @ _axes(longitude, latitude), local


def _read_file(path: Path, name: str) -> Array:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArrayError(f"{path}: cannot be read as an antenna file: {error}") from error
    header: dict[str, str] = {}
    numbers: list[list[float]] = []
    names: list[str] = []
    for i, line in enumerate(lines, 1):
        if line.startswith("#"):
            key, _, value = line.lstrip("#").partition("=")
            if value and "=" not in value:
                header[key.strip().lower()] = value.replace("#", "").strip()
            continue
        columns = line.partition("#")[0].split()
        if columns:
            numbers.append(_numbers(columns, f"{path}, line {i}"))
            names.append(columns[min(len(columns), 6) - 1] if len(columns) > 4
                         else f"A{len(names):02d}")
            if names[-1] in names[:-1]:
                raise ArrayError(f"{path}, line {i}: the antenna {names[-1]!r} stands there "
                                 "twice; give each its own name")
    if not names:
        raise ArrayError(f"{path}: no antenna in it; wanted lines of x y z diameter name")
    values = np.array(numbers)
    centre = _stated_centre(header, path)
    positions = _positions(values[:, :3], header, centre, path)
    return Array(name, header.get("observatory", "SIMULATED"), tuple(names), positions,
                 values[:, 3].copy(), *(centre or _geodetic(positions.mean(axis=0))))


def _numbers(columns: list[str], where: str) -> list[float]:
    """x, y, z and diameter of a line."""
    if len(columns) < 4:
        raise ArrayError(f"{where}: {len(columns)} columns; wanted x y z diameter (m) and names, "
                         "or # before a remark")
    try:
        values = [float(text) for text in columns[:4]]
    except ValueError as error:
        raise ArrayError(f"{where}: {error}; wanted four numbers: x y z diameter (m)") from None
    if not all(map(math.isfinite, values)) or values[3] <= 0:
        raise ArrayError(f"{where}: {' '.join(columns[:4])} holds no position and diameter > 0 (m)")
    return values


def _stated_centre(header: dict[str, str], path: Path) -> tuple[float, float, float] | None:
    """Longitude, latitude (rad) and height (m) of the centre by COFA or the observatory's name; None if neither says."""
    if "cofa" in header:
        try:
            longitude, latitude = (math.radians(float(text))
                                   for text in header["cofa"].split(",")[:2])
        except ValueError:
            raise ArrayError(f"{path}: COFA is {header['cofa']!r}; wanted longitude, "
                             "latitude in degrees") from None
        return longitude, latitude, 0.0
    known, wanted = _observatories(), header.get("observatory", "").lower()
    # As CASA does: a name within the name will do, as ALMA in ALMASD. The longest, for MERLIN is in
    # e-MERLIN.
    inside = [name for name in known if name.lower() in wanted]
    return known[max(inside, key=len)] if inside else None


def _positions(xyz: np.ndarray, header: dict[str, str], centre: tuple[float, float, float] | None,
               path: Path) -> np.ndarray:
    """ITRF, (ant, 3)."""
    system = header.get("coordsys", "").upper()
    if system[:3] == "XYZ":
        return xyz
    if system[:3] == "LOC":
        if centre is None:
            raise ArrayError(f"{path}: local coordinates want the position of the observatory; "
                             f"{header.get('observatory')!r} is not one of "
                             f"{', '.join(_observatories())}: add a line # COFA = longitude, "
                             "latitude (deg)")
        return local_to_itrf(xyz, *centre)
    if system[:3] == "UTM":
        missing = [key for key in ("zone", "hemisphere", "datum") if not header.get(key)]
        if missing:
            raise ArrayError(f"{path}: UTM coordinates want a header line # {missing[0]} = …")
        if header["datum"].upper() not in _DATUMS:
            raise ArrayError(f"{path}: datum {header['datum']!r} is not one of "
                             f"{', '.join(_DATUMS)}: convert the positions to XYZ")
        if not header["zone"].isdigit() or not 1 <= int(header["zone"]) <= 60:
            raise ArrayError(f"{path}: zone is {header['zone']!r}; wanted 1 to 60")
        return _utm_to_itrf(xyz, int(header["zone"]), header["hemisphere"][0].upper() == "S",
                            header["datum"].upper())
    raise ArrayError(f"{path}: coordsys is {header.get('coordsys')!r}; wanted a line # coordsys = "
                     "XYZ, LOC or UTM")


def _utm_to_itrf(utm: np.ndarray, zone: int, south: bool, datum: str) -> np.ndarray:
    """Krüger's series to third order in the third flattening (Karney 2011, section 2): right to 0.1 mm within a zone."""
    a, f, shift = _DATUMS[datum]
    n = f / (2 - f)
    radius = _UTM_SCALE * a / (1 + n) * (1 + n**2 / 4 + n**4 / 64)
    xi = (utm[:, 1] - (_UTM_SOUTH if south else 0.0)) / radius
    eta = (utm[:, 0] - _UTM_EAST) / radius
    beta = (n / 2 - 2 * n**2 / 3 + 37 * n**3 / 96, n**2 / 48 + n**3 / 15, 17 * n**3 / 480)
    delta = (2 * n - 2 * n**2 / 3 - 2 * n**3, 7 * n**2 / 3 - 8 * n**3 / 5, 56 * n**3 / 15)
    even = [2 * j for j in (1, 2, 3)]
    xi0 = xi - sum(b * np.sin(j * xi) * np.cosh(j * eta) for j, b in zip(even, beta, strict=True))
    eta0 = eta - sum(b * np.cos(j * xi) * np.sinh(j * eta) for j, b in zip(even, beta, strict=True))
    conformal = np.arcsin(np.sin(xi0) / np.cosh(eta0))
    latitude = conformal + sum(d * np.sin(j * conformal) for j, d in zip(even, delta, strict=True))
    longitude = np.deg2rad(6 * zone - 183) + np.arctan2(np.sinh(eta0), np.cos(xi0))
    e2 = (2 - f) * f
    normal = a / np.sqrt(1 - e2 * np.sin(latitude) ** 2)
    across = (normal + utm[:, 2]) * np.cos(latitude)
    along = ((1 - e2) * normal + utm[:, 2]) * np.sin(latitude)
    return np.stack([across * np.cos(longitude), across * np.sin(longitude), along],
                    axis=-1) + shift


def _observatories() -> dict[str, tuple[float, float, float]]:
    """Name → longitude, latitude (rad), height (m)."""
    rows = [line.split()
            for line in (_DATA / "observatories.txt").read_text(encoding="utf-8").splitlines()]
    return {r[0]: (math.radians(float(r[1])), math.radians(float(r[2])), float(r[3])) for r in rows
            if r and r[0] != "#"}


def _geocentric(longitude: float, latitude: float, height: float) -> np.ndarray:
    """ITRF (3,), m, of a geodetic position on WGS84 (deg, deg, m)."""
    location = EarthLocation.from_geodetic(longitude * u.deg, latitude * u.deg, height * u.m,
                                           ellipsoid="WGS84")
    return np.stack([x.to_value(u.m) for x in location.to_geocentric()], axis=-1)


def _geodetic(itrf: np.ndarray) -> tuple[float, float, float]:
    """Longitude, latitude (rad) and height (m) on WGS84."""
    geodetic = EarthLocation.from_geocentric(*itrf, unit=u.m).to_geodetic("WGS84")
    return float(geodetic.lon.to_value(u.rad)), float(geodetic.lat.to_value(u.rad)), float(
        geodetic.height.to_value(u.m))


def _axes(longitude: float, latitude: float) -> np.ndarray:
    """Unit vectors east, north and up (rows) in geocentric coordinates; degrees in."""
    lon, lat = np.deg2rad([longitude, latitude])
    return np.array([
        [-np.sin(lon), np.cos(lon), 0.0],
        [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]])
