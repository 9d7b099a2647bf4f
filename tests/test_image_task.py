"""Sources of known flux come out of a simulated set within their errors; WSClean agrees; bad input is one line."""

import json
import shutil
import subprocess

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from click.testing import CliRunner

from factories import ARCMIN, ARCSEC, CENTRE, make_ms, offset
from simulate.task import observe
from uvstack.cli.main import group
from uvstack.errors import ImageError, NoDataError, OutputError, SelectionError
from uvstack.image import passes_task
from uvstack.image.task import image
from uvstack.sky.components import components

CELL = 2.5 * ARCSEC
SIZE = 192
#: On pixels, since a point between them loses up to 1 % of its peak in the image.
SOURCES = [(*offset(16 * CELL, -24 * CELL), 0.1), (*offset(-32 * CELL, 12 * CELL), 0.05), (*CENTRE, 0.02)]


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A set with three points and noise of 20 mJy a visibility."""
    made = observe(array="vla.c", sky=components(*np.array(SOURCES).T), pointings=CENTRE, frequency=np.array([1.3, 1.5]) * u.GHz,
                   integration=120 * u.s, duration=1 * u.h, noise=20 * u.mJy, out=tmp_path_factory.mktemp("image") / "a.ms")
    return made.ms


@pytest.fixture(scope="module")
def cleaned(survey):
    return image(survey, size=SIZE, cell=CELL)


def peaks(picture, grid):
    """Highest value within 3 pixels of each source, and where it is off the source's pixel."""
    found = []
    for ra, dec, _ in SOURCES:
        i, j = (round(x) for x in grid.pixel_of(ra, dec))
        near = picture[i - 3 : i + 4, j - 3 : j + 4]
        found.append((near.max(), np.unravel_index(near.argmax(), near.shape) == (3, 3)))
    return np.array([f for f, _ in found]), all(there for _, there in found)


def test_fluxes_positions_and_noise_are_those_put_in(cleaned):
    found, in_place = peaks(cleaned.image[0], cleaned.grid)
    assert in_place
    # Four standard deviations of the noise, and 2e-4 of the flux by which a pixel's corner misses the source (16.001 for 16).
    assert np.abs(found - [s[2] for s in SOURCES]).max() < 4 * cleaned.noise_expected + 2e-5
    # 192² pixels hold some 1500 beams, so the noise is known to 2 %; cleaning to 4 σ takes little from it.
    assert cleaned.rms == pytest.approx(cleaned.noise_expected, rel=0.06)
    assert cleaned.stop_reason == "threshold in σ reached"
    # The model lacks up to the threshold, 4 σ, on each of three sources, and has their noise.
    assert cleaned.model[0].sum() == pytest.approx(0.17, abs=(3 * 4 + 4 * np.sqrt(3)) * cleaned.noise)


def test_sums_are_the_same_in_any_number_of_chunks_and_threads(survey, cleaned, monkeypatch):
    monkeypatch.setattr(passes_task, "VISIBILITIES_PER_CHUNK", 20_000)
    monkeypatch.setattr(passes_task, "_MOST_PER_CHUNK", 20_000)
    one, two = (image(survey, size=SIZE, cell=CELL, threads=n) for n in (1, 2))
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.model, two.model)
    # ducc0's accuracy of 1e-5, over 5 chunks.
    assert np.abs(one.dirty - cleaned.dirty).max() < 1e-5 * np.abs(cleaned.dirty).max()


def test_an_image_beside_the_phase_centre_is_the_same_sky(survey, cleaned):
    ra, dec = (float(x) for x in SOURCES[0][:2])
    moved = image(survey, size=SIZE, cell=CELL, phase_centre=(ra, dec), uvmin="50m", weighting="natural")
    found, _ = peaks(moved.image[0], moved.grid)
    assert np.unravel_index(moved.image[0].argmax(), (SIZE, SIZE)) == (SIZE // 2, SIZE // 2)
    # A source that is no longer on a pixel loses up to 1 %.
    assert np.abs(found / [s[2] for s in SOURCES] - 1).max() < 0.012 + 4 * moved.noise_expected / 0.02


def test_two_terms_find_a_flat_spectrum(survey):
    result = image(survey, size=SIZE, cell=CELL, terms=2)
    i, j = (round(x) for x in result.grid.pixel_of(*SOURCES[0][:2]))
    assert abs(result.alpha[i, j]) < 4 * result.alpha_error[i, j] < 0.2


def test_mosaic_gives_true_fluxes(tmp_path):
    sources = [(*offset(24 * CELL, 0.0), 0.1), (*offset(-48 * CELL, 24 * CELL), 0.05)]
    fields = (offset(-2 * ARCMIN, 0.0), offset(2 * ARCMIN, 0.0))

    def beam(l, m, frequency):
        return np.exp(-4 * np.log(2) * (l**2 + m**2) * (frequency / 1.4e9) ** 2 / (8 * ARCMIN) ** 2)

    ms = make_ms(tmp_path / "m.ms", fields=fields, sources=sources, beam=beam, n_ant=16, n_times=20, scale=0.1)
    with pytest.raises(ImageError, match="--primary-beam"):
        image(ms, size=SIZE, cell=CELL)
    result = image(ms, size=SIZE, cell=CELL, primary_beam="gaussian:8arcmin@1.4GHz", phase_centre=CENTRE, threshold=1e-4, most_cycles=40)
    assert result.model_is == "sky"
    for ra, dec, flux in sources:
        i, j = (round(x) for x in result.grid.pixel_of(ra, dec))
        # No noise: CLEAN's threshold of 1e-4 Jy/beam over the response, and 1e-3 of the flux off the pixel.
        assert result.pbcor[0][i, j] == pytest.approx(flux, abs=3e-4)


def test_wsclean_agrees(survey, cleaned, tmp_path):
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed")
    subprocess.run(["wsclean", "-quiet", "-size", str(SIZE), str(SIZE), "-scale", "2.5asec", "-weight", "briggs", "0", "-pol", "I",
                    "-niter", "100000", "-mgain", "0.8", "-auto-threshold", "4", "-padding", "1.5", "-j", "1", "-no-update-model-required",
                    "-name", str(tmp_path / "ws"), str(survey)], check=True, capture_output=True, timeout=60)
    theirs, rest = (fits.getdata(tmp_path / f"ws-{name}.fits")[0, 0] for name in ("image", "residual"))
    # WSClean grids the weights on its padded image, a slightly different density.
    assert peaks(theirs, cleaned.grid)[0] == pytest.approx(peaks(cleaned.image[0], cleaned.grid)[0], rel=0.01)
    assert rest.std() == pytest.approx(cleaned.rms, rel=0.05)


def test_command_line_writes_products_that_agree(survey, tmp_path):
    out = tmp_path / "s"
    arguments = ["image", str(survey), "--size", "192", "--cell", "2.5arcsec", "--threshold", "500uJy", "--out", str(out), "--primary-beam",
                 "vla"]
    answer = CliRunner().invoke(group, arguments, catch_exceptions=False)
    assert answer.exit_code == 0
    assert "threshold reached" in answer.output
    record = json.loads((tmp_path / "s.json").read_text())
    header = fits.getheader(f"{out}-image.fits")
    assert header["BMAJ"] * 3600 == pytest.approx(record["beam"]["fwhm_major_arcsec"], rel=1e-6)
    assert (header["BUNIT"], fits.getheader(f"{out}-model.fits")["BUNIT"]) == ("Jy/beam", "Jy/pixel")
    assert fits.getdata(f"{out}-model.fits").sum() == pytest.approx(record["model_flux_jy"], rel=1e-5)
    with pytest.raises(OutputError, match="exists"):
        CliRunner().invoke(group, arguments, catch_exceptions=False)
    mask = np.zeros((SIZE, SIZE))
    mask[96, 96] = 1
    data, head = fits.getdata(f"{out}-image.fits"), fits.getheader(f"{out}-image.fits")
    data[0, 0] = mask
    fits.writeto(tmp_path / "mask.fits", data, head)
    only = image(survey, size=SIZE, cell=CELL, mask=tmp_path / "mask.fits", iterations=50)
    assert np.count_nonzero(only.model) == np.count_nonzero(only.model[0, 96, 96]) == 1
    with pytest.raises(ImageError, match=r"mask.fits: a mask of 192 × 192 pixels for an image of 128 × 128"):
        image(survey, size=128, cell=CELL, mask=tmp_path / "mask.fits")
    with pytest.raises(ImageError, match=r"mask.fits: a mask of another grid"):
        image(survey, size=SIZE, cell=1.1 * CELL, mask=tmp_path / "mask.fits")


@pytest.mark.parametrize(("options", "kind", "text"), [
    ({"cell": 30 * ARCSEC}, ImageError, "too coarse .* take"),
    ({"uvmin": "900km"}, NoDataError, "uv range"),
    ({"stokes": "RRR"}, SelectionError, "did you mean 'RR'"),
    ({"weighting": "brigs"}, ImageError, "briggs"),
    ({"terms": 2, "deconvolver": "clark"}, ImageError, "mtmfs"),
    ({"deconvolver": "hogbum"}, ImageError, "hogbom"),
])
def test_bad_input_is_one_line(survey, options, kind, text):
    with pytest.raises(kind, match=text) as error:
        image(survey, **({"size": SIZE, "cell": CELL} | options))
    assert "\n" not in str(error.value)
