"""A perfect model leaves nothing, whatever it is given as.

a run that is killed leaves a mark and can go on; bad input is one line.
"""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable
from matplotlib.figure import Figure

import oracles
import uvstack
from factories import (
    ARCMIN,
    ARCSEC,
    CENTRE,
    LL,
    LR,
    RL,
    RR,
    XX,
    XY,
    YX,
    YY,
    I,
    Spw,
    edit,
    make_ms,
    make_ramp_ms,
    offset,
    read,
)
from places import ROOT
from simulate.pointings import hexagonal_mosaic
from simulate.task import observe
from uvstack.errors import (
    ColumnError,
    ComponentError,
    ImageError,
    InvalidVisibilityWarning,
    OutputError,
    SelectionError,
    UvstackError,
    UvstackWarning,
)
from uvstack.io.casa import open_table
from uvstack.io.output import check_report
from uvstack.io.unfinished_column import read_mark
from uvstack.pixels.geometry import ImageGeometry
from uvstack.report.files import files_of_report
from uvstack.sky.components import components
from uvstack.sky.coordinates import parse_frame, to_frame
from uvstack.sky.primary_beam import Gaussian
from uvstack.subtraction import column_files as subtract_column_task
from uvstack.subtraction import sky_model
from uvstack.subtraction.result import SubtractResult
from uvstack.subtraction.task import unfinished

#: What must be left of the brightest source: float32 phasors and sums of the prediction are 1e-6 of
#: the sum of fluxes.
LEFT = 1e-5
SPWS = (Spw(1.4e9, 20e6, 3), Spw(2.1e9, -30e6, 3))
SOURCES = [(*offset(3 * ARCMIN, -5 * ARCMIN), 1.0), (*offset(-7 * ARCMIN, 2 * ARCMIN), 0.4),
           (*offset(0.3 * ARCMIN, 0.0), 0.2)]
FIELDS = (CENTRE, offset(6 * ARCMIN, 4 * ARCMIN))
BEAM = "gaussian:30arcmin@1.4GHz"


def sky(sources=SOURCES, **more):
    ra, dec, flux = np.array(sources).T
    return components(ra, dec, flux, **more)


def catalogue(path, model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)  # the long name of the reference frequency
        model.to_table().write(path, format={".fits": "fits"}.get(Path(path).suffix, "ascii.ecsv"))
    return path


def save_image(path, planes, cell=2 * ARCSEC, centre=CENTRE, unit="Jy/pixel", frequency=None,
               step=1e6, frame="FK5", ctype="SIN", shift=(0, 0)):
    """A FITS image (plane, m, l); `shift` moves the touching point from pixel n//2."""
    header = fits.Header({"CTYPE1": f"RA---{ctype}", "CTYPE2": f"DEC--{ctype}",
                          "CRVAL1": np.rad2deg(centre[0]), "CRVAL2": np.rad2deg(centre[1]),
                          "CDELT1": -np.rad2deg(cell), "CDELT2": np.rad2deg(cell),
                          "CRPIX1": planes.shape[2] // 2 + 1 + shift[0],
                          "CRPIX2": planes.shape[1] // 2 + 1 + shift[1], "CUNIT1": "deg",
                          "CUNIT2": "deg", "RADESYS": frame, "BUNIT": unit})
    if frame == "FK5":
        header["EQUINOX"] = 2000.0
    if frequency is None:
        planes = planes[0]
    else:
        header.update({"CTYPE3": "FREQ", "CRVAL3": frequency, "CDELT3": step, "CRPIX3": 1.0,
                       "CUNIT3": "Hz"})
    fits.writeto(path, planes, header)
    return path


#: Sources on pixels (m, l) of an image of 400 × 380 pixels of 2″ around CENTRE, and the direction
#: cosines there.
PIXELS = {(310, 20): 1.0, (37, 200): 0.4, (200, 190): 0.2, (399, 379): 0.1}


def pixel_image(scale=1.0):
    image = np.zeros((400, 380))
    for (row, column), flux in PIXELS.items():
        image[row, column] = flux * scale
    return image


def pixel_sources(cell=2 * ARCSEC):
    """(ra, dec, flux) of those pixels, by plain trigonometry."""
    found = []
    for (row, column), flux in PIXELS.items():
        l, m = -(column - 190) * cell, (row - 200) * cell
        n = np.sqrt(1 - l * l - m * m)
        ra0, dec0 = CENTRE
        found.append((ra0 + np.arctan2(l, n * np.cos(dec0) - m * np.sin(dec0)),
                      np.arcsin(m * np.cos(dec0) + n * np.sin(dec0)), flux))
    return found


@pytest.fixture
def ms(tmp_path):
    """Two fields, two windows of which one falls, w, and no noise."""
    return make_ms(tmp_path / "a.ms", fields=FIELDS, spws=SPWS, sources=SOURCES, scale=0.5)


# ---------------------------------------------------------------------------------------------------------------------
# Truth


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".csv"])
def test_a_catalogue_leaves_nothing_of_what_the_oracle_put_there(ms, tmp_path, ending, tables):
    path = tmp_path / f"model{ending}"
    if ending == ".csv":
        path.write_text("name,ra,dec,flux\n"
                        + "".join(f"s,{np.rad2deg(r):.15g},{np.rad2deg(d):.15g},{f}\n"
                                  for r, d, f in SOURCES))
    else:
        catalogue(path, sky())
    before = read(ms, "DATA")
    result = uvstack.subtract(ms, path)
    assert np.abs(before).max() > 1.0
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < LEFT
    assert np.array_equal(read(ms, "DATA"), before)
    assert read_mark(str(ms), "RESIDUAL_DATA") is None
    assert (result.n_subtracted, result.model_flux) == (len(before), pytest.approx(1.6))
    assert result.rms[0] == pytest.approx(np.sqrt((np.abs(before) ** 2).mean()), rel=1e-5)
    assert result.rms[1] < LEFT
    messages = read(ms, "MESSAGE", "HISTORY")
    assert sum("RESIDUAL_DATA" in m and path.name in m for m in messages) == 1


def test_every_field_through_its_beam(tmp_path):
    ms = make_ms(tmp_path / "a.ms", fields=FIELDS, spws=SPWS, sources=SOURCES, scale=0.5,
                 beam=oracles.gaussian_beam(30 * ARCMIN, 1.4e9))
    uvstack.subtract(ms, sky(), primary_beam=BEAM)
    uvstack.subtract(ms, sky(), into="APPARENT")
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < LEFT
    assert np.abs(read(ms, "APPARENT")).max() > 0.1


def test_extended_polarised_spectral_sky_of_the_simulator_in_a_mosaic_with_noise(
    tmp_path, monkeypatch):
    monkeypatch.setattr("simulate.report.observation_figure", lambda job: Figure())
    rng, n, radius = np.random.default_rng(2), 8, 8 * ARCMIN
    shapes = ["point", "gaussian", "disc", "gaussian"] * 2
    size = np.array([0.0, 4.0, 3.0, 40.0] * 2) * ARCSEC
    dec = -0.4 + rng.uniform(-radius, radius, n)
    model = components(1.0 + rng.uniform(-radius, radius, n) / np.cos(-0.4), dec,
                       np.geomspace(1, 0.01, n), shape=shapes, fwhm_major=size,
                       fwhm_minor=0.5 * size, position_angle=rng.uniform(0, 3, n),
                       spectral_index=rng.uniform(-1, 0, n), curvature=0.1, q=0.05, u=-0.02, v=0.01,
                       reference_frequency=1.4e9)
    made = {}
    options = {"array": "vla.a", "frequency": 1.6e9 - 50e6 * np.arange(4), "integration": 10 * u.s,
               "duration": 30 * u.s,
               "pointings": hexagonal_mosaic(1.0, -0.4, 20 * ARCMIN, 0.0, 10 * ARCMIN, dwell=1),
               "primary_beam": "vla", "noise": 1e-3, "correlations": ("RR", "RL", "LR", "LL")}
    for name, flux in (("with", 1.0), ("without", 0.0)):
        one = components(**{k: getattr(model, k)
                            for k in ("ra", "dec", "shape", "fwhm_major", "fwhm_minor",
                                      "position_angle", "spectral_index", "curvature", "q", "u",
                                      "v", "reference_frequency")}, flux=model.flux * flux)
        made[name] = observe(sky=one, out=tmp_path / f"{name}.ms", **options)
    uvstack.subtract(made["with"].ms, made["with"].truth, primary_beam="vla")
    # The same seed draws the same noise: what is left is it alone, in all four correlations.
    assert np.abs(read(made["with"].ms, "RESIDUAL_DATA")
                  - read(made["without"].ms, "DATA")).max() < LEFT
    assert np.abs(read(made["with"].ms, "DATA")[..., 1]).max() > 0.03


@pytest.mark.parametrize("shape", ["gaussian", "disc"])
def test_extended_components_and_the_oracle(tmp_path, shape):
    """An extended source off axis, w not 0, its envelope at its own tangent plane.

    a negative one beside it.
    """
    ms = make_ms(tmp_path / "a.ms", n_times=1, scale=0.5)
    one = {"ra": SOURCES[0][0], "dec": SOURCES[0][1], "flux": 1.0, "at": 1.4e9, "alpha": -0.7,
           "beta": 0.2, "shape": shape, "major": 9 * ARCSEC, "minor": 4 * ARCSEC, "angle": 0.6}
    other = {"ra": SOURCES[1][0], "dec": SOURCES[1][1], "flux": -0.3, "at": 1.4e9}
    uvw = read(ms, "UVW")
    edit(ms, "DATA",
         lambda vis: vis
         + oracles.predict_components(uvw, Spw().frequency, [one, other], *CENTRE)[:, :, None])
    table = components(*np.array([[d["ra"], d["dec"], abs(d["flux"])] for d in (one, other)]).T,
                       shape=[shape, "point"], fwhm_major=[one["major"], 0],
                       fwhm_minor=[one["minor"], 0], position_angle=[0.6, 0],
                       spectral_index=[-0.7, 0], curvature=[0.2, 0],
                       reference_frequency=1.4e9).to_table()
    table["flux"] = table["flux"] * np.array([1, -1])
    table.write(tmp_path / "m.ecsv")
    uvstack.subtract(ms, tmp_path / "m.ecsv")
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < LEFT


@pytest.mark.parametrize("beam", [None, BEAM])
def test_an_image_leaves_nothing(tmp_path, beam):
    """Fields that are not where the image is, blocks of several fields, an image whose touching point is off its middle."""
    power = oracles.gaussian_beam(30 * ARCMIN, 1.4e9) if beam else None
    ms = make_ms(tmp_path / "a.ms", fields=FIELDS, spws=SPWS, sources=pixel_sources(), scale=0.5,
                 beam=power, shuffle=True)
    image = np.zeros((1, 440, 400))
    image[0, :400, :380] = pixel_image()
    # The first 400 × 380 pixels stay where they are: pixel (200, 190) touches.
    save_image(tmp_path / "m.fits", image, shift=(190 - 200, 200 - 220))
    uvstack.subtract(ms, tmp_path / "m.fits", primary_beam=beam)
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < LEFT


@pytest.mark.parametrize("beam", [None, BEAM])
@pytest.mark.parametrize("kind", ["taylor", "taylor-header", "cube"])
def test_spectra_of_images(tmp_path, beam, kind):
    ms = make_ms(tmp_path / "a.ms", fields=FIELDS, spws=SPWS)
    power = oracles.gaussian_beam(30 * ARCMIN, 1.4e9) if beam else None
    uvw, field, spw = (read(ms, name) for name in ("UVW", "FIELD_ID", "DATA_DESC_ID"))

    def spectrum(nu):  # straight in frequency, so that a cube is exact between its planes
        return 1.0 - 0.6 * (nu / 1.6e9 - 1.0)

    def put(vis):
        for i, centre in enumerate(FIELDS):
            for j, window in enumerate(SPWS):
                here = (field == i) & (spw == j)
                wanted = oracles.predict(uvw[here], window.frequency, pixel_sources(), *centre,
                                         power)
                vis[here] += (wanted * spectrum(window.frequency))[..., None]

    edit(ms, "DATA", put)
    options = {}
    if kind == "cube":
        nu = 1.35e9 + 0.2e9 * np.arange(5)
        save_image(tmp_path / "m.fits",
                   np.stack([pixel_image(spectrum(one)) for one in nu])[::-1].copy(),
                   frequency=nu[-1], step=-0.2e9)
    else:
        save_image(tmp_path / "m.fits", pixel_image()[None],
                   frequency=1.6e9 if kind == "taylor-header" else None)
        options = {"model_tt1": save_image(tmp_path / "m1.fits", pixel_image(-0.6)[None])}
        if kind == "taylor":
            with pytest.raises(ImageError, match="give --nu0"):
                uvstack.subtract(ms, tmp_path / "m.fits", **options)
            options["nu0"] = 1.6e9
    uvstack.subtract(ms, tmp_path / "m.fits", primary_beam=beam, **options)
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < 1.1 * LEFT  # the brightest reaches 1.1 Jy


@pytest.mark.parametrize("kind", ["flat", "taylor", "cube"])
def test_an_image_of_few_pixels_is_the_same_by_points_and_by_a_transform(monkeypatch, kind):
    rng, frequency = np.random.default_rng(3), np.array([1.4e9, 1.42e9, 1.5e9])
    first, second = np.triu_indices(9, 1)
    at = rng.normal(size=(9, 3)) * 1.5e3
    parts = [sky_model.Part(at[second] - at[first], first, second, np.zeros(first.size), frequency,
                            *centre) for centre in FIELDS]
    parts[0].uvw[4] = np.nan
    planes = np.stack([pixel_image(), pixel_image(-0.7)])[: 1 if kind == "flat" else 2]
    planes[0, 7, 9] = np.nan
    geometry = ImageGeometry(*CENTRE, -2 * ARCSEC, 2 * ARCSEC, 3 * ARCSEC, -ARCSEC)
    model = sky_model.ImageSky(planes, geometry, np.array([1.4e9, 1.5e9]) if kind == "cube" else None,
                               1.45e9 if kind == "taylor" else None)
    points = model.stokes(parts)
    monkeypatch.setattr(sky_model, "is_cheaper", lambda *_, **__: False)
    monkeypatch.setattr(sky_model, "visibilities_of_points", None)
    for one, other in zip(points, model.stokes(parts), strict=True):
        assert one.shape == other.shape == (1, first.size, 3)
        assert np.abs(one - other).max() < LEFT * sum(PIXELS.values())
    assert not points[0][0, 4].any()
    # It is no comparison of zeros: the brightest visibility is most of the flux.
    assert np.abs(points[1]).max() > 0.5 * sum(PIXELS.values())


def test_flux_beyond_the_horizon_is_refused():
    planes = np.zeros((1, 40, 40))
    planes[0, 3, 3] = 1.0
    model = sky_model.ImageSky(planes, ImageGeometry(*CENTRE, -0.05, 0.05, 0.0, 0.0))
    nobody = sky_model.Part(np.zeros((1, 3)), *(np.zeros(1, int),) * 2, np.zeros(1), np.array([1e9]),
                            *CENTRE)
    with pytest.raises(ImageError, match="beyond the horizon"):
        model.stokes([nobody])


@pytest.mark.parametrize("cut_off", [False, True])
def test_many_channels_through_a_beam_by_a_few_images(tmp_path, monkeypatch, cut_off):
    """A beam that is smooth in frequency is a polynomial between a few images.

    One that is cut off is taken channel by channel.
    """
    spw = Spw(1.5e9, -20e6, 14)
    ms = make_ms(tmp_path / "a.ms", fields=FIELDS, spws=(spw,), n_times=2)
    save_image(tmp_path / "m.fits", pixel_image()[None], frequency=1.4e9)
    save_image(tmp_path / "m1.fits", pixel_image(-0.6)[None])
    beam = BEAM
    power = oracles.gaussian_beam(30 * ARCMIN, 1.4e9)
    if cut_off:
        class CutOff(Gaussian):
            """0 beyond the half power of this frequency, which falls between the sources."""

            def _profile(self, theta, frequency):
                return np.where(theta * frequency < 7.05 * ARCMIN * 1.4e9,
                                super()._profile(theta, frequency), 0.0)

        beam, whole = CutOff(30 * ARCMIN, 1.4e9), power

        def power(l, m, frequency):
            inside = np.arcsin(np.hypot(l, m)) * frequency < 7.05 * ARCMIN * 1.4e9
            return np.where(inside, whole(l, m, frequency), 0.0)

    uvw, field = read(ms, "UVW"), read(ms, "FIELD_ID")
    calls = []
    plain = sky_model.predict_image
    monkeypatch.setattr(sky_model, "predict_image", lambda *args,
                        **options: calls.append(args[1].size) or plain(*args, **options))
    uvstack.subtract(ms, tmp_path / "m.fits", model_tt1=tmp_path / "m1.fits", primary_beam=beam,
                     predict_only=True)
    model = read(ms, "MODEL_DATA")
    for i, centre in enumerate(FIELDS):
        wanted = oracles.predict(uvw[field == i], spw.frequency, pixel_sources(), *centre, power)
        wanted *= 1 - 0.6 * (spw.frequency / 1.4e9 - 1)
        assert np.abs(model[field == i] - wanted[..., None]).max() < LEFT
    assert (set(calls) == {1}) if cut_off else (set(calls) == {14} and len(calls) <= 2 * 8)


@pytest.mark.parametrize("frame", ["ICRS", "B1950", "GALACTIC"])
def test_fields_of_other_frames(tmp_path, frame):
    """(u, v, w) are along the axes of the fields' frame; the model is in J2000."""
    ms = make_ms(tmp_path / "a.ms", fields=FIELDS, frame=frame, sources=SOURCES)
    ra, dec, flux = np.array(SOURCES).T
    named = {"ICRS": "icrs", "B1950": "B1950", "GALACTIC": "galactic"}[frame]
    j2000 = to_frame(SkyCoord(ra, dec, unit="rad", frame=parse_frame(named)), "J2000")
    uvstack.subtract(ms, components(*j2000, flux))
    # B1950 is no pure rotation: aberration shifts by 0.3″, which changes by 1 part in 1e6 across a
    # field: 1e-4 of a fringe here.
    assert np.abs(read(ms, "RESIDUAL_DATA")).max() < (2e-3 if frame == "B1950" else LEFT)


# ---------------------------------------------------------------------------------------------------------------------
# What is written where


def test_correlations_and_autocorrelations_and_selected_rows(tmp_path):
    """Windows of different shapes in turn.

    Runs of rows of one shape, each with its own correlations.
    """
    ms = make_ms(tmp_path / "a.ms", fields=FIELDS, spws=SPWS, sources=SOURCES, autocorrelation=7.0,
                 cross_hand=3.0,
                 descriptions=[(0, (RR, RL, LR, LL)), (1, (XX, YY)), (0, (I,)),
                               (1, (XX, XY, YX, YY))], shuffle=True, n_times=2, n_ant=4)
    uvstack.subtract(ms, sky(), field="1", spw="spw1")
    with open_table(ms) as table:
        chosen = (table.read("FIELD_ID") == 1) & np.isin(table.read("DATA_DESC_ID"), [1, 3]) & (
            table.read("ANTENNA1") != table.read("ANTENNA2"))
        assert 0 < chosen.sum() < chosen.size
        for row in range(table.n_rows):
            data, left = table.read_cell("DATA", row), table.read_cell("RESIDUAL_DATA", row)
            if not chosen[row]:
                assert np.array_equal(data, left)
                continue
            hands = [0, -1]
            assert np.abs(left[:, hands]).max() < LEFT
            assert np.all(left[:, 1:-1] == 3.0)


def test_predict_only_and_a_column_as_model(ms, tmp_path):
    uvstack.subtract(ms, sky(), predict_only=True, timerange="<2020/01/01/12:00:15")
    time, model, data = (read(ms, name) for name in ("TIME", "MODEL_DATA", "DATA"))
    first = time < time.min() + 15
    assert 0 < first.sum() < first.size
    assert np.abs(model[first] - data[first]).max() < LEFT
    assert not model[~first].any()
    result = uvstack.subtract(ms, "MODEL_DATA")
    assert np.array_equal(read(ms, "RESIDUAL_DATA"), data - model)
    assert np.isnan(result.model_flux)
    with pytest.warns(UvstackWarning, match="is 0 everywhere"):
        uvstack.subtract(ms, sky([(*CENTRE, 0.0)]), column="DATA-MODEL_DATA", into="COPY")
    assert np.array_equal(read(ms, "COPY"), data - model)


def test_flagged_and_bad_visibilities(ms):
    edit(ms, "FLAG", lambda flag: np.where(np.arange(len(flag))[:, None, None] == 5, True, flag))
    edit(ms, "DATA", lambda vis: np.where(np.arange(len(vis))[:, None, None] == 5, vis + 1e3, vis))
    edit(ms, "DATA", lambda vis: np.where(np.arange(len(vis))[:, None, None] == 7, np.nan, vis))
    edit(ms, "UVW", lambda uvw: np.where(np.arange(len(uvw))[:, None] == 9, np.nan, uvw))
    with pytest.warns(InvalidVisibilityWarning, match="1 selected rows"):
        result = uvstack.subtract(ms, sky())
    left, data = read(ms, "RESIDUAL_DATA"), read(ms, "DATA")
    assert np.abs(left[5] - 1e3).max() < 1e-3  # float32 beside 1000
    assert np.isnan(left[7]).all()
    assert np.array_equal(left[9], data[9])
    assert np.delete(np.abs(left), [5, 7, 9], axis=0).max() < LEFT
    assert result.rms[1] < LEFT  # neither the flagged nor the bad rows are in it
    assert result.profile()["count"].sum() == (len(left) - 3) * 6


def test_in_place_keeps_a_backup(ms):
    before = read(ms, "DATA")
    result = uvstack.subtract(ms, sky(), in_place=True, backup="DATA_BACKUP")
    assert np.abs(read(ms, "DATA")).max() < LEFT
    assert np.array_equal(read(ms, "DATA_BACKUP"), before)
    assert (result.column, result.backup) == ("DATA", "DATA_BACKUP")
    with pytest.raises(OutputError, match="never overwritten"):
        uvstack.subtract(ms, sky(), in_place=True, backup="DATA_BACKUP", overwrite=True)
    assert np.array_equal(read(ms, "DATA_BACKUP"), before)


def test_processes_write_the_same_bytes_and_report(ms, tmp_path):
    save_image(tmp_path / "m.fits", pixel_image()[None])
    seen = []
    result = uvstack.subtract(ms, tmp_path / "m.fits", into="A", workers=1, chunk_size=700,
                              progress=lambda *n: seen.append(n))
    uvstack.subtract(ms, tmp_path / "m.fits", into="B", threads=2, chunk_size=700)
    assert np.array_equal(read(ms, "A"), read(ms, "B"))
    assert seen == [(i + 1, len(seen)) for i in range(len(seen))]
    assert len(seen) == 3
    check_report(tmp_path / "r", False, files_of_report(SubtractResult))
    result.report(tmp_path / "r")
    table = QTable.read(tmp_path / "r" / "uv_profile.ecsv")
    distance = np.hypot(*read(ms, "UVW")[:, :2].T)
    here = (distance >= table["uv_min"][3].value) & (distance < table["uv_max"][3].value)
    assert table["before"][3].value == pytest.approx(np.abs(read(ms, "DATA")[here]).mean(),
                                                     rel=1e-5)
    assert table["after"][3].value == pytest.approx(np.abs(read(ms, "A")[here]).mean(), rel=1e-5)
    with pytest.raises(OutputError, match="exists"):
        check_report(tmp_path / "r", False, files_of_report(SubtractResult))


# ---------------------------------------------------------------------------------------------------------------------
# Runs that are killed


def killed_after(ms, blocks):
    """A run in a process of its own that is killed, with no chance to tidy up, once some blocks are written."""
    script = textwrap.dedent(f"""
        import os, signal, sys
        sys.path[:0] = {[str(ROOT)]!r}
        import numpy as np
        import uvstack
        from uvstack.subtraction import sky_model
        from uvstack.sky.components import components
        ra, dec, flux = np.array({SOURCES!r}).T
        def progress(done, total):
            if done == {blocks}:
                os.kill(os.getpid(), signal.SIGKILL)
        uvstack.subtract({str(ms)!r}, components(ra, dec, flux), progress=progress, threads=1,
                         chunk_size=700)
        """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def as_if_killed(ms, monkeypatch, task, blocks, **options):
    """The set as it lies on the disk after some marks, as a run finds it that follows one that was killed there."""
    copy, inside = ms.with_name("killed.ms"), subtract_column_task.set_mark
    marks = []

    def set_mark(path, column, mark):
        inside(path, column, mark)
        if mark and mark["task"] == task and mark["rows"]:
            marks.append(mark)
            if len(marks) == blocks:
                shutil.copytree(ms, copy)

    with monkeypatch.context() as patch:
        patch.setattr(subtract_column_task, "set_mark", set_mark)
        uvstack.subtract(ms, sky(), threads=1, chunk_size=700, **options)
    assert len(marks) > blocks
    return copy


def test_an_interrupted_call_says_what_it_leaves(ms):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"column RESIDUAL_DATA of .* is unfinished, with "
                                                r"\d+ rows written, .* the same command goes on"):
        uvstack.subtract(ms, sky(), threads=1, chunk_size=700, progress=interrupt)
    assert read_mark(str(ms), "RESIDUAL_DATA")["rows"] > 0
    assert uvstack.subtract(ms, sky(), threads=1, chunk_size=700).resumed_from > 0


def test_a_killed_run_is_marked_and_goes_on(ms, tmp_path, monkeypatch):
    twin = shutil.copytree(ms, tmp_path / "b.ms")
    # Where a block begins may change the last bit.
    whole = uvstack.subtract(twin, sky(), chunk_size=700)
    killed_after(ms, 2)
    mark = read_mark(str(ms), "RESIDUAL_DATA")
    assert 0 < mark["rows"] < whole.n_rows
    assert "is unfinished" in unfinished(ms, "RESIDUAL_DATA")
    with pytest.raises(ColumnError, match="is unfinished"):
        uvstack.subtract(ms, sky(), column="RESIDUAL_DATA", into="OTHER")
    # What is marked as written is written, and no row after it is needed again.
    with open_table(ms) as table:
        assert np.abs(table.read("RESIDUAL_DATA", 0, mark["rows"])).max() < LEFT
    read_from = []
    plain = subtract_column_task.Blocks._read
    monkeypatch.setattr(subtract_column_task.Blocks, "_read", lambda self, a,
                        b: read_from.append(a) or plain(self, a, b))
    result = uvstack.subtract(ms, sky(), chunk_size=700)
    assert min(read_from) == mark["rows"] == result.resumed_from
    assert np.array_equal(read(ms, "RESIDUAL_DATA"), read(twin, "RESIDUAL_DATA"))
    assert read_mark(str(ms), "RESIDUAL_DATA") is None
    assert result.amplitudes.sums == pytest.approx(whole.amplitudes.sums, rel=1e-9)
    assert result.n_subtracted == whole.n_subtracted
    with pytest.raises(OutputError, match="exists"):
        uvstack.subtract(ms, sky())


def test_other_settings_start_over(ms, monkeypatch):
    ms = as_if_killed(ms, monkeypatch, "subtract", 2)
    half = sky([(*one[:2], one[2] / 2) for one in SOURCES])
    result = uvstack.subtract(ms, half)
    assert result.resumed_from == 0
    assert np.abs(read(ms, "RESIDUAL_DATA") - read(ms, "DATA") / 2).max() < LEFT


@pytest.mark.parametrize("task", ["backup", "subtract"])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_killed_in_place(ms, monkeypatch, task, scale):
    """In the copy of the data or in what follows, and then the same settings or others."""
    before = read(ms, "DATA")
    ms = as_if_killed(ms, monkeypatch, task, 2, in_place=True, backup="SAFE")
    assert (read_mark(str(ms), "DATA")["rows"] > 0) == (task == "subtract")
    assert (read_mark(str(ms), "SAFE") is None) == (task == "subtract")
    with pytest.raises(OutputError, match="data as they were in SAFE"):
        uvstack.subtract(ms, sky(), in_place=True, backup="OTHER")
    with pytest.raises(ColumnError, match="is unfinished"):
        uvstack.subtract(ms, sky())
    result = uvstack.subtract(ms, sky([(*one[:2], one[2] * scale) for one in SOURCES]),
                              in_place=True, backup="SAFE")
    assert (result.resumed_from > 0) == (task == "subtract" and scale == 1.0)
    assert np.array_equal(read(ms, "SAFE"), before)
    assert np.abs(read(ms, "DATA") - before * (1 - scale)).max() < LEFT
    assert read_mark(str(ms), "DATA") is None


def test_an_error_before_the_first_row_leaves_nothing(ms, monkeypatch, fingerprint):
    columns = set(open_table(ms).columns)

    def broken(*_):
        raise ComponentError("broken on the way")

    monkeypatch.setattr(sky_model.ComponentSky, "stokes", broken)
    for options in ({}, {"in_place": True, "backup": "SAFE"}, {"predict_only": True}):
        with pytest.raises(ComponentError, match="on the way"):
            uvstack.subtract(ms, sky(), **options)
        with open_table(ms) as table:
            assert set(table.columns) == columns
        assert read_mark(str(ms), "DATA") is None


# ---------------------------------------------------------------------------------------------------------------------
# Bad input


def with_image(**options):
    return lambda folder: save_image(folder / "m.fits", pixel_image()[None], **options)


def with_table(**changes):
    def make(folder):
        table = sky().to_table()
        for old, new in changes.items():
            table.rename_column(old, new)
        table.write(folder / "m.ecsv")
        return folder / "m.ecsv"
    return make


@pytest.mark.parametrize(("model", "options", "kind", "match"),
                         [(with_image(unit="Jy/beam"), {}, ImageError,
                           "Jy/beam; wanted a model in Jy/pixel"),
                          (with_image(ctype="TAN"), {}, ImageError, "RA---SIN"),
                          (with_image(frame="FK4"), {}, ImageError, "fk4"),
                          (with_image(), {"nu0": 1e9}, ImageError, "nu0 belongs to"),
                          (with_table(flux="fluxx"), {}, ComponentError,
                           "'fluxx' is not known; did you mean 'flux'"),
                          (with_table(spectral_index="spectral_indx"), {}, ComponentError,
                           "did you mean 'spectral_index'"),
                          (with_table(flux="brightness"), {}, ComponentError,
                           "'flux' is missing; the nearest is"),
                          ("MODEL_DAT", {"column": "DATA"}, ImageError,
                           "neither a file nor a column"),
                          ("nothing.fits", {}, ImageError, "neither a file nor a column"),
                          (with_table(), {"column": "CORRECTED_DATA"}, ColumnError,
                           "there are: DATA"),
                          (with_table(), {"into": "DATA", "overwrite": True}, OutputError,
                           "in-place"),
                          (with_table(), {"into": "FLAG", "overwrite": True}, OutputError,
                           "never overwritten"),
                          (with_table(), {"into": "no name"}, OutputError, "no name of a column"),
                          (with_table(), {"in_place": True}, OutputError, "--backup DATA_BACKUP"),
                          (with_table(), {"backup": "X"}, OutputError, "give --in-place"),
                          (with_table(), {"field": "9"}, SelectionError, "no field"),
                          (with_table(), {"primary_beam": "nonsense"}, UvstackError, "nonsense"),
                          ("DATA", {}, OutputError, "both the model and the data")])
def test_refused_with_nothing_changed(tmp_path, fingerprint, model, options, kind, match):
    ms = make_ms(tmp_path / "a.ms", n_times=1)
    model = model(tmp_path) if callable(model) else model
    before = fingerprint(ms)
    with pytest.raises(kind, match=match) as caught:
        uvstack.subtract(ms, model, **options)
    assert "\n" not in str(caught.value)
    assert fingerprint(ms) == before


def test_spectra_without_a_frequency_and_cubes_of_other_frequencies(tmp_path, fingerprint):
    ms = make_ms(tmp_path / "a.ms", n_times=1)
    before = fingerprint(ms)
    (tmp_path / "m.csv").write_text(f"ra,dec,flux,spectral_index\n{np.rad2deg(CENTRE[0])},{np.rad2deg(CENTRE[1])},1,-0.7\n")
    with pytest.raises(ComponentError, match="needs reference_frequency"):
        uvstack.subtract(ms, tmp_path / "m.csv")
    save_image(tmp_path / "m.fits", np.stack([pixel_image()] * 3), frequency=3e9, step=0.1e9)
    with pytest.raises(ImageError, match="the cube holds 3 to 3.2 GHz"):
        uvstack.subtract(ms, tmp_path / "m.fits")
    far = components([CENTRE[0] + 2.0], [0.1], [1.0])
    with pytest.raises(ComponentError, match="90° or more"):
        uvstack.subtract(ms, far)
    assert fingerprint(ms) == before
    uvstack.subtract(ms, tmp_path / "m.csv", nu0=1.4e9, predict_only=True)
    assert np.abs(read(ms, "MODEL_DATA")[0, :, 0]) == pytest.approx(
        (Spw().frequency / 1.4e9) ** -0.7, rel=1e-5)


def test_a_column_that_exists_a_full_disk_and_a_read_only_set(tmp_path, monkeypatch):
    ms = make_ms(tmp_path / "a.ms", n_times=1)
    uvstack.subtract(ms, sky())
    with pytest.raises(OutputError, match="--overwrite"):
        uvstack.subtract(ms, sky())
    other = uvstack.subtract(ms, sky(SOURCES[:1]), into="OTHER")
    uvstack.subtract(ms, sky(SOURCES[:1]), overwrite=True)
    assert other.resumed_from == 0
    assert np.array_equal(read(ms, "RESIDUAL_DATA"), read(ms, "OTHER"))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage",
                      lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
        with pytest.raises(OutputError, match="are needed for column NEW"):
            uvstack.subtract(ms, sky(), into="NEW")
        uvstack.subtract(ms, sky(), overwrite=True)  # takes no more than it has
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(OutputError, match="no permission to write column NEW"):
        uvstack.subtract(ms, sky(), into="NEW")


def test_models_far_from_the_fields_are_told(tmp_path):
    ms = make_ms(tmp_path / "a.ms", n_times=1)
    far = sky([(*offset(0.0, 5 * 60 * ARCMIN), 1.0)])
    with pytest.warns(UvstackWarning, match="outside the primary beam of every field"):
        uvstack.subtract(ms, far)
    with pytest.warns(UvstackWarning, match="outside the primary beam of every field"):
        uvstack.subtract(ms, far, primary_beam="vla", overwrite=True)
    save_image(tmp_path / "far.fits", pixel_image()[None], centre=offset(0.0, 5 * 60 * ARCMIN),
               frequency=5e9)
    with pytest.warns(UvstackWarning) as told:
        uvstack.subtract(ms, tmp_path / "far.fits", overwrite=True)
    assert {"holds for 5 GHz" in str(one.message) for one in told} == {True, False}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        uvstack.subtract(ms, sky(), overwrite=True)


def test_rows_are_where_they_belong(tmp_path, monkeypatch):
    """A ramp that says its row, channel and correlation, in shuffled blocks of a few rows."""
    monkeypatch.setattr(subtract_column_task, "_PER_PIECE", 40)
    ms = make_ramp_ms(tmp_path / "a.ms", fields=FIELDS, spws=SPWS, shuffle=True, n_ant=4)
    uvstack.subtract(ms, sky(), field="0", spw="1", chunk_size=100)
    uvw, data = read(ms, "UVW"), read(ms, "DATA")
    here = (read(ms, "FIELD_ID") == 0) & (read(ms, "DATA_DESC_ID") == 1)
    wanted = data.astype(complex)
    wanted[here] -= oracles.predict(uvw[here], SPWS[1].frequency, SOURCES, *CENTRE)[:, :, None]
    assert np.array_equal(read(ms, "RESIDUAL_DATA")[~here], data[~here])
    assert np.abs(read(ms, "RESIDUAL_DATA") - wanted).max() < 1e-6 * np.abs(data).max()


def test_other_commands_refuse_a_half_written_column(tmp_path):
    from uvstack.io.ms import parse_column, read_structure
    from uvstack.io.unfinished_column import set_mark

    path = str(make_ms(tmp_path / "a.ms"))
    set_mark(path, "DATA", {"rows": 3})
    with pytest.raises(ColumnError, match="unfinished"):
        parse_column("DATA", read_structure(path))
    assert parse_column("DATA", read_structure(path), unfinished=True) == ("DATA", None)
