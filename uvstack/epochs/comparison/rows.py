"""The tables of a comparison: one row an epoch and measure, and one row a match."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack
from astropy.time import Time

from uvstack.epochs.comparison.matched import Matched
from uvstack.epochs.comparison.trends import binned, field_offsets, lines

_A, _B = "in the epoch (S_a)", "in the combined map (S_b)"
#: Columns of comparison.ecsv: unit and meaning.
COMPARISON: dict[str, tuple[u.UnitBase | None, str]] = {
    "epoch": (None, "Number of the epoch, from 1, as given"),
    "image": (None, "Its image or catalogue"),
    "time": (None, "DATE-OBS, UTC; empty where it is not known"),
    "measure": (None, "Flux that is compared: total, peak, or of the island"),
    "n_epoch": (None, "Sources of the epoch"),
    "n_combined": (None, "Sources of the combined map"),
    "n_matched": (None, "Matches of both, one to one"),
    "n_used": (None, "Matches that count in the statistics"),
    "n_not_positive": (None, "Matches left out because S_a is not above 0"),
    "n_not_finite": (None, "Matches left out because a flux or its noise is not finite"),
    "median_ratio": (None, "Median of R = S_b/S_a, combined map over epoch: below 1 the combined "
                           "map is fainter (equation 12)"),
    "median_ratio_error": (None, "Standard deviation of median_ratio"),
    "mad": (None, "Median absolute deviation of R = S_b/S_a (equation 13)"),
    "mean_percent_difference": (None, "Mean of 100 max(|S_a − S_b| − σ, 0)/S_a (equation 9)"),
    "mean_percent_uncertainty": (None, "Mean of 100 σ/S_a (equation 10)"),
    "flux_scale": (None, "Multiply the epoch with it to bring it to the combined map: median of "
                         "S_b/S_a of the sources that are bright in the epoch"),
    "flux_scale_error": (None, "Standard deviation of flux_scale"),
    "n_flux_scale": (None, "Sources of flux_scale"),
    "flux_slope": (None, "Change of R for ten times the flux, of bright sources"),
    "flux_slope_error": (None, "Standard deviation of flux_slope"),
    "gradient_east": (u.deg**-1, "Change of R per degree to the east, of bright sources"),
    "gradient_east_error": (u.deg**-1, "Standard deviation of gradient_east"),
    "gradient_north": (u.deg**-1, "Change of R per degree to the north, of bright sources"),
    "gradient_north_error": (u.deg**-1, "Standard deviation of gradient_north"),
    "offset_east": (u.arcsec, "Median of epoch less combined map, to the east on the sky: move the "
                              "epoch by minus this to bring it to the combined map"),
    "offset_east_error": (u.arcsec, "Standard deviation of offset_east"),
    "offset_east_scatter": (u.arcsec, "1.4826 MAD of single offsets to the east"),
    "offset_north": (u.arcsec, "Median of epoch less combined map, to the north"),
    "offset_north_error": (u.arcsec, "Standard deviation of offset_north"),
    "offset_north_scatter": (u.arcsec, "1.4826 MAD of single offsets to the north"),
}


def comparison_table(found: Sequence[Matched], least_snr: float) -> QTable:
    """Statistics of the appendix, flux scales, trends and offsets: one row an epoch and measure."""
    rows = []
    for number, one in enumerate(found, 1):
        offset = one.offset()
        for measure, pair in one.pairs.items():
            scale, error, n = one.flux_scale(measure, least_snr)
            rows.append({"epoch": number, "image": one.epoch.name, "time": time_text(one),
                         "measure": measure, "n_epoch": len(one.epoch),
                         "n_combined": len(one.combined), "n_matched": len(one),
                         **pair.agreement.statistics(), "flux_scale": scale,
                         "flux_scale_error": error, "n_flux_scale": n,
                         **lines(one, measure, least_snr), **offset})
    table = QTable()
    for name, (unit, meaning) in COMPARISON.items():
        values = np.array([row[name] for row in rows])
        if unit is not None:
            inside = u.rad if unit.is_equivalent(u.rad) else u.rad**-1
            values = (values * inside).to(unit)
        table[name] = values
        table[name].info.description = meaning
    return table


def time_text(found: Matched) -> str:
    """When the epoch was observed, UTC; empty where it is not known."""
    time = found.epoch.time
    return "" if time is None else str(Time(time, format="mjd", scale="utc").isot)


def match_table(found: Sequence[Matched]) -> QTable:
    """Matched sources of all epochs with both fluxes of each measure; NaN is not known."""
    return vstack([_matches(number, one) for number, one in enumerate(found, 1)],
                  metadata_conflicts="silent")


def _matches(number: int, one: Matched) -> QTable:
    epoch, combined = one.epoch, one.combined
    columns = {
        "epoch": (np.full(len(one), number), "Number of the epoch, from 1"),
        "source_epoch": (epoch.label[one.of_epoch], f"Name of the source {_A}"),
        "source_combined": (combined.label[one.of_combined], f"Name of the source {_B}"),
        "ra": (np.rad2deg(combined.ra[one.of_combined]) * u.deg, f"Right ascension {_B}, ICRS"),
        "dec": (np.rad2deg(combined.dec[one.of_combined]) * u.deg, f"Declination {_B}, ICRS"),
        "separation": (_arcsec(np.hypot(one.east, one.north)), "Distance of both places"),
        "offset_east": (_arcsec(one.east), "Epoch less combined map, to the east on the sky"),
        "offset_east_error": (_arcsec(one.east_error), "Standard deviation of offset_east"),
        "offset_north": (_arcsec(one.north), "Epoch less combined map, to the north"),
        "offset_north_error": (_arcsec(one.north_error), "Standard deviation of offset_north"),
        **{f"field_{axis}": ((values * u.rad).to(u.arcmin), f"To the {axis} of the middle of all "
                                                            "sources of the combined map")
           for axis, values in zip(("east", "north"), field_offsets(one), strict=True)},
        "snr_epoch": (one.snr, "Peak in the combined map over the noise of the epoch")}
    for measure, pair in one.pairs.items():
        unit = u.Jy / u.beam if measure == "peak" else u.Jy
        columns |= {
            f"{measure}_epoch": (pair.epoch.flux * unit, f"Flux {_A}: {measure}"),
            f"{measure}_epoch_sigma": (pair.epoch.sigma * unit,
                                       "Its total uncertainty σ_a (equations 1 and 4)"),
            f"{measure}_combined": (pair.combined.flux * unit, f"Flux {_B}: {measure}"),
            f"{measure}_combined_sigma": (pair.combined.sigma * unit,
                                          "Its total uncertainty σ_b (equations 1 and 4)"),
            f"{measure}_ratio": (pair.agreement.ratio, "R = S_b/S_a, combined map over epoch; NaN "
                                                       "where it is left out (equation 11)"),
            f"{measure}_percent_difference": (pair.agreement.percent_difference,
                                              "100 max(|S_a − S_b| − σ, 0)/S_a (equation 8)"),
            f"{measure}_percent_uncertainty": (pair.agreement.percent_uncertainty,
                                               "100 σ/S_a (in equation 10)")}
        if measure != "peak":
            columns |= {f"{measure}_beams_epoch": (pair.epoch.n_beams, f"N_beam {_A} (equation 2)"),
                        f"{measure}_beams_combined": (pair.combined.n_beams,
                                                      f"N_beam {_B} (equation 2)")}
    table = QTable({name: values for name, (values, _) in columns.items()})
    for name, (_, meaning) in columns.items():
        table[name].info.description = meaning
    table.meta["frame"] = "ICRS"
    return table


def _arcsec(values: np.ndarray) -> u.Quantity:
    return (values * u.rad).to(u.arcsec)


def trend_table(found: Sequence[Matched]) -> QTable:
    """Medians of R along flux and place, of all epochs."""
    return vstack([binned(one, number) for number, one in enumerate(found, 1)])
