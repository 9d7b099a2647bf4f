"""Shapes of bright sources through gains of antennas, against what the visibilities were made of."""

import numpy as np
import pytest

from factories import ARCSEC
from peel.shapes import Seen, Shape, best_shape, fit_shape, with_fluxes

N_ANT, N_TIMES = 16, 12
#: Of the longest baselines, arcsec.
BEAM = 206265 / 40e3


def seen_of(rows, seed=1, noise=0.01, gains=(0.5, 0.1), scans=1):
    """Visibilities of components (east, north, flux, FWHM; arcsec) through gains: rms of phase, amplitude."""
    rng = np.random.default_rng(seed)
    where = rng.uniform(-1, 1, (N_ANT, 2)) * 14e3
    one, two = np.triu_indices(N_ANT, 1)
    turn = np.linspace(0, 1.5, N_TIMES)
    x, y = ((where[one] - where[two])[:, i] for i in (0, 1))
    u, v = np.outer(np.cos(turn), x) - np.outer(np.sin(turn), y), np.outer(np.sin(turn), x) + np.outer(
        np.cos(turn), y)
    cell = np.repeat(np.arange(N_TIMES) * scans // N_TIMES, one.size)
    one, two, u, v = np.tile(one, N_TIMES), np.tile(two, N_TIMES), u.ravel(), v.ravel()
    vis = sum(flux * np.exp(2j * np.pi * (u * east + v * north) * ARCSEC)
              * np.exp(-(np.pi * fwhm * ARCSEC) ** 2 * (u**2 + v**2) / (4 * np.log(2)))
              for east, north, flux, fwhm in rows)
    phase, amplitude = gains
    g = (1 + amplitude * rng.standard_normal((scans, 2, N_ANT))) * np.exp(
        1j * phase * rng.standard_normal((scans, 2, N_ANT)))
    through = (g[cell, :, one] * g[cell, :, two].conj()) * vis[:, None]
    through += noise * (rng.standard_normal(through.shape) + 1j * rng.standard_normal(through.shape))
    weight = np.full(through.shape, 1 / noise**2)
    return Seen(np.stack([u, v, 0 * u], 1), through, weight, one, two, cell, N_ANT)


def test_a_point_whose_phases_scatter_stays_a_point():
    for seed in range(5):
        assert best_shape(seen_of([(0.3, -0.2, 1.0, 0)], seed), [], BEAM / 2, 6 * BEAM) == Shape()


@pytest.mark.parametrize("scans", [1, 3])
def test_a_double_closer_than_the_beam_is_found_through_gains(scans):
    """Separation (3, 4)″ for a beam of 5″, 1.8 and 1.2 Jy at a hundredth of that noise."""
    seen = seen_of([(0, 0, 1.8, 0), (3, 4, 1.2, 0)], scans=scans)
    shape = best_shape(seen, [(0.0, 0.0, 1.0)], BEAM / 2, None)
    assert shape.models == ("delta", "delta")
    # Noise of a flux: 0.01 / √(2 × 1440 × 2) = 1.3e-4 Jy, of a ratio about five times that.
    np.testing.assert_allclose(shape.offsets[1], (3, 4), atol=0.01)
    assert shape.fluxes[1] == pytest.approx(1.2 / 1.8, abs=3e-3)


def test_a_gaussian_is_one():
    shape = best_shape(seen_of([(0, 0, 2.0, 3.0)]), [], BEAM / 2, None)
    assert shape.models == ("gaussian",)
    assert shape.sizes[0][0] == pytest.approx(3.0, abs=0.03)


def test_points_are_added_where_what_is_left_shows_them():
    """Two that the image does not show, of 2 and 1 per cent."""
    rows = [(0, 0, 1.0, 0), (14, -9, 0.02, 0), (-11, 4, 0.01, 0)]
    seen = seen_of(rows, noise=0.005)
    assert best_shape(seen, [], BEAM / 2, None) == Shape()
    shape = best_shape(seen, [], BEAM / 2, 5 * BEAM)
    np.testing.assert_allclose(shape.offsets, [row[:2] for row in rows], atol=0.1)
    np.testing.assert_allclose(shape.fluxes, [row[2] for row in rows], atol=8e-4)
    # Beyond the region they are the field's.
    assert best_shape(seen, [], BEAM / 2, 1.5 * BEAM) == Shape()


def test_fluxes_are_found_anew_in_each_field():
    """The flank of the beam takes a tenth of the second."""
    shape = Shape(("delta", "delta"), ((0.0, 0.0), (3.0, 4.0)), (1.0, 0.667), ((0.0, 1.0, 0.0),) * 2)
    for seed in range(3):
        seen = seen_of([(0.4, -0.2, 0.5, 0), (3.4, 3.8, 0.3, 0)], seed)
        assert with_fluxes(seen, shape, (0.4, -0.2)).fluxes[1] == pytest.approx(0.6, abs=8e-3)
    same = seen_of([(0, 0, 0.6, 0), (3, 4, 0.4, 0)], noise=0.05)
    assert with_fluxes(same, shape, (0.0, 0.0)) == shape


def test_what_has_no_data_is_no_shape():
    empty = seen_of([(0, 0, 1.0, 0)])
    empty.weight[:] = 0
    found = fit_shape(empty, ("delta",), [(0.0, 0.0, 1.0)], BEAM)
    assert found is not None
    assert found.chi_squared == 0
    assert best_shape(empty, [], BEAM, 5 * BEAM) == Shape()
