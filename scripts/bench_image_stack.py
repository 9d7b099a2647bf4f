"""How fast stamps are stacked: 900 and 100 000 of 64 × 64 pixels from an image of 4000², against plain numpy.

Prints a table of seconds (median of repeats after one run that compiles) of

- ours: mean and, of 900, median and clipped mean, nearest pixel and below it, and the local noise of every position;
- numpy: slices added up one by one for the nearest pixel; for subpixel alignment `scipy.ndimage.shift` of each stamp, padded by
  the same taps, by a Fourier shift (`fourier_shift`). Of 100 000 positions numpy is given the first
  2000 and scaled.

The last column is how far the centre of the stack is from the truth, Σ of noiseless Gaussian beams
of 4 pixels FWHM at the positions. Fixed seed. --quick leaves out the 100 000.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from markdown import head, row
from scipy.ndimage import fourier_shift

from uvstack.image_stacking.averaging import HALF_WIDTH, Averaging, align, average_stamps
from uvstack.pixels.noise import noise_around

SIZE, STAMP, FWHM, SCALED = 4000, 64, 4.0, 2000


def sky(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Image of beams of peak 1, each within 20 pixels."""
    image = np.zeros((SIZE, SIZE))
    offset = np.arange(-20, 21)
    for xk, yk in zip(x, y, strict=True):
        r, c = round(float(yk)), round(float(xk))
        along_m, along_l = (np.exp(-4 * np.log(2) * ((offset + n - v) / FWHM) ** 2)
                            for n, v in ((r, yk), (c, xk)))
        image[r - 20:r + 21, c - 20:c + 21] += along_m[:, None] * along_l[None, :]
    return image


def truth(x: np.ndarray, y: np.ndarray) -> float:
    """Mean of the sky at the positions: 1 for each source and what its neighbours add."""
    from scipy.spatial import cKDTree

    tree = cKDTree(np.stack([x, y], axis=1))
    pairs = tree.query_pairs(20.0, output_type="ndarray")
    distance = np.hypot(x[pairs[:, 0]] - x[pairs[:, 1]], y[pairs[:, 0]] - y[pairs[:, 1]])
    return float(1 + 2 * np.exp(-4 * np.log(2) * (distance / FWHM) ** 2).sum() / x.size)


def numpy_nearest(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Slices around the nearest pixel, added up."""
    total, half = np.zeros((STAMP, STAMP)), STAMP // 2
    for xk, yk in zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True):
        total += image[yk - half:yk + half, xk - half:xk + half]
    return float(total[half, half] / x.size)


def numpy_subpixel(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Padded slices, shifted in Fourier space, added up."""
    half = STAMP // 2 + HALF_WIDTH
    total = np.zeros((2 * half, 2 * half))
    for xk, yk in zip(x, y, strict=True):
        c, r = round(float(xk)), round(float(yk))
        stamp = np.fft.fft2(image[r - half:r + half, c - half:c + half])
        total += np.fft.ifft2(fourier_shift(stamp, (r - yk, c - xk))).real
    return float(total[half, half] / x.size)


def seconds(call: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Median time after one call more."""
    result = call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def measure(n: int, repeats: int, threads: int) -> None:
    """Print the rows for a list of n positions."""
    rng = np.random.default_rng(1)
    x, y = rng.uniform(60, SIZE - 60, (2, n))
    image, expected, one = sky(x, y), truth(x, y), np.ones(n)
    for alignment in ("nearest", "subpixel"):
        for method in ("mean", "median", "clipped-mean") if n < 10_000 else ("mean",):
            how = Averaging(method, alignment, STAMP, threads=threads)
            taken, stacked = seconds(lambda how=how: average_stamps(image,
                                                                    align(x, y, how.alignment), one,
                                                                    one, how)[0], repeats)
            error = f"{stacked[STAMP // 2, STAMP // 2] - expected:+.1e}" if method == "mean" else "–"
            row(n, f"ours, {method}, {alignment}", f"{taken:.3g}", error)
    taken, _ = seconds(lambda: noise_around(image, x, y, 78, FWHM), repeats)
    row(n, "ours, local noise in 78 × 78 pixels", f"{taken:.3g}", "–")
    used = min(n, SCALED)
    for name, call in (("numpy, mean, nearest", numpy_nearest),
                       ("numpy, mean, Fourier shift", numpy_subpixel)):
        taken, value = seconds(lambda call=call: call(image, x[:used], y[:used]), 1)
        row(n, name + (" (scaled)" if used < n else ""), f"{taken * n / used:.3g}",
            "–" if used < n else f"{value - expected:+.1e}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    print(", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba")),
          f"{given.threads} threads")
    head(f"Stamps of {STAMP} × {STAMP} pixels from an image of {SIZE}²", "positions", "what", "s",
         "error of the centre")
    for n, repeats in ((900, 5), (100_000, 1)):
        if n < 10_000 or not given.quick:
            measure(n, repeats, given.threads)


if __name__ == "__main__":
    main()
