"""Models of few pixels as point sources: against direct sums, and where a transform is cheaper."""

import numpy as np
import pytest
from test_gridding import CENTRES, FREQUENCY, GRIDS, direction

from oracles import LIGHT, phasor
from uvstack.errors import ImageError
from uvstack.uv.point_model import is_cheaper, point_visibilities
from uvstack.uv.taylor import taylor_visibilities

#: float32 phasors: their error is 4e-7 rms of each flux.
TOLERANCE = 5e-6


def array(n_ants=9, n_times=4, seed=3):
    """uvw (row, 3), antennas and times of an array whose w is as long as u and v."""
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(n_ants, 1)
    uvw, time = [], []
    for t in range(n_times):
        at = rng.normal(size=(n_ants, 3)) * 1.5e3 * [1, 1, 3]
        uvw.append(at[second] - at[first])
        time.append(np.full(first.size, float(t)))
    return np.concatenate(uvw), np.tile(first, n_times), np.tile(second,
                                                                 n_times), np.concatenate(time)


def model(shape, n_terms=1, n=7, seed=5):
    """A few pixels of (term, m, l), one of them negative, the others 0."""
    rng = np.random.default_rng(seed)
    images = np.zeros((n_terms, *shape))
    for _ in range(n):
        images[:, rng.integers(shape[0]), rng.integers(shape[1])] = rng.normal(size=n_terms)
    return images


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("name", GRIDS)
def test_point_by_point_it_is_the_sum_of_equation_1(name, centre):
    grid, (uvw, first, second, time) = GRIDS[name], array()
    images = model(grid.shape, 2)
    wanted = np.zeros((len(uvw), len(FREQUENCY)), complex)
    x = (FREQUENCY - 1.45e9) / 1.45e9
    for i, j in zip(*np.nonzero(images.any(axis=0)), strict=True):
        flux = images[0, i, j] + images[1, i, j] * x
        if CENTRES[centre] is None:
            path = uvw @ [grid.l[j], grid.m[i], np.sqrt(1 - grid.l[j] ** 2 - grid.m[i] ** 2) - 1]
            wanted += flux * np.exp(2j * np.pi * np.outer(path, FREQUENCY) / LIGHT)
        else:
            wanted += flux * phasor(uvw, FREQUENCY, *direction(grid.l[j], grid.m[i]),
                                    *CENTRES[centre])
    found = point_visibilities(uvw, first, second, time, FREQUENCY, images, grid, 1.45e9,
                               phase_centre=CENTRES[centre])
    assert found.dtype == np.complex64
    assert np.abs(found - wanted).max() < TOLERANCE * np.abs(images).sum()


def test_it_is_the_transform_for_many_rows_and_threads():
    grid, (uvw, first, second, time) = GRIDS["even"], array(n_ants=12, n_times=80)
    images = model(grid.shape, 3, 20)
    options = dict(phase_centre=CENTRES["other"])
    wanted = taylor_visibilities(uvw, FREQUENCY, images, grid, 1.4e9, epsilon=1e-9, **options)
    one, two = (point_visibilities(uvw, first, second, time, FREQUENCY, images, grid, 1.4e9,
                                   threads=n, rows_per_block=1000, **options)
                for n in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - wanted).max() < TOLERANCE * np.abs(images).sum()


def test_rows_without_coordinates_and_models_without_flux():
    grid, (uvw, first, second, time) = GRIDS["even"], array()
    images = model(grid.shape)
    good = point_visibilities(uvw, first, second, time, FREQUENCY, images, grid, 1.4e9)
    uvw[5] = np.nan
    images[0, 3, 3] = np.nan
    found = point_visibilities(uvw, first, second, time, FREQUENCY, images, grid, 1.4e9)
    assert not found[5].any()
    np.testing.assert_allclose(np.delete(found, 5, 0), np.delete(good, 5, 0), atol=2e-6)
    empty = np.zeros((0, 3)), *(np.zeros(0, int),) * 2, np.zeros(0)
    assert point_visibilities(*empty, FREQUENCY, images, grid, 1.4e9).shape == (0, 3)
    assert not point_visibilities(uvw, first, second, time, FREQUENCY, np.zeros((1, *grid.shape)),
                                  grid, 1.4e9).any()
    with pytest.raises(ImageError, match="wanted is"):
        point_visibilities(uvw, first, second, time, FREQUENCY, images[:, :-1], grid, 1.4e9)


def test_few_points_are_cheaper_and_a_full_image_is_not():
    assert is_cheaper(3000, 12_000_000, (4000, 4000))
    assert is_cheaper(10_000, 1_200_000, (4000, 4000))
    assert not is_cheaper(30_000, 1_200_000, (4000, 4000))
    assert is_cheaper(30_000, 1_200_000, (4000, 4000), in_double=True)
    assert not is_cheaper(16_000_000, 1_200_000, (4000, 4000))
