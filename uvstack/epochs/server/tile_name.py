"""What the name of a file says of it: survey epoch, product, place on the sky and version.

The names of the VLA Sky Survey are read, VLASS2.1.ql.T10t12.J073401-033000.10.2048.v1.I.iter1.
image.pbcor.tt0.subim.fits: campaign 2.1 of epoch 2, Quick Look (`ql`) or Single Epoch (`se`), tile,
centre, version. Of these only total intensity corrected for the primary beam is served; maps of
noise, Taylor terms, spectral indices and cubes that lie beside it are passed over. Any other name
is an image of which the header has to say the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

#: Products by their short names, in the order in which one is taken where none is asked for.
PRODUCTS = {"ql": "Quick Look", "se": "Single Epoch", "image": "images"}
#: Endings of files that are looked at.
ENDINGS = (".fits", ".fit", ".fits.fz")

_FOLDER = re.compile(r"(VLASS(\d+)\.\d+)\.(ql|se)\.(T\d+t\d+)\.(J(\d{6})([+-]\d{6}))\.\d+\.\d+\.v(\d+)")
_FILE = re.compile(_FOLDER.pattern
                   + r"\.I\.iter\d+[a-z]?\.image\.pbcor\.tt0(\.subim)?\.(fits|fit|fits\.fz)")
#: A campaign's folder; images made anew lie in one of a later version.
_CAMPAIGN = re.compile(r"VLASS\d+\.\d+(?:v(\d+))?")


@dataclass(frozen=True)
class Tile:
    """One image of an archive.

    Attributes
    ----------
    path : str
        File or address.
    product : str
        A key of `PRODUCTS`.
    epoch : str
        VLASS2, say; empty where only the header may say it.
    campaign : str
        VLASS2.1, say, or empty.
    name : str
        What stands for one place of the sky: files of one name and campaign are versions of it.
    version : (int, int)
        Of the campaign's folder and of the file.
    centre : (float, float) or None
        RA and Dec that the name says, degrees.
    """

    path: str
    product: str = "image"
    epoch: str = ""
    campaign: str = ""
    name: str = ""
    version: tuple[int, int] = (1, 1)
    centre: tuple[float, float] | None = None

    @property
    def version_text(self) -> str:
        """v2, or v1 of folder v2 as v2.v1; empty where the name says none."""
        folder, file = self.version
        return "" if not self.campaign else f"v{file}" if folder == 1 else f"v{folder}.v{file}"


def tile_of(path: str) -> Tile | None:
    """What a file's path, with forward slashes, says; None where it is of a kind that is not served."""
    where = PurePosixPath(path)
    if not where.name.lower().endswith(ENDINGS):
        return None
    found = _FILE.fullmatch(where.name)
    if found is None:
        # Anything else of the survey is noise, a Taylor term, a polarisation …
        return None if _FOLDER.match(where.name) else Tile(path, name=path)
    campaign, epoch, product, tile, place = found.group(1, 2, 3, 4, 5)
    return Tile(path, product, f"VLASS{epoch}", campaign, f"{tile}.{place}",
                (folder_version(where.parts[:-1]), int(found[8])), place_of(where.name))


def folder_version(parts: Iterable[str]) -> int:
    """Version of the campaign's folder among those of a path: 2 of VLASS1.1v2, 1 of VLASS2.1 or where there is none."""
    found = [match[1] for match in map(_CAMPAIGN.fullmatch, parts) if match is not None]
    return int(found[-1] or 1) if found else 1


def is_campaign(folder: str) -> bool:
    """Whether a folder is that of a campaign."""
    return _CAMPAIGN.fullmatch(folder) is not None


def place_of(name: str) -> tuple[float, float] | None:
    """RA and Dec, degrees, in the name of a survey's image or its folder; None in any other."""
    found = _FOLDER.match(name)
    if found is None:
        return None
    ra, dec = found[6], found[7]
    hours = int(ra[:2]) + int(ra[2:4]) / 60 + int(ra[4:]) / 3600
    degrees = int(dec[1:3]) + int(dec[3:5]) / 60 + int(dec[5:]) / 3600
    return 15.0 * hours, -degrees if dec[0] == "-" else degrees


def newest(tiles: Iterable[Tile]) -> list[Tile]:
    """One of each name and campaign, the one of the highest version, in the order of names."""
    best: dict[tuple[str, str, str], Tile] = {}
    for tile in sorted(tiles, key=lambda one: (one.product, one.campaign, one.name, one.path)):
        key = (tile.product, tile.campaign, tile.name)
        if key not in best or tile.version > best[key].version:
            best[key] = tile
    return list(best.values())


def with_words(tile: Tile, product: str, epoch: str) -> Tile:
    """A tile of which a list says the product or the epoch; empty leaves it."""
    return replace(tile, product=product or tile.product, epoch=epoch or tile.epoch)
