"""What a stranger gave to the combination of epochs: other units, frames, blanks, edges, settings that cannot be."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import uvstack
from uvstack.epochs.combination import epoch_files
from uvstack.errors import ImageError, SelectionError, UvstackWarning

BEAM = (4.0, 3.0, 20.0)  # arcsec, arcsec, degrees
ARCSEC = np.pi / 648000


def header_of(size: int, *, beam=BEAM, ra=150.0, dec=2.0, cell=1.0, kind="SIN", **cards) -> fits.Header:
    """Two axes, north up, the reference in the middle."""
    header = fits.Header({
        "CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "CRVAL1": ra, "CRVAL2": dec,
        "CRPIX1": size // 2 + 1, "CRPIX2": size // 2 + 1, "CDELT1": -cell / 3600,
        "CDELT2": cell / 3600, "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS",
        "BUNIT": "Jy/beam", "BMAJ": beam[0] / 3600, "BMIN": beam[1] / 3600, "BPA": beam[2]})
    header.update(cards)
    return header


def noise_of(size: int, sigma: float, seed: int, beam=BEAM) -> np.ndarray:
    """Noise of a beam on pixels of 1″, by its own FFT."""
    y, x = np.mgrid[:size, :size] - size // 2
    angle = np.deg2rad(beam[2])
    along, across = y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)
    kernel = np.exp(-4 * np.log(2) * ((along / beam[0]) ** 2 + (across / beam[1]) ** 2))
    white = np.random.default_rng(seed).standard_normal((size, size))
    smooth = np.fft.irfft2(np.fft.rfft2(white) * np.fft.rfft2(np.fft.ifftshift(kernel)),
                           s=(size, size))
    return smooth * sigma / np.sqrt((kernel**2).sum())


def source(header: fits.Header, size: int, x: float, y: float, flux: float) -> np.ndarray:
    """Gaussian of the header's beam at a pixel; its angle counts from the latitude of the header's own frame."""
    wcs = WCS(header)
    lon, lat = np.deg2rad(wcs.wcs_pix2world(*(v.ravel() for v in np.mgrid[:size, :size][::-1]), 0))
    lon0, lat0 = np.deg2rad(wcs.wcs_pix2world(x, y, 0))
    east = np.cos(lat) * np.sin(lon - lon0)
    north = np.sin(lat) * np.cos(lat0) - np.cos(lat) * np.sin(lat0) * np.cos(lon - lon0)
    angle = np.deg2rad(header["BPA"])
    along, across = (east * np.sin(angle) + north * np.cos(angle),
                     east * np.cos(angle) - north * np.sin(angle))
    major, minor = np.deg2rad((header["BMAJ"], header["BMIN"]))
    shape = np.exp(-4 * np.log(2) * ((along / major) ** 2 + (across / minor) ** 2))
    return flux * shape.reshape(size, size)


def save(path, data, header) -> str:
    fits.writeto(path, np.asarray(data, np.float32), header)
    return str(path)


@pytest.fixture
def pair(tmp_path):
    """Two epochs of noise, 96 × 96."""
    return [save(tmp_path / f"e{k}.fits", noise_of(96, 1e-3, k), header_of(96)) for k in range(2)]


@pytest.mark.parametrize("size", [1025, 1026])
def test_zeros_at_an_edge_weigh_nothing_where_the_last_block_is_narrow(tmp_path, size):
    """Blocks are of 1024 pixels; in one of two pixels no square of four could be seen."""
    header = header_of(size)
    data = [noise_of(size, 1e-3, k) for k in range(2)]
    data[1][-30:] = data[1][:, -30:] = 0.0
    made = uvstack.epochs.combine([save(tmp_path / f"{k}.fits", one, header)
                                   for k, one in enumerate(data)])
    wanted = np.full((size, size), 2.0)
    wanted[-30:] = wanted[:, -30:] = 1.0
    assert np.array_equal(made.coverage, wanted)


def test_frequencies_of_images_of_two_axes_are_those_of_restfrq(tmp_path, pair):
    """Such images have no axis of frequency; 1.4 and 3 GHz were combined without a word."""
    other = save(tmp_path / "s.fits", noise_of(96, 1e-3, 5), header_of(96, RESTFRQ=3e9))
    first = save(tmp_path / "l.fits", noise_of(96, 1e-3, 6), header_of(96, RESTFRQ=1.4e9))
    with pytest.raises(ImageError, match=r"s is at 3 GHz and the reference l at 1.4 GHz"):
        uvstack.epochs.combine([first, other])
    with pytest.warns(UvstackWarning, match="e0: says no frequency"):
        uvstack.epochs.combine([first, pair[0]])
    kelvin = fits.getdata(other) * 1.22207e6 / (3.0**2 * 12.0)
    k = save(tmp_path / "k.fits", kelvin, header_of(96, RESTFRQ=3e9, BUNIT="K"))
    with pytest.warns(UvstackWarning, match="only epoch"):
        made = uvstack.epochs.combine([k], out=tmp_path / "out")
    assert made.mean == pytest.approx(fits.getdata(other), rel=1e-4, abs=1e-9)
    header = fits.getheader(tmp_path / "out" / "mean.fits")
    assert (header["NAXIS"], header["RESTFRQ"], header["STOKES"]) == (2, 3e9, "I")


def test_rms_is_blank_where_the_mean_is(tmp_path, pair):
    """Of pixels with fewer epochs than asked for there is no combination, and no noise of it."""
    beside = save(tmp_path / "b.fits", noise_of(96, 1e-3, 7), header_of(96, ra=150.0 + 40 / 3600))
    made = uvstack.epochs.combine([pair[0], beside], minimum_epochs=2)
    assert 0.3 < np.mean(made.coverage == 1) < 0.5
    for one in (made.mean, made.median, made.rms, made.chi2, made.chi2_calibrated):
        assert np.array_equal(np.isfinite(one), made.coverage == 2)


def test_an_epoch_that_is_hardly_on_the_grid_has_the_noise_of_what_there_is(tmp_path, pair):
    """Five columns: in no square are twenty beams, in all together there are."""
    beside = save(tmp_path / "b.fits", noise_of(96, 1e-3, 7), header_of(96, ra=150.0 + 91 / 3600))
    made = uvstack.epochs.combine([pair[0], beside])
    assert (made.coverage == 2).sum() == 5 * 96
    assert np.median(made.rms[made.coverage == 2]) == pytest.approx(1e-3 / np.sqrt(2), rel=0.25)


@pytest.mark.parametrize("kind", ["TAN", "CAR", "SIN"])
def test_beams_of_galactic_images_are_turned_from_galactic_north(tmp_path, kind):
    """BPA counts from north of the frame that the header is in; equatorial north is 60° away."""
    wide = header_of(96, beam=(6.0, 4.0, 30.0), kind=kind)
    place = WCS(wide).pixel_to_world(47.3, 48.8).galactic
    wide["CTYPE1"], wide["CTYPE2"] = f"GLON-{kind}", f"GLAT-{kind}"
    wide["CRVAL1"], wide["CRVAL2"] = place.l.deg, place.b.deg
    del wide["RADESYS"]
    grid = header_of(96, beam=(3.0, 2.5, 0.0), kind=kind)
    faint = 1e-7 * np.random.default_rng(1).standard_normal((2, 96, 96))
    at = WCS(wide).wcs_world2pix(place.l.deg, place.b.deg, 0)
    ref = save(tmp_path / "grid.fits", 1e2 * noise_of(96, 1.0, 2), grid)
    epoch = save(tmp_path / "gal.fits", source(wide, 96, *map(float, at), 1.0) + faint[1], wide)
    made = uvstack.epochs.combine([ref, epoch], out=tmp_path / "out")
    told = fits.getheader(tmp_path / "out" / "mean.fits")
    x, y = (float(v) for v in WCS(grid).wcs_world2pix(place.icrs.ra.deg, place.icrs.dec.deg, 0))
    shape = source(told, 96, x, y, 1.0)
    near = shape > 0.05
    assert made.mean[near] == pytest.approx(shape[near], abs=2e-3)


@pytest.mark.parametrize("given", [(3, 4, 0.0), (4,), (4, 3, 0, 1), (np.nan, 3, 0), (-4, 3, 0), 5, "4"])
def test_a_target_that_is_no_beam_is_refused_in_one_line(pair, given):
    if isinstance(given, tuple):
        given = tuple(v * ARCSEC for v in given)
    with pytest.raises(ImageError, match="wanted are its major and minor FWHM"):
        uvstack.epochs.combine(pair, beam=given)
    if given != 5:
        with pytest.raises(ImageError, match="wanted are its major and minor FWHM"):
            uvstack.epochs.combine(pair, beams=[given, None])


def test_a_target_in_arcsec_where_radians_are_wanted_is_refused(pair):
    with pytest.raises(ImageError, match="are these arcsec"):
        uvstack.epochs.combine(pair, beam=(6.0, 5.0, 0.0))


@pytest.mark.parametrize(("options", "words"), [
    ({"flux_scale": 2.0}, "wanted is a number for each of the 2 epochs"),
    ({"flux_scale": ["a", 2]}, "wanted is a number for each of the 2 epochs"),
    ({"flux_scale": [1.0]}, "1 for 2 epochs"),
    ({"flux_scale": [1.0, 0.0]}, "flux_scale is 0.0"),
    ({"align": 5}, "two angles"),
    ({"align": [(0, 0), (0, "x")]}, "two angles"),
    ({"spectral_index": np.nan}, "spectral_index is nan"),
    ({"spectral_index": "x"}, "spectral_index is 'x'")])
def test_numbers_that_are_none_are_refused_in_one_line(pair, options, words):
    with pytest.raises(SelectionError, match=words) as caught:
        uvstack.epochs.combine(pair, **options)
    assert "\n" not in str(caught.value)


def test_workers_see_the_coordinates_that_threads_see(tmp_path):
    """A WCS is sent to a worker with 14 digits: places there were others in the last bits."""
    header = header_of(96, ra=150.123456789012345, cell=0.99999999123456789, kind="TAN")
    header["DATE-OBS"], header["MJD-OBS"] = "2020-01-02T00:00:00", 58850.0
    grid = epoch_files.read_epoch(save(tmp_path / "e.fits", noise_of(96, 1.0, 1), header), "e").grid
    sent = pickle.loads(pickle.dumps(grid))
    x, y = np.mgrid[:96, :96].reshape(2, -1)
    here = grid.image.wcs.pixel_to_world_values(x, y)
    assert np.array_equal(here, sent.image.wcs.pixel_to_world_values(x, y))
    wanted = WCS(header).pixel_to_world_values(x, y)
    assert np.abs(np.subtract(here, wanted)).max() < 1e-11
    assert "MJD-OBS" not in grid.image.wcs.to_header()


def test_maps_of_an_image_that_is_given_twice_do_not_take_each_others_place(tmp_path, pair):
    made = uvstack.epochs.alpha([pair[0], pair[0]], [pair[1], pair[1]], out=tmp_path / "a.fits")
    assert list(made.epochs) == ["e0 (1)", "e0 (2)"]
    assert len({path for path in made.paths.values() if path.is_file()}) == 3


def test_the_noise_as_observed_is_not_that_of_dead_areas(tmp_path, pair):
    """More than half of an epoch are zeros, whose median absolute deviation is 0."""
    data = noise_of(96, 1e-3, 3)
    data[:60] = 0.0
    made = uvstack.epochs.combine([pair[0], save(tmp_path / "z.fits", data, header_of(96))])
    assert made.table["rms_observed"][1].value == pytest.approx(1e-3, rel=0.15)
