"""Imaging weights against plain loops, against their limits, and against WSClean."""

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from factories import CENTRE, make_ms, offset, read
from oracles import LIGHT
from uvstack.errors import ImageError
from uvstack.imaging.weighting import Weighting, density, density_shape
from uvstack.pixels.grid import centred_grid
from uvstack.uv.taylor import to_image, to_psf

ARCSEC = np.deg2rad(1 / 3600)
FREQUENCY = 1.4e9 + 50e6 * np.arange(4)
GRID = centred_grid(*CENTRE, (48, 61), 20 * ARCSEC)


def data(n=400, seed=1):
    rng = np.random.default_rng(seed)
    uvw = rng.normal(size=(n, 3)) * 180.0
    uvw[::7, 1] *= 0.02  # some along v = 0, where the half planes meet
    return uvw, rng.uniform(0.1, 3.0, (n, FREQUENCY.size)).astype(np.float32)


def oracle(uvw, weight, kind, robust, taper=0.0, grid=GRID):
    """Weights by loops over the whole plane.

    Each visibility lies in two cells, its own and the mirror image of that.
    """
    n_m, n_l = grid.shape
    du, dv = 1 / (n_l * grid.geometry.cell_m), 1 / (n_m * grid.geometry.cell_m)
    cells = {}

    def cell(row, chan):
        u, v = uvw[row, :2] * FREQUENCY[chan] / LIGHT
        return int(np.floor(u / du)), int(np.floor(v / dv))

    for row in range(len(uvw)):
        for chan in range(FREQUENCY.size):
            i, j = cell(row, chan)
            for key in ((i, j), (-i - 1, -j - 1)):
                cells[key] = cells.get(key, 0.0) + float(weight[row, chan])
    f2 = (5 * 10.0**-robust) ** 2 / (sum(w * w for w in cells.values()) / sum(cells.values()))
    out = np.zeros(weight.shape)
    for row in range(len(uvw)):
        for chan in range(FREQUENCY.size):
            w, total = float(weight[row, chan]), cells[cell(row, chan)]
            factor = {"natural": 1.0, "uniform": 1 / total, "briggs": 1 / (1 + total * f2)}[kind]
            q = np.hypot(*uvw[row, :2]) * FREQUENCY[chan] / LIGHT
            out[row, chan] = w * factor * np.exp(-((np.pi * taper * q) ** 2) / (4 * np.log(2)))
    return out


@pytest.mark.parametrize(("kind", "robust", "taper"),
                         [("natural", 0, 0), ("natural", 0, 120 * ARCSEC), ("uniform", 0, 0),
                          ("briggs", 0, 0), ("briggs", -1.5, 0), ("briggs", 0.5, 90 * ARCSEC)])
def test_weights_equal_plain_loops(kind, robust, taper):
    uvw, weight = data()
    weighting = Weighting(kind, robust, taper)
    found = weighting.prepared(GRID, density(uvw, FREQUENCY, weight, GRID))(uvw, FREQUENCY, weight)
    assert found.dtype == np.float32
    wanted = oracle(uvw, weight, kind, robust, taper)
    # float32 weights
    assert found == pytest.approx(wanted, rel=1e-6)


def test_density_of_chunks_is_that_of_the_whole():
    uvw, weight = data()
    whole = density(uvw, FREQUENCY, weight, GRID)
    assert whole.shape == density_shape(GRID)
    assert whole.sum() == pytest.approx(weight.sum(dtype=float), rel=1e-12)  # nothing lies outside
    parts = [density(uvw[s], FREQUENCY[c], weight[s, c], GRID)
             for s in (slice(0, 99), slice(99, 400)) for c in (slice(0, 1), slice(1, 4))]
    assert np.allclose(sum(parts), whole, rtol=1e-12)
    # A baseline and the same one counted from the other antenna are one and the same.
    assert np.allclose(density(-uvw, FREQUENCY, weight, GRID), whole, rtol=1e-12)


def test_robust_runs_from_uniform_to_natural():
    uvw, weight = data()
    cells = density(uvw, FREQUENCY, weight, GRID)

    def relative(weighting):
        found = weighting.prepared(GRID, cells)(uvw, FREQUENCY, weight)
        return found / found.sum()

    natural, uniform = relative(Weighting()), relative(Weighting("uniform"))
    assert relative(Weighting("briggs", 5.0)) == pytest.approx(natural, rel=1e-4)
    assert relative(Weighting("briggs", -5.0)) == pytest.approx(uniform, rel=1e-4)
    # Uniform: every cell that holds anything counts the same.
    found = density(uvw, FREQUENCY,
                    Weighting("uniform").prepared(GRID, cells)(uvw, FREQUENCY, weight), GRID)
    assert found[found > 0] == pytest.approx(1.0, rel=1e-5)
    # The noise, Σ ω²/w / (Σ ω)², grows from natural to uniform.
    noise = [np.sum(w**2 / weight) / w.sum() ** 2
             for w in (relative(Weighting("briggs", r)) for r in (2, 1, 0, -1, -2))]
    assert np.all(np.diff(noise) > 0)


def test_taper_widens_the_beam_along_its_axis():
    # A taper along north of a filled circle of baselines: the second moments of weights give the
    # axes.
    rng = np.random.default_rng(3)
    uvw = np.column_stack([rng.normal(size=(200_000, 2)) * 400.0, np.zeros(200_000)])
    weight = np.ones((len(uvw), 1), np.float32)
    frequency = np.array([LIGHT])  # metres are wavelengths
    major, minor, angle = 400 * ARCSEC, 100 * ARCSEC, 0.5
    w = Weighting(uvtaper=(major, minor,
                           angle)).prepared(GRID)(uvw, frequency, weight)[:, 0].astype(float)
    moments = (uvw[:, :2].T * w) @ uvw[:, :2] / w.sum()
    # 1/variance in (u, v) adds: 1/400² and 2 π² θ² / (4 ln 2) along each axis. 1 % is three
    # standard errors of the sum.
    axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    along = np.diag(axes @ moments @ axes.T)
    wanted = 1 / (1 / 400**2 + np.pi**2 * np.array([major, minor]) ** 2 / (2 * np.log(2)))
    assert along == pytest.approx(wanted, rel=0.015)
    assert abs((axes @ moments @ axes.T)[0, 1]) < 0.01 * along.max()


def test_bad_values_get_no_weight():
    uvw, weight = data(20)
    good = density(uvw[5:], FREQUENCY, weight[5:], GRID)
    uvw[0, 1], uvw[1, 0], weight[2], weight[3], weight[4] = np.nan, np.inf, np.nan, -1, np.inf
    cells = density(uvw, FREQUENCY, weight, GRID)
    assert np.allclose(cells, good)
    for weighting in (Weighting(), Weighting("uniform"), Weighting("briggs", 0.0, 1e-4)):
        found = weighting.prepared(GRID, cells)(uvw, FREQUENCY, weight)
        assert not found[:5].any()
        assert (found[5:] > 0).all()
        assert weighting.prepared(GRID, cells)(uvw[:0], FREQUENCY, weight[:0]).shape == (0, 4)
    far = uvw[5:] * 1e3  # beyond the cells of this image
    assert not density(far, FREQUENCY, weight[5:], GRID).any()
    assert not Weighting("uniform").prepared(GRID, cells)(far, FREQUENCY, weight[5:]).any()


def test_what_is_refused():
    with pytest.raises(ImageError, match="'brigs' is unknown: the closest is briggs"):
        Weighting("brigs")
    with pytest.raises(ImageError, match="robust is nan"):
        Weighting("briggs", np.nan)
    with pytest.raises(ImageError, match="give a FWHM"):
        Weighting(uvtaper=(1.0, 2.0))
    with pytest.raises(ImageError, match="no density for uniform weights"):
        Weighting("uniform").prepared(GRID)
    with pytest.raises(ImageError, match=r"density of shape \(3, 3\)"):
        Weighting("briggs").prepared(GRID, np.ones((3, 3)))
    with pytest.raises(ImageError, match="no visibility with a weight"):
        Weighting("briggs").prepared(GRID, np.zeros(density_shape(GRID)))
    with pytest.raises(ValueError, match=r"wanted \(row, 3\), \(chan,\) and \(row, chan\)"):
        density(np.ones((3, 3)), FREQUENCY, np.ones((3, 1)), GRID)


SIZE, PADDING, FINE = 256, 2, 1.5


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """A set with three sources and its columns (uvw, frequency, mean of the hands)."""
    folder = tmp_path_factory.mktemp("wsclean")
    sources = [(*offset(2e-4, 1e-4), 1.0), (*offset(-6e-4, 5e-4), 0.5), (*CENTRE, 0.3)]
    ms = make_ms(folder / "a.ms", sources=sources, n_ant=16, n_times=30, scale=0.3, noise=0.05)
    return ms, read(ms, "UVW"), read(ms, "CHAN_FREQ",
                                     "SPECTRAL_WINDOW")[0], read(ms, "DATA").mean(axis=2)


@pytest.mark.parametrize("arguments",
                         [("briggs", "0"), ("briggs", "-1"), ("uniform",), ("natural",)])
def test_weights_dirty_image_and_psf_are_those_of_wsclean(field, tmp_path, arguments):
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed")
    ms, uvw, frequency, vis = field
    subprocess.run(["wsclean", "-quiet", "-size", str(SIZE), str(SIZE), "-scale", f"{FINE}asec",
                    "-weight", *arguments, "-pol", "I", "-store-imaging-weights", "-make-psf",
                    "-padding", str(PADDING), "-nwlayers", "64", "-j", "1", "-name",
                    str(tmp_path / "ws"), str(ms)], check=True, capture_output=True)
    theirs, psf = (fits.getdata(tmp_path / f"ws-{name}.fits")[0, 0].astype(float)
                   for name in ("dirty", "psf"))
    grid, padded = (centred_grid(*CENTRE, n, FINE * ARCSEC) for n in (SIZE, PADDING * SIZE))
    weight = np.full(vis.shape, 2.0, np.float32)
    weighting = Weighting(arguments[0], float(arguments[1]) if len(arguments) > 1 else 0.0)
    imaging = weighting.prepared(padded,
                                 density(uvw, frequency, weight, padded))(uvw, frequency, weight)
    if weighting.needs_density:
        ratio = read(ms, "IMAGING_WEIGHT_SPECTRUM")[..., 0] / imaging
        # float32 on both sides; a few points lie within rounding of the edge between two cells.
        assert np.mean(np.abs(ratio / np.median(ratio) - 1) < 1e-4) > 0.99
    total = imaging.sum(dtype=float)
    ours, our_psf = to_image(uvw, frequency, vis, imaging,
                             grid) / total, to_psf(uvw, frequency, imaging, grid) / total
    peak = np.unravel_index(theirs.argmax(), theirs.shape)
    assert np.unravel_index(ours.argmax(), ours.shape) == peak
    # Its gridder's alias rejection: measured 3e-5 within half of the width and 5e-3 at the edges,
    # where we equal the direct sum. Uniform weights differ by their whole size for the few points
    # that fall on the other side of an edge.
    inner = (slice(SIZE // 4, 3 * SIZE // 4),) * 2
    for a, b in ((ours, theirs), (our_psf, psf)):
        assert np.abs(a - b)[inner].max() < (0.01 if arguments[0] == "uniform" else 1e-3)
        assert np.abs(a - b).max() < 0.015
