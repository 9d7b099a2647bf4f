"""How often a fit without starting values ends in the lowest minimum: random truths of all shapes, one or two components.

    python scripts/measure_starts.py [--truths 20] [--seed 1] [--case offset] [--shape ring]

Visibilities are simulated for two arrays: 20 antennas over four hours, and six antennas with few
tracks, as in VLBI at 230 GHz. Sizes are drawn from 0.1 to 10 times the resolution (1/q at the
longest baseline), positions within three resolutions or, in one case of six, up to 30; one flux of
five is negative; the flux is 20 to 1000 times what the noise allows to see of a point. Truths that
could not be seen at all (a fall of χ² below 100) are drawn again. Counted as found is a fit whose
χ² is not more than 1 above that of a fit from the true values, or below it. Printed are the shares
found for each case and shape, and CPU time a fit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from types import SimpleNamespace

import numpy as np
from markdown import head, row

from uvstack.errors import FitError
from uvstack.fitting.data.preparation import Piece
from uvstack.fitting.data.survey import survey_pieces
from uvstack.fitting.estimation import estimate, sum_normal
from uvstack.fitting.model.data import FitData
from uvstack.fitting.model.model import ARCSEC, Model, make_model
from uvstack.fitting.model.normal import model_visibilities
from uvstack.fitting.model.shapes import SHAPES
from uvstack.fitting.model.variables import Variables, default_variables
from uvstack.fitting.options import Request
from uvstack.fitting.solve.visibilities import fit_passes

LIGHT = 299_792_458.0
#: Case → (components, round, centred, position known).
CASES = {"centred": (1, True, False), "offset": (1, True, True), "elliptical": (1, False, True),
         "two centred": (2, True, False), "two": (2, True, True)}


class Kept:
    """Data in memory as `estimate` wants them."""

    def __init__(self, data: FitData) -> None:
        self.kept = [[Piece(data, data.frequency)]]
        self.job = SimpleNamespace(uvtaper=0.0, weight_power=1.0)

    def run(self, function, shared, consume) -> None:
        """Call consume(0, function(shared, pieces))."""
        consume(0, function(shared, self.kept[0]))

    def passes(self, model: Model):
        """Normal equations as a function of the parameters."""
        return lambda p: sum_normal((model, p), self.kept[0])


def coverage(kind: str, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """(u, v, w) in m (row, 3), and frequency."""
    n_ant, n_times, longest, frequency = {"array": (20, 12, 3e4, 1.4e9),
                                          "vlbi": (6, 24, 9e6, 230e9)}[kind]
    place = rng.normal(size=(n_ant, 3)) if kind == "vlbi" else rng.normal(size=(n_ant, 3)) * rng.uniform(0.02, 1.0, (n_ant, 1))
    first, second = np.triu_indices(n_ant, 1)
    hour, dec = np.linspace(-1.0, 1.0, n_times) * (1.2 if kind == "vlbi" else 0.5), 0.4
    x, y, z = (place[first] - place[second]).T[:, :, None]
    sin, cos = np.sin(hour), np.cos(hour)
    uvw = np.stack([sin * x + cos * y, -np.sin(dec) * (cos * x - sin * y) + np.cos(dec) * z,
                    np.cos(dec) * (cos * x - sin * y) + np.sin(dec) * z], axis=-1)
    if kind == "vlbi":
        uvw = uvw[rng.random(uvw.shape[:2]) < 0.6]
    uvw = uvw.reshape(-1, 3)
    return uvw * longest / np.hypot(uvw[:, 0], uvw[:, 1]).max(), frequency


def drawn(kinds: tuple[str, ...], n: int, beam: float, rng: np.random.Generator) -> np.ndarray:
    """True values of parameters; beam in arcsec."""
    far = 30.0 if rng.random() < 1 / 6 else 3.0
    out = []
    for kind in kinds:
        size = beam * 10.0 ** rng.uniform(-1, 1)
        out.append({"ra": beam * far * rng.uniform(-1, 1), "dec": beam * far * rng.uniform(-1, 1),
                    "flux": (1.0 if not out
                             else 10.0 ** rng.uniform(-1, 0.3)) * rng.choice([1, 1, 1, 1, -1]),
                    "ratio": rng.uniform(0.1, 1), "position_angle": rng.uniform(-90, 90),
                    "sigma": size * 0.2}.get(kind, size))
    return np.array(out)


def one(kind: str, shapes: list[str], circular: bool, offset: bool,
        rng: np.random.Generator) -> tuple[bool, float, float]:
    """Whether the lowest minimum was found, CPU seconds, and by how much χ² was missed."""
    uvw, frequency = coverage(kind, rng)
    beam = LIGHT / frequency / np.hypot(uvw[:, 0], uvw[:, 1]).max() / ARCSEC
    variables = default_variables(shapes, circular, offset)
    model = make_model(shapes, variables.var, frequency, names=variables.names)
    while True:
        truth = drawn(variables.kinds, len(shapes), beam, rng)
        sigma = np.sqrt(len(uvw)) / 10.0 ** rng.uniform(np.log10(20), 3)
        empty = FitData(uvw, np.array([frequency]), np.zeros((len(uvw), 1), np.complex64),
                        np.full((len(uvw), 1), sigma**-2, np.float32), time=np.zeros(len(uvw)))
        clean = model_visibilities(empty, model, truth)
        if (np.abs(clean) ** 2).sum() / sigma**2 > 100:
            break
    noise = sigma * (rng.normal(size=clean.shape) + 1j * rng.normal(size=clean.shape))
    data = FitData(uvw, empty.frequency, (clean + noise).astype(np.complex64), empty.weight,
                   time=empty.time)
    kept = Kept(data)
    best = fit_passes(kept.passes(model), model, truth, variables.bounds).chi_squared
    request = Request(model=shapes, circular=circular, offset=offset, scale_errors=False)
    begin = time.process_time()
    try:
        found = estimate(request, Variables(*vars(variables).values()), model, kept,
                         survey_pieces(kept.kept[0], 0, 0.0, True, 0))
    except FitError:
        return False, time.process_time() - begin, np.inf
    return bool(found.chi_squared < best
                + 1.0), time.process_time() - begin, found.chi_squared - best


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--truths", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", choices=list(CASES))
    parser.add_argument("--shape", choices=list(SHAPES))
    parser.add_argument("--kind", choices=["array", "vlbi"])
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    head("Fits that end in the lowest minimum, per cent", "array", "case",
         *([options.shape] if options.shape else SHAPES), "all", "CPU seconds a fit")
    for kind in (options.kind,) if options.kind else ("array", "vlbi"):
        for case in (options.case,) if options.case else CASES:
            n, circular, offset = CASES[case]
            shares, seconds = [], []
            for number, shape in enumerate(SHAPES):
                if options.shape not in (None, shape):
                    continue
                found = []
                for i in range(options.truths):
                    rng = np.random.default_rng([options.seed, number, list(CASES).index(case), i,
                                                 kind == "vlbi"])
                    shapes = [shape] if n == 1 else [shape,
                                                     str(rng.choice(["delta", "gaussian", shape]))]
                    if n == 2 and not offset and shape == "delta":
                        shapes = ["delta", "gaussian"]
                    if n == 2 and not offset and shapes == ["delta", "delta"]:
                        shapes = ["delta", "disc"]
                    good, spent, missed = one(kind, shapes, circular, offset, rng)
                    found.append(good)
                    seconds.append(spent)
                    if options.verbose and not good:
                        print(f"<!-- {kind} {case} {shapes} truth {i}: chi squared {missed:.4g} "
                              "too high -->")
                shares.append(100 * np.mean(found))
            row(kind, case, *(f"{share:.0f}" for share in shares), f"{np.mean(shares):.1f}",
                f"{np.mean(seconds):.3f}")


if __name__ == "__main__":
    main()
