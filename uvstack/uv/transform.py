"""The gridder of ducc0 (Arras et al. 2021) for fields of any size: its one caller.

Of a field below some 3 mas ducc0 makes NaN: it takes the range of n − 1 as sqrt(1 − l² − m²) − 1,
which there is 0 to rounding, and divides by it. A small field is therefore given to it as a larger
one: (l, m) times s, (u, v) over s and w over s² have the same phases, since n − 1 is −(l² + m²)/2
but for a term of (l² + m²)/4 of itself. That term is below 1e-8 for fields of 1e-4 rad, which is
where fields smaller than a tenth of that are taken to; s is a power of two, so that no number is
rounded. Larger fields are left as they are.

What comes back is finite: where it is not, an error says so instead of a NaN in somebody's column.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from uvstack.errors import NumericalError

#: Largest direction cosine of fields that are enlarged, and what it becomes.
_SMALL, _ENLARGED = 1e-5, 1e-4


def vis2dirty(**options: Any) -> np.ndarray:
    """Dirty image of visibilities; options are those of `ducc0.wgridder.vis2dirty`.

    Raises
    ------
    NumericalError
        A pixel is not finite.
    """
    from ducc0 import wgridder

    shape = options["npix_x"], options["npix_y"]
    return all_finite("dirty image", wgridder.vis2dirty(**_enlarged(shape, options)))


def dirty2vis(**options: Any) -> np.ndarray:
    """Visibilities of an image; options are those of `ducc0.wgridder.dirty2vis`.

    Raises
    ------
    NumericalError
        A visibility is not finite.
    """
    from ducc0 import wgridder

    return all_finite("visibilities of an image",
                      wgridder.dirty2vis(**_enlarged(options["dirty"].shape, options)))


def all_finite(what: str, values: np.ndarray) -> np.ndarray:
    """The same values; NumericalError where one of them is NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise NumericalError(f"{what}: {finite.size - np.count_nonzero(finite)} of {finite.size} "
                             "values are not finite, the first at "
                             f"{where}; wanted are numbers: are there fluxes, weights or (u, v, "
                             "w) beyond 1e30 in what was given?")
    return values


def _enlarged(shape: tuple[int, int], options: dict[str, Any]) -> dict[str, Any]:
    """Options for a field that ducc0 can take, see the module."""
    axes = [(n / 2 * options[f"pixsize_{axis}"], options.get(f"center_{axis}", 0.0))
            for n, axis in zip(shape, "xy", strict=True)]
    radius = float(np.hypot(*(half + abs(centre) for half, centre in axes)))
    if not 0 < radius < _SMALL:
        return options
    scale = 2.0 ** np.floor(np.log2(_ENLARGED / radius))
    larger = {name: options[name] * scale
              for name in ("pixsize_x", "pixsize_y", "center_x", "center_y") if name in options}
    return options | larger | {"uvw": options["uvw"] / [scale, scale, scale**2]}
