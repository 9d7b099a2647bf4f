"""Whether the Monte Carlo of one data set states the scatter over many: the calibration table of `docs/measurements.md`.

Many small sets are simulated after types 4 and 6 of Lindroos et al. (2015): their field,
frequencies and track of VLA A with a few integrations, each with so much less noise that the map is
as deep, and 100 of their targets. Every set is drawn anew: positions, fluxes and noise. Of each,
one call of `montecarlo` gives the stack of its targets, whose error is known because the truth is,
and the noise and bias from 100 random lists with fake sources of the targets' fluxes.

Prints for each case the noise that the Monte Carlo states (rms over sets; with and without fake
sources), the scatter of the true errors over sets and its own error σ/√(2(n − 1)), their ratio, the
ratio for errors less the offset of their set, which is what the significance is made of, the rms of
these in their set's noise, equation 7 over the scatter, and the bias that fake sources find beside
the true one. Fluxes in µJy.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from markdown import head, row

import uvstack
from simulate.counts import uniform_positions
from simulate.lindroos import CENTRE, recipe
from simulate.task import observe
from uvstack.sky.components import Components, concatenate

ARCSEC = np.pi / 180 / 3600
MICRO = 1e6
#: Of what is kept of each set, Jy.
COLUMNS = ("error", "noise", "blank_noise", "offset", "bias", "equation_7")


@dataclass(frozen=True)
class Sky:
    """What a set is made of.

    Attributes
    ----------
    number : int
        Type that settings and targets are those of.
    cap, share : float
        What is left of each bright source: at most `cap` (Jy), and this share of its flux.
    width : float
        Of a square in which targets lie, arcsec; 0: that of the type.
    apart : float
        Arcsec; targets closer to a bright source are left out.
    """

    number: int
    cap: float = np.inf
    share: float = 0.0
    width: float = 0.0
    apart: float = 0.0


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    sky: Sky
    options: dict[str, Any] = field(default_factory=dict)
    avoid: bool = False


THERMAL, RESIDUALS, SHARE = Sky(4), Sky(6, cap=10e-6, share=1.0, apart=10.0), Sky(6, share=0.01)
DENSE = Sky(4, width=20.0)
CASES = [
    Case("no bright sources", THERMAL),
    Case("the same, `--weights primary-beam`", THERMAL, {"weights": "primary-beam"}),
    Case("10 µJy left of each of 417 bright sources, targets 10″ away from them", RESIDUALS),
    Case("the same, random positions avoid them by 10″", RESIDUALS, avoid=True),
    Case("the same, `--uvmin 5km`", RESIDUALS, {"uvmin": "5km"}, avoid=True),
    Case("1 % left of each bright source", SHARE),
    Case("the same, `--uvmin 5km`", SHARE, {"uvmin": "5km"}),
    Case("no bright sources, 100 targets in a square of 20″", DENSE),
]


def sky_of(sky: Sky, seed: int, n_targets: int) -> tuple[dict[str, Any], Components, Components]:
    """Settings of `observe` but for `out`, targets, and what is left of bright sources."""
    given = recipe(sky.number, seed).settings
    rng = np.random.default_rng([seed, 77])
    everything = given["sky"]
    bright, targets = everything.subset(~everything.target), everything.subset(everything.target)
    bright = replace(bright, flux=np.minimum(bright.flux * sky.share, sky.cap))
    if sky.width:
        ra, dec = uniform_positions(len(targets), *CENTRE, sky.width * ARCSEC, sky.width * ARCSEC,
                                    rng)
        targets = replace(targets, ra=ra, dec=dec)
    if sky.apart:
        targets = targets.subset(distance(targets, bright) > sky.apart * ARCSEC)
    targets = targets.subset(np.arange(len(targets)) < n_targets)
    return given | {"sky": concatenate([bright, targets]) if sky.share
                    else targets}, targets, bright


def distance(a: Components, b: Components) -> np.ndarray:
    """Of each of a to the nearest of b, rad."""
    east = (a.ra[:, None] - b.ra) * np.cos(a.dec)[:, None]
    return np.hypot(east, a.dec[:, None] - b.dec).min(axis=1)


def thinned(given: dict[str, Any], n_times: int) -> dict[str, Any]:
    """The same track in fewer integrations, and the map as deep."""
    n = int(given["duration"] / given["integration"])
    thin = n // n_times
    return given | {"integration": given["integration"] * thin,
                    "noise": given["noise"] / np.sqrt(thin)}


def catalogue(components: Components, with_flux: bool = True) -> QTable:
    """As `uvstack.montecarlo` reads it."""
    table = QTable({"ra": components.ra * u.rad, "dec": components.dec * u.rad})
    if with_flux:
        table["flux"] = components.flux * u.Jy
    return table


def one_set(cases: list[Case], seed: int, n_times: int, n_targets: int, lists: int,
            folder: Path) -> list[tuple[float, ...]]:
    """For each case of one sky: true error, noise with and without fake sources, offset, bias, equation 7."""
    given, targets, bright = sky_of(cases[0].sky, seed, n_targets)
    made = observe(out=folder / "set.ms", overwrite=True, **thinned(given, n_times), seed=seed)
    found = []
    for case in cases:
        away = {"avoid": catalogue(bright, False),
                "avoid_radius": 10 * ARCSEC} if case.avoid else {}
        result = uvstack.montecarlo(made.ms, catalogue(targets), realisations=lists,
                                    primary_beam="vla", seed=seed, fake_flux="match",
                                    **case.options, **away)
        # Positions that the beam leaves out of a list do not exist here; those of weight A² weigh
        # as in the stack.
        truth = np.average(targets.flux, weights=weights_of(case, targets))
        sample = result.uv
        found.append((result.flux - truth, sample.noise, float(np.std(sample.blanks, ddof=1)),
                      sample.offset, sample.bias, result.flux_error_expected))
    return found


def weights_of(case: Case, targets: Components) -> np.ndarray:
    """W_k of the targets."""
    if case.options.get("weights") != "primary-beam":
        return np.ones(len(targets))
    from uvstack.io.primary_beams import read_primary_beam
    from uvstack.sky.coordinates import direction_cosines

    l, m, _ = direction_cosines(targets.ra, targets.dec, *CENTRE)
    return np.asarray(read_primary_beam("vla")(l, m, np.array([1.4e9]))[:, 0] ** 2)


def show(case: Case, numbers: np.ndarray) -> None:
    """One row of the table."""
    error, fake, blank, offset, bias, equation = numbers.T * MICRO
    n = error.size
    relative = 1 / np.sqrt(2 * (n - 1))
    scatter, cured = error.std(ddof=1), (error - offset).std(ddof=1)
    noise, plain = (float(np.sqrt(np.mean(a**2))) for a in (fake, blank))

    def ratio(value: float) -> str:
        return f"{value:.3f} ± {value * relative:.3f}"

    row(case.name, f"{noise:.4f}", f"{plain:.4f}", f"{fake.min():.3f} to {fake.max():.3f}",
        f"{scatter:.4f} ± {scatter * relative:.4f}", ratio(noise / scatter), ratio(plain / cured),
        ratio(float(np.sqrt(np.mean(((error - offset) / blank) ** 2)))),
        ratio(float(np.sqrt(np.mean(equation**2))) / scatter),
        f"{bias.mean():+.4f} ± {bias.std(ddof=1) / np.sqrt(n):.4f}",
        f"{error.mean():+.4f} ± {scatter / np.sqrt(n):.4f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=100)
    parser.add_argument("--lists", type=int, default=100, help="random lists of each set")
    parser.add_argument("--integrations", type=int, default=20)
    parser.add_argument("--targets", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path,
                        help="folder for the numbers of every set, a text file for each case")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of the cases, from 1")
    given = parser.parse_args()
    chosen = [case for i, case in enumerate(CASES, start=1) if not given.only or i in given.only]
    start, cpu = time.perf_counter(), time.process_time()
    head(f"{given.sets} sets, {given.lists} lists of {given.targets} positions", "case", "noise",
         "without fake sources", "over sets", "scatter over sets", "noise / scatter",
         "less the offset", "rms error less offset / noise", "equation 7 / scatter",
         "bias by fake sources", "true bias")
    for sky in dict.fromkeys(case.sky for case in chosen):
        cases = [case for case in chosen if case.sky == sky]
        with tempfile.TemporaryDirectory() as name:
            numbers = np.array([one_set(cases, given.seed * 100_000 + i + 1, given.integrations,
                                        given.targets, given.lists, Path(name))
                                for i in range(given.sets)])
        for i, case in enumerate(cases):
            show(case, numbers[:, i])
            if given.save:
                np.savetxt(given.save / f"case-{CASES.index(case) + 1}.txt", numbers[:, i],
                           header=" ".join(COLUMNS))
    print(f"\n{os.cpu_count()} processors, {time.perf_counter() - start:.0f} s, processor time "
          f"{time.process_time() - cpu:.0f} s")


if __name__ == "__main__":
    main()
