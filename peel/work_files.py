"""What all stages of a run share, and which column is to hold what.

A column on the way is made of the data, of gains and of models by passes, when something is to read it:
a run that goes on where it was ended does not make again what only stages needed that are done. A
note in the column itself says of which run it is and what it holds, once it does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peel.directions import Direction, surroundings
from peel.field_files import Frame, is_made, make_image
from peel.passes_files import Passes, Target
from peel.quartical import Quartical
from peel.recipe import PEELED, Settings, bright_columns

#: Folder, in that of the run, of what is needed on the way.
STEPS = "steps"
#: Images whose noise is told, by their names.
IMAGES = {"first": "first image", "selfcal": "self-calibrated", "peeled": "peeled"}
#: Beams around a direction in which the local noise is measured.
_AROUND = 40
Tell = Callable[[str, float], None]


def peeled_note(run: str) -> str:
    """Note of the columns that a run leaves."""
    return f"{run}: peeled"


@dataclass(frozen=True)
class _Plan:
    """What a column is to hold, what those hold that it is made of, and how it is made."""

    what: str
    of: Mapping[str, str]
    make: Callable[[], None]


@dataclass(frozen=True, eq=False)
class Work:
    """What all stages share.

    Attributes
    ----------
    passes : Passes
        Over the working set.
    target : Target
        The user's set.
    column : str
        Of the data.
    frame : Frame
    settings : Settings
    solver : Quartical
    folder : Path
    directions : tuple of Direction
    beam : float
        FWHM of the first image, rad.
    client, threads
        As of `uvstack.chunks.map_chunks`.
    tell : callable
        Called with the name of a stage and how much of it is done.
    run : str
        That is noted in its columns.
    mask : ndarray (m, l) bool or None
        That was given for the field.
    plans : mapping
        Column → what it is to hold.
    """

    passes: Passes
    target: Target
    column: str
    frame: Frame
    settings: Settings
    solver: Quartical
    folder: Path
    directions: tuple[Direction, ...]
    beam: float
    client: Any
    threads: int | None
    tell: Tell
    run: str
    mask: NDArray[np.bool_] | None = None
    plans: dict[str, _Plan] = field(default_factory=dict)

    @property
    def bright(self) -> list[str]:
        """Columns of the bright models."""
        return bright_columns(len(self.directions))

    @functools.cached_property
    def around(self) -> list[NDArray[np.bool_]]:
        """Where the noise around each direction is measured, (m, l)."""
        return surroundings(self.directions, _AROUND * self.beam / self.frame.cell)

    def image(self, stage: str, column: str, name: str, **options: Any) -> Path:
        """An image of a column, PEELED_DATA of the user's set; its path."""
        self.tell(stage, 0.0)
        out = self.folder / name
        if not is_made(out):
            self.need(column)
        structure = (self.target if column == PEELED else self.passes).structure
        return make_image(self.frame, structure, self.passes.selection, column, out,
                          threads=self.threads,
                          progress=lambda done, n: self.tell(stage, done / n), **options)

    def note(self, what: str) -> str:
        """Note of a column of this run that holds something."""
        return f"{self.run}: {what}"

    def will_hold(self, column: str, what: str, of: Sequence[str], make: Callable[[], None]) -> None:
        """Say what a column is to hold from now on; it is made when it is needed.

        Parameters
        ----------
        column, what : str
        of : sequence of str
            Columns that it is made of.
        make : callable
        """
        self.plans[column] = _Plan(what, {name: self.plans[name].what for name in of
                                          if name in self.plans}, make)

    def need(self, *columns: str) -> None:
        """Make those of these columns that do not hold yet what they are to hold."""
        for column in columns:
            if column not in self.plans:
                continue
            plan = self.plans[column]
            if self.passes.note_of(column) == self.note(plan.what):
                continue
            changed = {name for name, what in plan.of.items() if self.plans[name].what != what}
            assert not changed, f"{column} ({plan.what}) was not made before {changed} changed"
            self.need(*plan.of)
            self.passes.begin(column, self.run)
            plan.make()
            self.passes.note(column, self.note(plan.what))

    @contextmanager
    def passing(self, stage: str) -> Iterator[None]:
        """Passes over the rows are told as this stage's."""
        self.passes.tell = lambda done: self.tell(stage, done)
        try:
            yield
        finally:
            self.passes.tell = None
