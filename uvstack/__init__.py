"""uvstack: average, fit, peel and combine interferometric data.

The convention, stated once. With (u, v, w) in metres as a measurement set stores them and (l, m) the direction cosines
to the east and north of the phase centre, n = sqrt(1 − l² − m²),

    V(u, v, w) = ∫ A I exp(+2πi ν/c (u l + v m + w (n − 1))) dl dm / n .

This is the sign of Lindroos et al. (2015), equation 1, and of the sets that CASA writes. A source at (l, m) is therefore
moved to the phase centre by exp(−2πi ν/c (u l + v m + w (n − 1))). Other files say "sign of `uvstack`".

Visibilities are (row, chan, corr), images (band, corr, m, l) with l decreasing along the last axis as in FITS. SI units
and radians inside; a size is a FWHM, a position angle runs from north through east.
"""

from uvstack._version import __version__
from uvstack.stack.result import StackResult
from uvstack.stack.task import stack

__all__ = ["StackResult", "__version__", "stack"]
