"""Stokes parameters, planes of cubes and region masks.

Truth of simulated sets, and channels imaged alone.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from click.testing import CliRunner

from factories import ARCSEC, CENTRE, LL, LR, RL, RR, Spw, edit, make_ms, offset, read
from simulate.task import observe
from uvstack.cli.main import group
from uvstack.errors import ImageError, NoDataError, SelectionError, UvstackWarning
from uvstack.imaging.mask_files import read_mask
from uvstack.imaging.planes import plane_axis, plane_channels, split_bands
from uvstack.imaging.result import ImageCube
from uvstack.imaging.task import image
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.image_file import read_cube
from uvstack.pixels.grid import centred_grid
from uvstack.records import SpectralWindow
from uvstack.sky.components import components

CELL = 2.5 * ARCSEC
SIZE = 96
#: On pixels of the image.
SOURCES = [(*offset(16 * CELL, -24 * CELL), 0.1), (*offset(-30 * CELL, 12 * CELL), 0.05)]
Q, U, V = [0.3, -0.4], [-0.2, 0.1], [0.1, 0.25]
CIRCULAR, LINEAR = ("RR", "RL", "LR", "LL"), ("XX", "XY", "YX", "YY")


def pixels(grid):
    return [tuple(round(x) for x in grid.pixel_of(ra, dec)) for ra, dec, _ in SOURCES]


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Two spectral windows of four channels each, with a gap between them of one plane of four."""
    return make_ms(tmp_path_factory.mktemp("cube") / "a.ms", sources=SOURCES,
                   spws=[Spw(1.2e9, 20e6, 4), Spw(1.36e9, 20e6, 4)], n_ant=14, n_times=6,
                   noise=0.05)


@pytest.fixture(scope="module")
def cube(wide, tmp_path_factory):
    out = tmp_path_factory.mktemp("products") / "c"
    with pytest.warns(UvstackWarning,
                      match=r"1 of 3 planes have no data and are blank: I at 1\.31 GHz"):
        return image(wide, size=SIZE, cell=CELL, channels_out=3, iterations=200, out=out,
                     primary_beam="vla", threads=1)


@pytest.mark.parametrize("correlations", [CIRCULAR, LINEAR])
def test_polarisation_of_simulated_sources(tmp_path, correlations):
    sky = components(*np.array(SOURCES).T, q=Q, u=U, v=V)
    ms = observe(array="vla.c", sky=sky, pointings=CENTRE, frequency=np.array([1.4, 1.45]) * u.GHz,
                 integration=200 * u.s, duration=0.5 * u.h, correlations=correlations,
                 out=tmp_path / "a.ms").ms
    # Where a cross hand is flagged, what it and its twin make is unusable.
    bad = np.random.default_rng(2).random(len(read(ms, "FLAG_ROW"))) < 0.2
    edit(ms, "FLAG", lambda flag: flag.__setitem__((bad, slice(None), 1), True))
    edit(ms, "DATA", lambda vis: vis.__setitem__((bad, slice(None), 1), 1e3))
    result = image(ms, size=SIZE, cell=CELL, stokes="IQUV", threshold=5e-5, weighting="natural")
    assert isinstance(result, ImageCube)
    for (i, j), (_, _, flux), *fractions in zip(pixels(result.grid), SOURCES, Q, U, V, strict=True):
        found = result.cube("image")[:, 0, i, j]
        assert (result.planes[2].n_visibilities,
                result.planes[0].n_visibilities) == (2 * (~bad).sum(), 2 * bad.size)
        # No noise: the threshold of 5e-5 Jy, and 1e-3 of the flux off the pixel's centre.
        assert found == pytest.approx(flux * np.array([1.0, *fractions]), abs=1.5e-4)


def test_wsclean_makes_the_same_planes(tmp_path):
    """Signs of U and V are conventions; I and Q leave no choice."""
    if shutil.which("wsclean") is None:
        pytest.skip("wsclean is not installed")
    sky = components(*np.array(SOURCES).T, q=Q, u=U, v=V)
    ms = observe(array="vla.c", sky=sky, pointings=CENTRE, frequency=np.array([1.3, 1.5]) * u.GHz,
                 integration=200 * u.s, duration=0.5 * u.h, correlations=CIRCULAR,
                 out=tmp_path / "a.ms").ms
    # With a mgain of 0.8 its minor cycles go below the sidelobes of this psf, and its fluxes are
    # off by 1 %.
    subprocess.run(["wsclean", "-quiet", "-size", str(SIZE), str(SIZE), "-scale", "2.5asec",
                    "-weight", "briggs", "0", "-pol", "u,v", "-channels-out", "2", "-niter", "2000",
                    "-mgain", "0.5", "-threshold", "2e-4", "-j", "1", "-no-update-model-required",
                    "-use-wgridder", "-padding", "1.0", "-no-small-inversion", "-name",
                    str(tmp_path / "ws"), str(ms)], check=True, capture_output=True, timeout=60)
    result = image(ms, size=SIZE, cell=CELL, stokes="UV", channels_out=2, threshold=2e-4)
    for stokes in (0, 1):
        for channel in (0, 1):
            with fits.open(tmp_path / f"ws-{channel:04d}-{'UV'[stokes]}-image.fits") as theirs:
                assert theirs[0].header["CRVAL3"] == pytest.approx(result.frequency[channel])
                assert theirs[0].header["SPECSYS"] == result.spectral_frame
                for i, j in pixels(result.grid):
                    # Both clean to 2e-4 Jy, of which most stands in the residual that is added.
                    assert theirs[0].data[0, 0, i, j] == pytest.approx(
                        result.cube("image")[stokes, channel, i, j], abs=5e-5)


def test_correlations_that_are_not_there(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=SOURCES,
                 descriptions=[(0, (RR, LL)), (0, (RR, RL, LR, LL))])
    with pytest.raises(SelectionError, match=r"XX cannot be made of the correlations there are: .*a.ms has RR, LL in spectral window 0"):
        image(ms, size=SIZE, cell=CELL, stokes="XX")
    with pytest.warns(UvstackWarning, match=r"Q is made without 1 of 2 spectral windows"):
        found = image(ms, size=SIZE, cell=CELL, stokes="Q", iterations=0)
    # 21 baselines, 4 times, 3 channels of one description; the cross hands hold nothing.
    assert found.n_visibilities == 21 * 4 * 3
    assert found.stokes == "Q"
    assert np.abs(found.dirty).max() < 1e-6


def test_a_plane_is_what_its_channels_alone_give(wide, cube):
    alone = [image(wide, size=SIZE, cell=CELL, spw=i, iterations=200, primary_beam="vla", threads=1)
             for i in (0, 1)]
    # Three steps over 1.19 … 1.43 GHz: of 80 MHz, that is each window and the gap.
    assert cube.frequency == pytest.approx([1.23e9, 1.31e9, 1.39e9])
    assert cube.planes[1] is None
    for plane, single in zip((cube.planes[0], cube.planes[2]), alone, strict=True):
        for kind in ("dirty", "image", "residual", "model", "psf", "pbcor", "response"):
            np.testing.assert_array_equal(getattr(plane, kind),
                                          getattr(single, kind).astype(np.float32), err_msg=kind)
        assert (plane.beam, plane.noise, plane.reference_frequency) == (single.beam, single.noise,
                                                                        single.reference_frequency)
    assert cube.planes[0].beam.fwhm_major > 1.1 * cube.planes[2].beam.fwhm_major


def test_single_channels(wide):
    """As many planes as channels.

    Each has the frequency of one, and together they are the whole.
    """
    with pytest.raises(ImageError, match="9 planes of 8 channels"):
        image(wide, size=SIZE, cell=CELL, channels_out=9)
    whole = image(wide, size=SIZE, cell=CELL, spw=1, iterations=0, weighting="natural")
    natural = image(wide, size=SIZE, cell=CELL, channels_out=4, spw=1, iterations=0,
                    weighting="natural")
    assert [p.reference_frequency
            for p in natural.planes] == pytest.approx(1.36e9 + 20e6 * np.arange(4))
    # Naturally weighted dirty images are linear: the mean of the planes is the whole, to ducc0's
    # 1e-5.
    assert np.abs(natural.cube("dirty").mean(axis=(0, 1))
                  - whole.dirty[0]).max() < 1e-5 * np.abs(whole.dirty).max()


def test_products_of_a_cube(cube):
    found = read_cube(cube.files["image"])
    assert found.frequency == pytest.approx(cube.frequency)
    np.testing.assert_array_equal(found.data, cube.cube("image")[0])
    assert np.isnan(found.data[1]).all()
    # The blank plane has the beam of its neighbour: CASA's reader does not live through one of size
    # 0.
    assert [b.fwhm_major for b in found.beams] == pytest.approx(
        [cube.planes[i].beam.fwhm_major for i in (0, 0, 2)])
    with fits.open(cube.files["pbcor"]) as hdus:
        header = hdus[0].header
        assert (header["SPECSYS"], header["CTYPE3"],
                header["CTYPE4"]) == ("TOPOCENT", "FREQ", "STOKES")
        assert (header["NAXIS3"], header["NAXIS4"], header["CRVAL4"]) == (3, 1, 1)
        where = WCS(header).pixel_to_world_values(SIZE // 2, SIZE // 2, 2, 0)
        assert where == pytest.approx([*np.rad2deg(CENTRE), 1.39e9, 1.0])
    record = json.loads(Path(cube.files["json"]).read_text())
    assert record["planes"][1] is None
    assert record["planes"][2]["beam"]["fwhm_major_rad"] == cube.planes[2].beam.fwhm_major
    listed = QTable.read(cube.files["components"])
    assert set(listed["plane"]) == {0, 2}
    assert listed["flux"][listed["plane"] == 2].sum().value == pytest.approx(
        cube.planes[2].model.sum(), rel=1e-5)
    assert "no data" in str(cube)


def test_stokes_along_an_axis_of_fits(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=SOURCES, spws=[Spw(n=2)], n_ant=10)
    answer = CliRunner().invoke(group,
                                ["image", str(ms), "--size", str(SIZE), "--cell", "2.5arcsec",
                                 "--stokes", "RR,LL", "--channels-out", "2", "--niter", "20",
                                 "--threads", "1", "--out", str(tmp_path / "s")],
                                catch_exceptions=False)
    assert answer.exit_code == 0
    data, header = fits.getdata(tmp_path / "s-image.fits", header=True)
    assert data.shape == (2, 2, SIZE, SIZE)
    assert (header["CRVAL4"], header["CDELT4"]) == (-1, -1)
    # No polarisation: both hands are the same.
    np.testing.assert_array_equal(data[0], data[1])
    beams = fits.getdata(tmp_path / "s-image.fits", "BEAMS")
    assert [(b["POL"], b["CHAN"]) for b in beams] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_terms_and_planes_exclude_each_other(wide):
    with pytest.raises(ImageError, match="2 Taylor terms and 3 planes"):
        image(wide, size=SIZE, cell=CELL, channels_out=3, terms=2)
    with pytest.raises(ImageError, match="channels_out is 0"):
        image(wide, size=SIZE, cell=CELL, channels_out=0)


def test_a_cube_of_flagged_data_only(tmp_path):
    ms = make_ms(tmp_path / "a.ms", spws=[Spw(n=2)])
    edit(ms, "FLAG", np.ones_like)
    with pytest.raises(NoDataError, match="every visibility is flagged"):
        image(ms, size=SIZE, cell=CELL, channels_out=2)


def test_the_frame_of_frequencies_is_that_of_the_set(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=SOURCES)
    edit(ms, "MEAS_FREQ_REF", lambda v: np.full_like(v, 1), "SPECTRAL_WINDOW")
    assert image(ms, size=SIZE, cell=CELL, iterations=0).spectral_frame == "LSRK"
    edit(ms, "MEAS_FREQ_REF", lambda v: np.full_like(v, 64), "SPECTRAL_WINDOW")
    found = image(ms, size=SIZE, cell=CELL, iterations=0, out=tmp_path / "u")
    assert found.spectral_frame == ""
    assert "SPECSYS" not in fits.getheader(found.files["image"])


# --------------------------------------------------------------------------------- planes as arrays


def test_every_channel_is_in_one_plane():
    rng = np.random.default_rng(3)
    windows = {(0, 0): SpectralWindow(0, "", 1e9 + 1e6 * np.arange(64), np.full(64, 1e6)),
               (0, 1): SpectralWindow(1, "", 1.2e9 - 2e6 * np.arange(30), np.full(30, 2e6)),
               (1, 0): SpectralWindow(0, "", np.sort(rng.uniform(1e9, 1.3e9, 50)),
                                      np.full(50, 1e5))}
    for n in (1, 2, 7, 64):
        axis = plane_axis(windows.values(), n)
        assert np.diff(axis.frequency) == pytest.approx(axis.width)
        planes = plane_channels(windows, axis)
        for key, window in windows.items():
            found = np.concatenate([plane[key] for plane in planes if key in plane])
            assert sorted(found) == list(range(window.frequency.size))
            for number, plane in enumerate(planes):
                off = window.frequency[plane.get(key, [])] - axis.frequency[number]
                assert (np.abs(off) <= (0.5 + 2e-6) * axis.width).all()
    bands = split_bands(np.arange(64), windows[0, 0], 10e6)
    assert max(b.size for b in bands) <= 10
    assert np.concatenate(bands).tolist() == list(range(64))


# ------------------------------------------------------------------------------------------ regions

GRID_WCS = sin_wcs(*CENTRE, (SIZE, SIZE), CELL)


def degrees(pixel):
    sky = GRID_WCS.pixel_to_world(*pixel)
    return sky.ra.deg, sky.dec.deg


def inside(shape):
    """Pixels (m, l) whose centre (x, y) is in a shape, by a plain loop."""
    return np.array([[bool(shape(x, y)) for x in range(SIZE)] for y in range(SIZE)])


REGIONS = {"ds9 circle": ("fk5\ncircle({0},{1},{r}\")\n", ".reg", lambda x,
                          y: np.hypot(x - 30, y - 40) <= 6.4),
           "ds9 excluded": ("fk5\n-circle({0},{1},{r}\")\nimage\nbox(31,41,21,21,0)\n", ".reg",
                            lambda x,
                            y: max(abs(x - 30), abs(y - 40)) <= 10
                            and np.hypot(x - 30, y - 40) > 6.4),
           "ds9 only excluded": ("image\n-circle(31,41,6.4)\n", ".reg", lambda x,
                                 y: np.hypot(x - 30, y - 40) > 6.4),
           "ds9 union": ("image\ncircle(31,41,6.4)\npolygon(50.5,50.5,60.5,50.5,60.5,70.5,50.5,70.5)\npoint(5,6)\n",
                         ".reg", lambda x,
                         y: np.hypot(x - 30, y - 40) <= 6.4 or (50 <= x < 60 and 50 <= y < 70)
                         or (x, y) == (4, 5)),
           "ds9 small": ("fk5\ncircle({0},{1},0.01\")\n", ".reg", lambda x, y: (x, y) == (30, 40)),
           "casa circle": ("#CRTFv0\ncircle [[{0}deg, {1}deg], {r}arcsec] coord=J2000\n", ".crtf",
                           lambda x, y: np.hypot(x - 30, y - 40) <= 6.4),
           "casa without a frame": ("#CRTFv0\ncircle [[{0}deg, {1}deg], {r}arcsec]\n", ".crtf",
                                    lambda x, y: np.hypot(x - 30, y - 40) <= 6.4),
           "casa excluded": ("#CRTFv0\ncenterbox [[30pix, 40pix], [20.5pix, 20.5pix]]\n-circle "
                             "[[{0}deg, {1}deg], {r}arcsec] coord=J2000\n", ".txt", lambda x,
                             y: max(abs(x - 30), abs(y - 40)) <= 10
                             and np.hypot(x - 30, y - 40) > 6.4)}


@pytest.mark.parametrize("name", REGIONS)
def test_regions_drawn_on_the_grid(tmp_path, name):
    pytest.importorskip("regions")
    text, end, shape = REGIONS[name]
    path = tmp_path / f"a{end}"
    header = "# Region file format: DS9\n" if end == ".reg" else ""
    path.write_text(header + text.format(*degrees((30, 40)), r=6.4 * 2.5))
    np.testing.assert_array_equal(read_mask(path, centred_grid(*CENTRE, SIZE, CELL)), inside(shape))


def test_a_region_cleans_as_the_same_mask_in_fits(wide, tmp_path):
    pytest.importorskip("regions")
    ra, dec, _ = np.rad2deg(SOURCES[0])
    (tmp_path / "a.reg").write_text(f'# Region file format: DS9\nfk5\ncircle({ra},{dec},10")\n')
    at = pixels(image(wide, size=SIZE, cell=CELL, iterations=0).grid)[0]
    mask = inside(lambda x, y: np.hypot(x - at[1], y - at[0]) <= 4)
    write_image(tmp_path / "m.fits", mask.astype(float), GRID_WCS, four_axes=False)
    one, two = (image(wide, size=SIZE, cell=CELL, mask=tmp_path / name, iterations=60, threads=1)
                for name in ("a.reg", "m.fits"))
    np.testing.assert_array_equal(one.image, two.image)
    assert one.model[0][mask].sum() > 0.05
    assert not one.model[0][~mask].any()


def test_a_cube_is_no_mask(tmp_path):
    write_image(tmp_path / "m.fits", np.ones((2, SIZE, SIZE)), GRID_WCS, frequency=[1e9, 2e9])
    with pytest.raises(ImageError, match=r"m.fits: a mask of 2 planes; wanted is one"):
        read_mask(tmp_path / "m.fits", centred_grid(*CENTRE, SIZE, CELL))


@pytest.mark.parametrize(("text", "message"),
                         [("fk5\nline(1,2,3,4)\n", "has no area"),
                          ("image\ncircle(900,900,3)\n", "none of its 1 regions"),
                          ("fk5\nblob(1,2,3)\n", "cannot be read"), ("", "holds no region")])
def test_regions_that_are_no_mask(tmp_path, text, message):
    pytest.importorskip("regions")
    (tmp_path / "a.reg").write_text("# Region file format: DS9\n" + text)
    with pytest.raises(ImageError, match=message) as error:
        read_mask(tmp_path / "a.reg", centred_grid(*CENTRE, SIZE, CELL))
    assert "\n" not in str(error.value)
