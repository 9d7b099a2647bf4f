"""uvstack: average, fit, peel and combine interferometric data.

The convention, stated once. With (u, v, w) in metres as a measurement set stores them and (l, m) the direction cosines
to the east and north of the phase centre, n = sqrt(1 − l² − m²),

    V(u, v, w) = ∫ A I exp(+2πi ν/c (u l + v m + w (n − 1))) dl dm / n .

This is the sign of Lindroos et al. (2015), equation 1, and of the sets that CASA writes. A source at (l, m) is therefore
moved to the phase centre by exp(−2πi ν/c (u l + v m + w (n − 1))). Other files say "sign of `uvstack`".

Visibilities are (row, chan, corr), images (band, corr, m, l) with l decreasing along the last axis as in FITS. SI units
and radians inside; a size is a FWHM, a position angle runs from north through east.
"""

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
    "CompareResult", "FitResult", "ImageCube", "ImageResult", "ImageStackResult", "MonteCarloResult", "StackResult", "SubtractResult", "__version__",
    "compare", "fit", "image", "image_stack", "montecarlo", "stack", "subtract"]


class _Package(_types.ModuleType):
    """The package, with public names loaded when first used: `import uvstack` alone costs nothing.

    `uvstack.stack`, `uvstack.fit` and `uvstack.image` are functions although folders have the same names; modules in the
    folders are imported as `from uvstack.stack.task import …`.
    """

    @property
    def stack(self):
        """The function `uvstack.stack.task.stack`."""
        from uvstack.stack.task import stack

        return stack

    @stack.setter
    def stack(self, module):
        """The import system offers the folder here; the function stays."""

    @property
    def fit(self):
        """The function `uvstack.fit.task.fit`."""
        from uvstack.fit.task import fit

        return fit

    @fit.setter
    def fit(self, module):
        """As for `stack`."""

    @property
    def FitResult(self):
        """The class `uvstack.fit.result.FitResult`."""
        from uvstack.fit.result import FitResult

        return FitResult

    @property
    def image(self):
        """The function `uvstack.image.task.image`."""
        from uvstack.image.task import image

        return image

    @image.setter
    def image(self, module):
        """As for `stack`."""

    @property
    def ImageCube(self):
        """The class `uvstack.image.image_result.ImageCube`."""
        from uvstack.image.image_result import ImageCube

        return ImageCube

    @property
    def ImageResult(self):
        """The class `uvstack.image.image_result.ImageResult`."""
        from uvstack.image.image_result import ImageResult

        return ImageResult

    @property
    def image_stack(self):
        """The function `uvstack.stack.image_task.image_stack`."""
        from uvstack.stack.image_task import image_stack

        return image_stack

    @property
    def ImageStackResult(self):
        """The class `uvstack.stack.image_result.ImageStackResult`."""
        from uvstack.stack.image_result import ImageStackResult

        return ImageStackResult

    @property
    def compare(self):
        """The function `uvstack.stack.compare_task.compare`."""
        from uvstack.stack.compare_task import compare

        return compare

    @property
    def CompareResult(self):
        """The class `uvstack.stack.compare_result.CompareResult`."""
        from uvstack.stack.compare_result import CompareResult

        return CompareResult

    @property
    def montecarlo(self):
        """The function `uvstack.stack.monte_carlo_task.montecarlo`."""
        from uvstack.stack.monte_carlo_task import montecarlo

        return montecarlo

    @property
    def MonteCarloResult(self):
        """The class `uvstack.stack.monte_carlo_result.MonteCarloResult`."""
        from uvstack.stack.monte_carlo_result import MonteCarloResult

        return MonteCarloResult

    @property
    def StackResult(self):
        """The class `uvstack.stack.result.StackResult`."""
        from uvstack.stack.result import StackResult

        return StackResult

    @property
    def subtract(self):
        """The function `uvstack.image.subtract_task.subtract`."""
        from uvstack.image.subtract_task import subtract

        return subtract

    @property
    def SubtractResult(self):
        """The class `uvstack.image.subtract_result.SubtractResult`."""
        from uvstack.image.subtract_result import SubtractResult

        return SubtractResult


_sys.modules[__name__].__class__ = _Package
