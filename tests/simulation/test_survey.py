"""A survey file becomes the very arguments that it states, or one line that says what is wrong with it."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from astropy.time import Time
from click.testing import CliRunner

import simulate.corruption as c
from factories import read
from places import ROOT
from simulate import survey_keys
from simulate.arrays import read_array
from simulate.counts import mean_flux, source_density
from simulate.noise import Noise
from simulate.pointings import (
    at_positions,
    hexagonal_mosaic,
    on_the_fly,
    rectangular_mosaic,
    single,
)
from simulate.survey import read_survey
from uvstack.cli.main import group
from uvstack.errors import SurveyError
from uvstack.sky.primary_beam import primary_beam

EXAMPLE = ROOT / "docs" / "survey_example.toml"
ARCSEC = np.pi / 180 / 3600
ARCMIN = 60 * ARCSEC
CENTRE = (np.deg2rad(15 * (3 + 49 / 60 + 10.99 / 3600)), np.deg2rad(30.5))
OBSERVATION = {"array": "vla.sparse", "frequency": "1.4 GHz", "bandwidth": "100 MHz", "channels": 2,
               "integration": "10 s", "duration": "1 min"}
POINTING = {"kind": "single", "centre": "03h49m10.99s +30d30m00s"}
COUNTS = {"kind": "source-counts", "name": "a", "model": "fixed", "flux": "2 mJy", "n": 4,
          "width": "10 arcmin"}
ONE = {"kind": "components", "name": "b", "position": "03h49m10.99s +30d30m00s", "flux": "0.5 Jy"}
MOSAIC = {"centre": POINTING["centre"], "width": "20 arcmin", "spacing": "5 arcmin"}
SCAN = {"kind": "on-the-fly", "centre": POINTING["centre"], "width": "20 arcmin",
        "height": "10 arcmin", "row_spacing": "5 arcmin", "speed": "12 arcsec/s"}


def write(folder, observation=(), pointing=POINTING, sky=(COUNTS,), noise=None, corruption=(),
          **top):
    """Path of a survey file of these tables; a key of None is left out."""
    tables = [("[observation]", {**OBSERVATION, **dict(observation)}), ("[pointing]", pointing),
              ("[noise]", noise or {}), *(("[[sky]]", t) for t in sky),
              *(("[[corruption]]", t) for t in corruption)]
    path = folder / "survey.toml"
    path.write_text("".join(f"{head}\n" + "".join(f"{k} = {json.dumps(v)}\n"
                                                  for k, v in table.items() if v is not None)
                            for head, table in (("", top), *tables)))
    return path


def settings(folder, *args, given=None, **tables):
    return read_survey(write(folder, *args, **tables)).settings(given)


# ------------------------------------------------------------------------ values, in SI and radians


def test_observation_in_si(tmp_path):
    found = settings(tmp_path,
                     {"start": "2024-03-01T22:00:00", "correlations": ["XX", "YY"],
                      "primary_beam": "gaussian:5arcmin@1.4GHz", "elevation_limit": "20 deg",
                      "duration": "2 h"}, given=3)
    assert found["array"].antenna_names == read_array("vla.sparse").antenna_names
    assert found["frequency"] == pytest.approx([1.375e9, 1.425e9])
    assert found["width"] == pytest.approx([50e6, 50e6])
    assert (found["integration"], found["duration"], found["seed"]) == (10.0, 7200.0, 3)
    assert Time(found["start"], scale="utc").mjd == Time("2024-03-01T22:00:00", scale="utc").mjd
    assert found["correlations"] == ("XX", "YY")
    assert found["primary_beam"] == primary_beam("gaussian:5arcmin@1.4GHz")
    assert found["elevation_limit"] == pytest.approx(np.pi / 9)


def test_frequencies_one_by_one_and_their_width(tmp_path):
    bands = {"frequency": None, "bandwidth": None, "channels": None}
    found = settings(tmp_path, {**bands, "frequencies": ["2 GHz", "2.1 GHz", "2.2 GHz"]})
    assert found["frequency"] == pytest.approx([2e9, 2.1e9, 2.2e9])
    assert found["width"] == pytest.approx([1e8] * 3)
    found = settings(tmp_path, {**bands, "frequencies": ["2000 MHz"], "channel_width": "128 kHz"})
    assert found["width"] == pytest.approx([128e3])


def test_antennas_and_beam_from_files_beside_the_survey(tmp_path):
    (tmp_path / "my.cfg").write_text("# observatory = VLA\n# coordsys = LOC\n0 0 0 25 n1\n100 0 0 "
                                     "25 n2\n0 100 0 25 n3\n")
    QTable({"angle": [0, 10, 15, 20] * u.arcmin,
            "power": [1.0, 0.5, 0.2, 0.0]}).write(tmp_path / "beam.ecsv")
    found = settings(tmp_path, {"array": "my.cfg", "primary_beam": "table:beam.ecsv@1.4GHz"})
    assert found["array"].antenna_names == ("n1", "n2", "n3")
    assert found["primary_beam"]([np.sin(10 * ARCMIN)], [0.0], [1.4e9])[0, 0] == pytest.approx(0.5)


@pytest.mark.parametrize(("pointing", "wanted"),
                         [(POINTING, single(*CENTRE)),
                          ({**POINTING, "centre": "57.29579166666667d +30.5d", "name": "deep"},
                           single(*CENTRE, name="deep")),
                          ({"kind": "list", "positions": [POINTING["centre"], "10:00:00 -00:30:00"],
                            "dwell": "20 s"},
                           at_positions([CENTRE[0], 10 * np.pi / 12], [CENTRE[1], np.deg2rad(-0.5)],
                                        dwell=2)),
                          ({"kind": "rectangular", **MOSAIC, "height": "10 arcmin",
                            "dwell": "30 s"},
                           rectangular_mosaic(*CENTRE, 20 * ARCMIN, 10 * ARCMIN, 5 * ARCMIN,
                                              dwell=3)),
                          ({"kind": "hexagonal", **MOSAIC},
                           hexagonal_mosaic(*CENTRE, 20 * ARCMIN, 20 * ARCMIN, 5 * ARCMIN)),
                          ({**SCAN, "phase_centre_every": 2},
                           on_the_fly(*CENTRE, 20 * ARCMIN, 10 * ARCMIN, 5 * ARCMIN, 12 * ARCSEC,
                                      10.0, phase_centre_every=2))])
def test_pointings(pointing, wanted, tmp_path):
    found = settings(tmp_path, pointing=pointing, sky=[ONE])["pointings"]
    assert (found.names, found.dwell, found.repeat) == (wanted.names, wanted.dwell, wanted.repeat)
    # Texts of 0.01 s are exact; what is left is rounding.
    assert found.ra == pytest.approx(wanted.ra, abs=1e-14)
    assert found.dec == pytest.approx(wanted.dec, abs=1e-14)


def test_pointings_from_a_file_and_from_the_sky(tmp_path):
    (tmp_path / "list.csv").write_text("ra,dec\n50.0,20.0\n51.0,21.0\n")
    found = settings(tmp_path, pointing={"kind": "list", "positions": "list.csv"},
                     sky=[ONE])["pointings"]
    assert np.rad2deg(found.dec) == pytest.approx([20.0, 21.0])
    made = settings(tmp_path, pointing={"kind": "list", "sources": "a"},
                    sky=[{**COUNTS, "centre": "10h00m00s -10d00m00s"}])
    assert made["pointings"].ra.tolist() == made["sky"].ra.tolist()


def test_frames(tmp_path):
    galactic = SkyCoord("03h49m10.99s +30d30m00s", frame="fk5").galactic
    words = f"{galactic.l.deg:.12f}d {galactic.b.deg:.12f}d"
    found = settings(tmp_path, pointing={"kind": "single", "centre": words, "frame": "galactic"},
                     sky=[{**ONE, "position": [words, words], "frame": "GALACTIC"}])
    assert (found["pointings"].ra[0], found["pointings"].dec[0]) == pytest.approx(CENTRE, abs=1e-12)
    assert found["sky"].dec == pytest.approx(CENTRE[1], abs=1e-12)
    # Without letters the first number counts hours, but degrees of galactic longitude.
    words = "10:00:00 20:00:00"
    sky = settings(tmp_path,
                   sky=[{**ONE, "position": words},
                        {**ONE, "name": "c", "position": words, "frame": "GALACTIC"}])["sky"]
    wanted = SkyCoord(10 * u.deg, 20 * u.deg, frame="galactic").fk5
    assert np.rad2deg(sky.ra) == pytest.approx([150.0, wanted.ra.deg], abs=1e-10)
    assert np.rad2deg(sky.dec) == pytest.approx([20.0, wanted.dec.deg], abs=1e-10)


def test_one_round_of_a_mosaic_is_the_default_duration(tmp_path):
    found = settings(tmp_path, {"duration": None},
                     pointing={"kind": "rectangular", **MOSAIC, "dwell": "20 s"})
    assert found["duration"] == 25 * 20.0
    # 101 steps of 12″ × 1 s on 20.2′, three rows.
    scan = settings(tmp_path, {"duration": None, "integration": "1 s"},
                    pointing={**SCAN, "width": "1200 arcsec"})
    assert scan["duration"] == 101 * 3 * 1.0


def test_drawn_sources_lie_where_they_should_and_look_so(tmp_path):
    block = {**COUNTS, "n": 2000, "height": "4 arcmin", "fwhm": ["1 arcsec", "3 arcsec"],
             "axis_ratio": [0.5, 1.0], "position_angle": ["10 deg", "40 deg"],
             "spectral_index": [-0.7, 0.2], "curvature": 0.1, "q": 0.1, "u": -0.2, "v": 0.05,
             "target": True, "reference_frequency": "3 GHz", "shape": "disc"}
    sky = settings(tmp_path, sky=[block])["sky"]
    east, north = (sky.ra - CENTRE[0]) * np.cos(sky.dec), sky.dec - CENTRE[1]
    for offset, half in ((east, 5 * ARCMIN), (north, 2 * ARCMIN)):
        # The expected distance of the outermost of 2000 from the edge is 1/1000 of the half width;
        # curvature, 1e-4.
        assert 0.99 * half < np.abs(offset).max() < 1.001 * half
    assert (sky.flux == 2e-3).all()
    assert (sky.shape == "disc").all()
    assert sky.target.all()
    ratio = sky.fwhm_minor / sky.fwhm_major
    for values, low, high in ((sky.fwhm_major / ARCSEC, 1, 3), (ratio, 0.5, 1.0),
                              (np.rad2deg(sky.position_angle), 10, 40)):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
    # 5 σ of the mean and of the scatter of 2000 numbers with a scatter of 0.2.
    assert sky.spectral_index.mean() == pytest.approx(-0.7, abs=5 * 0.2 / 2000**0.5)
    assert sky.spectral_index.std() == pytest.approx(0.2, abs=5 * 0.2 / 4000**0.5)
    assert (sky.curvature[0], sky.q[0], sky.u[0], sky.v[0],
            sky.reference_frequency) == (0.1, 0.1, -0.2, 0.05, 3e9)
    assert sky.names[0] == "a1"


def test_fluxes_hold_at_the_middle_of_the_band(tmp_path):
    sky = settings(tmp_path, sky=[{**ONE, "spectral_index": -0.8}])["sky"]
    assert sky.flux_at([1.4e9, 2.8e9])[0] == pytest.approx([0.5, 0.5 * 2**-0.8])


@pytest.mark.parametrize("more",
                         [{"model": "bondi2008"},
                          {"model": "bondi2008", "flux_range": ["1 mJy", "1 Jy"]},
                          {"model": "bethermin2012"},
                          {"model": "schechter", "density": "3000 / deg2", "alpha": -1.2,
                           "s_star": "20 uJy"},
                          {"model": "power-law", "amplitude": "20 / (sr Jy)", "slope": -2.2,
                           "flux_range": ["10 uJy", "1 Jy"]}])
def test_as_many_sources_as_the_counts_have(more, tmp_path):
    sky = settings(tmp_path,
                   sky=[{"kind": "source-counts", "name": "a", "width": "60 arcmin",
                         "height": "30 arcmin", **more}])["sky"]
    inside = {"s_star": 20e-6, "density": 3000 * (180 / np.pi) ** 2, "amplitude": 20.0,
              "flux_range": {"1 mJy": (1e-3, 1.0)}.get(more.get("flux_range", [""])[0],
                                                       (1e-5, 1.0))}
    args = {k: inside.get(k, v) for k, v in more.items() if k != "model"}
    expected = source_density(more["model"], **args) * 60 * 30 * ARCMIN**2
    # Poisson, 5 σ; the area of the figure is 1e-5 smaller than 60′ × 30′.
    assert len(sky) == pytest.approx(expected, abs=5 * expected**0.5)
    assert (mean_flux(more["model"], **args) > 0) == (sky.flux.min()
                                                      >= args.get("flux_range", (0, 1))[0])


def test_fluxes_of_a_list(tmp_path):
    sky = settings(tmp_path,
                   sky=[{**COUNTS, "model": "catalogue", "flux": None, "n": None,
                         "fluxes": ["1 mJy", "3000 uJy"]}])["sky"]
    assert sky.flux == pytest.approx([1e-3, 3e-3])


def test_sources_around_others(tmp_path):
    around = {**COUNTS, "name": "near", "n": 200, "width": None, "within": "11.2 arcsec", "of": "a"}
    # Written before the table that it refers to.
    sky = settings(tmp_path, sky=[around, COUNTS])["sky"]
    near, far = (SkyCoord(sky.ra[part], sky.dec[part], unit="rad")
                 for part in (slice(200), slice(200, 204)))
    distance = near[:, None].separation(far[None, :]).arcsec.min(axis=1)
    # Uniform in the circle: the median distance is 11.2″/√2; 5 σ of a median of 200 are 1.4″.
    assert distance.max() <= 11.2
    assert np.median(distance) == pytest.approx(11.2 / 2**0.5, abs=1.4)


def test_components_one_by_one(tmp_path):
    block = {"kind": "components", "name": "s",
             "position": ["03h49m00s +30d30m00s", "03h50m00s +30d31m00s"],
             "flux": ["1 Jy", "20 mJy"], "shape": ["gaussian", "point"],
             "fwhm_major": ["4 arcsec", "0 arcsec"], "fwhm_minor": ["2 arcsec", "0 arcsec"],
             "position_angle": ["30 deg", "0 deg"], "spectral_index": [-0.5, 0.2], "curvature": 0.1,
             "q": [0.1, 0.0], "u": 0.05, "v": 0.01, "reference_frequency": "2 GHz", "target": True}
    sky = settings(tmp_path, sky=[block])["sky"]
    assert sky.names.tolist() == ["s1", "s2"]
    assert np.rad2deg(sky.ra) / 15 == pytest.approx([3 + 49 / 60, 3 + 50 / 60])
    assert sky.flux.tolist() == [1.0, 0.02]
    assert sky.shape.tolist() == ["gaussian", "point"]
    assert sky.fwhm_major / ARCSEC == pytest.approx([4, 0])
    assert sky.fwhm_minor / ARCSEC == pytest.approx([2, 0])
    assert np.rad2deg(sky.position_angle) == pytest.approx([30, 0])
    assert sky.spectral_index.tolist() == [-0.5, 0.2]
    assert (sky.curvature.tolist(), sky.q.tolist(), sky.u.tolist(),
            sky.v.tolist()) == ([0.1] * 2, [0.1, 0.0], [0.05] * 2, [0.01] * 2)
    assert sky.reference_frequency == 2e9
    assert sky.target.all()


def test_a_truth_comes_back_as_a_catalogue(tmp_path):
    sky = settings(tmp_path, sky=[{**COUNTS, "spectral_index": -0.5, "target": True}, ONE])["sky"]
    sky.to_table().write(tmp_path / "truth.ecsv")
    again = settings(tmp_path, sky=[{"kind": "catalogue", "file": "truth.ecsv"}])["sky"]
    for field in dataclasses.fields(sky):
        ours, theirs = getattr(sky, field.name), getattr(again, field.name)
        # Angles go through degrees: rounding.
        assert theirs == pytest.approx(ours,
                                       rel=1e-14) if np.asarray(ours).dtype.kind == "f" else (
            theirs == ours).all()
    assert not settings(tmp_path,
                        sky=[{"kind": "catalogue", "file": "truth.ecsv",
                              "target": False}])["sky"].target.any()


def test_a_catalogue_in_csv_is_in_degrees_and_jansky(tmp_path):
    (tmp_path / "list.csv").write_text("ra,dec,flux,fwhm_major,spectral_index,target\n57,30,0.1,2,-0.7,False\n58,31,0.2,0,0,True\n")
    sky = settings(tmp_path,
                   sky=[{"kind": "catalogue", "name": "c", "file": "list.csv",
                         "reference_frequency": "3 GHz"}])["sky"]
    assert np.rad2deg(sky.ra) == pytest.approx([57, 58])
    assert sky.flux.tolist() == [0.1, 0.2]
    assert sky.fwhm_major / ARCSEC == pytest.approx([2, 0])
    assert sky.target.tolist() == [False, True]
    assert sky.names.tolist() == ["c1", "c2"]
    assert sky.reference_frequency == 3e9


def test_images(tmp_path):
    pixels = np.zeros((16, 16), np.float32)
    pixels[5, 9] = 0.25
    header = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRVAL1": 57.0, "CRVAL2": 30.0,
              "CRPIX1": 8, "CRPIX2": 8, "CDELT1": -1e-3, "CDELT2": 1e-3, "CUNIT1": "deg",
              "CUNIT2": "deg", "BUNIT": "Jy/pixel", "RADESYS": "FK5", "EQUINOX": 2000.0}
    fits.writeto(tmp_path / "sky.fits", pixels, fits.Header(header))
    block = {"kind": "image", "name": "nebula", "file": "sky.fits", "spectral_index": -0.5,
             "reference_frequency": "2 GHz"}
    found = settings(tmp_path, sky=[block])
    (image,) = found["images"]
    assert found["sky"] is None
    ((plane, share),) = image.parts(np.array([2e9, 8e9]))
    assert plane.sum() == pytest.approx(0.25)
    assert share == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize(("noise", "wanted"),
                         [(None, Noise.noise_per_visibility(0.0)),
                          ({"sigma": "10 mJy"}, Noise.noise_per_visibility(0.01)),
                          ({"sefd": "0.42 kJy", "efficiency": 0.9}, Noise.from_sefd(420.0, 0.9)),
                          ({"t_sys": "50 K", "aperture_efficiency": 0.6},
                           Noise.from_system_temperature(50.0, 25.0, 0.6)),
                          ({"pwv": "0.2 cm", "t_receiver": "60 K", "dish_diameter": "12 m",
                            "aperture_efficiency": 0.7, "surface_rms": "20 um", "efficiency": 0.8},
                           Noise.from_water_vapour(2.0, t_receiver=60.0, aperture_efficiency=0.7,
                                                   surface_rms=20e-6, efficiency=0.8))])
def test_noise(noise, wanted, tmp_path):
    found = settings(tmp_path, noise=noise)["noise"]
    for name, value in vars(wanted).items():
        assert getattr(found, name) == pytest.approx(value), name


SLOW = {"timescale": "2 min", "power_law_index": -3}
GAINS = {"amplitude_rms": 0.1, "phase_rms": "90 deg"}
DAY = Time("2024-03-01", scale="utc").mjd * 86400


@pytest.mark.parametrize(("table", "wanted"),
                         [({"kind": "phase-errors", "rms": "90 deg", **SLOW},
                           c.PhaseErrors(np.pi / 2, 120.0, -3.0)),
                          ({"kind": "delays", "rms": "2 ns", "timescale": "1 h",
                            "reference_frequency": "1.4 GHz"}, c.Delays(2e-9, 3600.0, 1.4e9)),
                          ({"kind": "delays", "rms": "2 ns"}, c.Delays(2e-9)),
                          ({"kind": "complex-gains", **GAINS, **SLOW},
                           c.ComplexGains(0.1, np.pi / 2, 120.0, -3.0)),
                          ({"kind": "bandpass", **GAINS, "n_ripples": 2},
                           c.Bandpass(0.1, np.pi / 2, 2)),
                          ({"kind": "direction-dependent-gains", "sources": ["a", "b"], **GAINS,
                            **SLOW},
                           c.DirectionDependentGains(("a1", "a2", "a3", "a4", "b"), 0.1, np.pi / 2,
                                                     120.0, -3.0)),
                          ({"kind": "direction-dependent-gains", "sources": ["a3"], **GAINS},
                           c.DirectionDependentGains(("a3",), 0.1, np.pi / 2)),
                          ({"kind": "pointing-errors", "rms": "20 arcsec", **SLOW},
                           c.PointingErrors(20 * ARCSEC, 120.0, -3.0)),
                          ({"kind": "random-flags", "fraction": 0.05}, c.RandomFlags(0.05)),
                          ({"kind": "antenna-flags", "antennas": [3, "W16"]},
                           c.AntennaFlags((3, 0))),
                          ({"kind": "antenna-flags", "antennas": [3], "from": "2024-03-01T00:01:00",
                            "to": "2024-03-01T00:02:00"},
                           c.AntennaFlags((3,), ((DAY + 60, DAY + 120),))),
                          ({"kind": "antenna-flags", "antennas": [3], "to": "2024-03-01T00:02:00"},
                           c.AntennaFlags((3,), ((-np.inf, DAY + 120),)))])
def test_corruptions(table, wanted, tmp_path):
    (found,) = settings(tmp_path, {"start": "2024-03-01T00:00:00"}, sky=[COUNTS, ONE],
                        corruption=[table])["corruptions"]
    assert type(found) is type(wanted)
    for name, value in vars(wanted).items():
        # A double holds MJD seconds to 1e-6.
        ours = getattr(found, name)
        assert ours == value if name == "sources" else np.asarray(ours) == pytest.approx(
            np.asarray(value), rel=1e-14), name


def test_the_seed_draws_the_sky_and_later_tables_leave_it_alone(tmp_path):
    def drawn(blocks=(COUNTS,), given=None, **top):
        return settings(tmp_path, sky=blocks, given=given, **top)["sky"].ra[:4].tolist()

    assert drawn(seed=7) == drawn(given=7) == drawn(given=7, seed=8) == drawn(
        [COUNTS, {**COUNTS, "name": "more"}], seed=7)
    assert drawn(seed=7) != drawn(seed=8)
    assert drawn() == drawn(seed=0)
    both = settings(tmp_path, sky=[COUNTS, {**COUNTS, "name": "more"}])["sky"]
    assert not set(both.ra[:4]) & set(both.ra[4:])


def test_no_key_goes_untested():
    tables = [survey_keys.OBSERVATION, survey_keys.NOISE, *survey_keys.POINTING.values(),
              *survey_keys.SKY.values(), *survey_keys.CORRUPTION.values()]
    written = Path(__file__).read_text(encoding="utf-8")
    assert not [key for table in tables for key in table if f'"{key}": ' not in written]


# -------------------------------------------------------------------------------------------- slips

NEAR = {**COUNTS, "name": "n", "width": None, "within": "9 arcsec", "of": "a"}
START = {"start": "2024-03-01T00:00:00"}
SLIPS = [({"observation": {"frequncy": "1.4 GHz"}},
          r"\[observation\] frequncy: unknown; did you mean 'frequency'\?"),
         ({"observation": {"frequency": 1.4e9}},
          r"\[observation\] frequency = 1400000000.0: a bare number has no unit; .*1\.4 GHz"),
         ({"observation": {"frequency": "1.4 m"}}, "the unit 'm' does not fit; .*1.4 GHz"),
         ({"observation": {"frequency": "1.3 GHz .. 1.5 GHz"}}, "cannot be read"),
         ({"observation": {"frequency": "-1 GHz"}}, "above 0"),
         ({"observation": {"frequency": ["1.4 GHz"]}}, "wanted is a text with a number and a unit"),
         ({"observation": {"frequency": "1.4"}}, "there is no unit"),
         ({"observation": {"frequency": None}},
          "the key frequency is missing; give frequency, bandwidth and channels, or frequencies"),
         ({"observation": {"bandwidth": "3 GHz"}}, "bandwidth: reaches down to frequency 0"),
         ({"observation": {"channels": 0}},
          "channels = 0: wanted is a whole number without a unit, 1 or more"),
         ({"observation": {"channels": 2.5}}, "channels = 2.5: wanted is a whole number"),
         ({"observation": {"channel_width": "1 MHz"}}, "channel_width: goes with frequencies"),
         ({"observation": {"frequencies": ["1 GHz"]}}, "frequency: contradicts frequencies"),
         ({"observation": {"frequency": None, "bandwidth": None, "channels": None,
                           "frequencies": ["1 GHz"]}}, "channel_width is missing"),
         ({"observation": {"frequency": None, "bandwidth": None, "channels": None,
                           "frequencies": ["1 GHz"] * 2}}, "two neighbours are equal"),
         ({"observation": {"array": None}},
          r"\[observation\]: the key array is missing; wanted is text in quotes"),
         ({"observation": {"array": "vla.e"}}, "nearest names are vla"),
         ({"observation": {"array": "none.cfg"}}, "none.cfg: no such antenna file"),
         ({"observation": {"primary_beam": "vlaa"}}, "vla"),
         ({"observation": {"primary_beam": "beam.fits"}}, "survey.toml: .*beam.fits"),
         ({"observation": {"correlations": ["RR", "LK"]}}, "wanted is one of .*did you mean 'RL'"),
         ({"observation": {"start": "yesterday"}}, "a time in UTC such as"),
         ({"observation": {"duration": None}}, "duration is missing; a single pointing"),
         ({"seed": -1}, "survey.toml: seed = -1: wanted is a whole number"),
         ({"sed": 1}, "survey.toml: sed: unknown; did you mean 'seed'"),
         ({"pointing": {}}, r"\[pointing\]: the key kind is missing; wanted one of single, list"),
         ({"pointing": {**POINTING, "kind": "hexagon"}}, "did you mean 'hexagonal'"),
         ({"pointing": {**POINTING, "kind": 3}}, "wanted one of single"),
         ({"pointing": {**POINTING, "spacing": "5 arcmin"}},
          "spacing: a key of rectangular or hexagonal; the kind here is single"),
         ({"pointing": {"kind": "single"}}, "the key centre is missing"),
         ({"pointing": {**POINTING, "centre": "57.3 -30"}}, "'57.3 -30' has no units"),
         ({"pointing": {**POINTING, "centre": "somewhere"}}, "'somewhere' is no direction"),
         ({"pointing": {**POINTING, "centre": "03h49m10s +95d00m00s"}}, "is no direction"),
         ({"pointing": {**POINTING, "frame": "J200"}}, "frame = 'J200': .*J2000"),
         ({"pointing": {"kind": "hexagonal", **MOSAIC, "spacing": "0 arcmin"}}, "above 0"),
         ({"pointing": {"kind": "hexagonal", **MOSAIC, "dwell": "25 s"}},
          "dwell: 25 s are 2.5 integrations of 10 s"),
         ({"pointing": {"kind": "list"}, "sky": [ONE]}, "either positions or sources"),
         ({"pointing": {"kind": "list", "sources": "c"}, "sky": [ONE]}, "'c' is no .* there are b"),
         ({"pointing": {"kind": "list", "sources": "b", "frame": "J2000"}, "sky": [ONE]},
          "frame: has no effect"),
         ({"pointing": {"kind": "list", "positions": "no.csv"}, "sky": [ONE]},
          r"\[pointing\]: .*no.csv: there is no such file"),
         ({"pointing": {"kind": "list", "positions": []}, "sky": [ONE]}, "one or more"),
         ({"pointing": {"kind": "list", "positions": [POINTING["centre"]]}},
          r"'a': the key centre is missing"), ({"sky": []}, r"there is no \[\[sky\]\] table"),
         ({"sky": [{**COUNTS, "model": "bondi"}]},
          r"\[\[sky\]\] 'a' model = 'bondi': .*did you mean 'bondi2008'"),
         ({"sky": [{**COUNTS, "n": None}]},
          r"\[\[sky\]\] 'a': sources of a fixed flux have no density: give n"),
         ({"sky": [{**COUNTS, "flux": None}]}, "parameter flux is missing"),
         ({"sky": [{**COUNTS, "slope": -2}]}, "take no parameter 'slope'"),
         ({"sky": [{**COUNTS, "flux_range": ["1 mJy", "2 mJy"]}]},
          "flux_range: has no effect on the model fixed"),
         ({"sky": [{**COUNTS, "model": "bondi2008", "flux": None, "flux_range": ["2 Jy", "1 Jy"]}]},
          "the first is the larger"),
         ({"sky": [{**COUNTS, "model": "schechter", "flux": None, "density": "1 / deg2"}]},
          "density: has no effect beside n"),
         ({"sky": [{**COUNTS, "width": None}]}, "the key width is missing"),
         ({"sky": [{**COUNTS, "frame": "ICRS"}]}, "frame: goes with centre"),
         ({"sky": [{**COUNTS, "axis_ratio": 0.5}]}, "axis_ratio: has no effect without fwhm"),
         ({"sky": [{**COUNTS, "fwhm": "1 arcsec", "position_angle": "3 deg"}]},
          "position_angle: has no effect without axis_ratio"),
         ({"sky": [{**COUNTS, "fwhm": ["1 arcsec"]}]}, "a list of two"),
         ({"sky": [{**COUNTS, "fwhm": "1 arcsec", "axis_ratio": 2}]},
          "'a': component a1 .* fwhm_major"),
         ({"sky": [{**COUNTS, "spectral_index": [-0.7, -1]}]}, "the scatter is negative"),
         ({"sky": [{**COUNTS, "target": "yes"}]}, "true or false, without quotes"),
         ({"sky": [COUNTS, COUNTS]}, "'a' is the name of two"),
         ({"sky": [COUNTS, {**ONE, "name": "a1"}]}, "the source 'a1' stands in 'a' and in 'a1'"),
         ({"sky": [COUNTS, {**NEAR, "of": "A"}]},
          "'A' is no .*table with sources.* there are a, n"),
         ({"sky": [COUNTS, {**NEAR, "n": None}]}, "'n': the key n is missing"),
         ({"sky": [COUNTS, {**NEAR, "width": "1 deg"}]}, "width: contradicts within"),
         ({"sky": [COUNTS, {**NEAR, "of": None}]}, "within and of go together"),
         ({"sky": [{**NEAR, "of": "n"}]}, "n around n has no end"),
         ({"sky": [{**ONE, "flux": "-1 Jy"}]}, "0 or more"),
         ({"sky": [{**ONE, "flux": ["1 Jy", "2 Jy"]}]}, "'b' flux: 2 values beside 1 positions"),
         ({"sky": [{**ONE, "position": 57.3}]}, "wanted is text in quotes"),
         ({"sky": [{**ONE, "fwhm": "1 arcsec"}]},
          "fwhm: a key of source-counts; the kind here is components"),
         ({"sky": [{**ONE, "flx": "1 Jy"}]}, "did you mean 'flux'"),
         ({"sky": [{"kind": "catalogue", "file": "no.ecsv"}]}, "no.ecsv: no such catalogue"),
         ({"sky": [{"kind": "catalogue", "file": "survey.toml"}]}, "survey.toml is no .ecsv"),
         ({"sky": [{"kind": "image", "file": "no.fits"}]}, r"\[\[sky\]\] 1: .*no.fits"),
         ({"noise": {"sigma": "1 mJy", "sefd": "420 Jy"}},
          r"\[noise\]: found sigma and sefd; wanted one of"),
         ({"noise": {"efficiency": 0.9}}, "found none of them"),
         ({"noise": {"sigma": "1 mJy", "efficiency": 0.9}},
          "efficiency: has no effect on sigma; it goes with sefd"),
         ({"noise": {"sefd": "420 Jy", "efficiency": 1.5}}, "efficiency = 1.5"),
         ({"noise": {"t_sys": "50 K"}}, "aperture_efficiency is missing"),
         ({"noise": {"t_sys": "50 K", "aperture_efficiency": 0.6},
           "observation": {"array": "emerlin"}}, "dishes of emerlin"),
         ({"corruption": [{"kind": "phase-error", "rms": "1 deg"}]},
          r"\[\[corruption\]\] 1 kind .*did you mean 'phase-errors'"),
         ({"corruption": [{"kind": "phase-errors", "rms": "1 ns", "timescale": "1 s"}]},
          "the unit 'ns' does not fit; .*20 deg"),
         ({"corruption": [{"kind": "phase-errors", "rms": "1 deg", "timescale": "1 s",
                           "power_law_index": -1}]}, "must be below"),
         ({"corruption": [{"kind": "random-flags", "fraction": 1.5}]},
          r"\[\[corruption\]\] 1: flags on a fraction 1.5"),
         ({"corruption": [{"kind": "direction-dependent-gains", "sources": ["aa"], **GAINS}]},
          "'aa' is neither .*did you mean 'a'"),
         ({"corruption": [{"kind": "antenna-flags", "antennas": ["W1"]}]},
          "no antenna 'W1'; did you mean 'W16'"),
         ({"corruption": [{"kind": "antenna-flags", "antennas": [8]}]},
          "no antenna 8; its 8 antennas are counted from 0"),
         ({"corruption": [{"kind": "antenna-flags", "antennas": [1.5]}]},
          "by number, counted from 0, or by name"),
         ({"corruption": [{"kind": "antenna-flags", "antennas": [1], "to": "2024-03-01"}]},
          r"to: wants start in \[observation\]"),
         ({"observation": START,
           "corruption": [{"kind": "antenna-flags", "antennas": [1], "from": "2024-03-02",
                           "to": "2024-03-01"}]}, "lies before from")]


@pytest.mark.parametrize(("tables", "wanted"), SLIPS, ids=[wanted for _, wanted in SLIPS])
def test_a_slip_is_one_line_that_names_file_table_and_key(tables, wanted, tmp_path):
    with pytest.raises(SurveyError, match=wanted) as caught:
        settings(tmp_path, **tables)
    assert str(caught.value).startswith(str(tmp_path / "survey.toml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "wanted"),
                         [("[observation]\narray = vla.a\n",
                           r"survey.toml, line 2, column \d+: not TOML: .*in \"quotes\""),
                          ("a = [1,\n", "survey.toml.*: not TOML"),
                          ("[[observation]]\narray = 'vla.a'\n",
                           r"wanted one table, written \[observation\]"),
                          ("[observatoin]\n", "did you mean 'observation'")])
def test_a_broken_file_is_one_line(text, wanted, tmp_path):
    (tmp_path / "survey.toml").write_text(text)
    with pytest.raises(SurveyError, match=wanted):
        read_survey(tmp_path / "survey.toml")
    with pytest.raises(SurveyError,
                       match=r"survy.toml: no such survey file; did you mean 'survey.toml'\?"):
        read_survey(tmp_path / "survy.toml")
    with pytest.raises(SurveyError, match="cannot be read as a survey file"):
        read_survey(tmp_path)


def test_one_sky_table_may_stand_alone_but_must_be_a_table(tmp_path):
    path = write(tmp_path, sky=[ONE])
    path.write_text(path.read_text().replace("[[sky]]", "[sky]"))
    assert read_survey(path).settings()["sky"].names.tolist() == ["b"]
    path.write_text("sky = 3\n" + path.read_text().partition("[sky]")[0])
    with pytest.raises(SurveyError, match=r"sky: found 3; wanted tables, each written \[\[sky\]\]"):
        read_survey(path)


# --------------------------------------------------------------------------------------- end to end


def run(*args):
    done = CliRunner().invoke(group, ["simulate", *map(str, args)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_source_at_the_phase_centre_is_seen_with_its_spectrum(tmp_path):
    path = write(tmp_path, {"channels": 3}, sky=[{**ONE, "spectral_index": -0.8}])
    # Options may stand before the file.
    run("--out", tmp_path / "s.ms", path)
    vis = read(tmp_path / "s.ms", "DATA")
    frequency = 1.4e9 + 1e8 / 3 * np.array([-1, 0, 1])
    # complex64.
    assert np.abs(vis - (0.5 * (frequency / 1.4e9) ** -0.8)[None, :, None]).max() < 5e-7
    assert vis.shape == (6 * 28, 3, 2)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    folder = tmp_path_factory.mktemp("survey")
    return folder, run(EXAMPLE, "--out", folder / "survey.ms", "--with-model")


def test_the_example_is_made_as_it_says(example):
    folder, output = example
    truth = QTable.read(folder / "survey-truth.ecsv")
    assert truth["target"].sum() == 40
    for text in ("27 antennas", "pointings    8", "40 targets of 0.5 mJy",
                 "PhaseErrors, DirectionDependentGains, AntennaFlags", "seed 7"):
        assert text in output
    for line in output.strip().splitlines()[9:]:
        assert Path(line[13:].strip()).exists(), line
    assert "calibrator" in truth["name"]
    time = np.unique(read(folder / "survey.ms", "TIME"))
    start = Time("2024-03-01T22:30:00", scale="utc").mjd * 86400
    # The middle of the first minute; a double holds MJD seconds to 1e-6.
    assert time == pytest.approx(start + 60 * np.arange(48) + 30, abs=1e-4)
    assert read(folder / "survey.ms",
                "FIELD_ID").reshape(48, -1)[:, 0].tolist() == [i // 2 % 8 for i in range(48)]
    data, model = read(folder / "survey.ms", "DATA"), read(folder / "survey.ms", "MODEL_DATA")
    sigma = 420 / (0.93 * np.sqrt(2 * 50e6 * 60))
    # The errors turn the phases by 10° √2 of some 0.4 Jy at most: several times the noise, but not
    # the flux.
    assert sigma < np.std((data - model).real) < 0.3 * np.abs(model).max()


def test_the_example_flags_its_antennas_between_its_times(example):
    folder, _ = example
    ms = folder / "survey.ms"
    minutes = (read(ms, "TIME") - Time("2024-03-01T22:30:00", scale="utc").mjd * 86400) / 60
    names = list(read(ms, "NAME", "ANTENNA"))
    bad = [names.index("N08"), 3]
    touched = np.isin(read(ms, "ANTENNA1"), bad) | np.isin(read(ms, "ANTENNA2"), bad)
    wanted = touched & (minutes > 10) & (minutes < 20)
    assert (read(ms, "FLAG").all(axis=(1, 2)) == wanted).all()
    assert (read(ms, "FLAG").any(axis=(1, 2)) == wanted).all()


def test_seed_overwrite_and_the_word_survey(tmp_path):
    path = write(tmp_path, noise={"sigma": "1 mJy"}, seed=5)
    first = run(path, "--out", tmp_path / "a.ms")
    assert "seed 5" in first
    run("survey", path, "--out", tmp_path / "b.ms", "--seed", 5, "--workers", 1)
    assert (read(tmp_path / "a.ms", "DATA") == read(tmp_path / "b.ms", "DATA")).all()
    run("--seed", 6, path, "--out", tmp_path / "b.ms", "--overwrite")
    assert (read(tmp_path / "a.ms", "DATA") != read(tmp_path / "b.ms", "DATA")).any()
    assert json.loads((tmp_path / "b-provenance.json").read_text())["seed"] == 6


def test_lindroos_writes_a_model_too(tmp_path):
    run("lindroos", "--type", 11, "--scale", 0.005, "--out", tmp_path / "l.ms", "--with-model")
    assert read(tmp_path / "l.ms", "MODEL_DATA").any()


def test_help_explains_both():
    text = run("--help")
    assert "FILE.toml" in text
    assert "lindroos" in text
    assert "--with-model" in run("survey", "--help")


@pytest.mark.parametrize(("args", "wanted"),
                         [(["lindros", "--type", "5"], "did you mean 'lindroos'"),
                          (["survey.toml", "--out", "a.ms"], "survey.toml: no such survey file"),
                          (["folder/x", "--out", "a.ms"], "x: no such survey file"),
                          (["something"], "wanted is FILE.toml"), (["survey.toml"], "--out"),
                          (["--sed", "4", "survey.toml"], "--seed")])
def test_bad_calls_end_in_one_line(args, wanted, tmp_path):
    done = subprocess.run([sys.executable, "-m", "uvstack", "simulate", *args], capture_output=True,
                          text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
