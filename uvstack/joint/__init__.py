"""Images of interferometers and single dishes joined into one.

Each command is a folder.
"""

import importlib as _importlib

#: Public name → the module that has it.
_HOME: dict[str, str] = {
    "AssessResult": "uvstack.joint.assessment.result",
    "FeatherResult": "uvstack.joint.feathering.result",
    "JointCube": "uvstack.joint.reconstruction.result",
    "JointResult": "uvstack.joint.reconstruction.result",
    "cube_to_taylor": "uvstack.joint.taylor_cube",
    "feather": "uvstack.joint.feathering.task",
    "fit_taylor": "uvstack.joint.taylor_cube",
    "sdint": "uvstack.joint.reconstruction.task",
    "sdint_assess": "uvstack.joint.assessment.task",
    "taylor_to_cube": "uvstack.joint.taylor_cube",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"uvstack.joint has no {name}; it has {', '.join(__all__)}")
    return getattr(_importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """The public names alone, for completion at a prompt."""
    return list(__all__)
