"""Archives of tiles: a local folder, a list of files, or the directories of a remote archive.

All of them answer one question: which tiles may have pixels within a distance of a place. A local
folder is walked when it is opened and the header of every image in it read, about 5 ms each, so that
the answer is exact whatever the files are called. A list has the paths, one a line, or a table with
the column `path` and perhaps `product` and `epoch`.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from uvstack.epochs.server.remote_files import RemoteArchive
from uvstack.epochs.server.tile_files import read_header
from uvstack.epochs.server.tile_name import PRODUCTS, Tile, newest, tile_of, with_words
from uvstack.errors import ArchiveError, UvstackWarning

_LOG = logging.getLogger(__name__)
#: Headers that are read at once.
_READERS = 8
#: Broken files of which the names are told.
_TOLD = 3


class Archive(Protocol):
    """What the server wants of an archive."""

    place: str

    def near(self, ra: float, dec: float, radius: float, product: str) -> list[Tile]:
        """Newest tiles of a product that may have pixels within `radius` of a direction (ICRS); degrees."""

    def products(self) -> list[str]:
        """Those it has, as keys of `PRODUCTS`, in their order."""

    def epochs(self) -> list[tuple[str, str]]:
        """Product and epoch of all it has, as far as it is known without reading the tiles."""


class LocalArchive:
    """Tiles of local files, their places known from their headers.

    Attributes
    ----------
    place : str
        Where it is.
    tiles : list of Tile
        The newest of each name.
    """

    def __init__(self, place: str, tiles: Sequence[Tile]) -> None:
        self.place = place
        self.tiles: list[Tile] = []
        places: list[tuple[float, float, float]] = []
        failed: list[str] = []
        with ThreadPoolExecutor(_READERS) as pool:
            for tile, circle in zip(tiles, pool.map(_known, tiles), strict=True):
                if isinstance(circle, str):
                    failed.append(circle)
                    continue
                epoch, ra, dec, radius = circle
                self.tiles.append(with_words(tile, "", tile.epoch or epoch))
                places.append((ra, dec, radius))
        if failed:
            more = f" and {len(failed) - _TOLD} more" if len(failed) > _TOLD else ""
            warnings.warn(UvstackWarning(f"{len(failed)} of {len(tiles)} files of the archive are not served: "
                                         f"{'; '.join(failed[:_TOLD])}{more}"), stacklevel=3)
        if not self.tiles:
            raise ArchiveError(f"{place}: holds no image that can be served; wanted are FITS images "
                               "(total intensity, one plane, RA and Dec)")
        ra, dec, self._radius = np.array(places, np.float64).T
        self._towards = _unit_vectors(ra, dec)
        _LOG.info("%s: %d tiles", place, len(self.tiles))

    def near(self, ra: float, dec: float, radius: float, product: str) -> list[Tile]:
        """As of `Archive`."""
        chord = np.linalg.norm(self._towards - _unit_vectors(np.array([ra]), np.array([dec])), axis=1)
        apart = np.rad2deg(2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))
        found = np.flatnonzero(apart <= self._radius + radius)
        return [self.tiles[i] for i in found if self.tiles[i].product == product]

    def products(self) -> list[str]:
        """As of `Archive`."""
        there = {tile.product for tile in self.tiles}
        return [name for name in PRODUCTS if name in there]

    def epochs(self) -> list[tuple[str, str]]:
        """As of `Archive`."""
        return sorted({(tile.product, tile.epoch) for tile in self.tiles})


def _unit_vectors(ra: NDArray, dec: NDArray) -> NDArray[np.float64]:
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _known(tile: Tile) -> tuple[str, float, float, float] | str:
    """Epoch by the header, RA, Dec and radius of a tile; what is wrong with it."""
    try:
        header = read_header(tile)
        circle = header.circle()
    except ArchiveError as error:
        return str(error)
    if not np.isfinite(circle).all():
        return f"{tile.path}: its middle is nowhere on the sky"
    return (header.date or "undated", *circle)


def open_archive(archive: str | os.PathLike) -> Archive:
    """The archive at a folder, at a list of files, or at an address.

    Raises
    ------
    ArchiveError
        It is not there, or has no image.

    Warns
    -----
    UvstackWarning
        Files that cannot be read, which are left out.
    """
    text = os.fspath(archive)
    if text.startswith(("http://", "https://")):
        return RemoteArchive(text)
    path = Path(text)
    if path.is_dir():
        found = [tile for tile in map(tile_of, _files_below(path)) if tile is not None]
        return LocalArchive(str(path), newest(found))
    if not path.is_file():
        raise ArchiveError(f"{path}: no such archive; wanted is a folder of FITS images, a list of them, "
                           "or an http address")
    return LocalArchive(str(path), newest(_listed(path)))


def _files_below(folder: Path) -> Iterator[str]:
    """Every file, links to folders followed once."""
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(root, name).as_posix() for name in sorted(files))


def _listed(path: Path) -> list[Tile]:
    """Tiles of a list; paths in it are relative to its own folder."""
    if path.name.lower().endswith(".fits"):
        raise ArchiveError(f"{path}: is an image; wanted is the folder that it lies in, or a list of files")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path}: cannot be read as a list of files: {error}") from error
    head = next((line for line in lines if line and not line.startswith("#")), "")
    if "path" in [word.strip("\"'").lower() for word in head.replace(",", " ").split()]:
        return _tabled(path)
    found = [tile_of(_beside(path, line)) for line in lines if line and not line.startswith("#")]
    return [tile for tile in found if tile is not None]


def _tabled(path: Path) -> list[Tile]:
    try:
        table = Table.read(path, format="ascii", fill_values=("", "0"))
    except Exception as error:  # each of its readers has errors of its own
        raise ArchiveError(f"{path}: cannot be read as a table: {' '.join(str(error).split())[:200]}") from error
    names = {name.lower(): name for name in table.colnames}
    found = []
    for row in table:
        words = {word: "" if word not in names or row[names[word]] is np.ma.masked else str(row[names[word]])
                 for word in ("path", "product", "epoch")}
        if words["product"] not in ("", *PRODUCTS):
            raise ArchiveError(f"{path}: the product {words['product']!r} of {words['path']} is unknown; "
                               f"wanted is one of {', '.join(PRODUCTS)}")
        tile = tile_of(_beside(path, words["path"]))
        if tile is not None:
            found.append(with_words(tile, words["product"], words["epoch"]))
    return found


def _beside(path: Path, name: str) -> str:
    return name if name.startswith(("http://", "https://")) else (path.parent / name).as_posix()
