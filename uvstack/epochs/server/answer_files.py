"""How answers are written: files, JSON, and errors as one sentence with a status."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from uvstack.errors import (
    ArchiveError,
    LimitError,
    MissingDependencyError,
    NameLookupError,
    OutsideArchiveError,
    UvstackError,
)
from uvstack.io.output import json_text
from uvstack.records import plain

if TYPE_CHECKING:
    from uvstack.epochs.server.cutout_files import Cutout, Region

#: Nothing is loaded from elsewhere, nothing inline runs.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
                               "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
FITS, ZIP = "application/fits", "application/zip"


def status_of(error: Exception) -> int:
    """Status of HTTP that tells an error."""
    if isinstance(error, LimitError | NameLookupError):
        return error.status
    if isinstance(error, OutsideArchiveError):
        return 404
    if isinstance(error, ArchiveError):
        return 502
    if isinstance(error, MissingDependencyError):
        return 501
    return 400 if isinstance(error, UvstackError) else 500


def description(cutout: Cutout) -> dict[str, Any]:
    """What is said of a cutout beside its pixels; angles in degrees."""
    return plain({
        "name": cutout.name, "product": cutout.product, "epoch": cutout.epoch, "campaigns": cutout.campaigns,
        "versions": cutout.versions, "band": cutout.band, "date": cutout.date, "unit": cutout.unit,
        "beam": beam_words(cutout.beam), "shape": cutout.data.shape, "covered": cutout.covered,
        "resampled": cutout.resampled, "tiles": cutout.files, "remarks": cutout.remarks})


def beam_words(beam: Any) -> dict[str, float] | None:
    """A beam in degrees, named as FITS names it."""
    if beam is None:
        return None
    return {name: float(np.rad2deg(angle)) for name, angle in zip(("bmaj", "bmin", "bpa"), beam, strict=True)}


def header_words(cutout: Cutout) -> dict[str, str]:
    """The same few in the head of an answer that is one image."""
    beam = beam_words(cutout.beam)
    words = {"X-Product": cutout.product, "X-Epoch": cutout.epoch, "X-Band": cutout.band, "X-Date-Obs": cutout.date,
             "X-Product-Version": "+".join(cutout.versions),
             "X-Beam": "" if beam is None else " ".join(f"{value:.9g}" for value in beam.values())}
    return {name: value for name, value in words.items() if value}


def write_zip(out: BinaryIO, cut: Sequence[Cutout], region: Region) -> None:
    """Write cutouts and what is said of them into one file; noise cannot be pressed."""
    with zipfile.ZipFile(out, "w") as archive:
        for image in cut:
            archive.writestr(f"{image.name}.fits", image.to_bytes())
        archive.writestr("summary.json", json_bytes({"ra": region.ra, "dec": region.dec,
                                                     "images": [description(image) for image in cut]}))


def json_bytes(value: Any) -> bytes:
    """Strict JSON of a value."""
    return json_text(value).encode()
