"""What imaging gives back: the images with their beam and noise, a few lines for the terminal, a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from uvstack.image.grid import Grid
from uvstack.image.major_cycle import Cycle
from uvstack.image.restore import Beam
from uvstack.records import Provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ARCSEC = np.pi / 180 / 3600


@dataclass(frozen=True, eq=False)
class ImageResult:
    """Images of one run, all on one grid.

    Attributes
    ----------
    grid : Grid
    dirty, residual, image : ndarray (term, m, l)
        Jy/beam, of even noise in a mosaic; NaN where no pointing sees. `image` is restored, and its terms are Taylor
        coefficients; those of `dirty` and `residual` are sums with Taylor weights.
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
    beam : Beam
        Restoring beam, rad.
    reference_frequency : float
        Hz.
    noise, rms : float
        Of the residual's term 0, Jy/beam: 1.4826 times the median absolute deviation, and the root mean square.
    noise_expected : float
        From the weights, if they are 1/σ² in Jy, Jy/beam.
    n_visibilities, n_not_finite : int
        Used (hands that are averaged count once); unflagged and NaN or infinite.
    stop_reason : str
        A key of `uvstack.image.major_cycle.STOP_REASONS`.
    n_cycles, n_iterations : int
    history : tuple of Cycle
    model_is : {"apparent", "sky"}
    files : dict
        Product → path, empty where nothing was written.
    provenance : Provenance
    """

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

    def summary(self) -> dict[str, Any]:
        """Numbers and provenance as JSON takes them."""
        where = self.grid.geometry
        return {
            "shape": list(self.grid.shape), "ra_deg": float(np.rad2deg(where.ra)), "dec_deg": float(np.rad2deg(where.dec)),
            "cell_arcsec": where.cell_m / _ARCSEC, "reference_frequency_hz": self.reference_frequency,
            "beam": {"fwhm_major_arcsec": self.beam.fwhm_major / _ARCSEC, "fwhm_minor_arcsec": self.beam.fwhm_minor / _ARCSEC,
                     "position_angle_deg": float(np.rad2deg(self.beam.position_angle))},
            "noise_jy_per_beam": self.noise, "rms_jy_per_beam": self.rms, "noise_expected_jy_per_beam": self.noise_expected,
            "model_flux_jy": float(self.model[0].sum()), "model_is": self.model_is, "n_visibilities": self.n_visibilities,
            "n_not_finite": self.n_not_finite, "stop_reason": self.stop_reason, "n_cycles": self.n_cycles,
            "n_iterations": self.n_iterations, "history": [_plain(vars(row)) for row in self.history], "files": self.files,
            "provenance": vars(self.provenance)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN."""
    return {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()}


def print_summary(result: ImageResult) -> str:
    """Beam, noise, model and how the deconvolution ended, in a few lines."""
    beam = result.beam
    major, minor = beam.fwhm_major / _ARCSEC, beam.fwhm_minor / _ARCSEC
    peak = np.unravel_index(np.nanargmax(result.image[0]), result.image[0].shape)
    lines = [
        ("image", f"{result.grid.shape[1]} × {result.grid.shape[0]} pixels of {result.grid.geometry.cell_m / _ARCSEC:.4g} arcsec"),
        ("beam", f"{major:.4g} × {minor:.4g} arcsec at {np.rad2deg(beam.position_angle):.1f}°"),
        ("frequency", f"{result.reference_frequency / 1e9:.6g} GHz, {result.n_visibilities} visibilities"),
        ("peak", f"{result.image[0][peak]:.4g} Jy/beam at pixel ({peak[0]}, {peak[1]})"),
        ("noise", f"{result.noise:.3g} Jy/beam (rms {result.rms:.3g}, expected from the weights {result.noise_expected:.3g})"),
        ("model", f"{result.model[0].sum():.5g} Jy in {np.count_nonzero(result.model[0])} pixels ({result.model_is})"),
        ("stopped", f"{result.stop_reason}, after {result.n_cycles} cycles and {result.n_iterations} iterations")]
    return "\n".join(f"{name:<12} {text}" for name, text in lines)


def image_figure(result: ImageResult) -> Figure:
    """Restored image, residual and psf beside each other; the first two from −4 to 20 times the noise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.6), layout="constrained")
    axes = figure.subplots(1, 3)
    n_m, n_l = result.grid.shape
    edges = _edges(result.grid)
    noise = result.noise if result.noise > 0 else float(np.nanmax(np.abs(result.image[0]))) / 100 or 1.0
    scale, name = (1e6, "µJy") if noise < 1e-4 else (1e3, "mJy")
    for axis, title, data, limits in (
            (axes[0], "image", scale * result.image[0], (-4 * scale * noise, 20 * scale * noise)),
            (axes[1], "residual", scale * result.residual[0], (-4 * scale * noise, 4 * scale * noise)),
            (axes[2], "psf", result.psf, (-0.1, 0.5))):
        step = max(1, max(n_m, n_l) // 1500)
        shown = axis.imshow(data[::step, ::step], origin="lower", extent=edges, cmap="inferno" if title != "residual" else "RdBu_r",
                            vmin=limits[0], vmax=limits[1], interpolation="nearest")
        axis.set_title(title)
        axis.set_xlabel("l (arcsec)")
        figure.colorbar(shown, ax=axis, label="" if title == "psf" else f"{name}/beam", shrink=0.85)
    axes[0].set_ylabel("m (arcsec)")
    _draw_beam(axes[0], result.beam, edges)
    return figure


def _edges(grid: Grid) -> tuple[float, float, float, float]:
    """Outer edges of the pixels, arcsec: left, right, bottom, top."""
    where = grid.geometry
    return tuple(float(x) / _ARCSEC for x in (
        grid.l[0] - where.cell_l / 2, grid.l[-1] + where.cell_l / 2, grid.m[0] - where.cell_m / 2,
        grid.m[-1] + where.cell_m / 2))  # type: ignore[return-value]


def _draw_beam(axis: Any, beam: Beam, edges: tuple[float, float, float, float]) -> None:
    from matplotlib.patches import Ellipse

    left, right, bottom, top = edges
    centre = (left + 0.06 * (right - left), bottom + 0.06 * (top - bottom))
    # East is to the left: along the axis of data, which falls, an angle from north through east is measured from +m to +l.
    axis.add_patch(Ellipse(centre, beam.fwhm_minor / _ARCSEC, beam.fwhm_major / _ARCSEC, angle=-np.rad2deg(beam.position_angle),
                           facecolor="none", edgecolor="white"))
