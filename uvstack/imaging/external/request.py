"""What an external imager is asked for and gives back, in our terms, and how its program is run.

An external imager gets what our own would get, said in its language, and its products come back on
our grid in our units. What it has no equal for is refused with what to use instead. The checks here
hold for every imager; each has more of its own.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from uvstack.constants import CORRELATIONS, PARALLEL_HANDS
from uvstack.deconvolution.clean import Components
from uvstack.deconvolution.major_cycle import (
    CleanSettings,
    Cycle,
    Deconvolved,
    cycle_threshold,
    sidelobe_level,
)
from uvstack.errors import ImageError, SelectionError
from uvstack.imaging.weighting import Weighting
from uvstack.pixels.grid import Grid
from uvstack.pixels.noise import robust_noise
from uvstack.records import Selection, Structure, UVRange
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import direction_cosines

_LOG = logging.getLogger(__name__)
#: Pixels that the middle of an image may lie beside a phase centre and still be said to be on it.
_ON_CENTRE = 0.01
#: Part of a model's peak below which a pixel is none of its components.
_ROUNDING = 1e-7


@dataclass(frozen=True, eq=False)
class ExternalRequest:
    """Images to make.

    Attributes
    ----------
    structures : tuple of Structure
        The measurement sets; they are read and never written to.
    selections : tuple of Selection
        Of each set: fields, spectral windows, times.
    columns : tuple of (str, str or None)
        Of each set: column, and column to subtract.
    centres : dict
        (set, field) → phase centre in J2000 and the position angle there of the north of the
        field's own frame, rad.
    grid : Grid
    weighting : Weighting
    settings : CleanSettings
    uv_range : UVRange
    terms : int
        Taylor terms of the spectrum.
    mask : ndarray (m, l) bool or None
    stokes : str
        "I" or one correlation.
    reference_frequency : float or None
        Hz; None leaves it to the imager.
    threads : int
    """

    structures: tuple[Structure, ...]
    selections: tuple[Selection, ...]
    columns: tuple[tuple[str, str | None], ...]
    centres: dict[tuple[int, int], tuple[float, float, float]]
    grid: Grid
    weighting: Weighting
    settings: CleanSettings
    uv_range: UVRange = UVRange()
    terms: int = 1
    mask: NDArray[np.bool_] | None = None
    stokes: str = "I"
    reference_frequency: float | None = None
    threads: int = 1

    @property
    def cleans(self) -> bool:
        """Whether there is anything to deconvolve, or the dirty image alone is wanted."""
        return self.settings.most_iterations > 0 and self.settings.most_cycles > 0

    @property
    def on_phase_centre(self) -> bool:
        """Whether the image touches the sky at the phase centre of all fields, north being north."""
        _, sky = self._offsets()
        turned = max(abs(centre[2]) for centre in self.centres.values()) * max(self.grid.shape) / 2
        return sky <= _ON_CENTRE and turned <= _ON_CENTRE

    def cycle_depth(self, psf: NDArray) -> float:
        """Part of the peak that the minor cycles of one major cycle may go down to, from a psf (m, l)."""
        return cycle_threshold(1.0, 0.0, sidelobe_level(psf), self.settings.cycle_factor)

    def field_ids(self, i: int) -> list[int]:
        """Fields of a set, in order."""
        return sorted(self.selections[i].field_ids)

    def window_ids(self, i: int) -> list[int] | None:
        """Spectral windows of a set in order; None where all are meant."""
        chosen = self.selections[i].data_description_ids
        descriptions = self.structures[i].data_descriptions
        there = {d.id for d in descriptions if d.spw.frequency.size}
        return None if chosen >= there else sorted({d.spw.id for d in descriptions
                                                    if d.id in chosen})

    def data_column(self, imager: str) -> str:
        """The one column of all sets.

        Raises
        ------
        ImageError
            It is a difference, or the sets differ.
        """
        if any(minus is not None for _, minus in self.columns):
            raise ImageError(f"{imager} images one column, not the difference "
                             f"{'-'.join(x for x in self.columns[0] if x)}; write it to a "
                             "column first with `uvstack subtract`, or use our own imager")
        if len({name for name, _ in self.columns}) > 1:
            raise ImageError(f"{imager} takes one column name for all sets; found are "
                             f"{sorted({n for n, _ in self.columns})}")
        return self.columns[0][0]

    def polarisation(self, imager: str) -> str:
        """"I" or the one parallel hand to image.

        Raises
        ------
        SelectionError
            The data or the imager know no such thing.
        """
        wanted = self.stokes.strip().upper()
        hands = {frozenset(CORRELATIONS[c] for c in d.correlations if c in PARALLEL_HANDS)
                 for s, chosen in zip(self.structures, self.selections, strict=True)
                 for d in s.data_descriptions if d.id in chosen.data_description_ids}
        if wanted != "I":
            if wanted not in {"RR", "LL", "XX", "YY"}:
                raise SelectionError(f"{imager} is asked for stokes={self.stokes!r}; it is run for "
                                     "I, RR, LL, XX or YY alone: use our own imager")
            if not all(wanted in found for found in hands):
                raise SelectionError(f"stokes={self.stokes!r} is not in every data description, "
                                     f"as {imager} wants; select with --spw")
            return wanted
        if len(hands) > 1:
            raise SelectionError("the data descriptions hold different hands, "
                                 f"{' and '.join('+'.join(sorted(h)) for h in hands)}, which "
                                 f"{imager} does not join; select with --spw, or use our own "
                                 "imager")
        found = sorted(next(iter(hands)))
        # The mean of one hand is that hand.
        return found[0] if len(found) == 1 and found != ["I"] else "I"

    def check(self, imager: str) -> None:
        """Refuse what no external imager does as ours.

        Raises
        ------
        ImageError
            A grid that is a part of another, a mosaic, weights that stand in SIGMA, negative
            components kept out.
        """
        where = self.grid.geometry
        if where.centre_l or where.centre_m or where.cell_l != -where.cell_m:
            raise ImageError(f"{imager} makes images of square cells about the point that they "
                             "touch; use our own imager for parts of them")
        spread, _ = self._offsets()
        if spread > 1.0:
            raise ImageError(f"{len(self.centres)} fields that point to different directions: "
                             f"{imager} makes no mosaics with our primary beams; use our "
                             "own imager, or one --field")
        for structure in self.structures:
            if structure.datasets is not None:
                raise ImageError(f"{structure.path}: made of datasets, and {imager} reads "
                                 "measurement sets alone; use our own imager")
            if structure.weight_source not in ("WEIGHT", "WEIGHT_SPECTRUM"):
                raise ImageError(f"{structure.path}: its weights are in {structure.weight_source}, "
                                 f"and {imager} reads WEIGHT; fill that, or use our own imager")

    def _offsets(self) -> tuple[float, float]:
        """How far apart the fields are, and how far the farthest is from the middle of the image, pixels."""
        where, first = self.grid.geometry, next(iter(self.centres.values()))
        ra, dec = np.array([centre[:2] for centre in self.centres.values()]).T
        return tuple(float(np.hypot(*direction_cosines(ra, dec, *middle)[:2]).max()) / where.cell_m
                     for middle in (first[:2], (where.ra, where.dec)))  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class ExternalImages:
    """What came back, oriented as our images.

    Attributes
    ----------
    dirty, residual, image : ndarray (term, m, l)
        Jy/beam; with terms as in `uvstack.imaging.result.ImageResult`.
    model : ndarray (term, m, l)
        Jy/pixel, as seen through the primary beam.
    psf : ndarray (2·term − 1, m, l)
        Peak 1 in pixel (n_m // 2, n_l // 2).
    beam : Beam
        Restoring beam, rad.
    reference_frequency : float
        Hz.
    n_iterations, n_cycles : int
    stop_reason : str
        A key of `uvstack.deconvolution.major_cycle.STOP_REASONS`.
    version, command : str
        Of the program, for the provenance: what was run, to the letter.
    alpha, alpha_error : ndarray (m, l) or None
        Spectral index of the imager where there are terms; NaN where it gives none.
    """

    dirty: NDArray
    psf: NDArray
    residual: NDArray
    model: NDArray
    image: NDArray
    beam: Beam
    reference_frequency: float
    n_iterations: int
    n_cycles: int
    stop_reason: str
    version: str
    command: str
    alpha: NDArray | None = None
    alpha_error: NDArray | None = None

    #: A residual whose peak has grown by this has diverged.
    DIVERGENCE: ClassVar[float] = CleanSettings.divergence

    def __post_init__(self) -> None:
        # WSClean gives back what has diverged as if it were an image.
        last, first = np.abs(self.residual).max(), np.abs(self.dirty).max()
        if not (np.isfinite(self.model).all() and last <= self.DIVERGENCE * first):
            object.__setattr__(self, "stop_reason", "diverged")

    def deconvolved(self, mask: NDArray[np.bool_] | None = None) -> Deconvolved:
        """The same as our own CLEAN gives it back.

        History of the beginning and the end, components from the pixels of the model.
        """
        allowed = np.ones(self.model.shape[1:], np.bool_) if mask is None else mask
        rows = [_cycle(0, 0, self.dirty, np.zeros_like(self.model), allowed)]
        if self.n_cycles:
            rows.append(_cycle(self.n_cycles, self.n_iterations, self.residual, self.model,
                               allowed))
        # WSClean makes wide components by transforms, which leave rounding in every pixel.
        m, l = np.nonzero((np.abs(self.model) > _ROUNDING * np.abs(self.model).max()).any(axis=0))
        components = Components(m.astype(np.int64), l.astype(np.int64), np.zeros(m.size),
                                self.model[:, m, l].T.astype(np.float64))
        return Deconvolved(self.model, self.residual, allowed, self.n_cycles, self.n_iterations,
                           self.stop_reason, tuple(rows), len(rows) - 1,
                           sidelobe_level(self.psf[0]), (components,))


def _cycle(cycle: int, iterations: int, residual: NDArray, model: NDArray,
           mask: NDArray[np.bool_]) -> Cycle:
    flat = residual[0]
    return Cycle(cycle=cycle, iterations=iterations,
                 peak=float(np.abs(flat).max(where=mask, initial=0.0)),
                 peak_anywhere=float(np.abs(flat).max()),
                 rms=float(np.sqrt(np.mean(np.square(flat)))), noise=robust_noise(flat),
                 flux=float(model[0].sum()), masked=int(np.count_nonzero(mask)))


def run_program(command: list[str], folder: Path,
                environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit status and all output of a program that is run in a folder of its own."""
    _LOG.info("%s", shlex.join(command))
    done = subprocess.run(command, cwd=folder, env=os.environ | (environment or {}),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def failure(imager: str, status: int, line: str) -> ImageError:
    """The error of a program that failed, with the line of its output that says why."""
    killed = f" (killed by signal {-status}; out of memory?)" if status < 0 else ""
    return ImageError(f"{imager} failed{killed}: {' '.join(line.split()) or 'it says nothing'}")
