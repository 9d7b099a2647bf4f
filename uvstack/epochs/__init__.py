"""Images of one sky at several epochs: combined, compared, served.

A study: it is made of the extraction, whose catalogues it compares. Each command is a folder.
"""

import importlib as _importlib

#: Public name → the module that has it.
_HOME: dict[str, str] = {
    "AlphaResult": "uvstack.epochs.spectral_index.result",
    "CombineResult": "uvstack.epochs.combination.result",
    "EpochComparison": "uvstack.epochs.comparison.result",
    "Limits": "uvstack.epochs.server.limits",
    "alpha": "uvstack.epochs.spectral_index.task",
    "combine": "uvstack.epochs.combination.task",
    "compare": "uvstack.epochs.comparison.task",
    "serve": "uvstack.epochs.server.task",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"uvstack.epochs has no {name}; it has {', '.join(__all__)}")
    return getattr(_importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names alone, for completion at a prompt."""
    return list(__all__)
