"""The pictures of the source counts, `docs/images/counts_*.png`, and on the terminal what they are compared with.

``counts_bethermin2012.png``
    The curve of the module against the points of the authors' tabulation that it was not made from
    (midway between its nodes), and against observed counts: the fits to AzTEC's fields at 1.1 mm,
    and ALMA's counts at 1.2 mm with their flux densities times 1.30, the ratio at which the model
    has as many sources at 1.1 as at 1.2 mm (1.305 at 0.03 mJy, 1.282 at 1 mJy;
    scripts/make_bethermin_counts.py).
``counts_bondi2008.png``
    The polynomial, its limits, the cut above which a field of 30′ has 417 sources, and the counts
    of draws.
``counts_schechter.png``
    The distribution of Lindroos et al. (2015), a draw, and its mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulate.counts import counts, draw_fluxes, lower_limit, mean_flux, source_density

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
SQUARE_DEGREE = np.deg2rad(1.0) ** 2
FIELD = np.deg2rad(0.5) ** 2
BLUE, ORANGE, GREEN, PURPLE, GREY = "#1b6ca8", "#d95f02", "#1b9e77", "#7570b3", "#666666"
#: log10 of S^2.5 dN/dS (Jy^1.5 per sr) at log10 S/Jy = −7.9, −7.65 … −1.4 in
#: Bethermin2012model_grids.save, band AzTEC, all galaxies, summed over redshift
#: (irfu.cea.fr/dap/Phocea/Page/index.php?id=537): none is a node of the module's table.
TABULATION_START = -7.9
TABULATION = (-3.6394, -3.2948, -2.9500, -2.6049, -2.2592, -1.9127, -1.5650, -1.2155, -0.8634,
              -0.5076, -0.1465, 0.2218, 0.5978, 0.9790, 1.3559, 1.7138, 2.0367, 2.3102, 2.5205,
              2.6541, 2.6962, 2.6236, 2.4017, 2.0086, 1.5127, 1.1184, 0.8949)
#: Perera et al. (2008, MNRAS 391, 1227), abstract: dN/dS = N' (S'/S) e^(−S/S'), 2 to 6 mJy, S' =
#: 1.25 ± 0.38 mJy, and 300 ± 90 per mJy and square degree at 3 mJy.
PERERA = (3.0, 300.0, 90.0)
PERERA_SCALE, PERERA_RANGE = 1.25, (2.0, 6.0)
#: Scott et al. (2010, MNRAS 405, 2260), abstract: 160 + 27 at 3 mJy; the lower error, left out
#: there, is drawn alike.
SCOTT = (3.0, 160.0, 27.0)
#: González-López et al. (2020, arXiv:2002.07199): mJy at 1.2 mm, sources above it per square
#: degree, errors down and up; the values as typed in github.com/cjhang/almacal, almacal_run.py. 860
#: is one source on the 4.2 square minutes of arc.
ASPECS = ((0.0316, 47400, 8200, 8900), (0.0398, 35100, 6200, 6900), (0.0501, 30700, 5500, 6200),
          (0.0631, 26500, 4900, 5600), (0.0794, 26500, 5100, 5600), (0.1, 19300, 4400, 4700),
          (0.1259, 14800, 3500, 4000), (0.1585, 10600, 2900, 3400), (0.1995, 8700, 2400, 3000),
          (0.2512, 7800, 2300, 2700), (0.3162, 5300, 1900, 2400), (0.3981, 4300, 1600, 2100),
          (0.5012, 1720, 840, 1250), (0.631, 1720, 840, 1250), (0.7943, 860, 490, 820),
          (1.0, 860, 490, 820))
#: Oteo et al. (2016), 1.2 mm, likewise.
OTEO = ((0.2, 5600, 4600, 4700), (0.8, 900, 700, 800))
LONGER = 1.30


def euclidean(model: str, flux: NDArray, limits: tuple[float, float]) -> NDArray:
    """S^2.5 dN/dS, Jy^1.5 per sr."""
    return counts(model, flux, limits) * flux**2.5


def above(flux_mjy: float) -> float:
    """Sources of the 1.1 mm model per square degree above a flux density in mJy."""
    return source_density("bethermin2012", (flux_mjy * 1e-3, 0.05)) * SQUARE_DEGREE


def draw_differential(axes: Axes) -> None:
    """The 1.1 mm counts against the tabulation."""
    flux = np.geomspace(10.0**-8.5, 0.0562, 800)
    curve = euclidean("bethermin2012", flux, (flux[0], flux[-1]))
    published, extrapolated = flux >= 1e-8, flux <= 1e-8
    axes.plot(flux[published] * 1e3, curve[published], color=BLUE, lw=1.8,
              label="bethermin2012 (module)")
    axes.plot(flux[extrapolated] * 1e3, curve[extrapolated], color=BLUE, lw=1.4, ls=":",
              label="extrapolated, below 10 nJy")
    log_flux = TABULATION_START + 0.25 * np.arange(len(TABULATION))
    axes.plot(10.0 ** (log_flux + 3), 10.0 ** np.array(TABULATION), "o", ms=5, mfc="none",
              color="k", mew=0.9, label="tabulation of Béthermin et al., between the nodes")
    axes.axvspan(1e-2, 10.0, color=BLUE, alpha=0.06, lw=0)
    axes.set(xscale="log", yscale="log", xlim=(2e-6, 90), ylim=(2e-5, 3e3),
             ylabel=r"$S^{2.5}\,dN/dS$ (Jy$^{1.5}$ sr$^{-1}$)")
    axes.text(0.32, 3.5e-5, "default limits", color=BLUE, fontsize=8, ha="center")
    axes.legend(fontsize=8, loc="upper left", frameon=False)
    axes.tick_params(labelbottom=False)


def draw_bright(axes: Axes) -> None:
    """The counts at some mJy against AzTEC."""
    flux = np.geomspace(0.5, 20.0, 200)
    model = counts("bethermin2012", flux * 1e-3, (1e-8, 0.05)) * SQUARE_DEGREE * 1e-3
    axes.plot(flux, model, color=BLUE, lw=1.8, label="bethermin2012 (module)")
    span = np.geomspace(*PERERA_RANGE, 50)
    fit = PERERA[1] * (PERERA[0] / span) * np.exp(-(span - PERERA[0]) / PERERA_SCALE)
    axes.plot(span, fit, color=ORANGE, lw=1.2)
    axes.fill_between(span, fit * (1 - PERERA[2] / PERERA[1]), fit * (1 + PERERA[2] / PERERA[1]),
                      color=ORANGE, alpha=0.2, lw=0)
    for (at, number, error), colour, shape, name in ((PERERA, ORANGE, "s",
                                                      "Perera et al. 2008, AzTEC, fit"),
                                                     (SCOTT, GREEN, "D",
                                                      "Scott et al. 2010, AzTEC, fit at 3 mJy")):
        axes.errorbar(at, number, error, color=colour, fmt=shape, ms=4.5, capsize=2, label=name,
                      zorder=5)
    axes.set(xscale="log", yscale="log", xlim=(0.5, 20), ylim=(0.3, 2e4),
             xlabel="flux density at 1.1 mm (mJy)", ylabel=r"$dN/dS$ (mJy$^{-1}$ deg$^{-2}$)")
    axes.set_xticks([0.5, 1, 2, 5, 10, 20], labels=["0.5", "1", "2", "5", "10", "20"])
    axes.legend(fontsize=8, loc="upper right", frameon=False)


def draw_residual(axes: Axes) -> None:
    """How far the curve is from the tabulation between its nodes, per cent."""
    log_flux = TABULATION_START + 0.25 * np.arange(len(TABULATION))
    curve = euclidean("bethermin2012", 10.0**log_flux, (1e-8, 0.05))
    axes.axhline(0.0, color=GREY, lw=0.6)
    axes.plot(10.0 ** (log_flux + 3), 100 * (curve / 10.0 ** np.array(TABULATION) - 1), "o", ms=4,
              mfc="none", color="k", mew=0.9)
    axes.axvspan(1e-2, 10.0, color=BLUE, alpha=0.06, lw=0)
    axes.set(xscale="log", xlim=(2e-6, 90), ylim=(-0.5, 0.5), xlabel="flux density at 1.1 mm (mJy)",
             ylabel="module −\ntabulation (%)")


def draw_cumulative(axes: Axes) -> None:
    """Sources above a flux density against ALMA."""
    flux = np.geomspace(5e-3, 30.0, 60)
    axes.plot(flux, [above(s) for s in flux], color=BLUE, lw=1.8, label="bethermin2012 (module)")
    for points, colour, shape, name in ((ASPECS, PURPLE, "o",
                                         "González-López et al. 2020 (ASPECS)"),
                                        (OTEO, ORANGE, "s", "Oteo et al. 2016")):
        s, n, down, up = np.array(points).T
        axes.errorbar(LONGER * s, n, (down, up), color=colour, fmt=shape, ms=4.5, capsize=2, lw=1,
                      label=name)
    axes.set(xscale="log", yscale="log", xlim=(5e-3, 30), ylim=(0.3, 3e5),
             xlabel="flux density at 1.1 mm (mJy)", ylabel=r"sources above it (deg$^{-2}$)")
    axes.text(0.03, 0.04, f"1.2 mm flux densities × {LONGER:.2f}", transform=axes.transAxes,
              fontsize=8, color=GREY)
    axes.legend(fontsize=8, loc="upper right", frameon=False)


def draw_bondi(axes: Axes) -> None:
    """The polynomial at 1.4 GHz, its limits, and draws of 417 sources."""
    limits = (60e-6, 1.0)
    cut = lower_limit("bondi2008", 417, FIELD)
    flux, below = np.geomspace(*limits, 500), np.geomspace(2e-5, limits[0], 100)
    axes.plot(flux * 1e3, euclidean("bondi2008", flux, limits), color=BLUE, lw=1.8,
              label="bondi2008, 60 µJy to 1 Jy")
    axes.plot(below * 1e3, euclidean("bondi2008", below, (2e-5, 1.0)), color=BLUE, lw=1.2, ls=":",
              label="polynomial below its fit")
    n_draws, rng = 200, np.random.default_rng(2008)
    drawn = np.concatenate([draw_fluxes("bondi2008", 417, flux_range=(cut, 1.0), rng=rng)
                            for _ in range(n_draws)])
    edges = np.geomspace(cut, 1.0, 21)
    number = np.histogram(drawn, edges)[0]
    # The mean of S^2.5 dN/dS over the bin, so that nothing hangs on where in the bin a point is
    # drawn.
    height = np.array([np.sum(drawn[(drawn >= lo) & (drawn < hi)] ** 2.5)
                       for lo, hi in zip(edges[:-1], edges[1:], strict=True)])
    height /= n_draws * FIELD * np.diff(edges)
    some = number > 0
    middle = np.sqrt(edges[1:] * edges[:-1])
    axes.errorbar(middle[some] * 1e3, height[some], (height / np.sqrt(np.maximum(number, 1)))[some],
                  fmt="o", ms=4, color=ORANGE, capsize=2, lw=1,
                  label=f"{n_draws} draws of 417 sources")
    axes.axvline(cut * 1e3, color=GREY, ls="--", lw=1)
    axes.text(cut * 1.12e3, 200, f"417 sources on 30′ × 30′\nabove {cut * 1e6:.1f} µJy", fontsize=8,
              color=GREY, va="center")
    axes.set(xscale="log", yscale="log", xlim=(0.02, 1500), ylim=(0.1, 600),
             xlabel="flux density at 1.4 GHz (mJy)",
             ylabel=r"$S^{2.5}\,dN/dS$ (Jy$^{1.5}$ sr$^{-1}$)")
    axes.legend(fontsize=8, loc="lower right", frameon=False)


def draw_schechter(axes: Axes) -> None:
    """The distribution of the paper's targets, a draw, and the mean."""
    limits = (0.25 * 1.71e-6, 10.0 * 1.71e-6)
    flux = np.geomspace(*limits, 500)
    n = 1_000_000
    drawn = draw_fluxes("schechter", n, rng=np.random.default_rng(2015))
    edges = np.geomspace(*limits, 41)
    number = np.histogram(drawn, edges)[0]
    width = np.diff(np.log(edges))
    axes.stairs(number / (n * width), edges * 1e6, fill=True, color=ORANGE, alpha=0.45,
                label=f"{n:,} draws".replace(",", " "))
    axes.plot(flux * 1e6, counts("schechter", flux, density=1.0) * flux, color=BLUE, lw=1.8,
              label=r"$\alpha=-1.6$, $S_*=1.71\,\mu$Jy")
    mean = mean_flux("schechter")
    axes.axvline(mean * 1e6, color=GREY, ls="--", lw=1)
    axes.text(mean * 1.05e6, 0.04,
              f"mean {mean * 1e6:.3f} µJy\n(drawn: {drawn.mean() * 1e6:.3f} ± "
              f"{drawn.std() / np.sqrt(n) * 1e6:.3f})", fontsize=8, color="k", va="bottom")
    axes.set(xscale="log", xlim=(0.38, 20), ylim=(0, 1.35), xlabel="flux density (µJy)",
             ylabel=r"probability per $\ln S$")
    axes.legend(fontsize=8, loc="upper right", frameon=False)
    axes.set_xticks([0.5, 1, 2, 5, 10, 20], labels=["0.5", "1", "2", "5", "10", "20"])
    axes.minorticks_off()


def _save(figure: Figure, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    figure.savefig(IMAGES / name, dpi=130)


def compare() -> None:
    """Observed counts over those of the model, and the distance in standard errors."""
    for points, name in ((ASPECS, "ASPECS"), (OTEO, "Oteo et al. 2016")):
        ratio = []
        for s, n, down, up in points:
            model = above(LONGER * s)
            ratio.append(n / model)
            print(f"{name}: above {LONGER * s:.4f} mJy at 1.1 mm {n} (+{up} −{down}), model "
                  f"{model:.0f}, {(n - model) / (up if model > n else down):+.1f} σ")
        print(f"{name}: observed / model, median {np.median(ratio):.2f}, from {min(ratio):.2f} to "
              f"{max(ratio):.2f}")
    for (s, n, error), name in ((PERERA, "Perera et al. 2008"), (SCOTT, "Scott et al. 2010")):
        model = float(counts("bethermin2012", s * 1e-3)) * SQUARE_DEGREE * 1e-3
        print(f"{name}: at {s:g} mJy {n:g} ± {error:g} per mJy and square degree, model "
              f"{model:.0f}, {(n - model) / error:+.1f} σ")


def main() -> None:
    """Draw all three and print the comparison."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 6.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.15, 1))
    upper, lower = left.subplots(2, 1, height_ratios=(3.4, 1), sharex=True)
    draw_differential(upper)
    draw_residual(lower)
    upper, lower = right.subplots(2, 1)
    draw_bright(upper)
    draw_cumulative(lower)
    _save(figure, "counts_bethermin2012.png")
    for draw, name in ((draw_bondi, "counts_bondi2008.png"),
                       (draw_schechter, "counts_schechter.png")):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        draw(figure.subplots())
        _save(figure, name)
    compare()


if __name__ == "__main__":
    main()
