"""uvstack: stack, fit, image and subtract interferometric data.

The convention, stated once. With (u, v, w) in metres as a measurement set stores them and (l, m) the direction cosines
to the east and north of the phase centre, n = sqrt(1 − l² − m²),

    V(u, v, w) = ∫ A I exp(+2πi ν/c (u l + v m + w (n − 1))) dl dm / n .

This is the sign of Lindroos et al. (2015), equation 1, and of the sets that CASA writes. A source at (l, m) is therefore
moved to the phase centre by exp(−2πi ν/c (u l + v m + w (n − 1))). Other files say "sign of `uvstack`".

Visibilities are (row, chan, corr), images (band, corr, m, l) with l decreasing along the last axis as in FITS. SI units
and radians inside; a size is a FWHM, a position angle runs from north through east.
"""

import importlib as _importlib
import sys as _sys
import types as _types
from typing import TYPE_CHECKING

from uvstack._version import __version__

if TYPE_CHECKING:
    from uvstack.fit.result import FitResult
    from uvstack.fit.task import fit
    from uvstack.image.image_result import ImageCube, ImageResult
    from uvstack.image.subtract_result import SubtractResult
    from uvstack.image.subtract_task import subtract
    from uvstack.image.task import image
    from uvstack.stack.compare_result import CompareResult
    from uvstack.stack.compare_task import compare
    from uvstack.stack.image_result import ImageStackResult
    from uvstack.stack.image_task import image_stack
    from uvstack.stack.monte_carlo_result import MonteCarloResult
    from uvstack.stack.monte_carlo_task import montecarlo
    from uvstack.stack.result import StackResult
    from uvstack.stack.task import stack

__all__ = [
    "CompareResult", "FitResult", "ImageCube", "ImageResult", "ImageStackResult", "MonteCarloResult", "StackResult", "SubtractResult",
    "__version__", "compare", "fit", "image", "image_stack", "montecarlo", "stack", "subtract"]

#: Public name → the module that has it.
_HOME = {
    "compare": "uvstack.stack.compare_task", "CompareResult": "uvstack.stack.compare_result",
    "fit": "uvstack.fit.task", "FitResult": "uvstack.fit.result",
    "image": "uvstack.image.task", "ImageResult": "uvstack.image.image_result", "ImageCube": "uvstack.image.image_result",
    "image_stack": "uvstack.stack.image_task", "ImageStackResult": "uvstack.stack.image_result",
    "montecarlo": "uvstack.stack.monte_carlo_task", "MonteCarloResult": "uvstack.stack.monte_carlo_result",
    "stack": "uvstack.stack.task", "StackResult": "uvstack.stack.result",
    "subtract": "uvstack.image.subtract_task", "SubtractResult": "uvstack.image.subtract_result"}


class _Package(_types.ModuleType):
    """The package, with public names loaded when first used: `import uvstack` alone costs nothing.

    `uvstack.stack`, `uvstack.fit` and `uvstack.image` are functions although folders have the same names; modules in the
    folders are imported as `from uvstack.stack.task import …`.
    """

    def __dir__(self) -> list[str]:
        """The public names alone, for completion at a prompt."""
        return list(__all__)


def _public(name: str) -> property:
    def load(self: _Package) -> object:
        return getattr(_importlib.import_module(_HOME[name]), name)

    def keep(self: _Package, module: object) -> None:
        """The import system offers the folder of the same name here; the public name stays."""

    return property(load, keep)


for _name in _HOME:
    setattr(_Package, _name, _public(_name))
_sys.modules[__name__].__class__ = _Package
