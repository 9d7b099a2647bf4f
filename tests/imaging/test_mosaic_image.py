"""Joint images of pointings.

Fluxes in overlaps, uniform noise, the transpose, and what a pointing sees.
"""

import numpy as np
import pytest
from scipy.special import j1

from oracles import cosines, gaussian_beam, predict
from uvstack.errors import ImageError
from uvstack.imaging.mosaic import (
    LEVEL,
    SHARE,
    Mosaic,
    beam_patch,
    needed_parts,
    psf_taper,
)
from uvstack.pixels.grid import centred_grid
from uvstack.sky.primary_beam import Airy, Gaussian
from uvstack.uv.taylor import to_image, to_visibilities

RA0, DEC0 = 2.0, 0.9
ARCMIN = np.deg2rad(1 / 60)
FREQUENCY = 1.4e9 + 30e6 * np.arange(3)
FWHM = 20 * ARCMIN
BEAM = Gaussian(FWHM, 1.4e9)
GRID = centred_grid(RA0, DEC0, (160, 180), 0.35 * ARCMIN)
#: Three, half a beam apart; at this declination north turns by 0.2° from one to the next, 0.3
#: pixels at the edge of a beam.
POINTINGS = [(RA0 - 10 * ARCMIN / 0.62, DEC0 - 2 * ARCMIN), (RA0, DEC0),
             (RA0 + 9 * ARCMIN / 0.62, DEC0 + 8 * ARCMIN)]


def coverage(seed, n=1500):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) * [250.0, 250.0,
                                      400.0], rng.uniform(0.2, 2.0, (n, 3)).astype(np.float32)


def mosaic_of(visibilities, beam=BEAM, grid=GRID):
    """Mosaic of [(pointing, uvw, vis, weight) …], patch by patch."""
    mosaic = Mosaic(grid)
    for pointing, uvw, vis, weight in visibilities:
        patch = beam_patch(grid, beam, pointing, FREQUENCY)
        mosaic.add(patch, to_image(uvw, FREQUENCY, vis, weight, patch.grid, phase_centre=pointing),
                   weight.sum(dtype=float))
    return mosaic


def direction(row, column, grid=GRID):
    """(ra, dec) of a pixel, from its direction cosines."""
    l, m = grid.l[column], grid.m[row]
    n = np.sqrt(1 - l * l - m * m)
    return RA0 + np.arctan2(l,
                            n * np.cos(DEC0)
                            - m * np.sin(DEC0)), np.arcsin(m * np.cos(DEC0) + n * np.sin(DEC0))


def beam_at(row, column, pointing):
    """A of a pixel for each channel by the oracle."""
    l, m, _ = cosines(*direction(row, column), *pointing)
    return gaussian_beam(FWHM, 1.4e9)(l, m, FREQUENCY)


@pytest.mark.parametrize("pixel", [(70, 120), (80, 90), (95, 60)])
def test_flux_of_a_source_in_overlapping_pointings(pixel):
    source = (*direction(*pixel), 0.4)
    data = []
    for i, pointing in enumerate(POINTINGS):
        uvw, weight = coverage(i)
        data.append((pointing, uvw,
                     predict(uvw, FREQUENCY, [source], *pointing, gaussian_beam(FWHM, 1.4e9)),
                     weight * 2**i))
    mosaic = mosaic_of(data)
    corrected = mosaic.corrected(0.1)[0]
    # All pointings have their peak there with 0.4 A_p; the mean beam over 4 % of bandwidth is good
    # to some 1e-4 at A > 0.1.
    assert np.unravel_index(np.nanargmax(np.where(mosaic.response() > 0.5, corrected, 0)),
                            corrected.shape) == pixel
    assert corrected[pixel] == pytest.approx(0.4, rel=5e-4)
    # Flat noise is the flux times P, and P is from the oracle's beams.
    m = [sum((beam_at(*p, pointing).mean() ** 2 * w.sum(dtype=float)) for pointing, _, _, w in data)
         for p in (pixel, (80, 30))]
    response = mosaic.response()
    assert response[pixel] ** 2 / response[80, 30] ** 2 == pytest.approx(m[0] / m[1], rel=1e-5)
    assert mosaic.flat_noise()[0][pixel] == pytest.approx(0.4 * response[pixel], rel=5e-4)
    assert response.max() == 1.0
    # The model of CLEAN, found in the flat-noise image, is that source on the sky.
    assert mosaic.sky(mosaic.flat_noise())[0][pixel] == pytest.approx(0.4, rel=5e-4)
    assert np.isnan(corrected[response < 0.1]).all()


def test_noise_of_the_flat_noise_image_is_uniform():
    sums = 0.0
    n = 60
    rng = np.random.default_rng(5)
    for _ in range(n):
        data = []
        for i, pointing in enumerate(POINTINGS):
            uvw, weight = coverage(10 + i, 100)
            weight = weight * 3**i
            noise = (rng.normal(size=weight.shape)
                     + 1j * rng.normal(size=weight.shape)) / np.sqrt(weight)
            data.append((pointing, uvw, noise, weight))
        mosaic = mosaic_of(data)
        sums = sums + mosaic.flat_noise()[0] ** 2
    rms = np.sqrt(sums / n)
    # For weights 1/σ² the noise is 1/√max M. 60 drawings of some hundred independent pixels in each
    # ring of P: 1 % or less.
    wanted = 1 / np.sqrt(mosaic.weight.max())
    response = mosaic.response()
    for low, high in ((0.05, 0.2), (0.2, 0.4), (0.4, 0.7), (0.7, 1.0)):
        inside = (response > low) & (response <= high)
        assert np.sqrt(np.mean(rms[inside] ** 2)) == pytest.approx(wanted, rel=0.03), (low, high)


def test_one_pointing_is_a_plain_image():
    pointing = POINTINGS[0]
    uvw, weight = coverage(3)
    vis = predict(uvw, FREQUENCY, [(*direction(70, 110), 0.4)], *pointing)
    mosaic = mosaic_of([(pointing, uvw, vis, weight)])
    patch = beam_patch(GRID, BEAM, pointing, FREQUENCY)
    plain = to_image(uvw, FREQUENCY, vis, weight, GRID,
                     phase_centre=pointing) / weight.sum(dtype=float)
    seen = np.zeros(GRID.shape)
    seen[patch.rows, patch.columns] = patch.power
    assert mosaic.response() == pytest.approx(seen / seen.max(), abs=1e-12)
    inside = seen > 0
    assert np.allclose(mosaic.flat_noise()[0][inside], plain[inside] / seen.max(), atol=1e-5)
    assert not mosaic.flat_noise()[0][~inside].any()
    # Without a beam nothing is weighted down.
    flat = mosaic_of([(pointing, uvw, vis, weight)], None)
    assert np.allclose(flat.corrected()[0], plain, atol=1e-6)


def test_sum_over_pointings_is_the_transpose_of_what_they_see():
    rng = np.random.default_rng(8)
    sky = rng.normal(size=GRID.shape)
    forward, backward = 0.0, np.zeros(GRID.shape)
    for i, pointing in enumerate(POINTINGS):
        uvw, _ = coverage(i, 60)
        vis = rng.normal(size=(60, 3)) + 1j * rng.normal(size=(60, 3))
        patch = beam_patch(GRID, BEAM, pointing, FREQUENCY)
        options = {"phase_centre": pointing, "epsilon": 1e-12}
        forward += (to_visibilities(uvw, FREQUENCY, patch.seen(sky), patch.grid, **options)
                    * vis.conj()).real.sum()
        one = Mosaic(GRID)
        one.add(patch, to_image(uvw, FREQUENCY, vis, np.ones(vis.shape), patch.grid, **options),
                1.0)
        backward += one.weighted[0]
    assert forward == pytest.approx((sky * backward).sum(), rel=1e-9)


def test_bands_and_chunks_add_up():
    pointing = POINTINGS[1]
    uvw, weight = coverage(3)
    vis = predict(uvw, FREQUENCY, [(*direction(80, 90), 0.4)], *pointing,
                  gaussian_beam(FWHM, 1.4e9))
    whole, parts = mosaic_of([(pointing, uvw, vis, weight)]), Mosaic(GRID, 1)
    patch = beam_patch(GRID, BEAM, pointing, FREQUENCY)
    for rows in (slice(0, 700), slice(700, None)):
        parts.add(patch,
                  to_image(uvw[rows], FREQUENCY, vis[rows], weight[rows], patch.grid,
                           phase_centre=pointing), weight[rows].sum(dtype=float))
    assert np.allclose(parts.corrected(0.1), whole.corrected(0.1), atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("beam", "frequency"),
                         [(BEAM, FREQUENCY), (Airy(25.0, 2.0), np.linspace(1e9, 2e9, 64))])
def test_a_patch_holds_all_that_is_seen(beam, frequency):
    grid = centred_grid(RA0, DEC0, (900, 1000), 0.5 * ARCMIN)
    weight = np.linspace(1, 2, frequency.size)
    for pointing in POINTINGS:
        patch = beam_patch(grid, beam, pointing, frequency, weight)
        rows, columns = patch.grid.shape
        some = np.random.default_rng(1).integers(0, [900, 1000], (4000, 2))
        l, m, _ = cosines(*np.array([direction(*p, grid) for p in some]).T, *pointing)
        wanted = beam(l, m, frequency) @ weight / weight.sum()
        whole = np.zeros(grid.shape)
        whole[patch.rows, patch.columns] = patch.power
        found = whole[some[:, 0], some[:, 1]]
        # A mean over five frequencies for that over an octave; A below the level counts as 0.
        assert np.abs(found - wanted).max() < (4e-3 if frequency.size > 3 else LEVEL + 1e-9)
        assert rows * columns < 0.5 * 900 * 1000
    # A beam much narrower than the image is found, one off the image is nothing.
    narrow = beam_patch(grid, Gaussian(1 * ARCMIN, 1.4e9), POINTINGS[0], np.array([1.4e9]))
    assert max(narrow.grid.shape) < 60
    assert narrow.power.max() > 0.7
    assert beam_patch(grid, BEAM, (RA0 + 0.5, DEC0), FREQUENCY) is None


def test_what_is_refused():
    with pytest.raises(ImageError, match="no pointing sees any pixel"):
        Mosaic(GRID).response()
    patch = beam_patch(GRID, BEAM, POINTINGS[0], FREQUENCY)
    with pytest.raises(ImageError, match="and 2 Taylor terms; image on"):
        Mosaic(GRID, 2).add(patch, np.zeros(patch.grid.shape), 1.0)
    with pytest.raises(ImageError, match="channels without weight"):
        beam_patch(GRID, BEAM, POINTINGS[0], FREQUENCY, np.zeros(3))


def test_parts_that_matter_hold_all_that_is_wanted():
    """Imaged is the main lobe, predicted what sidelobes see: the residual of the true sky is 0.

    The response above the floor is that of whole patches, but for the share that is left out.
    """
    diameter, floor, nu = 50.0, 0.2, FREQUENCY[:1]
    patches = {k: beam_patch(GRID, Airy(diameter), pointing, nu)
               for k, pointing in enumerate(POINTINGS)}
    weight = {0: 1.0, 1: 2.0, 2: 1.5}
    seen, imaged = needed_parts(GRID, patches, weight, floor)
    whole, parts = Mosaic(GRID), Mosaic(GRID)
    for key, patch in patches.items():
        whole.add(patch, np.zeros(patch.grid.shape), weight[key])
        parts.add(imaged[key], np.zeros(imaged[key].grid.shape), weight[key])
        assert imaged[key].power.size < 0.85 * seen[key].power.size
        assert seen[key].power.size < 0.9 * patch.power.size
    wanted = whole.response() >= floor
    ratio = parts.response()[wanted] / whole.response()[wanted]
    assert ratio.max() < 1 + 1e-9
    assert ratio.min() > 1 - SHARE * (len(patches) - 1)

    def power(l, m, frequency):
        x = np.pi * diameter * frequency / 299792458.0 * np.hypot(l, m)
        return (2 * j1(x) / x) ** 2

    # Pixels near the first and the last pointing, the one in the sidelobe of the other.
    at = {(74, 118): 1.0, (104, 60): 2.0}
    sky, rest, dirty = np.zeros(GRID.shape), Mosaic(GRID), Mosaic(GRID)
    for pixel, flux in at.items():
        assert wanted[pixel]
        sky[pixel] = flux
    for key, pointing in enumerate(POINTINGS):
        uvw, w = coverage(key)
        w, shared = w[:, :1], {"phase_centre": pointing}
        sources = [(*direction(*pixel), flux) for pixel, flux in at.items()]
        vis = predict(uvw, nu, sources, *pointing, power)
        model = to_visibilities(uvw, nu, seen[key].seen(sky), seen[key].grid, **shared)
        for made, values in ((dirty, vis), (rest, vis - model)):
            made.add(imaged[key], to_image(uvw, nu, values, w, imaged[key].grid, **shared),
                     w.sum(dtype=float))
    assert np.abs(dirty.flat_noise()).max() > 0.5
    assert np.abs(rest.flat_noise()).max() < 1e-4
    # What sidelobes see is more than that.
    lost = to_visibilities(uvw, nu, imaged[2].seen(sky), imaged[2].grid, **shared)
    assert np.abs(vis - lost).max() > 5e-3


@pytest.mark.parametrize("n", [1, 3])
def test_the_psf_of_a_mosaic_falls_off_as_beams_overlap(n):
    """Against the sum over all pairs of pixels that are so far apart; 1 everywhere for one pointing."""
    weight, floor, shape = {0: 1.0, 1: 2.0, 2: 1.5}, 0.3, (240, 300)
    patches = {k: beam_patch(GRID, BEAM, POINTINGS[k], FREQUENCY) for k in range(n)}
    mosaic = Mosaic(GRID)
    for key, patch in patches.items():
        mosaic.add(patch, np.zeros(patch.grid.shape), weight[key])
    taper = psf_taper(patches, weight, mosaic, floor, shape)
    assert taper.shape == shape
    inside = mosaic.response() >= floor
    for dy, dx in ((0, 0), (0, 25), (-31, 10), (15, -40)):
        lower, upper = (slice(max(0, -dy), 160 - max(0, dy)), slice(max(0, dy), 160 + min(0, dy)))
        left, right = (slice(max(0, -dx), 180 - max(0, dx)), slice(max(0, dx), 180 + min(0, dx)))
        pairs = inside[lower, left] & inside[upper, right]
        both = np.zeros(pairs.shape)
        for key, patch in patches.items():
            power = np.zeros(GRID.shape)
            power[patch.rows, patch.columns] = patch.power
            both += weight[key] * power[lower, left] * power[upper, right]
        alone = np.sqrt(mosaic.weight[lower, left] * mosaic.weight[upper, right])
        wanted = both[pairs].sum() / alone[pairs].sum()
        assert wanted > 0.999 if n == 1 or dy == dx == 0 else wanted < 0.95
        assert taper[120 + dy, 150 + dx] == pytest.approx(wanted, abs=3e-3)
