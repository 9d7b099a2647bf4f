"""Model fitting to visibilities.

`from uvstack.fit import fit_visibilities` and the like load what they need when they are asked for.
"""

import sys as _sys
import types as _types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uvstack.fit.result import FitResult
    from uvstack.fit.task import fit
    from uvstack.fit.uvmultifit import uvmultifit
    from uvstack.fit.visibilities import fit_visibilities

#: Public names and the modules that define them.
_HOMES = {"FitResult": "result", "fit": "task", "fit_visibilities": "visibilities"}
__all__ = ["FitResult", "fit", "fit_visibilities", "uvmultifit"]


class _Package(_types.ModuleType):
    """The package, with public names loaded when first used."""

    @property
    def uvmultifit(self):
        """The class, although a module has the same name."""
        from uvstack.fit.uvmultifit import uvmultifit

        return uvmultifit

    @uvmultifit.setter
    def uvmultifit(self, module):
        """The import system offers the module here; the class stays."""

    def __getattr__(self, name: str) -> Any:
        """A public name."""
        import importlib

        if name not in _HOMES:
            raise AttributeError(f"uvstack.fit has no {name}; it has {', '.join(__all__)}")
        return getattr(importlib.import_module(f"uvstack.fit.{_HOMES[name]}"), name)


_sys.modules[__name__].__class__ = _Package
