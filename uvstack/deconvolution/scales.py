"""Scales of CLEAN: their kernels, what the psf makes of them, and exact residuals by FFT.

A psf smoothed with two scales is what a component of one does to the residual smoothed with the
other (Cornwell 2008); all pairs of them are kept, cut to a patch where memory is short. The psf has
its centre at pixel (m'//2, l'//2) throughout. Convolutions are linear: images are padded so that
nothing wraps round.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy import fft

from uvstack.deconvolution import kernels
from uvstack.errors import ImageError

#: Scales that the psf passes less than this share of are not seen by the array.
_UNSEEN = 1e-5
#: Hessians worse conditioned than this are not inverted: float32 images carry 1e-7.
_CONDITION = 1e6
#: Bytes that smoothed psfs may take when no patch is given.
_KERNEL_BYTES = 2**30
#: Time of an FFT for a point and power of two, over that of taking one component from one tile.
#: Measured.
_FFT_PER_TILE = 3e-4
_LOG = logging.getLogger(__name__)


def scale_kernel(scale: float) -> np.ndarray:
    """Tapered quadratic (1 − r²/α²)² with α = `scale` pixels, sum 1, (n, n) with n odd.

    One pixel for α = 0.
    """
    half = max(int(np.ceil(scale)) - 1, 0)
    offset = np.arange(-half, half + 1.0)
    squared = (offset[:, None] ** 2 + offset[None, :] ** 2) / max(scale, 1.0) ** 2
    shape = np.clip(1 - squared, 0, None) ** 2
    return shape / shape.sum()


class Convolution:
    """Exact residuals, dirty − psf ⋆ model, by FFT; pads so that nothing wraps into the image."""

    def __init__(self, dirty: np.ndarray, psf: np.ndarray, dtype: np.dtype, threads: int) -> None:
        self.dirty, self.dtype, self.threads = dirty, dtype, threads
        self.psf = _middle(psf, (dirty.shape[1] - 1, dirty.shape[2] - 1))
        self.shape = tuple(fft.next_fast_len(max(n + k // 2, k), real=True) for n, k in
                           zip(dirty.shape[1:], self.psf.shape[1:], strict=True))
        self._transform: np.ndarray | None = None

    @property
    def cost(self) -> float:
        """Of one residual, in components taken from one tile."""
        size = float(np.prod(self.shape))
        return 2 * self.dirty.shape[0] * size * np.log2(size) * _FFT_PER_TILE

    def residual(self, model: np.ndarray) -> np.ndarray:
        """Residual (term, m, l) float64 of model (term, m, l)."""
        if self._transform is None:
            self._transform = _transform(self.psf.astype(self.dtype), self.shape, self.threads)
        m, l = self.dirty.shape[1:]
        spectrum = fft.rfft2(model.astype(self.dtype), self.shape, workers=self.threads)
        found = np.empty(self.dirty.shape)
        for t in range(model.shape[0]):
            product = self._transform[t] * spectrum[0]
            for term in range(1, model.shape[0]):
                product += self._transform[t + term] * spectrum[term]
            found[t] = self.dirty[t] - fft.irfft2(product, self.shape, workers=self.threads)[:m, :l]
        return found


def _transform(images: np.ndarray, shape: tuple[int, ...], threads: int) -> np.ndarray:
    """Real FFT of images (…, m, l) whose pixel (m//2, l//2) is the origin, padded to shape."""
    padded = np.zeros((*images.shape[:-2], *shape), images.dtype)
    padded[..., : images.shape[-2], : images.shape[-1]] = images
    rolled = np.roll(padded, (-(images.shape[-2] // 2), -(images.shape[-1] // 2)), axis=(-2, -1))
    return fft.rfft2(rolled, workers=threads)


def _middle(images: np.ndarray, half: tuple[int, int]) -> np.ndarray:
    """Images (…, m, l) cut to `half` pixels on either side of pixel (m//2, l//2), which stays the one at n//2."""
    cuts = []
    for n, h in zip(images.shape[-2:], half, strict=True):
        # Odd after the cut, or not cut at all.
        cuts.append(slice(n // 2 - h, n // 2 + h + 1) if h < n // 2 else slice(None))
    return images[..., cuts[0], cuts[1]]


def outside(image: np.ndarray, half: tuple[int, int]) -> float:
    """Largest |image| (m, l) beyond `half` pixels of its centre along each axis."""
    c_m, c_l = image.shape[0] // 2, image.shape[1] // 2
    top, left = max(c_m - half[0], 0), max(c_l - half[1], 0)
    parts = (image[:top], image[c_m + half[0] + 1 :], image[:, :left],
             image[:, c_l + half[1] + 1 :])
    return max((float(np.abs(part).max()) for part in parts if part.size), default=0.0)


@dataclass(frozen=True, eq=False)
class Basis:
    """Scales and what the psf makes of them.

    shapes: kernels of the scales; stack (pair, 2 term − 1, m', l'): psf smoothed with both of a
    pair; pair (scale, scale); hessian (scale, term, term); outside: largest |kernel| beyond the
    patch, in units of the peaks; top: peak of the psf.
    """

    scales: tuple[float, ...]
    shapes: list[np.ndarray]
    stack: np.ndarray
    pair: np.ndarray
    hessian: np.ndarray
    outside: float
    top: float


def make_basis(psf: np.ndarray, shape: tuple[int, ...], scales: tuple[float, ...], n: int,
               patch: int | None, dtype: np.dtype, threads: int) -> Basis:
    """Smoothed psfs of all pairs of scales for images of `shape` (m, l), without the scales that the psf does not pass.

    psf (2 n − 1, m', l'); scales in pixels; n terms; patch as in the settings of CLEAN; dtype of
    the loop.
    """
    support = max(int(np.ceil(s)) for s in scales)
    psf = _middle(psf, (shape[0] - 1 + support, shape[1] - 1 + support))
    top = float(psf[0].max())
    at_centre = np.array([_at_centre(psf, scale_kernel(s)) for s in scales])
    seen = at_centre[:, 0] > _UNSEEN * top
    if not seen.any():
        raise ImageError(f"none of the scales {scales} (pixels) passes the psf; take smaller "
                         "ones, 0 for points")
    if not seen.all():
        left = [s for s, ok in zip(scales, seen, strict=True) if not ok]
        _LOG.warning("scales of %s pixels are left out: the psf does not pass them",
                     ", ".join(f"{s:g}" for s in left))
        scales, at_centre = tuple(s for s, ok in zip(scales, seen, strict=True)
                                  if ok), at_centre[seen]
    hessian = at_centre[:, np.arange(n)[:, None] + np.arange(n)]
    condition = np.linalg.cond(hessian)
    if condition.max() > _CONDITION:
        worst = int(np.argmax(condition))
        raise ImageError(f"the psfs of {n} Taylor terms cannot be told apart at scale "
                         f"{scales[worst]:g} (condition of the Hessian "
                         f"{condition[worst]:.2g}); take fewer terms, more bandwidth, or leave "
                         "that scale out")
    shapes = [scale_kernel(s) for s in scales]
    half = (patch or shape[0], patch or shape[1])
    if len(scales) == 1 and shapes[0].size == 1:
        stack = np.ascontiguousarray(_middle(psf, half)[None], dtype)
        return Basis(scales, shapes, stack, np.zeros((1, 1), np.int64), hessian,
                     outside(psf[0], half) / top, top)
    if patch is None:
        n_images = len(scales) * (len(scales) + 1) // 2 * (2 * n - 1)
        most = _KERNEL_BYTES / (n_images * dtype.itemsize) / 4
        short = min(*half, int(np.sqrt(most)))
        half = (min(half[0], int(most / short)), min(half[1], int(most / short)))
    stack, pair, beyond = _pair_kernels(psf, shape, shapes, half, dtype, threads, hessian)
    return Basis(scales, shapes, stack, pair, hessian, beyond, top)


def _convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution of two images (m, l), all of it."""
    full = [a + b - 1 for a, b in zip(image.shape, kernel.shape, strict=True)]
    shape = [fft.next_fast_len(n, real=True) for n in full]
    found = fft.irfft2(fft.rfft2(image, shape) * fft.rfft2(kernel, shape), shape)
    return np.asarray(found[: full[0], : full[1]])


def _at_centre(psf, kernel):
    """(kernel ⋆ kernel ⋆ psf) at the centre for each psf (k, m, l)."""
    twice = _convolved(kernel, kernel)
    half = tuple(min(twice.shape[0] // 2, (k - 1) // 2) for k in psf.shape[1:])
    psf, twice = (odd_middle(a, half) for a in (psf, twice))
    return np.einsum("kml,ml->k", psf, twice, dtype=np.float64)


def odd_middle(images: np.ndarray, half: tuple[int, int]) -> np.ndarray:
    """Middle of images (…, m, l), at most `half` pixels to each side of pixel (m//2, l//2), of odd size."""
    h = [min(k, (n - 1) // 2) for k, n in zip(half, images.shape[-2:], strict=True)]
    m, l = (slice(n // 2 - k, n // 2 + k + 1) for n, k in zip(images.shape[-2:], h, strict=True))
    return images[..., m, l]


def _pair_kernels(psf, image_shape, shapes, half, dtype, threads, hessian):
    """Psfs smoothed with each pair of scales (pair, 2 term − 1, m', l'), where each pair stands, and what the patch leaves out."""
    support = max(k.shape[0] for k in shapes)
    # As far as two pixels of the image are apart; beyond, transforms may wrap around.
    rows, columns = (np.arange(-min(n // 2, most - 1), min((n + 1) // 2, most))
                     for n, most in zip(psf.shape[1:], image_shape, strict=True))
    shape = tuple(fft.next_fast_len(max(n // 2 + support + at[-1] + 1, n), real=True)
                  for n, at in zip(psf.shape[1:], (rows, columns), strict=True))
    spectrum = _transform(psf.astype(dtype), shape, threads)
    # Scales are even: their transforms are real.
    factors = [_transform(k.astype(dtype), shape, threads).real.copy() for k in shapes]
    pair = np.zeros((len(shapes), len(shapes)), np.int64)
    n_pairs, beyond = 0, 0.0
    middle = _middle(np.empty((rows.size, columns.size), np.bool_), half).shape
    stack = np.empty((len(shapes) * (len(shapes) + 1) // 2, len(psf), *middle), dtype)
    for s in range(len(shapes)):
        for q in range(s + 1):
            along = fft.ifft(spectrum * (factors[s] * factors[q]), axis=1, workers=threads,
                             overwrite_x=True)
            full = fft.irfft(along[:, rows], shape[1], axis=2, workers=threads)[..., columns]
            beyond = max(beyond,
                         outside(full[0], half) / np.sqrt(hessian[s, 0, 0] * hessian[q, 0, 0]))
            pair[s, q] = pair[q, s] = n_pairs
            stack[n_pairs] = _middle(full, half)
            n_pairs += 1
    return stack, pair, beyond


def mask_of_scale(mask: np.ndarray, kernel: np.ndarray, share: float) -> np.ndarray:
    """Where a scale may have its centre, (m, l) bool.

    Its support, or the share wanted of its volume, lies in the mask.
    """
    if kernel.size == 1:
        return mask
    shape = (kernel > 0) / np.count_nonzero(kernel) if share == 1 else kernel
    half = kernel.shape[0] // 2
    lies_in = _convolved(mask.astype(np.float64), shape)[half : half + mask.shape[0],
                                                          half : half + mask.shape[1]]
    # A missing pixel of the support shows as 1/n, more than 1e-7 for scales below 1700 pixels.
    return (lies_in > share - 1e-8) & mask


def smooth(residual: np.ndarray, shapes: list[np.ndarray], dtype: np.dtype,
           threads: int) -> np.ndarray:
    """Residual (term, m, l) smoothed with each scale, (scale, term, m, l)."""
    out = np.empty((len(shapes), *residual.shape), dtype)
    support = max(k.shape[0] for k in shapes)
    shape = tuple(fft.next_fast_len(n + support, real=True) for n in residual.shape[1:])
    spectrum = fft.rfft2(residual.astype(dtype), shape, workers=threads) if support > 1 else None
    for s, kernel in enumerate(shapes):
        out[s] = residual
        if kernel.size > 1:
            product = spectrum * _transform(kernel.astype(dtype), shape, threads)
            out[s] = fft.irfft2(product, shape, workers=threads)[:, : residual.shape[1],
                                                                 : residual.shape[2]]
    return out


def reach(basis: Basis, tiles: tuple[int, ...], n_terms: int) -> np.ndarray:
    """Largest |kernel| between a square of STEP pixels in one tile and another tile, as the kernels want it.

    (scale, scale, term, step, step, tile offset, tile offset) float32, for the terms that act on
    term 0, rounded up.
    """
    per_tile, n_scales = kernels.TILE // kernels.STEP, len(basis.scales)
    half = [(n + 1) * per_tile for n in tiles]
    out = np.empty((n_scales, n_scales, n_terms, per_tile, per_tile, *(2 * n - 1 for n in tiles)),
                   np.float32)
    # A tile seen from somewhere in a step covers per_tile + 1 blocks; the first, for each step and
    # offset.
    rows, cols = (np.arange(1 - n, n) * per_tile - np.arange(per_tile)[:, None] + h
                  for n, h in zip(tiles, half, strict=True))
    for s in range(n_scales):
        for q in range(s + 1):
            for t in range(n_terms):
                kernel = basis.stack[basis.pair[s, q], t]
                peaks = np.zeros((2 * half[0] + 1, 2 * half[1] + 1), kernel.dtype)
                kernels.block_peaks(kernel, kernel.shape[0] // 2, kernel.shape[1] // 2, peaks)
                for axis in (0, 1):
                    n = peaks.shape[axis] - per_tile
                    peaks = np.max([peaks.take(range(k, k + n), axis) for k in range(per_tile + 1)],
                                   axis=0)
                table = peaks[rows[:, None, :, None], cols[None, :, None, :]]
                out[s, q, t] = out[q, s, t] = table * (1 + 1e-6)
    return out
