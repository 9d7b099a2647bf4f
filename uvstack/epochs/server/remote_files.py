"""The directories of a remote archive, as the archive of the VLA Sky Survey has them.

Below the address lie `quicklook/` and `se_continuum_imaging/`, or the address is one of the two. In
them a campaign's folder (VLASS2.1/, VLASS1.1v2/) has one folder a tile (T10t12/), this one folder an
image, named after its centre, and this the files. Directories are read from the pages that web
servers make of them, each once a day. Which tiles a place lies in is said by the table
`VLASS_dyn_summary.php` beside the folders; without it every tile's folder is looked into once.
"""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
from astropy.coordinates import SkyCoord

from uvstack.epochs.server.tile_name import (
    PRODUCTS,
    Tile,
    is_campaign,
    newest,
    place_of,
    tile_of,
)
from uvstack.errors import ArchiveError

#: Folders of the products, and the table of the tiles.
_FOLDERS = {"ql": "quicklook", "se": "se_continuum_imaging"}
_SUMMARY = "VLASS_dyn_summary.php"
_TILE = re.compile(r"T\d+t\d+")
#: A line of the table: tile, least and greatest Dec (degrees) and RA (hours), campaign …
_SUMMARY_LINE = re.compile(r"\s*(T\d+t\d+)\s+(-?[\d.]+)\s+(-?[\d.]+)\s+([\d.]+)\s+([\d.]+)\s+VLASS")
#: Half a diagonal of an image of the survey, 1.04° wide, degrees; images reach over their tile by as much.
_REACH = 0.8
_SECONDS = 86400.0
_TIMEOUT = 30.0
_AT_ONCE = 8


class _Links(HTMLParser):
    """Addresses that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


class RemoteArchive:
    """Tiles at an address; see the module.

    Attributes
    ----------
    place : str
        The address, with a slash at its end.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/") + "/"
        self._pages: dict[str, tuple[float, list[str]]] = {}
        self._tiles: dict[str, list[tuple[float, float, float, float]]] | None = None
        self._lock = threading.Lock()
        self._roots = self._find_roots()

    def near(self, ra: float, dec: float, radius: float, product: str) -> list[Tile]:
        """As of `Archive`."""
        if product not in self._roots:
            return []
        folders = self._image_folders(product, ra, dec, radius)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            pages = list(pool.map(self._listing, folders))
        found = [tile_of(folder + name) for folder, names in zip(folders, pages, strict=True)
                 for name in names if not name.endswith("/")]
        return newest(tile for tile in found if tile is not None and tile.product == product)

    def products(self) -> list[str]:
        """As of `Archive`."""
        return [name for name in PRODUCTS if name in self._roots]

    def epochs(self) -> list[tuple[str, str]]:
        """As of `Archive`."""
        return sorted({(product, "VLASS" + re.findall(r"\d+", folder)[0]) for product in self._roots
                       for folder in self._campaigns(product)})

    def _find_roots(self) -> dict[str, str]:
        """Address of each product's folder."""
        names = set(self._listing(self.place))
        roots = {product: f"{self.place}{folder}/" for product, folder in _FOLDERS.items()
                 if f"{folder}/" in names}
        if not roots and any(is_campaign(name.rstrip("/")) for name in names):
            # One product's folder by its name, or else one that may have both.
            named = [product for product, folder in _FOLDERS.items() if f"/{folder}/" in self.place]
            roots = dict.fromkeys(named or _FOLDERS, self.place)
        if not roots:
            raise ArchiveError(f"{self.place}: has none of the folders {', '.join(_FOLDERS.values())} and "
                               "none of a campaign (VLASS1.1 …); is this the address of the archive?")
        return roots

    def _campaigns(self, product: str) -> list[str]:
        return [name for name in self._listing(self._roots[product]) if is_campaign(name.rstrip("/"))]

    def _image_folders(self, product: str, ra: float, dec: float, radius: float) -> list[str]:
        """Addresses of the folders of images around a place."""
        root, wanted = self._roots[product], self._tiles_at(ra, dec, radius + _REACH)
        tiles = [f"{root}{campaign}{name}" for campaign in self._campaigns(product)
                 for name in self._listing(f"{root}{campaign}")
                 if _TILE.fullmatch(name.rstrip("/")) and (wanted is None or name.rstrip("/") in wanted)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            pages = list(pool.map(self._listing, tiles))
        places = [(tile + name, place_of(name)) for tile, names in zip(tiles, pages, strict=True)
                  for name in names if name.endswith("/")]
        known = [(folder, place) for folder, place in places if place is not None]
        if not known:
            return []
        centres = SkyCoord([place for _, place in known], unit="deg")
        near = centres.separation(SkyCoord(ra, dec, unit="deg")).deg <= _REACH + radius
        return [folder for (folder, _), one in zip(known, near, strict=True) if one]

    def _tiles_at(self, ra: float, dec: float, radius: float) -> set[str] | None:
        """Names of tiles within a distance by the table; None where there is no table."""
        with self._lock:
            if self._tiles is None:
                self._tiles = self._read_summary()
        if not self._tiles:
            return None
        reach = radius / max(np.cos(np.deg2rad(min(abs(dec) + radius, 89.9))), 1e-3)
        found = set()
        for name, boxes in self._tiles.items():
            for low, high, first, last in boxes:
                middle, half = 7.5 * (first + last), 7.5 * (last - first)
                away = abs((ra - middle + 180.0) % 360.0 - 180.0)
                if low - radius <= dec <= high + radius and away <= half + reach:
                    found.add(name)
        return found

    def _read_summary(self) -> dict[str, list[tuple[float, float, float, float]]]:
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        roots = {self.place, urljoin(self.place, "../")}
        for root in sorted(roots, key=len, reverse=True):
            answer = self._get(root + _SUMMARY, missing=True)
            for line in (answer or "").splitlines():
                match = _SUMMARY_LINE.match(line)
                if match:
                    low, high, first, last = map(float, match.groups()[1:])
                    found.setdefault(match[1], []).append((low, high, first, last))
            if found:
                break
        return found

    def _listing(self, address: str) -> list[str]:
        """Names in a directory, those of directories with a slash."""
        with self._lock:
            when, names = self._pages.get(address, (-np.inf, []))
        if time.monotonic() - when < _SECONDS:
            return names
        links = _Links()
        links.feed(self._get(address) or "")
        names = list(dict.fromkeys(filter(None, (_name_below(address, link) for link in links.found))))
        with self._lock:
            self._pages[address] = time.monotonic(), names
        return names

    def _get(self, address: str, missing: bool = False) -> str | None:
        """Text at an address; None where there is nothing and that is `missing`."""
        import requests

        try:
            answer: Any = requests.get(address, timeout=_TIMEOUT)
        except requests.RequestException as error:
            raise ArchiveError(f"{address}: the archive cannot be reached ({type(error).__name__})") from error
        if answer.status_code == 404 and missing:
            return None
        if answer.status_code != 200:
            raise ArchiveError(f"{address}: the archive answers {answer.status_code} {answer.reason}")
        return str(answer.text)


def _name_below(address: str, link: str) -> str | None:
    """What a link leads to, if it lies directly in the directory of that address."""
    target = urlsplit(urljoin(address, link))
    base = urlsplit(address)
    if target.netloc != base.netloc or target.query or not target.path.startswith(base.path):
        return None
    name = unquote(target.path[len(base.path):])
    return name if name and "/" not in name.rstrip("/") and name.strip("/") not in ("", ".", "..") else None


