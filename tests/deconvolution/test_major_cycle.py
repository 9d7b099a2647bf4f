"""Major cycles on an exact residual function.

Direct sums over a few hundred uv points and the pixels of a small grid.

The deconvolver is a Högbom CLEAN in plain numpy, so that what fails here is the loop and not the
kernels.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import j1

from uvstack.deconvolution.clean import Components, minor_cycle
from uvstack.deconvolution.major_cycle import (
    STOP_REASONS,
    CleanSettings,
    cycle_threshold,
    deconvolve,
    merge_components,
    sidelobe_level,
)
from uvstack.deconvolution.mask import AutoMask
from uvstack.errors import ImageError

N = 64
SOURCES = {(40, 20): 1.0, (22, 45): -0.4, (41, 24): 0.6, (10, 11): 0.25}


class Interferometer:
    """uv points in cycles per pixel, each at a frequency x = (ν − ν0)/ν0.

    Images by sums over all points.
    """

    def __init__(self, n_terms=1, n_points=500, longest=0.2, seed=5):
        rng = np.random.default_rng(seed)
        radius, angle = longest * np.sqrt(rng.uniform(0, 1,
                                                      n_points)), rng.uniform(
            0, 2 * np.pi, n_points)
        self.x = np.linspace(-0.3, 0.3, n_points)[rng.permutation(n_points)]
        self.u, self.v = radius * np.cos(angle), radius * np.sin(angle)
        self.n_terms, self.weight = n_terms, rng.uniform(0.5, 1.5, n_points)
        self.calls = 0

    def fringe(self, coordinate, uv):
        return np.exp(2j * np.pi * np.outer(coordinate, uv))

    def predict(self, model):
        """V of a model (term, m, l): the plain sum, pixel by pixel and term by term."""
        at = np.arange(N) - N // 2
        rows, columns = self.fringe(at, self.v), self.fringe(at, self.u)
        return sum((rows * (plane @ columns)).sum(axis=0) * self.x**t
                   for t, plane in enumerate(model))

    def image(self, vis, n_terms, n=N):
        at = np.arange(n) - n // 2
        rows, columns = self.fringe(at, self.v), self.fringe(at, self.u)
        weighted = [vis * self.weight * self.x**t / self.weight.sum() for t in range(n_terms)]
        return np.stack([((rows.conj() * w) @ columns.conj().T).real for w in weighted])

    def psf(self):
        return self.image(np.ones(self.u.size), 2 * self.n_terms - 1, 2 * N)

    def observe(self, truth, noise=0.0, seed=0):
        rng = np.random.default_rng(seed)
        self.vis = self.predict(truth) + noise * (rng.normal(size=self.u.size)
                                                  + 1j * rng.normal(size=self.u.size))
        return self

    def residual_of(self, model):
        self.calls += 1
        return self.image(self.vis - self.predict(model), self.n_terms)


def hogbom(residual, psf, mask, settings):
    """Högbom's CLEAN as published, with Taylor terms by the principal solution of the strongest pixel."""
    n = len(residual)
    residual, model = residual.astype(float), np.zeros(residual.shape)
    half = psf.shape[1] // 2
    hessian = np.array([[psf[i + j, half, half] for j in range(n)] for i in range(n)])
    taken = []
    while len(taken) < settings.most_iterations:
        row, column = np.unravel_index(np.argmax(np.abs(residual[0]) * mask), mask.shape)
        if abs(residual[0, row, column]) <= settings.threshold or not mask[row, column]:
            break
        flux = settings.gain * np.linalg.solve(hessian, residual[:, row, column])
        model[:, row, column] += flux
        around = (slice(half - row, half - row + mask.shape[0]),
                  slice(half - column, half - column + mask.shape[1]))
        for i in range(n):
            residual[i] -= sum(flux[j] * psf[(i + j, *around)] for j in range(n))
        taken.append((row, column, flux))
    reason = "iterations" if len(taken) >= settings.most_iterations else "threshold"
    rows, columns, fluxes = zip(*taken, strict=True) if taken else ((), (), np.zeros((0, n)))
    components = Components(np.array(rows, int), np.array(columns, int), np.zeros(len(taken)),
                            np.array(fluxes))
    return SimpleNamespace(model=model, residual=residual, n_iterations=len(taken),
                           stop_reason=reason, components=components)


def sky(sources=None, n_terms=1, alpha=0.0):
    truth = np.zeros((n_terms, N, N))
    for (row, column), flux in (sources or SOURCES).items():
        truth[:, row, column] = [flux, alpha * flux][:n_terms]
    return truth


def clean(telescope, start=None, minor=hogbom, others=None, **settings):
    settings = {"gain": 0.2, "threshold": 1e-3, "algorithm": "hogbom", **settings}
    start = np.zeros((telescope.n_terms, N, N)) if start is None else start
    return deconvolve(telescope.residual_of, telescope.psf(), start, CleanSettings(**settings),
                      minor=minor, **(others or {}))


# ----------------------------------------------------------------------------------- what comes out


def test_points_come_out_with_their_fluxes_and_the_residual_is_exact():
    telescope = Interferometer().observe(sky())
    done = clean(telescope, threshold=1e-4)
    assert done.stop_reason == "threshold reached"
    # What is left peaks at 1e-4; two sources 4 pixels apart (2 beams) share it out with an error of
    # a few times that.
    for (row, column), flux in SOURCES.items():
        assert done.model[0, row - 1:row + 2,
                          column - 1:column + 2].sum() == pytest.approx(flux, abs=1e-3)
    assert np.abs(done.residual).max() <= 1.01e-4
    assert np.allclose(done.residual, telescope.residual_of(done.model), atol=1e-13)
    assert done.history[-1].flux == pytest.approx(done.model[0].sum())
    assert done.best_cycle == done.n_cycles == len(done.history) - 1
    assert done.n_iterations == sum(len(part.m) for part in done.components)
    whole = merge_components(done.components)
    assert len(set(zip(whole.m, whole.l, strict=True))) == len(whole.m)
    added = np.zeros((N, N))
    added[whole.m, whole.l] = whole.flux[:, 0]
    assert np.allclose(added, done.model[0], atol=1e-13)
    assert merge_components([]).m.size == 0


@pytest.mark.parametrize("algorithm", ["hogbom", "clark", "multiscale", "mtmfs"])
def test_the_real_minor_cycles_do_it_too(algorithm):
    telescope = Interferometer().observe(sky())
    done = clean(telescope, minor=minor_cycle, algorithm=algorithm, threshold=5e-4)
    assert done.stop_reason == "threshold reached"
    assert np.abs(telescope.residual_of(done.model)).max() <= 5.05e-4
    for (row, column), flux in SOURCES.items():
        assert done.model[0, row - 1:row + 2,
                          column - 1:column + 2].sum() == pytest.approx(flux, abs=4e-3)
    whole = merge_components(done.components)
    assert whole.flux.sum() == pytest.approx(done.model.sum(), abs=1e-9)


def test_extended_sources_with_scales_and_terms():
    """A taper of 10 pixels with a spectrum and a point.

    The flux of each, and the spectral index of the sum.
    """
    telescope = Interferometer(n_terms=2, n_points=800).observe(extended())
    done = clean(telescope, minor=minor_cycle, algorithm="mtmfs", scales=(0.0, 5.0, 10.0),
                 threshold=1e-3, most_cycles=40)
    assert done.stop_reason == "threshold reached"
    around = done.model[:, 8:36, 8:36].sum(axis=(1, 2))
    # uv points as near to 0 as 1/40 of the longest: 2 J of 3 % is what the shortest spacing lets
    # through unseen.
    assert around[0] == pytest.approx(2.0, rel=0.02)
    assert around[1] / around[0] == pytest.approx(-0.8, abs=0.08)
    assert done.model[0, 48 - 2:48 + 3, 44 - 2:44 + 3].sum() == pytest.approx(0.3, abs=0.01)
    assert set(merge_components(done.components).scale) <= {0.0, 5.0, 10.0}


def extended():
    truth = sky({(48, 44): 0.3}, 2, alpha=0.0)
    kernel = np.clip(1 - ((np.arange(N)[:, None] - 22) ** 2 + (np.arange(N) - 22) ** 2) / 10.0**2,
                     0, None) ** 2
    return truth + 2.0 * np.array([1.0, -0.8])[:, None, None] * kernel / kernel.sum()


def test_major_cycles_mend_what_a_wrong_psf_does():
    """Minor cycles see the psf with a cut at 8 pixels and 5 % too low besides.

    The exact residual does not care.

    Unless it is asked for, the few pixels are not chased that still exceed the threshold once a
    minor cycle has reached it.
    """
    telescope = Interferometer().observe(sky({(40, 20): 1.0, (14, 48): -0.4}))
    at = np.arange(2 * N) - N
    near = np.hypot(at[:, None], at) < 8

    def crude(residual, psf, mask, settings):
        return hogbom(residual, psf * near * np.where(np.hypot(at[:, None], at) > 0, 0.95, 1.0),
                      mask, settings)

    done = clean(telescope, threshold=1e-3, minor=crude, most_cycles=60, tolerance=0.0)
    assert done.stop_reason == "threshold reached"
    assert done.n_cycles > 3  # it did matter
    for (row, column), flux in {(40, 20): 1.0, (14, 48): -0.4}.items():
        assert done.model[0, row - 4:row + 5,
                          column - 4:column + 5].sum() == pytest.approx(flux, abs=5e-3)
    assert np.abs(telescope.residual_of(done.model)).max() <= 1.01e-3
    usual = clean(telescope, threshold=1e-3, minor=crude, most_cycles=60)
    assert usual.stop_reason == "threshold reached"
    assert usual.n_cycles < done.n_cycles
    assert 1.01e-3 < usual.history[-1].peak <= 1.2e-3
    assert usual.history[-1].minor_stop == "threshold"


def test_two_terms_give_the_spectral_index():
    telescope = Interferometer(n_terms=2, n_points=800).observe(
        sky({(40, 20): 1.0, (20, 44): 0.5}, 2, alpha=-0.7))
    done = clean(telescope, threshold=2e-4, algorithm="mtmfs")
    assert done.stop_reason == "threshold reached"
    for row, column in ((40, 20), (20, 44)):
        near = done.model[:, row - 1:row + 2, column - 1:column + 2].sum(axis=(1, 2))
        # Term 0 is clean to 2e-4 of 1 or 0.5; x has an rms of 0.17, so that term 1 is known 6 times
        # less well.
        assert near[1] / near[0] == pytest.approx(-0.7, abs=6e-3)


def test_start_model_dirty_image_and_single_precision():
    telescope = Interferometer().observe(sky())
    start = sky() * 0.5
    kept = start.copy()
    dirty = telescope.residual_of(start)
    telescope.calls = 0
    done = clean(telescope, start, others={"dirty": dirty})
    assert telescope.calls == done.n_cycles  # the first residual was given
    assert np.array_equal(start, kept)
    assert done.history[0].flux == pytest.approx(start.sum())
    assert done.model[0, 40, 20] == pytest.approx(1.0, abs=3e-3)

    def single(model):
        return telescope.residual_of(model).astype(np.float32)

    psf = telescope.psf().astype(np.float32)
    low = deconvolve(single, psf, start.astype(np.float32), CleanSettings(gain=0.2, threshold=1e-3),
                     minor=hogbom)
    assert low.stop_reason == "threshold reached"
    assert low.model[0, 40, 20] == pytest.approx(done.model[0, 40, 20], abs=1e-3)


def test_mask_and_blank_pixels_stay_free_of_components():
    telescope = Interferometer().observe(sky())
    mask = np.zeros((1, 1, N, N))
    mask[..., 36:46, 16:28] = 1.0
    blank = np.zeros((1, N, N))
    blank[:, :8] = np.nan
    done = deconvolve(lambda model: telescope.residual_of(model) + blank, telescope.psf(),
                      np.zeros((1, N, N)), CleanSettings(gain=0.2, threshold_sigma=3.0), mask=mask,
                      minor=hogbom)
    assert done.stop_reason == "threshold in σ reached"
    assert not done.model[0][mask[0, 0] == 0].any()
    assert done.history[0].masked == 120
    assert done.history[-1].peak <= 3.03 * done.history[-1].noise
    # The sources outside are still there, and the history says so.
    assert done.history[-1].peak_anywhere > 0.35
    assert np.isnan(done.residual[0, :8]).all()


def test_automatic_mask_follows_the_sources_down():
    """5 sources over a factor 20 in noise.

    All are masked in the end, and nearly nothing else is cleaned.
    """
    sources = {(32, 32): 1.0, (12, 50): 0.5, (50, 14): 0.2, (14, 12): 0.1, (52, 52): 0.06}
    telescope = Interferometer(n_points=1500).observe(sky(sources), noise=0.2)  # 0.2 sqrt(1/1500) = 5 mJy/beam
    done = clean(telescope, threshold=0.0, threshold_sigma=3.0,
                 automask=AutoMask(sidelobe_factor=1.5))
    assert done.stop_reason == "threshold in σ reached"
    masked = [row.masked for row in done.history]
    assert masked == sorted(masked)  # never shrinks
    assert masked[0] < masked[-1] < 0.25 * N * N
    for (row, column), flux in sources.items():
        assert done.mask[row, column]
        got = done.model[0, row - 3:row + 4, column - 3:column + 4].sum()
        assert got == pytest.approx(flux, abs=4 * 0.0055 + 0.015)  # 4 σ and what the threshold of 3 σ leaves
    assert not done.model[0][~done.mask].any()
    assert done.history[-1].noise == pytest.approx(0.0053, rel=0.15)


# ----------------------------------------------------------------------------------------- the stop


def test_every_end_has_its_name():
    telescope = Interferometer().observe(sky())
    nothing = np.zeros((N, N), bool)
    ends = {"threshold reached": clean(telescope, threshold=0.2),
            "threshold in σ reached": clean(telescope, threshold_sigma=30.0),
            "flux settled": clean(telescope, flux_change=0.9),
            "iterations used up": clean(telescope, most_iterations=7),
            "no iteration asked for": clean(telescope, most_iterations=0),
            "cycles used up": clean(telescope, most_cycles=2),
            "nothing in the mask": clean(telescope, others={"mask": nothing}),
            "no progress": clean(telescope, minor=lambda r, p, m, s: hogbom(r, p, m & False, s)),
            "diverged": clean(telescope, minor=lambda r, p, m, s: overshoot(r, p, m, s))}
    assert {name: done.stop_reason
            for name, done in ends.items()} == {name: name for name in STOP_REASONS}
    assert ends["iterations used up"].n_iterations == 7
    assert ends["cycles used up"].n_cycles == 2
    assert clean(telescope, most_cycles=0).n_iterations == 0
    assert clean(telescope, iterations_per_cycle=3, most_cycles=4).n_iterations == 12


def overshoot(residual, psf, mask, settings):
    """A deconvolver that answers 4 times too much."""
    done = hogbom(residual, psf, mask, settings)
    done.model *= 4
    return done


def test_negative_peaks_that_are_skipped_do_not_keep_it_from_its_threshold():
    telescope = Interferometer().observe(sky())
    done = clean(telescope, minor=minor_cycle, negative="skip", threshold=0.05)
    assert done.stop_reason == "threshold reached"
    assert done.history[-1].peak <= 0.0505
    assert done.history[-1].peak_anywhere > 0.3
    assert (done.model >= 0).all()


def test_standstill_ends():
    """A deconvolver whose components vanish from the model would go on for ever."""
    telescope = Interferometer().observe(sky())
    done = clean(telescope, minor=lambda r, p, m,
                 s: SimpleNamespace(model=0 * r, n_iterations=1, stop_reason="odd"), most_cycles=50)
    assert (done.stop_reason, done.n_cycles) == ("no progress", 2)


def test_divergence_gives_the_best_cycle_back():
    telescope = Interferometer().observe(sky())
    turn = []

    def good_then_bad(residual, psf, mask, settings):
        turn.append(1)
        return (hogbom if len(turn) <= 2 else overshoot)(residual, psf, mask, settings)

    done = clean(telescope, minor=good_then_bad, threshold=1e-5, cycle_factor=2.0)
    assert done.stop_reason == "diverged"
    assert done.best_cycle == 2
    assert done.n_cycles > 2
    rms = [row.rms for row in done.history]
    assert np.argmin(rms) == done.best_cycle
    assert np.sqrt(np.mean(done.residual**2)) == pytest.approx(rms[2])
    assert np.allclose(done.residual, telescope.residual_of(done.model), atol=1e-13)
    assert len(done.components) == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_residual_that_is_no_number_diverges(bad):
    telescope = Interferometer().observe(sky())
    done = deconvolve(lambda model: telescope.residual_of(model) + (bad if model.any() else 0.0),
                      telescope.psf(), np.zeros((1, N, N)), CleanSettings(), minor=hogbom)
    assert (done.stop_reason, done.best_cycle) == ("diverged", 0)
    assert not done.model.any()


def test_slow_growth_is_noticed():
    """5 % more in every cycle.

    Never 1.5 times the least within three cycles, but three rises in a row.
    """
    telescope = Interferometer().observe(sky())
    grown = [1.0]

    def residual_of(model):
        grown[0] *= 1.05
        return telescope.residual_of(np.zeros((1, N, N))) * grown[0]

    done = deconvolve(residual_of, telescope.psf(), np.zeros((1, N, N)), CleanSettings(gain=0.2),
                      minor=hogbom)
    assert (done.stop_reason, done.n_cycles, done.best_cycle) == ("diverged", 3, 0)


def test_fast_growth_is_noticed_at_once():
    telescope = Interferometer().observe(sky())
    start = np.zeros((1, N, N))
    for factor, cycles in ((1.6, 1), (1.4, 3)):  # 1.5 is the limit
        done = deconvolve(lambda model,
                          factor=factor: telescope.residual_of(start) * (factor if model.any()
                                                                         else 1.0), telescope.psf(),
                          start, CleanSettings(gain=0.2, most_cycles=3), minor=hogbom)
        assert done.n_cycles == cycles
        assert (done.stop_reason == "diverged") == (factor > 1.5)
    assert clean(telescope, start, most_cycles=0).model is not start


@pytest.mark.parametrize("algorithm", ["clark", "hogbom"])
def test_a_psf_as_wide_as_the_image_does_for_sources_in_opposite_corners(algorithm):
    """Neither lies within the psf of the other.

    What one leaves at the other is known to the major cycles alone.
    """
    truth = np.zeros((1, N, N))
    truth[0, 3, 4], truth[0, N - 5, N - 3] = 1.0, 0.5
    telescope = Interferometer().observe(truth)
    half = N // 2
    settings = CleanSettings(threshold=1e-3, algorithm=algorithm)
    found = [deconvolve(telescope.residual_of, psf, np.zeros((1, N, N)), settings)
             for psf in (telescope.psf(), telescope.psf()[:, half : half + N, half : half + N])]
    assert [one.stop_reason for one in found] == ["threshold reached"] * 2
    assert found[1].n_cycles <= found[0].n_cycles + 1
    for one in found:
        # 1e-3 is what the threshold leaves, times the tolerance of a reached one.
        np.testing.assert_allclose(one.model[truth > 0], truth[truth > 0], atol=1.2e-3)


# ------------------------------------------------------------------- thresholds of a cycle, history


@pytest.mark.parametrize(("factor", "sidelobe", "part"),
                         [(1.0, 0.2, 0.2), (2.0, 0.2, 0.4), (1.0, 0.01, 0.05), (8.0, 0.2, 0.8)])
def test_cycle_threshold_as_casa_documents_it(factor, sidelobe, part):
    assert cycle_threshold(3.0, 0.0, sidelobe, factor) == pytest.approx(3.0 * part)
    assert cycle_threshold(3.0, 2.9, sidelobe, factor) == 2.9


def test_cycles_go_down_by_the_sidelobe_and_the_history_tells():
    telescope = Interferometer().observe(sky())
    seen = []
    done = clean(telescope, others={"progress": seen.append})
    level = sidelobe_level(telescope.psf()[0])
    assert seen == list(done.history)
    for before, after in zip(done.history[:-1], done.history[1:], strict=True):
        assert after.threshold == pytest.approx(max(1e-3, max(level, 0.05) * before.peak))
        # The psf of the test is exact, so that a cycle ends where it was told, less what the last
        # iteration took.
        assert 0.7 * after.threshold < after.peak <= after.threshold * (1 + 1e-9)
        assert after.rms < before.rms
    table = done.table()
    assert len(table) == done.n_cycles + 1
    assert table["peak"].to_value("Jy/beam")[-1] == done.history[-1].peak
    assert table.meta["stop_reason"] == "threshold reached"


def test_sidelobes_of_a_filled_aperture_and_of_a_narrow_beam():
    at = np.arange(256) - 128
    x = np.hypot(at[:, None], at) * 0.55
    airy = np.where(x > 0, 2 * j1(x) / np.where(x > 0, x, 1), 1.0)
    # 2 J1(x)/x has its deepest valley, −0.13228, at x = 5.136; pixels of 0.55 miss it by less than
    # 1 %.
    assert sidelobe_level(airy) == pytest.approx(0.13228, rel=0.01)
    # A ridge of 24 by 2.2 pixels at 20°: bumps on the ridge are no sidelobes, the spot of 0.21 is.
    north, east = at[:, None], -at[None, :]
    angle = np.deg2rad(20)
    along, across = north * np.cos(angle) + east * np.sin(angle), east * np.cos(angle) - north * np.sin(angle)
    ridge = np.exp(-4 * np.log(2) * ((along / 24) ** 2 + (across / 2.2) ** 2))
    spot = 0.21 * np.exp(-((north - 60) ** 2 + (east - 50) ** 2) / 20)
    assert sidelobe_level(ridge + spot) == pytest.approx(0.21, rel=1e-6)
    assert sidelobe_level(ridge - spot) == pytest.approx(0.21, rel=1e-6)


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(("change", "wanted"),
                         [({"threshold": -1.0}, "threshold is -1"), ({"gain": 0.0}, "gain is 0"),
                          ({"gain": 1.5}, "at most 1"),
                          ({"algorithm": "hogbum"}, "did you mean 'hogbom'"),
                          ({"scales": (0.0, 5.0)}, "use 'multiscale'"),
                          ({"cycle_factor": float("nan")}, "cycle_factor is nan"),
                          ({"divergence": 1.0}, "above 1"),
                          ({"iterations_per_cycle": 0}, "or None"),
                          ({"most_cycles": -1}, "most_cycles is -1")])
def test_settings_that_cannot_be(change, wanted):
    with pytest.raises(ImageError, match=wanted):
        CleanSettings(**change)


def test_images_that_cannot_be():
    telescope = Interferometer().observe(sky())
    psf, start = telescope.psf(), np.zeros((1, N, N))
    for arguments, wanted in (
        ((lambda model: model, psf, start[0]), "wanted are equal"),
        ((telescope.residual_of, psf[0], start), "wanted is \\(1, m, l\\)"),
        ((lambda model: model[:, :-2], psf, start), "residual of \\(1, 62, 64\\)"),
        ((lambda model: model + np.nan, psf, start), "blank everywhere"),
        ((telescope.residual_of, 0 * psf, start), "peak in the centre"),
        ((telescope.residual_of, np.roll(psf, 3, axis=2), start), "peak at \\("),
    ):
        with pytest.raises(ImageError, match=wanted):
            deconvolve(*arguments, minor=hogbom)
    with pytest.raises(ImageError, match="65 × 64 pixels for an image of 64 × 64"):
        deconvolve(telescope.residual_of, psf, start, mask=np.ones((65, 64)), minor=hogbom)
