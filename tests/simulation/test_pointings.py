"""Mosaics cover what they say with the spacing they say, in a fixed order."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from simulate.pointings import (
    at_positions,
    hexagonal_mosaic,
    on_the_fly,
    rectangular_mosaic,
    single,
)
from uvstack.errors import PointingError

ARCMIN = np.pi / 180 / 60
CENTRE = (0.9, -0.5)


def distances(pointings):
    """Separations of all pairs, (field, field) rad, infinite with itself."""
    where = SkyCoord(pointings.ra, pointings.dec, unit="rad")
    found = where[:, None].separation(where[None, :]).rad
    np.fill_diagonal(found, np.inf)
    return found


def offsets(pointings):
    """East and north of the centre by astropy, rad."""
    centre = SkyCoord(*CENTRE, unit="rad")
    east, north = centre.spherical_offsets_to(SkyCoord(pointings.ra, pointings.dec, unit="rad"))
    return east.rad, north.rad


def test_single_and_list():
    one = single(*CENTRE)
    assert (one.names, one.ra[0], one.dec[0]) == (("field",), *CENTRE)
    many = at_positions([1.0, 1.1, 1.2], [0.1, 0.2, 0.3], dwell=2)
    assert many.schedule(8).tolist() == [0, 0, 1, 1, 2, 2, 0, 0]


def test_hexagonal_mosaic_has_six_equal_neighbours():
    mosaic = hexagonal_mosaic(*CENTRE, 10 * ARCMIN, 10 * ARCMIN, 2 * ARCMIN)
    near = distances(mosaic)
    # The plane is tangent: 5′ from the centre distances shrink by 2e-6.
    assert near.min() == pytest.approx(2 * ARCMIN, rel=1e-5)
    neighbours = (near < 2.01 * ARCMIN).sum(axis=1)
    assert neighbours.max() == 6
    east, north = offsets(mosaic)
    middle = (np.abs(east) < 2.5 * ARCMIN) & (np.abs(north) < 2.5 * ARCMIN)
    assert middle.sum() > 4
    assert (neighbours[middle] == 6).all()
    assert np.abs(east).max() <= 5.001 * ARCMIN


def test_rectangular_mosaic_covers_its_area():
    mosaic = rectangular_mosaic(*CENTRE, 8 * ARCMIN, 4 * ARCMIN, 2 * ARCMIN)
    assert len(mosaic) == 5 * 3
    east, north = offsets(mosaic)
    assert (east.min(), east.max()) == pytest.approx((-4 * ARCMIN, 4 * ARCMIN), rel=1e-5)
    assert (north.min(), north.max()) == pytest.approx((-2 * ARCMIN, 2 * ARCMIN), rel=1e-5)
    assert distances(mosaic).min() == pytest.approx(2 * ARCMIN, rel=1e-5)
    assert SkyCoord(mosaic.ra, mosaic.dec,
                    unit="rad").cartesian.mean().norm().value == pytest.approx(1, abs=1e-5)


def test_mosaic_at_the_pole_keeps_its_spacing():
    assert distances(hexagonal_mosaic(1.0, np.pi / 2, 10 * ARCMIN, 10 * ARCMIN,
                                      2 * ARCMIN)).min() == pytest.approx(2 * ARCMIN, rel=1e-5)


def test_on_the_fly_scan_moves_at_its_speed_and_turns_round():
    # VLASS: 3.3′/s, integrations of 0.45 s, a phase centre for two, rows 7.2′ apart.
    scan = on_the_fly(*CENTRE, 60 * ARCMIN, 20 * ARCMIN, 7.2 * ARCMIN, 3.3 * ARCMIN, 0.45,
                      phase_centre_every=2)
    east, north = offsets(scan)
    step = np.hypot(np.diff(east), np.diff(north))
    row = np.round(north / (7.2 * ARCMIN)).astype(int)
    same = np.diff(row) == 0
    assert step[same] == pytest.approx(3.3 * 0.9 * ARCMIN, rel=1e-3)
    assert len(np.unique(row)) == 3
    directions = [np.sign(np.diff(east[row == r])).mean() for r in np.unique(row)]
    assert directions == [1, -1, 1]
    assert scan.schedule(2 * len(scan) + 3)[-3:].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("make",
                         [lambda: hexagonal_mosaic(*CENTRE, 1.0, 1.0, 0.0),
                          lambda: rectangular_mosaic(*CENTRE, -1.0, 1.0, 0.1),
                          lambda: at_positions([], []), lambda: at_positions([np.nan], [0.0]),
                          lambda: at_positions([0.0], [2.0]),
                          lambda: at_positions([0.0], [0.0], dwell=0),
                          lambda: on_the_fly(*CENTRE, 1, 1, 0.1, 0.0, 1.0)])
def test_impossible_pointings(make):
    with pytest.raises(PointingError, match="wanted|wants|must"):
        make()
