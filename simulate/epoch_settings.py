"""Settings of epochs from lists of values, as the command line has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uvstack.errors import SelectionError


def each_epoch(beam: Sequence[Any], **values: Sequence[Any]) -> list[dict[str, Any]]:
    """Settings for `simulate.epochs`, one for each beam.

    Parameters
    ----------
    beam : sequence
        Of each epoch, as `simulate.epoch_image` takes it.
    **values : sequence
        Of other settings: none, one for all epochs, or one for each.

    Raises
    ------
    SelectionError
        There are several, and not as many as beams.
    """
    own: list[dict[str, Any]] = [{"beam": one} for one in beam]
    for name, given in values.items():
        if len(given) not in (0, 1, len(own)):
            option = "--" + name.replace("_", "-")
            raise SelectionError(f"{name} ({option}) is given {len(given)} times and beam (--beam) "
                                 f"{len(own)} times; give it once, or once an epoch")
        for i, one in enumerate(own):
            if len(given):
                one[name] = given[i % len(given)]
    return own
