"""uvstack: stack, fit, image and subtract interferometric data.

The convention, stated once. With (u, v, w) in metres as a measurement set stores them and (l, m)
the direction cosines to the east and north of the phase centre, n = sqrt(1 − l² − m²),

    V(u, v, w) = ∫ A I exp(+2πi ν/c (u l + v m + w (n − 1))) dl dm / n .

This is the sign of Lindroos et al. (2015), equation 1, and of the sets that CASA writes. A source
at (l, m) is therefore moved to the phase centre by exp(−2πi ν/c (u l + v m + w (n − 1))). Other
files say "sign of `uvstack`".

Visibilities are (row, chan, corr), images (band, corr, m, l) with l decreasing along the last axis
as in FITS. SI units and radians inside; a size is a FWHM, a position angle runs from north through
east.
"""

import importlib as _importlib
from typing import TYPE_CHECKING

from uvstack._version import __version__

if TYPE_CHECKING:
    from uvstack import epochs, joint
    from uvstack.comparison.result import CompareResult
    from uvstack.comparison.task import compare
    from uvstack.extraction.task import extract
    from uvstack.fitting.multifit.call import uvmultifit
    from uvstack.fitting.result import FitResult, FitSpectrum
    from uvstack.fitting.solve.visibilities import fit_visibilities
    from uvstack.fitting.task import fit
    from uvstack.image_sequence.task import light_curves
    from uvstack.image_stacking.result import ImageStackResult
    from uvstack.image_stacking.task import image_stack
    from uvstack.imaging.result import ImageCube, ImageResult
    from uvstack.imaging.task import image
    from uvstack.joint.assessment.result import AssessResult
    from uvstack.joint.assessment.task import sdint_assess
    from uvstack.joint.feathering.result import FeatherResult
    from uvstack.joint.feathering.task import feather
    from uvstack.joint.reconstruction.result import JointCube, JointResult
    from uvstack.joint.reconstruction.task import sdint
    from uvstack.monte_carlo.result import MonteCarloResult
    from uvstack.monte_carlo.task import montecarlo
    from uvstack.records import Datasets
    from uvstack.stacked_fit.task import stack
    from uvstack.stacking.result import StackResult
    from uvstack.subtraction.result import SubtractResult
    from uvstack.subtraction.task import subtract

__all__ = ["AssessResult", "CompareResult", "Datasets", "FeatherResult", "FitResult", "FitSpectrum", "ImageCube", "ImageResult",
           "ImageStackResult", "JointCube", "JointResult", "MonteCarloResult", "StackResult", "SubtractResult", "__version__",
           "compare", "epochs", "extract", "feather", "fit", "fit_visibilities", "image",
           "image_stack", "joint", "light_curves", "montecarlo", "sdint", "sdint_assess", "stack", "subtract", "uvmultifit"]

#: Public name → the module that has it.
_HOME = {"compare": "uvstack.comparison.task", "CompareResult": "uvstack.comparison.result",
         "Datasets": "uvstack.records", "extract": "uvstack.extraction.task",
         "feather": "uvstack.joint.feathering.task",
         "FeatherResult": "uvstack.joint.feathering.result",
         "fit": "uvstack.fitting.task", "FitResult": "uvstack.fitting.result",
         "FitSpectrum": "uvstack.fitting.result",
         "fit_visibilities": "uvstack.fitting.solve.visibilities",
         "uvmultifit": "uvstack.fitting.multifit.call", "image": "uvstack.imaging.task",
         "ImageResult": "uvstack.imaging.result", "ImageCube": "uvstack.imaging.result",
         "image_stack": "uvstack.image_stacking.task",
         "ImageStackResult": "uvstack.image_stacking.result",
         "JointCube": "uvstack.joint.reconstruction.result",
         "JointResult": "uvstack.joint.reconstruction.result",
         "sdint": "uvstack.joint.reconstruction.task",
         "AssessResult": "uvstack.joint.assessment.result",
         "sdint_assess": "uvstack.joint.assessment.task",
         "light_curves": "uvstack.image_sequence.task", "montecarlo": "uvstack.monte_carlo.task",
         "MonteCarloResult": "uvstack.monte_carlo.result", "stack": "uvstack.stacked_fit.task",
         "StackResult": "uvstack.stacking.result", "subtract": "uvstack.subtraction.task",
         "SubtractResult": "uvstack.subtraction.result"}


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first used: `import uvstack` alone costs nothing."""
    if name in ("epochs", "joint"):  # modules of several functions: uvstack.epochs.combine
        return _importlib.import_module(f"uvstack.{name}")
    if name not in _HOME:
        raise AttributeError(f"uvstack has no {name}; it has {', '.join(__all__)}")
    return getattr(_importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names alone, for completion at a prompt."""
    return list(__all__)
