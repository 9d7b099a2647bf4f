"""What imaging gives back: the images with their beam and noise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import QTable, vstack
from numpy.typing import NDArray

from uvstack.deconvolution.major_cycle import Cycle
from uvstack.pixels.grid import Grid
from uvstack.records import Provenance, plain
from uvstack.report.files import Saved
from uvstack.sky.beam import Beam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from uvstack.report.page import Section

#: Attributes of `ImageResult` that are images, or None.
IMAGES = ("dirty", "residual", "image", "model", "psf", "pbcor", "response", "alpha", "alpha_error",
          "curvature", "curvature_error")

#: Of the numbers of a cycle, at the end of keys in JSON.
_UNITS = {"flux": "_jy"} | dict.fromkeys(("peak", "peak_anywhere", "rms", "noise", "threshold"),
                                         "_jy_per_beam")


@dataclass(frozen=True, eq=False, repr=False)
class ImageResult(Saved):
    """Images of one plane, all on one grid.

    Attributes
    ----------
    grid : Grid
    dirty, residual, image : ndarray (term, m, l)
        Jy/beam, of even noise in a mosaic; NaN where no pointing sees. `image` is restored, and its
        terms are Taylor coefficients; those of `dirty` and `residual` are sums with Taylor weights.
    model : ndarray (term, m, l)
        Jy/pixel: as seen through the primary beam for one pointing, the sky itself for a mosaic.
    psf : ndarray (m, l)
        Peak 1, of the size of the image.
    pbcor : ndarray (term, m, l) or None
        Corrected for the primary beam, Jy/beam.
    response : ndarray (m, l) or None
        Power of the primary beam, or of the mosaic.
    alpha, alpha_error : ndarray (m, l) or None
        Spectral index where there are two terms or more.
    curvature, curvature_error : ndarray (m, l) or None
        β of I0 (ν/ν0)^(α + β ln(ν/ν0)) where there are three.
    beam : Beam
        Restoring beam, rad.
    reference_frequency : float
        Hz.
    noise, rms : float
        Of the residual's term 0, Jy/beam: 1.4826 times the median absolute deviation, and the root
        mean square.
    noise_expected : float
        From the weights, if they are 1/σ² in Jy, Jy/beam.
    n_visibilities, n_not_finite : int
        Used (hands that are averaged count once); unflagged and NaN or infinite.
    stop_reason : str
        A key of `uvstack.deconvolution.major_cycle.STOP_REASONS`.
    n_cycles, n_iterations : int
    history : tuple of Cycle
    model_is : {"apparent", "sky"}
    files : dict
        Product → path, empty where nothing was written.
    provenance : Provenance
    stokes : str
    band : (float, float)
        From the lower edge of the lowest to the upper edge of the highest channel, Hz.
    date : str
        UTC of the first visibility, ISO 8601.
    spectral_frame : str
        That of the frequencies, as SPECSYS of FITS has it; empty where it is not known.
    lists : dict
        "components", those of the model, and "history", a row for each cycle.
    mask : ndarray (m, l) bool or None
        Where components could be in the last cycle.
    """

    REPORT = ("history.ecsv", "image.png", "alpha.png", "convergence.png")

    grid: Grid
    dirty: NDArray
    residual: NDArray
    image: NDArray
    model: NDArray
    psf: NDArray
    pbcor: NDArray | None
    response: NDArray | None
    alpha: NDArray | None
    alpha_error: NDArray | None
    beam: Beam
    reference_frequency: float
    noise: float
    rms: float
    noise_expected: float
    n_visibilities: int
    n_not_finite: int
    stop_reason: str
    n_cycles: int
    n_iterations: int
    history: tuple[Cycle, ...]
    model_is: str
    provenance: Provenance
    files: dict[str, str] = field(default_factory=dict)
    stokes: str = "I"
    band: tuple[float, float] = (0.0, 0.0)
    date: str = ""
    spectral_frame: str = ""
    lists: dict[str, QTable] = field(default_factory=dict)
    mask: NDArray[np.bool_] | None = None
    curvature: NDArray | None = None
    curvature_error: NDArray | None = None

    def overview(self) -> Section:
        """Peak, beam, noise, model and how the deconvolution ended."""
        from uvstack.imaging.report import overview

        return overview(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.imaging.report import sections

        return sections(self)

    def tables(self) -> dict[str, QTable]:
        """The major cycles."""
        return {"history": self.lists["history"]} if "history" in self.lists else {}

    def figure(self) -> Figure:
        """Picture of restored image, residual and psf."""
        from uvstack.imaging.report import image_figure

        return image_figure(self)

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        return _summary_of_grid(self.grid) | self.numbers() | {"files": self.files,
                                                               "provenance": vars(self.provenance)}

    def numbers(self) -> dict[str, Any]:
        """What is this plane's own, as JSON takes it."""
        return plain({"stokes": self.stokes, "reference_frequency_hz": self.reference_frequency,
                      "band_hz": list(self.band), "spectral_frame": self.spectral_frame,
                      "beam": {"fwhm_major_rad": self.beam.fwhm_major,
                               "fwhm_minor_rad": self.beam.fwhm_minor,
                               "position_angle_rad": self.beam.position_angle},
                      "noise_jy_per_beam": self.noise, "rms_jy_per_beam": self.rms,
                      "noise_expected_jy_per_beam": self.noise_expected,
                      "model_flux_jy": float(self.model[0].sum()), "model_is": self.model_is,
                      "n_visibilities": self.n_visibilities, "n_not_finite": self.n_not_finite,
                      "stop_reason": self.stop_reason, "n_cycles": self.n_cycles,
                      "n_iterations": self.n_iterations,
                      "history": [{name + _UNITS.get(name, ""): value
                                   for name, value in vars(row).items()} for row in self.history]})


@dataclass(frozen=True, eq=False, repr=False)
class ImageCube(Saved):
    """Planes of several Stokes parameters or frequencies, all on one grid.

    Attributes
    ----------
    grid : Grid
    stokes : tuple of str
    frequency : ndarray (chan,)
        Centres of the steps of the axis, Hz; the mean of the data in a plane is its
        `reference_frequency`.
    width : float
        Of a step, Hz.
    planes : tuple of ImageResult or None
        The channel runs fastest: plane (stokes, chan) is planes[stokes × n_chan + chan]. None where
        there are no data. Images are in single precision.
    provenance : Provenance
    files : dict
        Product → path, empty where nothing was written.
    """

    REPORT = ImageResult.REPORT

    grid: Grid
    stokes: tuple[str, ...]
    frequency: NDArray
    width: float
    planes: tuple[ImageResult | None, ...]
    provenance: Provenance
    files: dict[str, str] = field(default_factory=dict)

    @property
    def made(self) -> tuple[ImageResult, ...]:
        """The planes that there are data for."""
        return tuple(plane for plane in self.planes if plane is not None)

    @property
    def model_is(self) -> str:
        """As in `ImageResult`."""
        return self.made[0].model_is

    @property
    def spectral_frame(self) -> str:
        """As in `ImageResult`."""
        return self.made[0].spectral_frame

    def plane(self, stokes: str, channel: int = 0) -> ImageResult | None:
        """One plane, None where there are no data."""
        return self.planes[self.stokes.index(stokes) * len(self.frequency) + channel]

    def cube(self, name: str) -> NDArray[np.float32]:
        """Images of one kind, "image", "residual", "psf" …, (stokes, chan, m, l), NaN where there are no data; of terms the first."""
        blank = np.full(self.grid.shape, np.nan, np.float32)
        found = [blank if plane is None else _first(getattr(plane, name)) for plane in self.planes]
        return np.stack(found).astype(np.float32).reshape(len(self.stokes), len(self.frequency),
                                                          *self.grid.shape)

    def overview(self) -> Section:
        """A line for each plane."""
        from uvstack.imaging.report import overview_of_cube

        return overview_of_cube(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.imaging.report import sections_of_cube

        return sections_of_cube(self)

    def tables(self) -> dict[str, QTable]:
        """The major cycles of all planes."""
        return {"history": self.list_of("history")}

    def figure(self) -> Figure:
        """Picture of restored planes."""
        from uvstack.imaging.report import cube_figure

        return cube_figure(self)

    def list_of(self, name: str) -> QTable:
        """Components or cycles of all planes in one list, with columns that say of which."""
        parts = []
        for i, plane in enumerate(self.planes):
            if plane is None or name not in plane.lists:
                continue
            part = plane.lists[name].copy()
            stokes, channel = divmod(i, len(self.frequency))
            part.add_column(np.full(len(part), self.stokes[stokes]), name="stokes", index=0)
            part.add_column(np.full(len(part), channel), name="plane", index=1)
            parts.append(part)
        return vstack(parts, metadata_conflicts="silent") if parts else QTable()

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them.

        "planes" is a list in the order of `planes`, null where there are no data.
        """
        return _summary_of_grid(self.grid) | {"stokes": list(self.stokes),
                                              "frequency_hz": self.frequency.tolist(),
                                              "width_hz": self.width,
                                              "planes": [None if plane is None else plane.numbers()
                                                         for plane in self.planes],
                                              "files": self.files,
                                              "provenance": vars(self.provenance)}


def _first(images: NDArray) -> NDArray:
    return images[0] if images.ndim == 3 else images


def _summary_of_grid(grid: Grid) -> dict[str, Any]:
    where = grid.geometry
    return {"shape": list(grid.shape), "ra_rad": float(where.ra), "dec_rad": float(where.dec),
            "cell_rad": where.cell_m}
