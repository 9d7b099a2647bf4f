"""What stages of a run have found so far, and the gains that follow from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from peel.bright_files import BrightFit
from peel.gains import Cell, Gain, Key, Solved
from peel.visits import Visit


@dataclass(frozen=True, eq=False)
class Known:
    """What stages have found so far.

    Attributes
    ----------
    fits : tuple of BrightFit
    selfcal : tuple of Solved
        Self-calibration, and the field solves of the rounds before the last.
    field : Solved or None
    joint : tuple of Solved
        One, or one for each direction in its turn.
    alone : Solved or None
        J of the fields and windows whose joint solve failed somewhere: it stands in that one's
        place.
    start : Known or None
        What was known before this round: models are seen through its gains of the bright directions, and
        those of the joint solve are what these are to be multiplied by. A solver that starts from 1
        does not find gains of antennas near a null, whose signs differ.
    chi_squared : mapping
        Solve → field and window → reduced χ² before and after.
    """

    fits: tuple[BrightFit, ...] = ()
    selfcal: tuple[Solved, ...] = ()
    joint: tuple[Solved, ...] = ()
    field: Solved | None = None
    alone: Solved | None = None
    start: Known | None = None
    chi_squared: Mapping[str, Mapping[Key, tuple[float, float]]] = dataclasses.field(default_factory=dict)

    def refused(self, key: Key) -> bool:
        """Whether no gains of bright directions have lowered χ² of a field and window."""
        return any(key in one.refused for one in self.joint) and (
            self.start is None or self.start.refused(key))

    def not_used(self) -> list[tuple[str, str, frozenset[Key]]]:
        """Gains that were found and are not used: "warning" or "advice", in words, fields and windows."""
        joint = frozenset().union(*(one.refused for one in self.joint))
        none = frozenset(key for key in joint if self.refused(key))
        field = frozenset() if self.field is None else self.field.refused
        return [
            ("warning", "self-calibration did not lower χ², and is not used",
             self.selfcal[0].refused if self.selfcal else frozenset()),
            ("warning", "gains did not lower χ², and were not used; the data stay as they were", none),
            ("advice", "gains of the bright directions of the last round did not lower χ²: those of the round before "
             "stand", joint - none),
            ("advice", "gains of the field alone lowered χ² by no more than noise does, and are not used", field)]

    @property
    def next_frame(self) -> str:
        """Frame of `of_bright` that the data of the next solves are in."""
        return "calibrated" if self.field is None else "field"

    def scales(self) -> dict[Key, float]:
        """Root of the reduced χ² of each field and window, by the last that is known of it."""
        return {key: float(np.sqrt(after)) for told in self.chi_squared.values()
                for key, (_, after) in told.items()}

    def of_selfcal(self, cell: Cell, n_times: int) -> Gain:
        """S; 1 where it is not known."""
        total = Gain.none(n_times)
        for one in self.selfcal:
            total = total.times(one.of_field(cell, n_times).or_one())
        return replace(total, failed=np.zeros_like(total.failed))

    def of_joint(self, cell: Cell, n_times: int, direction: int = 0) -> Gain:
        """G K of the solve that a direction belongs to."""
        turn = min(direction, len(self.joint) - 1)
        if turn < 0:
            return Gain.none(n_times)
        return self.joint[turn].of_field(cell, n_times).or_one()

    def of_bright(self, direction: int, cell: Cell, n_times: int, frame: str = "data") -> Gain:
        """B of a direction; failed where its own gain is.

        In the frame of the "data", of those that are "calibrated" by S: S⁻¹ B, or of the "field":
        T⁻¹ B.
        """
        turn = min(direction, len(self.joint) - 1)
        gain = self.of_selfcal(cell, n_times)
        if self.alone is None or cell not in self.alone.cells:
            gain = gain.times(self.of_joint(cell, n_times, direction))
        if turn >= 0:
            gain = gain.times(self._own(direction, cell, n_times))
        if self.start is not None:
            before = self.start.of_bright(direction, cell, n_times, self.start.next_frame)
            gain = gain.times(replace(before, failed=np.zeros_like(before.failed)))
        if frame == "data":
            return gain
        off = (self.of_selfcal if frame == "calibrated" else self.of_field)(cell, n_times).inverse()
        return gain.times(replace(off, failed=np.zeros_like(off.failed)))

    def _own(self, direction: int, cell: Cell, n_times: int) -> Gain:
        """J or dE of a direction."""
        solved = self.joint[min(direction, len(self.joint) - 1)]
        if self.alone is not None and cell in self.alone.cells:
            solved = self.alone
        return solved.of_direction(cell, direction, n_times).or_one()

    def failed(self, visit: Visit) -> bool:
        """Whether a gain of the joint solve failed somewhere in a visit."""
        cells = {(visit.field.id, visit.window.id, scan): times.size
                 for scan, times in visit.times.items()}
        return any(bool(gain.failed.any()) for solved in self.joint for cell, n in cells.items()
                   if cell in solved.cells for gain in (
                       solved.of_field(cell, n),
                       *(solved.of_direction(cell, one, n)
                         for one in solved.directions[cell])))

    def of_field(self, cell: Cell, n_times: int) -> Gain:
        """T.

        Where the field is too faint for gains, S alone: those of the joint solve are then of the
        bright direction, which has them and its own only as a product.
        """
        gain = self.of_joint(cell, n_times) if self.field is None else self.field.of_field(
            cell, n_times).or_one()
        return self.of_selfcal(cell, n_times).times(gain)
