"""What goes wrong between sky and data is in the set as its saved truth says, source by source and antenna by antenna."""

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

import oracles
from factories import read
from simulate.corruption import (
    AntennaFlags,
    Bandpass,
    ComplexGains,
    Delays,
    DirectionDependentGains,
    PhaseErrors,
    PointingErrors,
    RandomFlags,
    read_truth,
)
from simulate.image_model import read_image_model
from simulate.pointings import hexagonal_mosaic
from simulate.task import observe
from uvstack.errors import ComponentError, CorruptionError, ImageError, SelectionError
from uvstack.sky.components import components

ARCMIN = np.pi / 180 / 60
CENTRE = (1.0, -0.4)
FREQUENCY = 1.4e9 + 20e6 * np.arange(4)
SETTINGS = {"array": "vla.c", "frequency": FREQUENCY, "integration": 10 * u.s,
            "duration": 120 * u.s, "pointings": CENTRE, "primary_beam": "gaussian:30arcmin@1.4GHz"}
BEAM = oracles.gaussian_beam(30 * ARCMIN, 1.4e9)
#: float32 phasors and gains: 1e-6 of the sum of the fluxes for each of a few factors.
CLOSE = 1e-5


def sky(**options):
    """Three sources, the last one extended where a size is given."""
    return components(CENTRE[0] + np.array([3.0, -7.0, 1.0]) * ARCMIN,
                      CENTRE[1] + np.array([2.0, 5.0, -6.0]) * ARCMIN, [1.0, 0.5, 0.8],
                      names=["A", "B", "C"], reference_frequency=1.4e9, **options)


def antennas(made):
    """Number of the time, first and second antenna of every row."""
    time = read(made.ms, "TIME")
    return np.unique(time,
                     return_inverse=True)[1], read(made.ms, "ANTENNA1"), read(made.ms, "ANTENNA2")


def plain(uvw, source, beam=BEAM):
    """Visibilities (row, chan) of one source of `sky`."""
    return oracles.predict(uvw, FREQUENCY, [source], *CENTRE, beam)


def sources(truth):
    return list(zip(truth.ra, truth.dec, truth.flux, strict=True))


@pytest.mark.parametrize("corruption",
                         [PhaseErrors(0.5, 60.0), Delays(2e-9, reference_frequency=1.4e9),
                          ComplexGains(0.2, 0.7, 100.0), Bandpass(0.1, 0.3)])
def test_gains_of_the_truth_undo_what_was_done(tmp_path, corruption):
    made = observe(sky=sky(), corruptions=[corruption], with_model=True, seed=5,
                   out=tmp_path / "a.ms", **SETTINGS)
    index, ant1, ant2 = antennas(made)
    gains = read_truth(made.corruptions[0]).at(np.unique(read(made.ms, "TIME")), FREQUENCY)
    vis, model = read(made.ms, "DATA"), read(made.ms, "MODEL_DATA")
    wanted = sum(plain(read(made.ms, "UVW"), source) for source in sources(sky()))
    assert np.abs(model - wanted[:, :, None]).max() < CLOSE * 2.3
    assert np.abs(vis - model).max() > 0.1
    for corr in (0, 1):
        product = gains[index, ant1, :, corr] * gains[index, ant2, :, corr].conj()
        assert np.abs(vis[:, :, corr] - product * wanted).max() < CLOSE * 4


def test_sources_have_their_own_gains_and_others_none(tmp_path):
    truth = sky(fwhm_major=[0, 0, 10 * ARCMIN / 60])
    own = DirectionDependentGains(("B", "C"), 0.2, 0.8, 50.0)
    made = observe(sky=truth, corruptions=[own], out=tmp_path / "a.ms", **SETTINGS)
    index, ant1, ant2 = antennas(made)
    tracks = read_truth(made.corruptions[0])
    times, uvw = np.unique(read(made.ms, "TIME")), read(made.ms, "UVW")
    for corr in (0, 1):
        wanted = plain(uvw, sources(truth)[0])
        for name, i in (("B", 1), ("C", 2)):
            gains = tracks[name].at(times, FREQUENCY)[..., corr]
            one = {"ra": truth.ra[i], "dec": truth.dec[i], "flux": truth.flux[i],
                   "shape": str(truth.shape[i]), "alpha": 0.0, "beta": 0.0,
                   "major": truth.fwhm_major[i], "minor": truth.fwhm_minor[i], "angle": 0.0}
            wanted = wanted + (gains[index, ant1] * gains[index, ant2].conj()
                               * oracles.predict_components(uvw, FREQUENCY, [one], *CENTRE, BEAM))
        assert np.abs(read(made.ms, "DATA")[:, :, corr] - wanted).max() < CLOSE * 4


def test_pointing_errors_shift_the_beam_of_each_antenna(tmp_path):
    made = observe(sky=sky(), corruptions=[PointingErrors(2 * ARCMIN, 60.0)], with_model=True,
                   out=tmp_path / "a.ms", **SETTINGS)
    index, ant1, ant2 = antennas(made)
    offset = read_truth(made.corruptions[0]).at(np.unique(read(made.ms, "TIME")))
    wanted = 0.0
    for source in sources(sky()):
        l, m, _ = oracles.cosines(source[0], source[1], *CENTRE)
        voltage = np.sqrt([[BEAM(l - x, m - y, FREQUENCY) for x, y in row] for row in offset])
        wanted = wanted + voltage[index, ant1] * voltage[index, ant2] * plain(
            read(made.ms, "UVW"), source, None)
    vis = read(made.ms, "DATA")
    assert np.abs(vis - wanted[:, :, None]).max() < CLOSE * 2.3
    assert np.abs(vis - read(made.ms, "MODEL_DATA")).max() > 0.05


def test_all_corruptions_at_once_and_whatever_the_blocks(tmp_path):
    everything = [PhaseErrors(0.3, 60.0), PointingErrors(ARCMIN),
                  DirectionDependentGains(("A",), 0.1, 0.3), ComplexGains(0.1, 0.2),
                  Bandpass(0.05, 0.1), Delays(1e-9), RandomFlags(0.1), AntennaFlags((3,))]
    options = {"sky": sky(q=0.1, v=-0.2), "noise": 0.1, "corruptions": everything,
               "correlations": ("RR", "RL", "LR", "LL"), "with_model": True, **SETTINGS}
    options["pointings"] = hexagonal_mosaic(*CENTRE, 20 * ARCMIN, 0.0, 10 * ARCMIN, dwell=2)
    first = observe(seed=3, out=tmp_path / "a.ms", **options)
    second = observe(seed=3, out=tmp_path / "b.ms", workers=2, chunk_size=20_000, **options)
    for column in ("DATA", "MODEL_DATA", "FLAG", "FLAG_ROW", "WEIGHT"):
        assert np.array_equal(read(first.ms, column), read(second.ms, column))
    record = json.loads(first.files["provenance"].read_text())
    assert [one["kind"]
            for one in record["inputs"]["options"]["corruptions"]] == [type(one).__name__
                                                                       for one in everything]
    assert len(first.corruptions) == len(everything)


def test_flags_are_those_asked_for(tmp_path):
    quiet = dict(SETTINGS, duration=600 * u.s)
    made = observe(sky=sky(), corruptions=[RandomFlags(0.2), AntennaFlags((4, 7))],
                   out=tmp_path / "a.ms", **quiet)
    flag, (_, ant1, ant2) = read(made.ms, "FLAG"), antennas(made)
    lost = np.isin(ant1, (4, 7)) | np.isin(ant2, (4, 7))
    assert flag[lost].all()
    assert read(made.ms, "FLAG_ROW")[lost].all()
    # 18 000 rows × 4 channels: the fraction is known to 0.0015; 4 σ.
    assert flag[~lost].mean() == pytest.approx(0.2, abs=0.006)


def image_file(path, unit="Jy/pixel", planes=1, projection="SIN"):
    """Pixels of 20″ with three bright ones; returns [(ra, dec, flux of each plane)]."""
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}", "FREQ"]
    wcs.wcs.crval, wcs.wcs.crpix = [np.rad2deg(CENTRE[0]), np.rad2deg(CENTRE[1]),
                                    1.4e9], [33, 31, 1]
    wcs.wcs.cdelt, wcs.wcs.cunit = [-20 / 3600, 20 / 3600, 60e6], ["deg", "deg", "Hz"]
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    data, found = np.zeros((planes, 60, 66), np.float32), []
    for row, col, flux in ((10, 50, 1.0), (30, 32, 0.5), (55, 5, 0.7)):
        data[:, row, col] = flux * (1 + np.arange(planes))
        ra, dec = wcs.celestial.all_pix2world(col, row, 0)
        found.append((np.deg2rad(float(ra)), np.deg2rad(float(dec)),
                      data[:, row, col].astype(float)))
    data[0, 0, 0] = np.nan
    header = wcs.to_header()
    header["BUNIT"] = unit
    fits.PrimaryHDU(data, header).writeto(path)
    return found


@pytest.mark.parametrize("planes", [1, 2])
def test_image_is_seen_as_its_pixels(tmp_path, planes):
    pixels = image_file(tmp_path / "sky.fits", planes=planes)
    model = read_image_model(tmp_path / "sky.fits", spectral_index=-0.7 if planes == 1 else 0.0)
    made = observe(images=[model], sky=sky(), out=tmp_path / "a.ms", **SETTINGS)
    uvw = read(made.ms, "UVW")
    wanted = sum(plain(uvw, source) for source in sources(sky()))
    for chan, nu in enumerate(FREQUENCY):
        for ra, dec, flux in pixels:
            # Two planes at 1.40 and 1.46 GHz: linear between them.
            one = flux[0] * (nu / 1.4e9) ** -0.7 if planes == 1 else np.interp(
                nu, [1.4e9, 1.46e9], flux)
            wanted[:, [chan]] += oracles.predict(uvw, [nu], [(ra, dec, one)], *CENTRE, BEAM)
    assert np.abs(read(made.ms, "DATA") - wanted[:, :, None]).max() < CLOSE * 7


@pytest.mark.parametrize(("change", "error", "match"),
                         [({"corruptions": [DirectionDependentGains(("a",), 0.1, 0.1)]},
                           CorruptionError, "'a', which is not in the sky"),
                          ({"corruptions": [PointingErrors(1e-4), PointingErrors(1e-4)]},
                           CorruptionError, "given twice"),
                          ({"corruptions": [AntennaFlags((27,))]}, CorruptionError,
                           "has 27, from 0"),
                          ({"corruptions": ["noise"]}, CorruptionError, "no corruption"),
                          ({"correlations": ("RR", "LX")}, SelectionError,
                           "unknown correlation .LX.: the nearest are"),
                          ({"correlations": "RR"}, SelectionError, "wanted names"),
                          ({"integration": 0 * u.s}, SelectionError, "must be positive"),
                          ({"duration": 1 * u.s}, SelectionError, "one integration or more"),
                          ({"duration": 1 * u.m}, SelectionError, "converts to s"),
                          ({"start": "yesterday"}, SelectionError, "is no time"),
                          ({"frequency": [1.4e9, np.nan]}, SelectionError, "positive"),
                          ({"pointings": (CENTRE[0] + 1.5, 1.2), "start": "2020-01-01T00:00:00",
                            "elevation_limit": -1.5}, ComponentError, "90° or more")])
def test_impossible_observations_leave_nothing(tmp_path, change, error, match):
    far = components([CENTRE[0]], [-1.2], [1.0]) if error is ComponentError else sky()
    with pytest.raises(error, match=match):
        observe(sky=far, out=tmp_path / "a.ms", **(SETTINGS | change))
    assert not list(tmp_path.iterdir())


def test_images_that_are_no_models(tmp_path):
    for name, options, match in (("beam", {"unit": "Jy/beam"}, "Jy/pixel"),
                                 ("tan", {"projection": "TAN"}, "SIN")):
        image_file(tmp_path / f"{name}.fits", **options)
        with pytest.raises(ImageError, match=match):
            read_image_model(tmp_path / f"{name}.fits")
    image_file(tmp_path / "cube.fits", planes=2)
    with pytest.raises(ImageError, match="own spectrum"):
        read_image_model(tmp_path / "cube.fits", spectral_index=1.0)
    with pytest.raises(ImageError, match="no such image"):
        read_image_model(tmp_path / "none.fits")
    model = read_image_model(tmp_path / "cube.fits")
    with pytest.raises(CorruptionError, match="has images"):
        observe(images=[model], corruptions=[PointingErrors(1e-4)], out=tmp_path / "a.ms",
                **SETTINGS)
