"""Where the table of `simulate.counts` for the 1.1 mm counts of Béthermin et al. (2012, ApJ 757, L23) comes from.

Two sources are read, each optional and neither part of this repository:

``--grid FILE``
    The authors' tabulation Bethermin2012model_grids.save, an IDL save file
    (irfu.cea.fr/dap/Phocea/Page/index.php?id=537; a copy is in pspipe_utils 1.0.1,
    data/radio_source/, sha256 cd2b2c037d0c…). Counts dN/dS/dz of all galaxies, lensed ones among
    them, in 16 passbands at 200 flux densities and 210 redshifts. The sum over redshift with the
    weights of `numpy.gradient` gives the authors' own text table of the band SCUBA850
    (SCUBA850_counts.txt of the same page; a copy is in github.com/cjhang/almacal,
    data/ModelsBethermin/) back to 0.11 %, 0.004 % in the median, up to 56 mJy. Prints the table,
    its difference from the one in the module, and the error of the module's curve between the
    nodes.
``--templates FOLDER``
    SED_ms.fits and SED_sb.fits, the templates of Magdis et al. (2012) as A. Conley distributes them
    (github.com/aconley/bethermin12_sim, bethermin12_sim/resources/). From these the model is
    integrated anew, without lensing and at one wavelength: a check of the tabulation by code that
    shares nothing with it. Prints the ratio of the two, and the ratio of flux densities at 1.1 and
    1.2 mm at equal counts, which scripts/picture_counts.py needs.

The model (equations 1 to 8 of the paper; Sargent et al. 2012): a Schechter mass function whose
density falls after z = 1; a main sequence of specific star formation rates, log-normal, rising as
(1 + z)³ up to z = 2.5; a second log-normal 0.6 dex above it for starbursts; star formation to
infrared luminosity after Kennicutt (1998), less what escapes in the ultraviolet; one template a
mode and mean radiation field <U>, which rises with redshift and has a scatter of 0.2 dex. Mass and
star formation rate enter the flux density only through the luminosity, whose distribution has the
same shape at all redshifts: it is made once a mode, and the integral left has two dimensions,
redshift and <U>. Takes 3 s.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulate.counts import counts

#: log10 S/Jy of the nodes; the tabulation starts at the third.
NODES = np.arange(-8.5, -1.2, 0.25)
_EXTRAPOLATED = 2
#: What the two modes differ in: boost and scatter of the sSFR (dex), <U> today, its power of 1 + z,
#: where it stops to rise.
_MODES = {"ms": (0.0, 0.15, 4.0, 1.3, 2.0), "sb": (0.6, 0.20, 35.0, 0.4, 3.1)}
_SCATTER_U = 0.2
_MPC_CM = 3.0857e24


def tabulated(path: Path, band: bytes = b"AzTEC") -> tuple[NDArray[np.float64], NDArray[np.float64],
                                                           NDArray[np.float64]]:
    """Flux densities (Jy), counts of all galaxies and of the strongly lensed (per sr and Jy) of a passband of the grids."""
    from scipy.io import readsav

    grid = readsav(str(path))
    index = list(grid["band"]).index(band)
    weight = np.gradient(grid["z"].astype(np.float64))[:, None]
    every, lensed = (np.sum(np.nan_to_num(grid[name][index].astype(np.float64)) * weight, axis=0)
                     for name in ("dndsnudz", "dndsnudz_lensed"))
    return grid["snu"].astype(np.float64), every, lensed


def nodes_of(flux: NDArray[np.float64], number: NDArray[np.float64]) -> NDArray[np.float64]:
    """log10 S^2.5 dN/dS at the nodes: every fifth point of the tabulation, and two more along its last slope."""
    curve = np.interp(NODES, np.log10(flux), np.log10(number * flux**2.5))
    slope = curve[_EXTRAPOLATED + 1] - curve[_EXTRAPOLATED]
    curve[:_EXTRAPOLATED] = curve[_EXTRAPOLATED] - slope * np.arange(_EXTRAPOLATED, 0, -1)
    return curve


def luminosities(mode: str, log_mass_from: float = 5.0) -> tuple[NDArray[np.float64],
                                                                 NDArray[np.float64]]:
    """log10 of the infrared luminosity (Lsun) at z = 0 and its number per dex, in units of the density of the mass function."""
    from scipy.signal import fftconvolve

    boost, scatter = _MODES[mode][:2]
    step = 2e-3
    log_l = np.arange(-12.0, 16.0, step)
    log_m = np.arange(log_mass_from, 13.5, 1e-3)
    x = 10.0 ** (log_m - 11.2)
    number = np.log(10.0) * x**-0.3 * np.exp(-x) * 1e-3
    # Infrared over ultraviolet luminosity, from the attenuation 4.07 log M − 39.32 mag.
    ratio = 10.0 ** (0.4 * (4.07 * log_m - 39.32))
    middle = log_m - 10.2 - 0.2 * (log_m - 11.0) + boost - np.log10(1.7e-10) + np.log10(
        ratio / (1.0 + ratio))
    position = (middle - log_l[0]) / step
    cell = position.astype(int)
    density = np.zeros(log_l.size)
    np.add.at(density, cell, number * (1.0 - position + cell))
    np.add.at(density, cell + 1, number * (position - cell))
    offset = np.arange(-round(8 * scatter / step), round(8 * scatter / step) + 1) * step
    kernel = np.exp(-0.5 * (offset / scatter) ** 2)
    return log_l, np.maximum(fftconvolve(density / step, kernel / kernel.sum(), "same"), 0.0)


def template_fluxes(path: Path, wavelength: float, z: NDArray,
                    mean_u: NDArray) -> NDArray[np.float64]:
    """erg/s/Hz of 1 Lsun at an observed wavelength (µm), for redshifts and radiation fields of the same shape."""
    from astropy.io import fits

    with fits.open(path) as file:
        row = file["SEDS"].data[0]
        field, spectra = (np.asarray(row[name], np.float64) for name in ("UMEAN", "SEDS"))
        log_lambda = np.log(np.asarray(row["LAMBDA"], np.float64))
    order = np.argsort(field)
    at_z = np.array([np.exp(np.interp(np.log(wavelength / (1.0 + z)), log_lambda,
                                      np.log(spectra[:, i]))) for i in order])
    field = field[order]
    mean_u = np.clip(mean_u, field[0], field[-1])
    below = np.clip(np.searchsorted(field, mean_u, side="right") - 1, 0, field.size - 2)
    upper = (mean_u - field[below]) / (field[below + 1] - field[below])
    which = np.arange(z.size)
    return at_z[below, which] * (1.0 - upper) + at_z[below + 1, which] * upper


def integrated(folder: Path, log_flux: NDArray, wavelength: float = 1100.0, hubble: float = 70.4,
               matter: float = 0.272) -> NDArray:
    """log10 S^2.5 dN/dS (Jy^1.5 per sr) of the model without lensing at log10 of flux densities in Jy.

    Parameters
    ----------
    folder : Path
        With SED_ms.fits and SED_sb.fits.
    log_flux : array_like
    wavelength : float
        µm; one wavelength, where the tabulation takes the passband.
    hubble, matter : float
        H0 in km/s/Mpc and Ωm of a flat universe; WMAP-7 by default. A. Conley has 67.7 and 0.315.
    """
    from astropy.cosmology import FlatLambdaCDM

    universe = FlatLambdaCDM(H0=hubble, Om0=matter)
    log_1z = np.linspace(np.log1p(0.01), np.log1p(10.0), 1500)
    z = np.expm1(log_1z)
    distance = universe.luminosity_distance(z).value * _MPC_CM
    shell = universe.differential_comoving_volume(z).value * 10.0 ** (
        -3.02 - 0.4 * np.maximum(z - 1.0, 0.0)) * (1.0 + z)
    evolution = 3.0 * np.log10(1.0 + np.minimum(z, 2.5))
    burst = 0.2 * 0.012 * (1.0 + np.minimum(z, 1.0))
    share = {"ms": 0.15 / (0.15 + burst), "sb": burst / (0.15 + burst)}
    deviates, weights = np.polynomial.hermite_e.hermegauss(24)
    total = np.zeros(len(log_flux))
    for mode, (_, _, u_now, u_power, u_stop) in _MODES.items():
        log_l, number = luminosities(mode)
        mean_u = u_now * (1.0 + np.minimum(z, u_stop)) ** u_power
        for deviate, weight in zip(deviates, weights / weights.sum(), strict=True):
            spectrum = template_fluxes(folder / f"SED_{mode}.fits", wavelength, z,
                                       mean_u * 10.0 ** (_SCATTER_U * deviate))
            # log S of a galaxy of 1 Lsun today; 1e23: erg/s/cm²/Hz to Jy.
            unit = np.log10(1e23 * (1.0 + z) / (4.0 * np.pi * distance**2) * spectrum) + evolution
            there = np.interp(np.asarray(log_flux)[:, None] - unit, log_l, number)
            total += weight * np.trapezoid(share[mode] * shell * there, log_1z, axis=1)
    return np.log10(total / np.log(10.0) * 10.0 ** (1.5 * np.asarray(log_flux)))


def flux_ratio(folder: Path, log_flux: NDArray) -> NDArray:
    """Flux density at 1.1 mm over that at 1.2 mm at which the model has as many sources, at log10 of the latter in Jy."""
    from scipy.interpolate import CubicSpline

    axis = np.arange(-6.0, -1.2, 0.02)
    above = []
    for wavelength in (1100.0, 1200.0):
        density = 10.0 ** (CubicSpline(NODES, integrated(folder, NODES, wavelength))(axis)
                           - 1.5 * axis)
        above.append(np.cumsum(density[::-1])[::-1])
    wanted = np.interp(log_flux, axis, np.log(above[1]))
    return 10.0 ** (np.interp(-wanted, -np.log(above[0]), axis) - np.asarray(log_flux))


def _module(flux: NDArray) -> NDArray:
    """log10 S^2.5 dN/dS of the module."""
    limits = (10.0 ** NODES[0], 10.0 ** NODES[-1])
    return np.log10(counts("bethermin2012", np.clip(flux, *limits), limits)
                    * np.clip(flux, *limits) ** 2.5)


def _report_grid(path: Path) -> NDArray:
    flux, every, lensed = tabulated(path)
    table = nodes_of(flux, every)
    print("log10 S^2.5 dN/dS, Jy^1.5/sr:", ", ".join(f"{value:.4f}" for value in table))
    print("largest difference from the table in the module: "
          f"{np.abs(table - _module(10.0**NODES)).max():.5f} dex")
    inside = flux < 10.0 ** (NODES[-1] + 0.01)
    error = np.abs(10.0 ** (_module(flux[inside]) - np.log10(every[inside] * flux[inside] ** 2.5))
                   - 1.0)
    for name, part in (("below 1 mJy", flux[inside] < 1e-3),
                       ("from 1 to 56 mJy", flux[inside] >= 1e-3)):
        print(f"the module's curve {name}, at all points of the tabulation: median "
              f"{np.median(error[part]):.2%}, largest {error[part].max():.2%}")
    return np.interp(NODES, np.log10(flux[inside]),
                     np.log10((every - lensed)[inside] * flux[inside] ** 2.5))


def _report_templates(folder: Path, unlensed: NDArray | None) -> None:
    ours = integrated(folder, NODES)
    ratio = flux_ratio(folder, np.array([-4.5, -4.0, -3.5, -3.0]))
    print("S(1.1 mm)/S(1.2 mm) at equal counts, at 0.03, 0.1, 0.3, 1 mJy:",
          ", ".join(f"{r:.3f}" for r in ratio))
    conley = integrated(folder, NODES, hubble=67.7, matter=0.315)
    print("log S/Jy   integral without lensing   WMAP-7 / tabulation   H0 67.7, matter 0.315 / "
          "tabulation")
    for i, log_flux in enumerate(NODES):
        line = f"{log_flux:8.2f} {ours[i]:14.4f}"
        if unlensed is not None and i >= _EXTRAPOLATED:
            line += f"{10 ** (ours[i] - unlensed[i]):25.4f} {10 ** (conley[i] - unlensed[i]):20.4f}"
        print(line)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description="The table of the 1.1 mm counts, and its check.")
    parser.add_argument("--grid", type=Path, help="Bethermin2012model_grids.save")
    parser.add_argument("--templates", type=Path, help="folder with SED_ms.fits and SED_sb.fits")
    options = parser.parse_args()
    if options.grid is None and options.templates is None:
        parser.error("give --grid, --templates, or both; see the head of this file for where to "
                     "have them")
    unlensed = None if options.grid is None else _report_grid(options.grid)
    if options.templates is not None:
        _report_templates(options.templates, unlensed)


if __name__ == "__main__":
    main()
