"""Masks from catalogues of sources."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from uvstack.errors import ImageError
from uvstack.imaging.mask_files import read_mask
from uvstack.io.catalogues import write_catalogue
from uvstack.pixels.grid import centred_grid

ARCSEC = np.deg2rad(1 / 3600)


@pytest.mark.parametrize("ending", ["ecsv", "fits"])
def test_a_catalogue_is_a_mask_of_ellipses(tmp_path, ending):
    """Twice the FWHM wide, along the position angle: its area, its ends, and what is beside it."""
    grid = centred_grid(2.6, 0.2, 200, ARCSEC)
    table = QTable({"ra": [2.6, 2.6] * u.rad, "dec": [0.2, 0.2 + 60 * ARCSEC] * u.rad,
                    "fwhm_major": [30, np.nan] * u.arcsec, "fwhm_minor": [10, np.nan] * u.arcsec,
                    "position_angle": [90, np.nan] * u.deg, "flux": [1, 1] * u.Jy},
                   meta={"frame": "J2000"})
    write_catalogue(tmp_path / f"c.{ending}", table)
    mask = read_mask(tmp_path / f"c.{ending}", grid)
    # Radii 30 and 10 pixels to the east and north of pixel (100, 100), and 3 for the other.
    assert mask[:150].sum() == pytest.approx(np.pi * 300, rel=0.02)
    assert mask[100, 71]
    assert mask[100, 129]
    assert not mask[100, 68]
    assert mask[109, 100]
    assert not mask[112, 100]
    assert mask[150:].sum() == pytest.approx(np.pi * 9, abs=6)
    assert mask[160, 100]
    with pytest.raises(ImageError, match="none of its 2 sources"):
        read_mask(tmp_path / f"c.{ending}", centred_grid(1.0, 0.2, 200, ARCSEC))
