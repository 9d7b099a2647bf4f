"""How right moments and the equations of their and of fits' errors are; tables in Markdown.

    python scripts/measure_extraction_errors.py

One beam, of 5 by 4 pixels, in noise that it correlates, rms 1. Moments: 1600 sources cut at 3 σ.
Fits: least squares of 1024 sources of 200 σ over the pixels within a radius, from the truth.
"""

from __future__ import annotations

import numpy as np
from markdown import head, row
from scipy.ndimage import label

from uvstack.extraction.condon_errors import condon_errors, flux_of_fit
from uvstack.extraction.moments import measure_moments, moment_errors
from uvstack.sky.beam import FOUR_LN2, covariances

STEP = 40
#: FWHM and angle from y towards x.
BEAM = (5.0, 4.0, 0.6)
EXTENDED = (9.0, 5.0, 2.0)


def gaussian(axes, dx, dy):
    """Value and derivatives by (peak, x, y, major, minor, angle) of Gaussians of peak 1."""
    major, minor, angle = axes
    s, c = np.sin(angle), np.cos(angle)
    along, across = dx * s + dy * c, dx * c - dy * s
    e = np.exp(-FOUR_LN2 * ((along / major) ** 2 + (across / minor) ** 2))
    u, v = 2 * FOUR_LN2 * along / major**2, 2 * FOUR_LN2 * across / minor**2
    by_axes = (u * along / major, v * across / minor, v * along - u * across)
    return e, np.stack([np.ones_like(e), u * s + v * c, u * c - v * s, *by_axes], -1) * e[..., None]


def noise(n, seed):
    """Noise of n × n pixels, rms 1, correlated by the beam."""
    dy, dx = ((np.mgrid[:n, :n] + n // 2) % n) - n // 2
    smooth = gaussian(BEAM, dx, dy)[0]
    white = np.random.default_rng(seed).standard_normal((n, n))
    spread = np.fft.irfft2(np.fft.rfft2(white) * np.fft.rfft2(smooth), s=(n, n))
    return spread / np.sqrt((smooth**2).sum())


def pixel_matrix(axes):
    """Squared FWHM (cxx, cxy, cyy)."""
    (xx, xy), (_, yy) = covariances(*axes)
    return np.array([xx, xy, yy])


def islands_at(mask, x, y):
    """Lists of the islands that hold the pixels nearest to places, and which places these are."""
    labels, _ = label(mask, np.ones((3, 3)))
    at = labels[np.rint(y).astype(int), np.rint(x).astype(int)]
    ids, which = np.unique(at, return_index=True)
    ids, which = ids[ids > 0], which[ids > 0]
    order = np.argsort(labels, axis=None, kind="stable")
    ends = np.cumsum(np.bincount(labels.ravel()))
    pixel = np.concatenate([order[ends[i - 1] : ends[i]] for i in ids])
    return np.r_[0, np.cumsum([ends[i] - ends[i - 1] for i in ids])], pixel, which


def moments_row(peak, axes, name, rms=1.0, n=40):
    """Median and width of (measured − true)/error of moments; of no noise the relative offsets."""
    rng = np.random.default_rng(1)
    rows, columns = STEP * np.repeat(np.arange(n), n), STEP * np.tile(np.arange(n), n)
    x, y = np.array([columns, rows]) + 0.5 * STEP + rng.uniform(-0.5, 0.5, (2, n * n))
    image = rms * noise(n * STEP, 4)
    dy, dx = np.mgrid[:STEP, :STEP]
    for i, (r, c) in enumerate(zip(rows, columns, strict=True)):
        stamp = gaussian(axes, dx + c - x[i], dy + r - y[i])[0]
        image[r : r + STEP, c : c + STEP] += peak * stamp
    start, pixel, which = islands_at(image > 3, x, y)
    beam = pixel_matrix(BEAM)
    got = measure_moments(image, None, start, pixel, 3.0, beam)
    flux = peak * axes[0] * axes[1] / (BEAM[0] * BEAM[1])
    off = np.array([got.peak - peak, got.flux - flux, got.x - x[which], got.y - y[which],
                    got.fwhm_major - axes[0], got.fwhm_minor - axes[1]])  # fmt: skip
    if rms == 0:
        off /= np.array([peak, flux, 1, 1, axes[0], axes[1]])[:, None]
        return [name, peak, *(f"{100 * o.mean():+.2f} ± {100 * o.std():.2f}" for o in off)]
    errors = moment_errors(got, 3.0, rms, beam)
    keys = ("peak", "flux", "x", "y", "fwhm_major", "fwhm_minor")
    pulls = off / [getattr(errors, key) for key in keys]
    pulls = pulls[:, (got.status == 0) & (np.abs(pulls) < 6).all(axis=0)]
    ends = zip(np.median(pulls, axis=1), pulls.std(axis=1), strict=True)
    return [name, peak, *(f"{middle:+.2f}, {width:.2f}" for middle, width in ends)]


def fits_row(radius, axes, name, peak=200.0):
    """Scatter of fits over Condon's errors, of pixels within a radius in FWHM of the source."""
    dy, dx = np.mgrid[-16:16, -16:16].reshape(2, -1)
    inside = gaussian(axes, dx, dy)[0] >= np.exp(-FOUR_LN2 * radius**2)
    stamps = noise(1024, 3).reshape(32, 32, 32, 32).swapaxes(1, 2).reshape(1024, 1024)[:, inside]
    place = np.random.default_rng(4).uniform(-0.5, 0.5, (1024, 2))
    # At 200 σ the fit is its first step from the truth.
    slope = gaussian(axes, dx[inside] - place[:, :1], dy[inside] - place[:, 1:])[1]
    slope[..., 1:] *= peak
    turned = slope.swapaxes(1, 2)
    off = np.linalg.solve(turned @ slope, turned @ stamps[..., None])[..., 0]
    fitted = off + [peak, 0, 0, *axes]
    s, c = np.sin(axes[2]), np.cos(axes[2])
    errors = condon_errors(peak, axes, 1.0, BEAM)
    flux = flux_of_fit(fitted[:, 0], (fitted[:, 3], fitted[:, 4], fitted[:, 5]), 1.0, BEAM)
    spread = {"peak": off[:, 0], "flux": flux, "along_major": off[:, 1] * s + off[:, 2] * c,
              "along_minor": off[:, 1] * c - off[:, 2] * s, "fwhm_major": off[:, 3],
              "fwhm_minor": off[:, 4], "angle": off[:, 5]}  # fmt: skip
    widths = [f"{values.std() / getattr(errors, key):.2f}" for key, values in spread.items()]
    return [name, radius, int(inside.sum()), *widths]


def main() -> None:
    kinds = ((BEAM, "point"), (EXTENDED, "9 × 5 pixels"))
    columns = ("source", "peak (σ)", "peak", "flux", "x", "y", "major", "minor")
    head("Moments without noise: offsets in per cent, of x and y in pixels/100", *columns)
    for axes, name in kinds:
        for peak in (5, 10, 30, 100):
            row(*moments_row(peak, axes, name, rms=0.0))
    head("Moments: median and width of (measured − true)/error", *columns)
    for axes, name in kinds:
        for peak in (8, 10, 20, 50, 200):
            row(*moments_row(peak, axes, name))
    columns = ("peak", "flux", "along", "across", "major", "minor", "angle")
    head("Fits: scatter over error", "source", "radius (FWHM)", "pixels", *columns)
    for axes, name in kinds:
        for radius in (0.5, 0.7, 0.85, 1.0, 1.5):
            row(*fits_row(radius, axes, name))


if __name__ == "__main__":
    main()
