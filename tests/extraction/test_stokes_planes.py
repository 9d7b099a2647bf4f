"""Sources in one Stokes parameter of an image that holds several."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner
from test_extract import BEAM, gaussian, header, noise

import uvstack
from uvstack.cli.main import group
from uvstack.errors import ImageError, SelectionError
from uvstack.io.image_file import read_cube

#: x, y and peaks in I, Q, V, in noise of 1 mJy/beam.
SOURCES = [(40.0, 50.0, 0.5, 0.05, 0.0), (110.0, 60.0, 0.4, -0.04, 0.03),
           (60.0, 120.0, 0.3, 0.0, -0.06)]


@pytest.fixture
def polarised(tmp_path):
    """A file of I and Q, and one of V alone."""
    planes = [noise(160, 10 + k) + sum(s[2 + k] * gaussian(160, s[0], s[1], *BEAM) for s in SOURCES)
              for k in range(3)]
    cards = header()
    cards.update(CTYPE3="STOKES", CRVAL3=1.0, CRPIX3=1.0, CDELT3=1.0)
    path, single = tmp_path / "iq.fits", tmp_path / "v.fits"
    fits.writeto(path, np.array(planes[:2], "f4"), cards)
    fits.writeto(single, np.array(planes[2:], "f4"), _with(cards, CRVAL3=4.0))
    return path, single


def _with(cards, **values):
    found = cards.copy()
    found.update(values)
    return found


def test_each_parameter_has_its_own_sources_of_both_signs(polarised):
    path, single = polarised
    for name, file, stokes, column in (("I", path, None, 2), ("Q", path, "Q", 3),
                                       ("V", single, "V", 4), ("V", single, None, 4)):
        table = uvstack.extract(file, stokes=stokes)
        right = [s for s in SOURCES if s[column] != 0]
        assert len(table) == len(right), name
        for source in right:
            row = table[int(np.argmin(np.hypot(table["x"].value - source[0],
                                               table["y"].value - source[1])))]
            assert abs(row["peak"].value - source[column]) < 4.5 * row["peak_error"].value
            assert row["peak_error"].value < 2.5e-3
    assert len(uvstack.extract(path, stokes="Q", negative=False)) == 1


def test_a_parameter_that_is_not_there_is_one_line(polarised, tmp_path):
    path, single = polarised
    for file, stokes, words in ((path, "U", r"\[1, 2\].* and not U, 3"),
                                (single, "I", r"\[4\].* and not I, 1")):
        with pytest.raises(ImageError, match=words):
            uvstack.extract(file, stokes=stokes)
    with pytest.raises(SelectionError, match="wanted one of I, Q, U, V"):
        uvstack.extract(path, stokes="X")
    plain = tmp_path / "plain.fits"
    fits.writeto(plain, noise(96, 1).astype("f4"), header(96))
    with pytest.raises(ImageError, match="does not say its Stokes parameter"):
        uvstack.extract(plain, stokes="Q")
    uvstack.extract(plain, stokes="I")


def test_the_command_selects_likewise(polarised, tmp_path, monkeypatch):
    path, _ = polarised
    monkeypatch.chdir(tmp_path)
    for words, n in ((["--stokes", "Q"], 2), (["--stokes", "Q", "--positive"], 1), ([], 3)):
        done = CliRunner().invoke(group,
                                  ["extract", str(path), "--no-report", "--overwrite", "--out",
                                   "c.ecsv", *words])
        assert done.exit_code == 0, done.output
        assert f"sources      {n}\n" in done.output


def test_planes_of_one_file_have_their_own_beams(tmp_path):
    cards = header(beam=None)
    cards.update(CTYPE3="STOKES", CRVAL3=1.0, CRPIX3=1.0, CDELT3=1.0, CASAMBM=True)
    beams = fits.BinTableHDU.from_columns([fits.Column("BMAJ", "E", "arcsec", array=[5.0, 6.0]),
                                           fits.Column("BMIN", "E", "arcsec", array=[4.0, 4.5]),
                                           fits.Column("BPA", "E", "deg", array=[30.0, 40.0]),
                                           fits.Column("CHAN", "J", array=[0, 0]),
                                           fits.Column("POL", "J", array=[0, 1])], name="BEAMS")
    path = tmp_path / "beams.fits"
    fits.HDUList([fits.PrimaryHDU(np.ones((2, 96, 96), "f4"), cards), beams]).writeto(path)
    for stokes, major in (("I", 5.0), ("Q", 6.0)):
        assert np.rad2deg(read_cube(path,
                                    stokes=stokes).beam().fwhm_major) * 3600 == pytest.approx(
            major, rel=1e-6)
