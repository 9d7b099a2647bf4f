"""Dirty images through ducc0's wgridder, in the sign of `uvstack`.

ducc0 computes exp(−2πi (ul + vm − w(n−1))) and indexes images [l, m]; here it is told to flip v
alone, which turns l around too, and the result is transposed: an image (m, l) with l decreasing
along the last axis.
"""

from __future__ import annotations

import numpy as np

from uvstack.uv.transform import vis2dirty


def dirty_image(uvw: np.ndarray, frequency: np.ndarray, vis: np.ndarray, weight: np.ndarray,
                size: int, cell: float, threads: int = 1) -> np.ndarray:
    """Weighted sum of visibilities at each pixel, Σ w Re(V exp(−2πi …)), (m, l) float64.

    Parameters
    ----------
    uvw : ndarray (row, 3)
        Metres.
    frequency : ndarray (chan,)
        Hz.
    vis : ndarray (row, chan) complex64
        Jy.
    weight : ndarray (row, chan) float32
        0 where unused.
    size : int
        Pixels on a side, even; the phase centre is pixel (size/2, size/2).
    cell : float
        Pixel size, rad.
    threads : int

    Returns
    -------
    ndarray (m, l)
        Divide by Σ w for Jy/beam. Images of several chunks add up.
    """
    # ducc0 wants rising frequencies and finite (u, v, w); rows without the latter have weight 0.
    rising = slice(None) if (np.diff(frequency) > 0).all() else np.argsort(frequency)
    uvw = np.where(np.isfinite(uvw).all(axis=1, keepdims=True), uvw, 0.0)
    image = vis2dirty(uvw=np.ascontiguousarray(uvw, np.float64),
                      freq=np.ascontiguousarray(frequency[rising], np.float64),
                      vis=np.ascontiguousarray(vis[:, rising], np.complex64),
                      wgt=np.ascontiguousarray(weight[:, rising], np.float32), npix_x=size,
                      npix_y=size, pixsize_x=cell, pixsize_y=cell, epsilon=1e-5, do_wgridding=True,
                      nthreads=threads, divide_by_n=False, flip_u=False, flip_v=True, flip_w=False,
                      double_precision_accumulation=True)
    return image.T.astype(np.float64)
