"""What a fit returns: parameters with their errors, and how it came to them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from uvstack.fitting.model.model import ARCSEC, FLUX, MAJOR, Model, numbers_at
from uvstack.fitting.model.variables import kinds_of, unit_of
from uvstack.records import Provenance
from uvstack.report.files import Saved, json_file

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure

    from uvstack.fitting.data.inspection import UVProfile
    from uvstack.report.page import Section


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Saved):
    """Result of a fit.

    Attributes
    ----------
    parameters : ndarray (par,)
        In the units in which the expressions are written.
    errors : ndarray (par,)
        Standard deviations; 0 at a bound, NaN where degenerate. Of a size of less than 10 errors:
        half the length of its interval of 68 %, and where it is unresolved the distance to the
        upper end.
    covariance : ndarray (par, par)
    chi_squared : float
    reduced_chi_squared : float
        χ² over 2 n_visibilities − n_par: real and imaginary part are two measurements. With tapered
        weights over `weighted_degrees_of_freedom`: what the errors use.
    n_visibilities : int
    errors_scaled : bool
        Whether errors were multiplied by the square root of the reduced χ².
    stop_reason : str
    converged : bool
    n_passes : int
        Passes over the data.
    n_starts : int
        Starting values that were refined before the best was taken; 0 where they were given.
    next_chi_squared : float or None
        χ² of the next best minimum among these, about; None where all came to the same.
    elsewhere : str
        Which other starting values lead to a much lower χ² than those given; "" if a quick look
        found none.
    method : str
        "exact", or "binned" with the bound on what binning changed.
    binning_error : float
        Bound on the change of any parameter by binning, in its errors; 0 for "exact".
    intervals_68, intervals_95 : dict of str to (float, float)
        Lower and upper end of the size's interval that holds the truth so often, resolved or not:
        see `uvstack.fitting.solve.intervals`.
    upper_limits : dict of str to float
        Upper ends of the intervals of 95 % that begin with 0: these sizes are not resolved.
    degenerate : str
        Which parameters are not determined; "" if all are.
    model : Model
    frequency : float
        Hz, at which `flux` and `fwhm` hold: the nu0 of the expressions.
    bootstrap : ndarray (n, par) or None
        Parameters of resampled data.
    samples : ndarray (n, par) or None
        Of the posterior, where a Bayesian fit was asked for.
    profile : UVProfile or None
        Data and model against uv distance; results of `uvstack.fit` have it.
    stokes : str
        What was fitted, "" where arrays were.
    band : tuple of float or None
        Lowest and highest frequency of the data, Hz, to the edges of their channels.
    weighted_degrees_of_freedom : float or None
        What the reduced χ² is taken over where weights are tapered or powers, and no inverse
        variances.
    provenance : Provenance or None
    estimator : str
        "likelihood", or "jeffreys" where the parameters are those of the highest likelihood × √F:
        see `uvstack.fitting.solve.penalty`.
    highest : (ndarray (par,), float) or None
        Parameters of the highest likelihood, and their χ², where others were taken.
    """

    REPORT = ("parameters.ecsv", "uv_profile.ecsv", "fit.png", "spectrum.png")

    parameters: np.ndarray
    errors: np.ndarray
    covariance: np.ndarray
    chi_squared: float
    n_visibilities: int
    stop_reason: str
    converged: bool
    n_passes: int
    model: Model
    errors_scaled: bool = False
    method: str = "exact"
    binning_error: float = 0.0
    upper_limits: dict[str, float] = field(default_factory=dict)
    intervals_68: dict[str, tuple[float, float]] = field(default_factory=dict)
    intervals_95: dict[str, tuple[float, float]] = field(default_factory=dict)
    degenerate: str = ""
    bootstrap: np.ndarray | None = None
    samples: np.ndarray | None = None
    profile: UVProfile | None = None
    stokes: str = ""
    band: tuple[float, float] | None = None
    weighted_degrees_of_freedom: float | None = None
    provenance: Provenance | None = None
    n_starts: int = 0
    next_chi_squared: float | None = None
    elsewhere: str = ""
    estimator: str = "likelihood"
    highest: tuple[np.ndarray, float] | None = None

    @property
    def most_likely(self) -> np.ndarray:
        """Parameters (par,) of the highest likelihood."""
        return self.parameters if self.highest is None else self.highest[0]

    @property
    def lowest_chi_squared(self) -> float:
        """χ² of these."""
        return self.chi_squared if self.highest is None else self.highest[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.model.names

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each parameter is, "flux", "fwhm" …, as far as it stands by itself in the variables.

        Else "".
        """
        return kinds_of(self.model)

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each parameter, "" where it has none or that cannot be told."""
        return tuple(unit_of(kind) for kind in self.kinds)

    @property
    def degrees_of_freedom(self) -> int:
        """2 n_visibilities − n_par."""
        return 2 * self.n_visibilities - self.parameters.size

    @property
    def reduced_chi_squared(self) -> float:
        """χ² over the degrees of freedom."""
        of_weights = self.weighted_degrees_of_freedom
        return self.chi_squared / (max(self.degrees_of_freedom, 1) if of_weights is None
                                   else of_weights)

    @property
    def correlation(self) -> np.ndarray:
        """Correlation matrix of the parameters, (par, par)."""
        sigma = np.sqrt(np.diag(self.covariance))
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.covariance / np.outer(sigma, sigma)

    @property
    def frequency(self) -> float:
        """nu0, Hz."""
        return self.model.nu0

    @property
    def flux(self) -> float:
        """Flux of the first component at nu0, Jy."""
        return self._number(FLUX)[0]

    @property
    def flux_error(self) -> float:
        """Its error, Jy."""
        return self._number(FLUX)[1]

    @property
    def fwhm(self) -> float:
        """Major axis (FWHM of a Gaussian, diameter of a disc) of the first component at nu0, rad."""
        return self._number(MAJOR)[0] * ARCSEC

    @property
    def fwhm_error(self) -> float:
        """Its error, rad."""
        return self._number(MAJOR)[1] * ARCSEC

    @property
    def bootstrap_errors(self) -> np.ndarray | None:
        """Standard deviations (par,) of the resampled parameters."""
        return None if self.bootstrap is None else np.std(self.bootstrap, axis=0, ddof=1)

    def summary(self) -> dict[str, Any]:
        """Everything but the profile, as numbers and texts that JSON can hold."""
        from uvstack.fitting.report import summary

        return summary(self)

    def figure(self) -> Figure:
        """Picture of data and model against uv distance, residuals and correlations."""
        from uvstack.fitting.report import fit_figure

        return fit_figure(self)

    def as_section(self) -> Section:
        """Of the page of what it was fitted to, with fit.png and fit.json."""
        return replace(self.overview(), figures={"fit": self.figure()},
                       files={"fit.json": json_file(self.summary())})

    def overview(self) -> Section:
        """What was fitted, parameters with errors, goodness of fit, how it ended."""
        from uvstack.fitting.report import overview

        return overview(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.fitting.report import sections

        return sections(self)

    def tables(self) -> dict[str, Table]:
        """The parameters, and the uv profile where there is one."""
        from uvstack.fitting.report import parameter_table

        return {"parameters": parameter_table([self])} | ({} if self.profile is None
                                                          else {"uv_profile": self.profile.table()})

    def __repr__(self) -> str:
        from uvstack.fitting.report import parameter_rows

        found = ", ".join(f"{name} {text} {unit}".rstrip()
                          for name, text, unit in parameter_rows(self))
        return f"<FitResult: {found}; reduced χ² {self.reduced_chi_squared:.3f}{'' if self.converged else '; not converged'}>"

    def _number(self, which: int) -> tuple[float, float]:
        """A number of the first component in the user's unit, and its error by the chain rule."""
        numbers = numbers_at(self.model, self.parameters, np.array([self.model.nu0]), np.zeros(1))
        unit = ARCSEC if which == MAJOR else 1.0
        slope = numbers.slopes[0, 0, which, :, 0] / unit
        used = slope != 0
        covariance = np.where(np.outer(used, used), self.covariance, 0.0)
        return float(numbers.values[0, 0, which, 0]
                     / unit), float(np.sqrt(slope @ covariance @ slope))


class FitSpectrum(Saved, list[FitResult]):
    """Fits of channels, a list of them."""

    REPORT = FitResult.REPORT

    @property
    def provenance(self) -> Provenance | None:  # type: ignore[override]
        """That of all fits."""
        return self[0].provenance if self else None

    def summary(self) -> list[dict[str, Any]]:
        """That of each fit."""
        return [one.summary() for one in self]

    def overview(self) -> Section:
        """A line for each fit."""
        from uvstack.fitting.report import overview_of_channels

        return overview_of_channels(self)

    def sections(self) -> list[Section]:
        """What the page of `report` shows."""
        from uvstack.fitting.report import sections_of_channels

        return sections_of_channels(self)

    def tables(self) -> dict[str, Table]:
        """The parameters, a row for each fit."""
        from uvstack.fitting.report import parameter_table

        return {"parameters": parameter_table(self)}

    def figure(self) -> Figure:
        """Picture of the parameters against frequency."""
        from uvstack.fitting.report import spectrum_figure

        return spectrum_figure(self)
