"""Model fitting to visibilities.

`from uvstack.fitting import fit_visibilities` and the like load what they need when they are asked
for.
"""

import importlib as _importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvstack.fitting.multifit.call import uvmultifit
    from uvstack.fitting.result import FitResult
    from uvstack.fitting.solve.visibilities import fit_visibilities
    from uvstack.fitting.task import fit

__all__ = ["FitResult", "fit", "fit_visibilities", "uvmultifit"]

#: Public name → the module that has it.
_HOME = {"FitResult": "uvstack.fitting.result", "fit": "uvstack.fitting.task",
         "fit_visibilities": "uvstack.fitting.solve.visibilities",
         "uvmultifit": "uvstack.fitting.multifit.call"}


def __getattr__(name: str) -> object:
    """A public name."""
    if name not in _HOME:
        raise AttributeError(f"uvstack.fitting has no {name}; it has {', '.join(__all__)}")
    return getattr(_importlib.import_module(_HOME[name]), name)
