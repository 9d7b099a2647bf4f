"""Shapes of model sources by name: what parameters each has, and its profile in the uv plane.

A source of flux S at (l₀, m₀) has V = S f(x) exp(+2πi (u l₀ + v m₀)) in the sign of `uvstack`, (u,
v) in wavelengths. The argument is x = π · major · q with q² = (u sin PA + v cos PA)² + ratio² (u
cos PA − v sin PA)², PA north through east, so that a ratio below 1 makes `major` the longer axis.
`ratio` scales all of a shape, the width of a Gaussian ring too.

=============  ========================================  =====================================================  ========
shape          brightness, r₀ = major/2                  f(x)                                                   major
=============  ========================================  =====================================================  ========
delta          point                                     1                                                      none
gaussian       2^(−r²/r₀²)                               e^(−x²/(4 ln 2))                                       FWHM
disc           1 up to r₀                                2 J₁(x)/x                                              diameter
ring           at r₀ alone                               J₀(x)                                                  diameter
sphere         √(r₀² − r²), an optically thin ball       3 (sin x − x cos x)/x³                                 diameter
bubble         1/√(r₀² − r²), an optically thin shell    sin x/x                                                diameter
expo           2^(−r/r₀)                                 (1 + x²/ln²2)^(−3/2)                                   FWHM
power-2        1/(r² + r₀²)                              (2/ln 2) K₀(x)                                         FWHM
power-3        (1 + (2^(2/3) − 1) r²/r₀²)^(−3/2)         exp(−x/√(2^(2/3) − 1))                                 FWHM
gaussian-ring  exp(−(r − r₀)²/2σ²)                       by quadrature, see `uvstack.fitting.model.shape_kernels`         diameter
=============  ========================================  =====================================================  ========

Names, codes and parameters are those of UVMultiFit (Martí-Vidal et al. 2014, A&A 563, A136), and so
are the brightnesses; the transforms were derived from them. Two things to know. The flux of power-2
diverges with the logarithm of the radius, so what is called its flux is that within r₀: 2π ∫ r
dr/(r² + r₀²) = π ln 2, while all of it transforms to 2π K₀(x). UVMultiFit 3.0 says the same and
computes K₀(x)/(π ln 2), so its fluxes of power-2 are 2π times ours. At x = 0 it is infinite. And
the width of a Gaussian ring is σ, not a FWHM; its flux is that of the brightness from r = 0 on, and
so for σ ≫ r₀ the shape is a Gaussian of FWHM 2.355 σ, for σ = 0 a ring. There f is a function of x
and of y = πσq, in the same q.

Cost, with the derivative, one thread: Gaussian 8 ns, ring and disc 11 to 30 ns, others 5 to 25 ns,
a Gaussian ring 0.25 to 1.5 µs. Error: 1e-13 of 1 for x up to 1e5 (power-2: of itself).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import numpy as np

from uvstack.errors import FitError
from uvstack.fitting.model import shape_kernels

_POINT = ("ra", "dec", "flux")
_EXTENDED = (*_POINT, "major", "ratio", "position_angle")


@dataclass(frozen=True)
class Shape:
    """One shape of source.

    Attributes
    ----------
    name : str
    code : int
        What `shape_kernels.profile` wants; UVMultiFit's number.
    parameters : tuple of str
        In the order in which a model's variables are written.
    aliases : tuple of str
        Other spellings that `shape` knows, besides those that differ in case, hyphens, underscores
        and blanks.
    major : str
        What the parameter major is: "FWHM", "diameter", or "" for a point.
    """

    name: str
    code: int
    parameters: tuple[str, ...] = _EXTENDED
    aliases: tuple[str, ...] = ()
    major: str = "diameter"

    @property
    def n_parameters(self) -> int:
        """3 for a point, 6 for most, 7 with a width."""
        return len(self.parameters)

    @property
    def extended(self) -> bool:
        """Whether it has a size, ratio and position angle."""
        return len(self.parameters) > len(_POINT)

    @property
    def has_extra(self) -> bool:
        """Whether a seventh parameter, the width σ in rad, belongs to it."""
        return len(self.parameters) > len(_EXTENDED)


#: All shapes by name, in the order of their codes.
SHAPES: dict[str, Shape] = {
    made.name: made
    for made in (
        Shape("delta", shape_kernels.DELTA, _POINT, ("point",), ""),
        Shape("gaussian", shape_kernels.GAUSSIAN, aliases=("gauss",), major="FWHM"),
        Shape("disc", shape_kernels.DISC, aliases=("disk",)),
        Shape("ring", shape_kernels.RING),
        Shape("sphere", shape_kernels.SPHERE),
        Shape("bubble", shape_kernels.BUBBLE),
        Shape("expo", shape_kernels.EXPO, aliases=("exponential",), major="FWHM"),
        Shape("power-2", shape_kernels.POWER_2, major="FWHM"),
        Shape("power-3", shape_kernels.POWER_3, major="FWHM"),
        Shape("gaussian-ring", shape_kernels.GAUSSIAN_RING, (*_EXTENDED, "sigma")),
    )
}


def _key(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in "-_ ")


_BY_KEY = {_key(spelling): made for made in SHAPES.values()
           for spelling in (made.name, *made.aliases)}


def shape(name: str) -> Shape:
    """The shape of that name, however a user of UVMultiFit writes it.

    "Gaussian", "GaussianRing", "power-2", "disk".

    Raises
    ------
    FitError
        There is none; the message gives the nearest and all.
    """
    if not isinstance(name, str):
        raise FitError(f"a shape given as {name!r}; wanted is a name: {', '.join(SHAPES)}")
    found = _BY_KEY.get(_key(name))
    if found is None:
        near = _BY_KEY[difflib.get_close_matches(_key(name), _BY_KEY, n=1, cutoff=0.0)[0]]
        raise FitError(f"the model {name!r} is unknown: the nearest is {near.name}; known are "
                       f"{', '.join(SHAPES)}")
    return found


def profile_of(name: str, x: np.ndarray,
               extra: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Profile f of a shape of unit flux, df/dx and df/dextra, each float64 in the shape of x.

    Parameters
    ----------
    name : str
        As `shape` reads it.
    x : ndarray (n,) or of any shape
        π · major · q: major in rad, q the uv distance in wavelengths along the scaled axes. Finite;
        NaN gives NaN, and the functions are even in x.
    extra : ndarray that broadcasts with x, or float
        For a Gaussian ring y = π · sigma · q, the width σ in rad; even in it too. Others have none.

    Raises
    ------
    FitError
        extra is not 0 and the shape has none; the arrays do not broadcast.
    """
    kind = shape(name)
    try:
        size = np.broadcast_shapes(np.shape(x), np.shape(extra))
    except ValueError:
        raise FitError(f"x of shape {np.shape(x)} and extra of shape {np.shape(extra)}; "
                       "give extra one value, or x's shape") from None
    if not kind.has_extra and np.any(extra != 0):
        raise FitError(f"an extra argument for a {kind.name}, which has none; leave it out, or "
                       "take gaussian-ring")
    f, df_dx, df_dextra = (np.empty(size) for _ in range(3))
    flat = (np.broadcast_to(np.asarray(a, np.float64), size).flatten() for a in (x, extra))
    shape_kernels.profiles(kind.code, *flat, f.reshape(-1), df_dx.reshape(-1),
                           df_dextra.reshape(-1))
    return f, df_dx, df_dextra
