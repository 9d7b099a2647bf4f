"""What all stages of a run share, and a note of which column holds what.

A column on the way is made of the data, of gains and of models by passes; the note says what it holds
once it does, so that a run that was ended makes only those again that are not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peel.directions import Direction
from peel.field_files import Frame, make_image
from peel.passes_files import Passes
from peel.quartical import Quartical
from peel.recipe import CALIBRATED, FIELD_MODEL, RESIDUAL, Settings, bright_columns
from uvstack.io.output import write_json

#: Folder, in that of the run, of what is needed on the way.
STEPS = "steps"
Tell = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Work:
    """What all stages share.

    Attributes
    ----------
    passes : Passes
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
    mask : ndarray (m, l) bool or None
        That was given for the field.
    """

    passes: Passes
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
    mask: NDArray[np.bool_] | None = None

    @property
    def bright(self) -> list[str]:
        """Columns of the bright models."""
        return bright_columns(len(self.directions))

    @property
    def scratch(self) -> list[str]:
        """Columns that go at the end."""
        return [CALIBRATED, FIELD_MODEL, *self.bright, RESIDUAL]

    def image(self, stage: str, column: str, name: str, **options: Any) -> Path:
        """An image of a column; its path."""
        self.tell(stage, 0.0)
        (self.folder / STEPS).mkdir(exist_ok=True)
        return make_image(self.frame, self.passes.structure, self.passes.selection, column,
                          self.folder / name, threads=self.threads,
                          progress=lambda done, n: self.tell(stage, done / n), **options)

    @contextmanager
    def holding(self, column: str, what: str) -> Iterator[bool]:
        """Whether a column must be written to hold something; noted once it does."""
        path = self.folder / STEPS / "columns.json"
        held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if held.get(column) == what and column in self.passes.existing([column]):
            yield False
            return
        self.forget([column])
        yield True
        write_json(path, {**held, column: what})

    def forget(self, columns: Sequence[str]) -> None:
        """Note that columns are about to change."""
        path = self.folder / STEPS / "columns.json"
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            write_json(path, {name: what for name, what in held.items() if name not in columns})

    @contextmanager
    def passing(self, stage: str) -> Iterator[None]:
        """Passes over the rows are told as this stage's."""
        self.passes.tell = lambda done: self.tell(stage, done)
        try:
            yield
        finally:
            self.passes.tell = None
