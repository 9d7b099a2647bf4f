"""`uvstack montecarlo`.

The fast way equals the exact one, the noise is that of equation 7, fake sources come back unbiased.

Budget of a flux, relative to the noise: 1e-4, see test_monte_carlo.py; the exact way itself is good
to 5e-6.
"""

import contextlib
import json
import pickle
import shutil

import numpy as np
import pytest
from astropy.table import QTable, Table
from click.testing import CliRunner

import uvstack
from factories import ARCMIN, ARCSEC, CENTRE, Spw, at, edit, make_ms, offset, read
from uvstack.cli.main import group
from uvstack.errors import (
    DroppedPositionsWarning,
    ImageError,
    OutputError,
    PositionsError,
    SchedulerError,
    SelectionError,
    UvstackError,
)
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.ms import read_block, read_structure, scan_rows
from uvstack.io.selection import select
from uvstack.monte_carlo import task as monte_carlo_task
from uvstack.monte_carlo.task import montecarlo
from uvstack.pixels.grid import centred_grid
from uvstack.sky.beam import Beam
from uvstack.sky.positions import Positions
from uvstack.uv.taylor import to_image

TOLERANCE = 1e-4
BEAM = "gaussian:12arcmin@1.4GHz"
SPW = Spw(first=1.3e9, width=40e6, n=6)


def listed(n=12, reach=5 * ARCMIN, seed=1, **columns):
    """Positions even over a square, as a table."""
    points = np.array([offset(*p)
                       for p in np.random.default_rng(seed).uniform(-reach, reach, (n, 2))])
    return Table({"ra": np.rad2deg(points[:, 0]), "dec": np.rad2deg(points[:, 1]), **columns})


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Pure noise of one pointing."""
    return make_ms(tmp_path_factory.mktemp("mc") / "noise.ms", n_ant=12, n_times=10, spws=[SPW],
                   noise=1.0)


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """Three pointings with bright sources and noise."""
    fields = [CENTRE, offset(6 * ARCMIN, 0), offset(0, 6 * ARCMIN)]
    sources = [(*offset(1 * ARCMIN, 2 * ARCMIN), 3.0), (*offset(-3 * ARCMIN, 1 * ARCMIN), 1.0)]
    return make_ms(tmp_path_factory.mktemp("mc") / "mosaic.ms", n_ant=8, n_times=6, spws=[SPW],
                   noise=1.0, fields=fields, sources=sources)


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """No noise and no source: what comes out was put in."""
    return make_ms(tmp_path_factory.mktemp("mc") / "silent.ms", n_ant=8, n_times=6, spws=[SPW])


CASES = {"no beam": {}, "beam": {"primary_beam": BEAM},
         "beam squared": {"primary_beam": BEAM, "weights": "primary-beam"},
         "uvmin": {"uvmin": "1km", "primary_beam": BEAM},
         "uvmax in wavelengths": {"uvmax": "8klambda"},
         "list": {"weights": "list*primary-beam", "primary_beam": BEAM},
         "jitter": {"jitter": 30 * ARCSEC}}


@pytest.mark.parametrize("name", CASES)
def test_the_fast_way_equals_the_exact_one(noisy, name):
    table = listed(weight=np.linspace(0.2, 3, 12))
    fast, exact = (montecarlo(noisy, table, realisations=40, seed=1, exact=e, **CASES[name])
                   for e in (False, True))
    assert np.array_equal(fast.ra, exact.ra)
    assert np.abs(fast.uv.fluxes - exact.uv.fluxes).max() < TOLERANCE * exact.noise
    stacked = uvstack.stack(noisy, table, **{k: v for k, v in CASES[name].items() if k != "jitter"})
    assert fast.flux == pytest.approx(stacked.flux, abs=TOLERANCE * exact.noise)
    assert exact.flux == pytest.approx(stacked.flux, abs=1e-5 * exact.noise)
    assert fast.flux_error_expected == pytest.approx(stacked.flux_error_expected, rel=1e-9)


@pytest.mark.parametrize("weights", ["equal", "primary-beam"])
def test_the_fast_way_equals_the_exact_one_on_a_mosaic(mosaic, weights):
    options = {"primary_beam": BEAM, "weights": weights, "realisations": 40, "seed": 2}
    fast, exact = (montecarlo(mosaic, listed(), exact=e, **options) for e in (False, True))
    assert np.abs(fast.uv.fluxes - exact.uv.fluxes).max() < TOLERANCE * exact.noise
    # And the exact way is the plain stack of that list.
    third = uvstack.stack(mosaic, at(*zip(exact.ra[3], exact.dec[3], strict=True)),
                          primary_beam=BEAM, weights=weights)
    assert exact.uv.fluxes[3] == pytest.approx(third.flux, abs=2e-5 * exact.noise)


@pytest.mark.parametrize("kind", ["rms-corrected", "rms-flat", "corrected"])
def test_local_noise_is_taken_at_every_position(mosaic, tmp_path, kind):
    """From a map whose noise rises to the east, and blank in the south, where no position may fall."""
    noise = np.broadcast_to(np.linspace(3.0, 1.0, 400), (400, 400)).copy()
    if kind == "corrected":
        noise *= np.random.default_rng(1).standard_normal((400, 400))
    noise[:150] = np.nan
    write_image(tmp_path / "noise.fits", noise, sin_wcs(*CENTRE, (400, 400), 3 * ARCSEC),
                beams=Beam(9 * ARCSEC, 9 * ARCSEC), four_axes=False)
    options = {"weights": "local-noise", "noise_image": tmp_path / "noise.fits", "noise_kind": kind,
               "primary_beam": BEAM}
    with pytest.warns(DroppedPositionsWarning):
        fast, exact = (montecarlo(mosaic, listed(), realisations=20, seed=2, exact=e, **options)
                       for e in (False, True))
    # A noise that is measured around a position reaches over the edge.
    reach = 51 if kind.startswith("rms") else 100
    assert (fast.dec > CENTRE[1] - reach * 3 * ARCSEC).all()
    assert np.abs(fast.uv.fluxes - exact.uv.fluxes).max() < TOLERANCE * exact.noise
    with pytest.warns(DroppedPositionsWarning):
        stacked = uvstack.stack(mosaic, listed(), **options)
    assert exact.flux == pytest.approx(stacked.flux, abs=2e-5 * exact.noise)
    assert exact.n_positions == stacked.n_positions < 12


def test_noise_of_random_stacks_is_that_of_equation_7(noisy):
    """300 stacks: 4.1 % for the noise, and 1.1 % for the power of one noise map of 7900 numbers.

    Bias within 4 errors.
    """
    result = montecarlo(noisy, listed(), realisations=300, seed=3)
    assert result.noise == pytest.approx(result.flux_error_expected, rel=4 * np.hypot(0.041, 0.011))
    assert abs(result.bias) < 4 * result.uv.bias_error
    assert result.uv.noise_error == pytest.approx(result.noise / np.sqrt(598))


@pytest.mark.parametrize("beam", ["constant", BEAM])
def test_fake_sources_are_those_of_the_measurement_equation(silent, tmp_path, beam):
    """The stack of a set that holds the sources of one realisation, made by the plain sums of the oracle."""
    table = listed(5)
    result = montecarlo(silent, table, realisations=3, seed=4, fake_flux=2.0, primary_beam=beam)
    answer = None if beam == "constant" else oracle_beam
    sources = [(a, d, 2.0) for a, d in zip(result.ra[1], result.dec[1], strict=True)]
    full = make_ms(tmp_path / "full.ms", n_ant=8, n_times=6, spws=[SPW], sources=sources,
                   beam=answer)
    stacked = uvstack.stack(full, at(*zip(result.ra[1], result.dec[1], strict=True)),
                            primary_beam=beam)
    assert result.uv.fluxes[1] == pytest.approx(stacked.flux, rel=1e-5)
    assert result.uv.truths == pytest.approx(2.0)


def oracle_beam(l, m, frequency):
    fwhm = 12 * ARCMIN * 1.4e9 / frequency
    return np.exp(-4 * np.log(2) * (np.arcsin(np.hypot(l, m)) / fwhm) ** 2)


def test_fake_sources_are_recovered_unbiased_and_their_cross_talk_is_foretold(silent):
    """400 stacks of sources alone.

    The rest is their sidelobes at each other, whose mean is 0 and whose rms is stated to 25 %.
    """
    options = {"realisations": 400, "seed": 5, "fake_flux": 1.0}
    exact, own = (montecarlo(silent, listed(), fake_response=r, **options)
                  for r in ("exact", "own"))
    # Three are exact, and the others have the mean of these.
    assert own.uv.errors[:3] == pytest.approx(exact.uv.errors[:3], abs=1e-9)
    assert own.uv.errors[3:] == pytest.approx(exact.uv.errors[:3].mean(), abs=1e-6)
    assert own.cross_talk == pytest.approx(exact.noise, rel=0.25)
    # The mean of three is known to a √3 of it, whatever the number of lists.
    assert own.uv.bias_error == pytest.approx(own.cross_talk / np.sqrt(3), rel=1e-3)
    assert exact.cross_talk is None
    assert exact.uv.offset == 0
    assert exact.uv.response == pytest.approx(1, abs=4 * exact.uv.bias_error)
    assert abs(exact.bias) < 4 * exact.uv.bias_error
    assert abs(exact.bias) < 0.02


def test_cross_talk_within_a_beam_is_foretold(silent):
    """12 sources in 40″: most of it is from pairs within a beam of 10″, where the psf is the same in every chunk.

    1000 stacks know their scatter to 2.3 % were it normal; it is not, so twice that, and 8 % are
    for 256 separations.
    """
    options = {"realisations": 1000, "seed": 5, "fake_flux": 1.0, "chunk_size": 500,
               "size": (40 * ARCSEC, 40 * ARCSEC)}
    exact, own = (montecarlo(silent, listed(), fake_response=r, **options)
                  for r in ("exact", "own"))
    assert own.cross_talk == pytest.approx(exact.noise, rel=0.15)


def test_extended_fake_sources_lose_what_the_baselines_resolve(silent):
    """A list of one has no cross-talk.

    The mean envelope equals the measurement equation, but for the fine bins (0.1 %).
    """
    options = {"realisations": 4, "seed": 6, "fake_flux": 1.0, "fake_size": 12 * ARCSEC,
               "radius": 5 * ARCMIN}
    exact, own = (montecarlo(silent, at(CENTRE), fake_response=r, **options)
                  for r in ("exact", "own"))
    assert exact.uv.fluxes == pytest.approx(own.uv.fluxes, rel=2e-3)
    assert own.uv.response < 0.8
    assert own.uv.truths == pytest.approx(1.0)


def test_matched_fluxes_and_sizes_stay_together_and_are_shuffled(silent):
    table = listed(6, flux_mjy=np.arange(1.0, 7.0), size_arcsec=np.arange(6.0),
                   weight=np.arange(1.0, 7.0))
    result = montecarlo(silent, table, realisations=30, seed=7, fake_flux="match",
                        fake_size="match", fake_response="own", weights="list")
    # Shuffled together: the weighted mean is the same for all lists, 91/21 mJy.
    assert result.uv.truths == pytest.approx(91e-3 / 21)
    assert (result.uv.fluxes < result.uv.truths).all()


def test_what_matches_the_stack_has_its_flux(mosaic):
    result = montecarlo(mosaic, listed(), realisations=5, seed=8, fake_flux="match",
                        primary_beam=BEAM)
    plain = montecarlo(mosaic, listed(), realisations=5, seed=8, primary_beam=BEAM)
    assert result.uv.truths == pytest.approx(plain.flux)
    unit = montecarlo(mosaic, listed(), realisations=5, seed=8, primary_beam=BEAM, fake_flux=1.0)
    assert result.uv.fluxes - plain.uv.fluxes == pytest.approx(
        plain.flux * (unit.uv.fluxes - plain.uv.fluxes), rel=1e-6)


def test_a_seed_gives_the_same_whatever_the_chunks_and_threads(mosaic, monkeypatch):
    options = {"realisations": 4, "primary_beam": BEAM, "fake_flux": 1.0, "bins": 2}
    first = montecarlo(mosaic, listed(), seed=9, threads=1, exact=False, **options)
    monkeypatch.setattr(monte_carlo_task, "_KEPT", 4000)
    second = montecarlo(mosaic, listed(), seed=9, threads=2, exact=False, chunk_size=2500,
                        **options)
    assert np.array_equal(first.ra, second.ra)
    assert np.abs(first.uv.fluxes - second.uv.fluxes).max() < 2 * TOLERANCE * first.noise
    assert first.bins.distance == pytest.approx(second.bins.distance, rel=1e-6)
    monkeypatch.undo()
    assert not np.array_equal(first.ra, montecarlo(mosaic, listed(), seed=10, realisations=4).ra)
    drawn = montecarlo(mosaic, listed(), realisations=4)
    again = montecarlo(mosaic, listed(), seed=drawn.provenance.seed, realisations=4)
    assert np.array_equal(drawn.uv.fluxes, again.uv.fluxes)


def test_bins_hold_the_stack_of_their_baselines(noisy):
    """Each bin to 2 % of its noise, as `_BIN_TOLERANCE` has it; edges are those of the data."""
    result = montecarlo(noisy, listed(), realisations=20, seed=11, bins=4, primary_beam=BEAM,
                        exact=False)
    profile = result.uv_profile()
    for i, row in enumerate(profile):
        limits = {"uvmin": row["uv_min"].value, "uvmax": row["uv_max"].value * (1 - 1e-13)}
        alone = montecarlo(noisy, listed(), realisations=20, seed=11, primary_beam=BEAM, **limits)
        assert np.abs(result.bins.fluxes[i, 1:] - alone.uv.fluxes).max() < 0.02 * alone.noise
        assert row["real"].value == pytest.approx(alone.flux, abs=0.02 * alone.noise)
    assert result.suggest_uvmin() is None
    assert result.uv.response is None
    assert montecarlo(noisy, listed(), realisations=4, seed=11,
                      bins=[0, 1e3, 1e6]).bins.edges.tolist() == [0, 1e3, 1e6]


def test_bins_begin_and_end_with_baselines_that_are_used(noisy, tmp_path):
    ms = tmp_path / "a.ms"
    shutil.copytree(noisy, ms)
    distance = np.hypot(*read(ms, "UVW")[:, :2].T)
    longest, shortest = (distance >= np.sort(distance)[-5]), (distance <= np.sort(distance)[4])
    edit(ms, "FLAG", lambda flag: flag | longest[:, None, None])
    edit(ms, "FLAG_ROW", lambda flag: flag | shortest)
    edges = montecarlo(ms, listed(), realisations=2, seed=11, bins=4).bins.edges
    used = distance[~longest & ~shortest]
    assert edges[[0, -1]] == pytest.approx([used.min(), used.max()], rel=1e-9)


def test_sizes_of_fake_sources_come_back(noisy):
    """Sources of 60 times the noise, one a list so that there is no cross-talk, in 8 bins.

    The mean of 40 sizes within 4 errors.
    """
    options = {"realisations": 40, "seed": 12, "bins": 8, "fit": "gaussian", "fake_flux": 2.0,
               "fake_size": 12 * ARCSEC, "radius": 5 * ARCMIN}
    for response in ("own", "exact"):
        sizes = montecarlo(noisy, at(CENTRE), fake_response=response, **options).sizes
        assert sizes.mean() == pytest.approx(12 * ARCSEC,
                                             abs=4 * sizes.std() / np.sqrt(40)
                                             + 0.005 * 12 * ARCSEC)
        assert sizes.std() < 0.05 * 12 * ARCSEC


def test_mean_cross_talk_of_many_sources_is_not_left_out(silent):
    """300 sources in 5 beams across.

    The psf's main lobe adds up to a part of the flux, which both ways must have.
    """
    options = {"realisations": 12, "seed": 16, "fake_flux": 1.0, "bins": 2,
               "size": (1 * ARCMIN, 1 * ARCMIN)}
    exact, own = (montecarlo(silent, listed(300, 0.4 * ARCMIN), fake_response=r, **options)
                  for r in ("exact", "own"))
    assert exact.bias > 10
    assert own.bias == pytest.approx(exact.bias, rel=0.1)
    assert own.bins.fluxes[:, 1:].mean(axis=1) == pytest.approx(
        exact.bins.fluxes[:, 1:].mean(axis=1), rel=0.1)


@pytest.fixture(scope="module")
def dirty(noisy, tmp_path_factory):
    """Dirty image of the noise with natural weights, primary beam and all left out."""
    structure = read_structure(noisy)
    selection = select(structure)
    (block,) = scan_rows(structure, selection, {0: 10**6})
    (part,) = read_block(structure, selection, block, ("DATA", None))
    grid = centred_grid(*CENTRE, 512, 2 * ARCSEC)
    image = to_image(part.uvw, SPW.frequency, part.vis.mean(axis=2),
                     np.ones(part.vis.shape[:2], np.float32), grid, epsilon=1e-6)
    path = tmp_path_factory.mktemp("mc") / "dirty.fits"
    write_image(path, image / part.vis.shape[0] / part.vis.shape[1],
                sin_wcs(*CENTRE, (512, 512), 2 * ARCSEC), beams=Beam(11 * ARCSEC, 10 * ARCSEC),
                frequency=1.4e9)
    return path


def test_image_stacks_of_the_same_positions(noisy, dirty):
    """The stack of the dirty image below the pixel is the uv-stack, but for the window of 32 taps.

    The nearest pixel is not.
    """
    result = montecarlo(noisy, listed(), realisations=50, seed=13, image=dirty)
    nearest, fine = result.images
    assert np.abs(fine.errors - result.uv.errors).max() < 5e-3 * result.noise
    assert fine.flux == pytest.approx(result.flux, abs=5e-3 * result.noise)
    assert 0.95 < np.corrcoef(nearest.errors, result.uv.errors)[0, 1] < 0.9995
    # A source between pixels of 2″ in a beam of 10.5″ loses 1.68 % on average: 2 · 0.231 / 5.25²,
    # with its scatter over positions.
    bright = montecarlo(noisy, listed(), realisations=50, seed=13, image=dirty, fake_flux=1.0,
                        fake_response="own")
    lost = bright.images[0].errors - nearest.errors
    assert lost.mean() == pytest.approx(-0.0168, abs=4 * lost.std() / np.sqrt(50) + 3e-4)
    assert bright.images[1].errors == pytest.approx(fine.errors, abs=1e-9)


def test_masks_and_known_sources(noisy, tmp_path):
    allowed = np.zeros((200, 200), np.float32)
    allowed[:, 100:] = 1
    mask = tmp_path / "mask.fits"
    write_image(mask, allowed, sin_wcs(*CENTRE, (200, 200), 4 * ARCSEC), four_axes=False)
    result = montecarlo(noisy, listed(), realisations=30, seed=14, mask=mask, avoid=at(CENTRE),
                        avoid_radius=3 * ARCMIN)
    # Columns from 100 up lie to the west.
    assert (result.ra < CENTRE[0] + 3 * ARCSEC).all()
    apart = np.hypot((result.ra - CENTRE[0]) * np.cos(CENTRE[1]), result.dec - CENTRE[1])
    assert apart.min() > 2.99 * ARCMIN
    assert "mask" in result.mode


@pytest.mark.parametrize("exact", [False, True])
def test_workers_give_the_same(mosaic, monkeypatch, exact):
    """As on a cluster: job, chunks and results are pickled, and a worker sums what it reads."""
    options = {"realisations": 5, "seed": 15, "primary_beam": BEAM, "exact": exact}
    here = montecarlo(mosaic, listed(), **options)

    def send(function, job, chunks, consume, client, threads):
        for i, chunk in enumerate(chunks):
            consume(i,
                    pickle.loads(pickle.dumps(function(*pickle.loads(pickle.dumps((job, chunk)))))))

    monkeypatch.setattr(monte_carlo_task, "cluster",
                        lambda *arguments: contextlib.nullcontext("client"))
    monkeypatch.setattr(monte_carlo_task, "map_chunks", send)
    there = montecarlo(mosaic, listed(), workers=2, chunk_size=2500, **options)
    assert np.abs(here.uv.fluxes - there.uv.fluxes).max() < TOLERANCE * here.noise


@pytest.mark.parametrize(("options", "error", "words"),
                         [({"realisations": 0}, SelectionError, "realisations is 0"),
                          ({"realisations": -5}, SelectionError, "realisations is -5"),
                          ({"realisations": 2.5}, SelectionError, "whole number"),
                          ({"fake_flux": float("nan")}, SelectionError, "fake_flux is nan"),
                          ({"fake_flux": "mach"}, SelectionError, "number or match"),
                          ({"fake_size": 1e-5}, SelectionError, "no flux"),
                          ({"fake_flux": 1.0, "fake_size": -1.0}, SelectionError, "0 or more"),
                          ({"fake_flux": 1.0, "fake_size": "match"}, PositionsError, "no such"),
                          ({"fake_flux": 1.0, "fake_response": "exakt"}, SelectionError,
                           "did you mean exact"), ({"pb_cutoff": 2}, SelectionError, "pb_cutoff"),
                          ({"bins": -1}, SelectionError, "bins is -1"),
                          ({"bins": [3.0, 1.0]}, SelectionError, "rise"),
                          ({"fit": "gaussian"}, SelectionError, "bins"),
                          ({"fit": "gaussian", "bins": 4, "uvmin": "2.5km"}, SelectionError,
                           "fewer than two"),
                          ({"avoid": at(CENTRE)}, SelectionError, "belong together"),
                          ({"avoid": at(CENTRE), "avoid_radius": 1.0}, PositionsError, "no room"),
                          ({"jitter": 1e-4, "radius": 1e-3}, SelectionError, "jitter"),
                          ({"jitter": -1.0}, PositionsError, "jitter"),
                          ({"mask": "none.fits"}, ImageError, "no such image"),
                          ({"weights": "list"}, PositionsError, "column of weights"),
                          ({"weights": "local-noise"}, SelectionError, "noise_image"),
                          ({"size": (1e-3, 0.0)}, PositionsError, "no room"),
                          ({"scheduler": "tcp://127.0.0.1:1"}, SchedulerError, "no dask scheduler"),
                          ({"uvmin": "900km"}, UvstackError, "uv range")])
def test_bad_input_is_told_in_one_line(noisy, options, error, words, monkeypatch):
    if "scheduler" in options:
        import distributed

        def refused(*args, **kwargs):
            raise OSError("refused")

        monkeypatch.setattr(distributed, "Client", refused)
    with pytest.raises(error, match=words) as raised:
        montecarlo(noisy, listed(), **{"realisations": 3, "seed": 1, **options})
    assert "\n" not in str(raised.value)


def test_a_mask_without_room(noisy, tmp_path):
    write_image(tmp_path / "zero.fits", np.zeros((50, 50), np.float32),
                sin_wcs(*CENTRE, (50, 50), 10 * ARCSEC), four_axes=False)
    with pytest.raises(PositionsError, match="above 0 nowhere"):
        montecarlo(noisy, listed(), mask=tmp_path / "zero.fits")
    # One whose allowed part lies elsewhere.
    write_image(tmp_path / "far.fits", np.ones((50, 50), np.float32),
                sin_wcs(*offset(0.1, 0.1), (50, 50), 10 * ARCSEC), four_axes=False)
    with pytest.raises(PositionsError, match="no room for random"):
        montecarlo(noisy, listed(), mask=tmp_path / "far.fits")


def test_the_cheaper_way_is_taken(noisy):
    assert montecarlo(noisy, listed(), realisations=3, seed=1).method == "exact"
    assert montecarlo(noisy, listed(), realisations=5000, seed=1).method == "images"


def test_inputs_stay_as_they_were(noisy, fingerprint):
    before = fingerprint(noisy)
    positions = Positions(at(CENTRE, offset(ARCMIN, ARCMIN)), weight=np.array([1.0, 2.0]))
    montecarlo(noisy, positions, realisations=3, weights="list", seed=1)
    assert fingerprint(noisy) == before
    assert positions.weight.tolist() == [1.0, 2.0]


def test_the_command_end_to_end(noisy, dirty, tmp_path):
    listed(flux_mjy=np.full(12, 50.0)).write(tmp_path / "targets.csv")
    arguments = ["montecarlo", str(noisy), str(tmp_path / "targets.csv"), "--realisations", "20",
                 "--fake-flux", "match", "--bins", "4", "--fit", "gaussian", "--image", str(dirty),
                 "--seed", "1", "--primary-beam", BEAM, "--report", str(tmp_path / "mc")]
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code == 0, done.output
    assert "noise" in done.output
    assert "sub-pixel" in done.output
    summary = json.loads((tmp_path / "mc" / "result.json").read_text())
    table = QTable.read(tmp_path / "mc" / "realisations.ecsv")
    assert summary["noise_jy"] == pytest.approx(np.std((table["uv_flux"] - table["uv_truth"]).value,
                                                       ddof=1))
    assert summary["provenance"]["seed"] == 1
    assert summary["samples"][0]["mean_truth_jy"] == pytest.approx(0.05)
    page = (tmp_path / "mc" / "index.html").read_text()
    assert page.count("<img") == 4
    assert {"histogram.png", "uv_profile.png", "scatter.png",
            "sizes.png"} <= {p.name for p in (tmp_path / "mc").iterdir()}
    again = CliRunner().invoke(group, arguments)
    assert isinstance(again.exception, OutputError)
    assert CliRunner().invoke(group, [*arguments, "--overwrite"]).exit_code == 0
    assert isinstance(CliRunner().invoke(group,
                                         [*arguments[:3], "--report",
                                          str(tmp_path / "no" / "mc")]).exception, OutputError)


def test_a_full_disk_is_one_line(noisy, tmp_path, monkeypatch):
    result = montecarlo(noisy, listed(), realisations=3, seed=1)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        result.save(tmp_path / "result.json")
    assert list(tmp_path.iterdir()) == []
