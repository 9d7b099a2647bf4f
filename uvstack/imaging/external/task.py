"""Images by WSClean or CASA instead of our own imager, for those who trust them more.

The same request, the same products.

The measurement sets are not touched: WSClean works on a reordered copy of the selected
visibilities, CASA does not save its model. All that the program writes goes to a folder beside the
products that is removed at the end, failed or not.

What is equal and what is not. Weights, tapers, thresholds, gains, scales, masks and the number of
cycles have the same meaning in all three, and a cell of Briggs weights the same size. Measured on
one set of 200 pixels (tests/imaging/test_external_imager.py): dirty image and psf of WSClean equal
ours to 2e-6 of the peak, for Briggs weights too; CASA's to 1e-3 in the inner third and to 6e-3 at
the corners, where its gridder's errors and the w term show that it neglects; with Briggs weights,
whose cells lie half a cell beside ours, to 5e-3 and 8e-3; with w projection to 2e-2. WSClean takes
tapers and limits of uv distance at the cells of its weights: 1 to 5 % of the peak in such an image,
less in larger ones. CLEAN itself differs between all three below the threshold; restored peaks
agree to 1 %.
"""

from __future__ import annotations

import difflib
import tempfile
from pathlib import Path

from uvstack.errors import ImageError
from uvstack.imaging.external.casa_files import casa_images, check_casa
from uvstack.imaging.external.request import ExternalImages, ExternalRequest
from uvstack.imaging.external.wsclean_files import check_wsclean, wsclean_images

IMAGERS = {"wsclean": (check_wsclean, wsclean_images), "casa": (check_casa, casa_images)}


def check_external(imager: str, request: ExternalRequest) -> None:
    """Refuse what the imager cannot do as ours, or that it is not there, before any work.

    Parameters
    ----------
    imager : {"wsclean", "casa"}
    request : ExternalRequest

    Raises
    ------
    ImageError, SelectionError
        The imager is unknown, or has no equal for something that is asked for.
    MissingDependencyError
        It is not installed.
    """
    if imager not in IMAGERS:
        near = difflib.get_close_matches(str(imager).lower(), [*IMAGERS, "uvstack"], n=1,
                                         cutoff=0.0)[0]
        raise ImageError(f"imager {imager!r} is unknown: the closest is {near}; known are "
                         f"{', '.join(IMAGERS)} and our own, uvstack")
    request.check({"wsclean": "WSClean", "casa": "CASA"}[imager])
    IMAGERS[imager][0](request)


def external_images(imager: str, request: ExternalRequest,
                    folder: str | Path | None) -> ExternalImages:
    """Dirty, deconvolved and restored images by an external imager, on our grid and in our units.

    Parameters
    ----------
    imager : {"wsclean", "casa"}
    request : ExternalRequest
    folder : path or None
        Where temporary files go, into a folder of their own that is removed at the end; None is
        that of the system.

    Raises
    ------
    ImageError
        As for `check_external`; or the program fails, with the last telling line of its output.
    NoDataError
        It finds no visibility.
    """
    check_external(imager, request)
    with tempfile.TemporaryDirectory(prefix=f".{imager}-", dir=folder) as scratch:
        return IMAGERS[imager][1](request, Path(scratch).resolve())
