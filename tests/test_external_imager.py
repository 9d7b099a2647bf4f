"""WSClean and CASA make our images: pixel for pixel dirty, restored to a percent, with the set left as it was."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from factories import ARCMIN, ARCSEC, CENTRE, RR, Spw, make_ms, offset
from uvstack.errors import ImageError, MissingDependencyError, NoDataError, SelectionError, UvstackError, UvstackWarning
from uvstack.image import external_wsclean_task
from uvstack.image.external_request import ExternalRequest
from uvstack.image.external_task import check_external, external_images
from uvstack.image.grid import centred_grid
from uvstack.image.major_cycle import STOP_REASONS, CleanSettings
from uvstack.image.mask import AutoMask
from uvstack.image.subtract_column_task import centre_of
from uvstack.image.task import image
from uvstack.image.weighting import Weighting
from uvstack.io.ms import parse_column, read_structure
from uvstack.io.selection import parse_uv_range, select

CELL = 2.5 * ARCSEC
#: Not square, so that exchanged axes show. (m, l)
SHAPE = (160, 192)
#: None mirrors another; on pixels. (l, m, flux)
SPOTS = ((16, -24, 1.0), (-32, 12, 0.5), (0, 0, 0.3), (50, 40, 0.2))
SOURCES = [(*offset(l * CELL, m * CELL), flux) for l, m, flux in SPOTS]


def is_there(imager):
    return shutil.which("wsclean") is not None if imager == "wsclean" else importlib.util.find_spec("casatasks") is not None


BOTH = [pytest.param(name, marks=pytest.mark.skipif(not is_there(name), reason=f"{name} is not installed"))
        for name in ("wsclean", "casa")]
WSCLEAN, CASA = (p.marks[0] for p in BOTH)


@pytest.fixture(scope="module")
def ms(tmp_path_factory):
    """Four points in noise of 20 mJy a visibility: 0.2 mJy/beam."""
    return make_ms(tmp_path_factory.mktemp("external") / "a.ms", sources=SOURCES, n_ant=16, n_times=24, scale=0.15, noise=0.02)


def ask(*paths, size=SHAPE, phase_centre=CENTRE, weighting="natural", robust=0.0, uvtaper=0.0, column="DATA", field=None, spw=None,
        timerange=None, uvmin=None, uvmax=None, iterations=0, threshold=0.0, sigma=0.0, automask=None, algorithm="clark",
        scales=(0.0,), most_cycles=20, **more):
    """The request that `uvstack image` makes of the same arguments."""
    structures = tuple(read_structure(path) for path in paths)
    selections = tuple(select(s, field, spw, timerange) for s in structures)
    centres = {(i, f.id): centre_of(f.frame, f.ra, f.dec) for i, (s, chosen) in enumerate(zip(structures, selections, strict=True))
               for f in s.fields if f.id in chosen.field_ids}
    settings = CleanSettings(threshold=threshold, threshold_sigma=sigma, most_iterations=iterations, algorithm=algorithm, scales=scales,
                             automask=automask, most_cycles=most_cycles)
    return ExternalRequest(structures, selections, tuple(parse_column(column, s) for s in structures), centres,
                           centred_grid(*phase_centre, size, CELL), Weighting(weighting, robust, uvtaper), settings,
                           parse_uv_range(uvmin, uvmax), **more)


def ours(ms, **options):
    return image(ms, size=SHAPE, cell=CELL, threads=1, **({"weighting": "natural", "iterations": 0} | options))


def differences(theirs, mine):
    """Largest difference over the peak: anywhere, and in the inner third."""
    off = np.abs(theirs - mine) / np.abs(mine).max()
    third = tuple(slice(n // 3, n - n // 3) for n in off.shape)
    return off.max(), off[third].max()


#: Of the peak: anywhere, and in the inner third. WSClean's gridder is ours, run at 1e-6, its products float32. CASA neglects w,
#: which is 0.08 of a radian at the corners here, and its gridder errs by parts of a thousand off the centre.
BUDGET = {"wsclean": (1e-5, 1e-5), "casa": (1e-2, 1.5e-3)}


@pytest.mark.parametrize(("imager", "weighting"), [
    pytest.param("wsclean", "natural", marks=WSCLEAN), pytest.param("wsclean", "briggs", marks=WSCLEAN),
    pytest.param("casa", "natural", marks=CASA)])
def test_dirty_image_and_psf_are_ours(ms, tmp_path, imager, weighting):
    found, mine = external_images(imager, ask(ms, weighting=weighting), tmp_path), ours(ms, weighting=weighting)
    for theirs, own in ((found.dirty[0], mine.dirty[0]), (found.psf[0], mine.psf)):
        anywhere, inner = differences(theirs, own)
        assert anywhere < BUDGET[imager][0]
        assert inner < BUDGET[imager][1]
    assert np.array_equal(found.residual, found.dirty)
    assert not found.model.any()
    assert found.stop_reason == mine.stop_reason
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("imager", BOTH)
def test_clean_gives_our_fluxes_in_our_pixels(ms, tmp_path, imager, fingerprint):
    before = {name: digest for name, (digest, _) in fingerprint(ms).items()}
    columns = sorted(read_structure(ms).columns)
    found = external_images(imager, ask(ms, weighting="briggs", iterations=20_000, threshold=2e-3), tmp_path)
    assert {name: digest for name, (digest, _) in fingerprint(ms).items() if not name.endswith("table.lock")} == {
        name: digest for name, digest in before.items() if not name.endswith("table.lock")}
    assert sorted(read_structure(ms).columns) == columns
    assert list(Path(tmp_path).iterdir()) == []
    mine = ours(ms, weighting="briggs", iterations=20_000, threshold=2e-3)
    for l, m, flux in SPOTS:
        row, column = SHAPE[0] // 2 + m, SHAPE[1] // 2 - l
        theirs, own = found.image[0, row, column], mine.image[0, row, column]
        near = found.image[0, row - 3 : row + 4, column - 3 : column + 4]
        assert np.unravel_index(near.argmax(), near.shape) == (3, 3)
        # The 1 %, and the noise, which is the same in both; CASA neglects w towards the corner.
        assert abs(theirs - own) < 0.01 * flux + 1e-3
        assert abs(theirs - flux) < 0.01 * flux + 4 * mine.noise_expected
    assert found.model.sum() == pytest.approx(mine.model.sum(), rel=0.01)
    assert found.stop_reason == "threshold reached"
    assert found.n_iterations > 0
    assert found.n_cycles > 0
    # Each fits its beam in another box, WSClean in one that holds sidelobes: 4 % and 13 degrees; a mirrored angle is 36 off.
    assert found.beam.fwhm_major == pytest.approx(mine.beam.fwhm_major, rel=0.05)
    assert found.beam.fwhm_minor == pytest.approx(mine.beam.fwhm_minor, rel=0.05)
    assert np.rad2deg(found.beam.position_angle) == pytest.approx(np.rad2deg(mine.beam.position_angle), abs=15)
    whole = found.deconvolved()
    assert whole.stop_reason in STOP_REASONS
    assert whole.components[0].flux.sum() == pytest.approx(found.model.sum())
    assert [row.cycle for row in whole.history] == [0, found.n_cycles]
    assert imager in found.version.lower()
    assert {"wsclean": "-threshold 0.002", "casa": "threshold='0.002Jy'"}[imager] in found.command


@pytest.fixture(scope="module")
def fields(tmp_path_factory):
    """Two fields in directions of their own and two windows; the second field and the first window hold what is looked for."""
    return make_ms(tmp_path_factory.mktemp("fields") / "b.ms", sources=SOURCES, fields=(offset(20 * ARCMIN, 0.0), CENTRE),
                   noise=0.02, spws=(Spw(1.3e9, 20e6, 3), Spw(1.7e9, 20e6, 2)), n_ant=16, n_times=24, scale=0.12,
                   data_columns=("DATA", "CORRECTED_DATA"))


@pytest.mark.parametrize("imager", BOTH)
def test_selections_masks_tapers_and_scales_reach_the_program(fields, tmp_path, imager):
    selection = {"field": 1, "spw": 0, "column": "CORRECTED_DATA",
                 **({} if imager == "wsclean" else
                    {"uvmin": "100m", "uvmax": "2.8km", "timerange": "2020/01/01/12:00:15~12:03:25", "uvtaper": 20 * ARCSEC})}
    mask = np.zeros(SHAPE, bool)
    mask[:, :96] = True
    made = ask(fields, **selection, mask=mask, iterations=300, sigma=3.0, algorithm="multiscale", scales=(0.0, 4.0))
    found, mine = external_images(imager, made, tmp_path), ours(fields, **selection)
    anywhere, inner = differences(found.dirty[0], mine.dirty[0])
    # A wrong selection is off by several per cent.
    assert anywhere < BUDGET[imager][0]
    assert inner < BUDGET[imager][1]
    # A scale is as wide as two beams: its components spill over the mask's edge, where there is no source.
    assert np.abs(found.model[0][:, 104:]).max() < 1e-6
    assert found.model[0][:, :104].sum() > 0.5
    assert found.stop_reason in ("threshold in σ reached", "iterations used up", "no progress")


@WSCLEAN
@pytest.mark.parametrize("options", [{"uvmin": "2klambda", "uvmax": "10klambda"}, {"uvtaper": 12 * ARCSEC}])
def test_wsclean_takes_limits_and_tapers_at_cells_and_says_so(fields, tmp_path, options):
    with pytest.warns(UvstackWarning, match="cells of 516 wavelengths"):
        found = external_images("wsclean", ask(fields, field=1, **options), tmp_path).psf[0]
    # A cell is a sixteenth of the range between the limits; without limits or taper the psf is much farther off.
    near, far = (differences(found, ours(fields, field=1, **kept).psf)[0] for kept in (options, {}))
    assert near < 0.06
    assert far > 5 * near


@CASA
def test_casa_images_beside_the_phase_centre(ms, tmp_path):
    centre = SOURCES[0][:2]
    found = external_images("casa", ask(ms, phase_centre=centre, weighting="briggs"), tmp_path)
    mine = ours(ms, phase_centre=centre, weighting="briggs")
    assert np.unravel_index(found.dirty[0].argmax(), SHAPE) == (SHAPE[0] // 2, SHAPE[1] // 2)
    anywhere, inner = differences(found.dirty[0], mine.dirty[0])
    # Its Briggs cells lie half a cell beside ours: 0.5 % of the peak.
    assert anywhere < 2 * BUDGET["casa"][0]
    assert inner < 0.01


@CASA
def test_casa_finds_a_spectral_index(tmp_path):
    def steep(l, m, frequency):
        return (frequency / 1.4e9) ** -0.7

    ms = make_ms(tmp_path / "a.ms", sources=SOURCES[:2], beam=steep, spws=(Spw(1.1e9, 100e6, 7),), n_ant=16, n_times=24, scale=0.1)
    made = ask(ms, terms=2, algorithm="mtmfs", iterations=300, threshold=5e-3, reference_frequency=1.4e9,
               automask=AutoMask())
    found = external_images("casa", made, tmp_path)
    assert found.image.shape == found.model.shape == (2, *SHAPE)
    assert found.psf.shape == (3, *SHAPE)
    for l, m, flux in SPOTS[:2]:
        at = SHAPE[0] // 2 + m, SHAPE[1] // 2 - l
        # Two terms of a spectrum over ±21 % leave a curvature of α (α − 1) / 2 · 0.21² / 3 = 1 %.
        assert found.image[0][at] == pytest.approx(flux, rel=0.02)
        assert found.alpha[at] == pytest.approx(-0.7, abs=0.05)
    assert found.reference_frequency == 1.4e9


REFUSED = [
    ("wsclean", {"column": "DATA-CORRECTED_DATA"}, "uvstack subtract"),
    ("casa", {"column": "DATA-CORRECTED_DATA"}, "uvstack subtract"),
    ("wsclean", {"field": "0,1"}, "no mosaics"),
    ("casa", {"field": "0,1"}, "no mosaics"),
    ("wsclean", {"terms": 2, "algorithm": "mtmfs"}, "--imager casa"),
    ("wsclean", {"automask": AutoMask()}, "--mask"),
    ("casa", {"automask": AutoMask(), "mask": np.ones(SHAPE, bool)}, "leave one out"),
    ("wsclean", {"phase_centre": offset(3 * CELL, 0.0)}, "--phase-centre"),
    ("wsclean", {"uvmin": "100m"}, "wavelengths"),
    ("casa", {"uvmin": "1klambda"}, "metres"),
    ("wsclean", {"size": (161, 192)}, "even"),
    ("wsclean", {"timerange": ">2020/01/01/12:00:00"}, "timerange"),
    ("wsclean", {"uvtaper": (1e-4, 5e-5, 0.3)}, "round"),
    ("casa", {"scales": (0.0, 2.5), "algorithm": "multiscale"}, "whole pixels"),
    ("wsclean", {"stokes": "RL"}, "RR, LL, XX or YY"),
    ("casa", {"stokes": "XX"}, "every data description"),
    ("wsklean", {}, "closest is wsclean"),
]


@pytest.mark.parametrize(("imager", "options", "said"), REFUSED)
def test_what_has_no_equal_is_refused(fields, imager, options, said):
    with pytest.raises((ImageError, SelectionError), match=said) as caught:
        check_external(imager, ask(fields, **({"field": 1} | options)))
    assert "\n" not in str(caught.value)


def test_weights_in_sigma_are_refused(tmp_path):
    ms = make_ms(tmp_path / "a.ms", n_ant=4, weights={"SIGMA": 1.0})
    with pytest.raises(ImageError, match="SIGMA"):
        check_external("wsclean", ask(ms))


@pytest.mark.parametrize(("imager", "said"), [("wsclean", "apt install wsclean"), ("casa", r"uvstack\[casa\]")])
def test_an_imager_that_is_missing_is_named(ms, monkeypatch, imager, said):
    made = ask(ms)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=said):
        check_external(imager, made)


@pytest.mark.parametrize("imager", BOTH)
def test_a_program_that_fails_is_one_line_and_leaves_nothing(ms, tmp_path, imager):
    copy = tmp_path / "copy.ms"
    shutil.copytree(ms, copy)
    made = ask(copy)
    shutil.rmtree(copy)
    if imager == "casa":  # which looks at the set itself, as we do for w
        shutil.copytree(ms, copy)
        (copy / "SPECTRAL_WINDOW" / "table.dat").unlink()
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UvstackError, match="failed: ") as caught:
        external_images(imager, made, out)
    assert "\n" not in str(caught.value)
    assert "copy.ms" in str(caught.value)
    assert list(out.iterdir()) == []


@WSCLEAN
def test_wsclean_says_why_it_stopped(ms, tmp_path):
    few = external_images("wsclean", ask(ms, iterations=5, threshold=1e-3), tmp_path)
    assert (few.stop_reason, few.n_iterations) == ("iterations used up", 5)
    assert external_images("wsclean", ask(ms, iterations=5000, threshold=1e-3, most_cycles=1), tmp_path).stop_reason == "cycles used up"


@WSCLEAN
def test_a_clean_of_wsclean_that_grows_has_diverged(ms, tmp_path, monkeypatch):
    # Below the sidelobes of this psf, 0.6 of its peak: WSClean then grows without bound, and ends as if nothing were.
    monkeypatch.setattr(ExternalRequest, "cycle_depth", lambda *_: 0.2)
    found = external_images("wsclean", ask(ms, weighting="briggs", iterations=5000, threshold=2e-3), tmp_path)
    assert found.stop_reason == "diverged"


@WSCLEAN
def test_wsclean_without_visibilities(ms, tmp_path):
    with pytest.warns(UvstackWarning, match="cells"), pytest.raises(NoDataError, match="no visibility"):
        external_images("wsclean", ask(ms, uvmin="1Glambda"), tmp_path)


@WSCLEAN
def test_one_hand_is_imaged_as_it_is(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=SOURCES, n_ant=16, n_times=8, scale=0.12, correlations=(RR,), noise=0.02)
    found = external_images("wsclean", ask(ms), tmp_path)
    assert max(differences(found.dirty[0], ours(ms).dirty[0])) < BUDGET["wsclean"][0]


def test_options_follow_the_manual_of_the_version(ms, tmp_path):
    words = external_wsclean_task._command(ask(ms), tmp_path, "\n-gridder <name>\n-no-min-grid-resolution")
    assert words[words.index("-gridder") + 1] == "wgridder"
    assert "-no-min-grid-resolution" in words
    assert "-use-wgridder" not in words
