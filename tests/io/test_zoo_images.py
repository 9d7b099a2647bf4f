"""Every command that reads an image makes of each specimen of the zoo what it makes of the plain image, or the error named for it.

A command joins by a line in COMMANDS, a header by one in `zoo_images.SPECIMENS`.
"""

import importlib.util
import re
import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from scipy.ndimage import map_coordinates

import uvstack
from factories import ARCSEC, CENTRE, at, make_ms
from uvstack.epochs.server.archive_files import LocalArchive
from uvstack.epochs.server.cutout_files import Region, cutouts
from uvstack.epochs.server.tile_files import read_header
from uvstack.epochs.server.tile_name import Tile
from uvstack.errors import ImageError, UvstackError
from uvstack.extraction.task import run as run_extraction
from uvstack.imaging.mask_files import read_mask
from uvstack.io.image_file import prefix_of_jansky, read_cube, read_image
from uvstack.io.primary_beams import read_primary_beam
from uvstack.joint.assessment.finished_files import assess_image, read_finished
from uvstack.joint.reconstruction.dish_files import read_dish
from uvstack.pixels.grid import centred_grid
from uvstack.sky.coordinates import parse_frame, to_frame
from uvstack.subtraction.model_files import read_sky_model
from uvstack.subtraction.sky_model import Part
from zoo_images import BEAM, CELL, FREQUENCY, SHAPE, SOURCE, SPECIMENS, Specimen, direction

#: Positions away from the edges; the source stands at the first.
PLACES = [direction(*SOURCE), direction(19.2, 25.4), direction(20.9, 23.1)]
COORD = at(*PLACES)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return {kind: Specimen().make(folder, kind)
            for kind in ("image", "model", "mask", "rms", "power")}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A set whose three sources lie where the positions are."""
    return make_ms(tmp_path_factory.mktemp("survey") / "survey.ms", n_ant=4, n_times=2,
                   sources=[(*place, 1e-3) for place in PLACES])


def stacked(path, plain, survey):
    found = uvstack.image_stack(path, COORD, stamp=16, threads=1)
    return [*found.values, found.beam[0] / BEAM * 1e-3]


def stacked_by_rms(path, plain, survey):
    found = uvstack.image_stack(plain["image"], COORD, stamp=16, weights="local-noise",
                                noise_image=path, noise_kind="rms-corrected", threads=1)
    return [found.flux / 1e-3, *(found.noise / 1e-4)]


def stacked_by_beam(path, plain, survey):
    found = uvstack.image_stack(plain["image"], COORD, stamp=16, weights="primary-beam",
                                pb_image=path, threads=1)
    return [found.flux / 1e-3, *(found.weights / found.weights.max())]


def with_psf(path, plain, survey):
    """The image is its own dirty beam: its peak lies between pixels."""
    found = uvstack.image_stack(path, COORD, stamp=16, threads=1)
    return found.psf[::4, ::4].ravel()


def subtracted(path, plain, survey):
    uvw = np.random.default_rng(1).normal(size=(12, 3)) * 3e3
    none = np.arange(12)
    sky = read_sky_model(path)
    vis = sky.stokes([Part(uvw, none, none, none * 1.0, np.array([FREQUENCY]), *CENTRE)])[0].ravel()
    return np.concatenate([vis.real, vis.imag])


def masked(path, plain, survey):
    return 1.0 * read_mask(path, centred_grid(*CENTRE, SHAPE, CELL)).ravel()


def uv_stacked(path, plain, survey):
    return [uvstack.stack(survey, COORD, weights="local-noise", noise_image=path,
                          noise_kind="rms-corrected").flux]


def attenuated(path, plain, survey):
    return read_primary_beam(f"image:{path}")(np.array([0.0, 9.0, -20.0]) * ARCSEC,
                                              np.array([0.0, -14.0, 6.0]) * ARCSEC,
                                              np.array([FREQUENCY, 1.1 * FREQUENCY])).ravel()


def extracted(path, plain, survey):
    """Of a source without noise: peak, flux, place and size on the sky."""
    size = prefix_of_jansky(read_image(path).cube.unit)
    table = uvstack.extract(path, rms=1e-5 / (size or 1.0), background=0.0)
    row = table[int(np.nanargmax(table["peak"].value))]
    ra, dec = to_frame(SkyCoord(row["ra"], row["dec"], frame=parse_frame(table.meta["frame"])),
                       "J2000")
    right = direction(*SOURCE)
    return [row["peak"].value * (size or 1.0) / 1e-3, row["flux"].value * (size or 1.0) / 1e-3,
            row["fwhm_major"].to_value("rad") / BEAM, row["fwhm_minor"].to_value("rad") / BEAM,
            (ra - right[0]) * np.cos(dec) / BEAM, (dec - right[1]) / BEAM]


def compared(path, plain, survey):
    """With the plain image as the combined map: ratios (not of islands, which are whole pixels), beams, offset.

    There is no noise in these images that could be measured.
    """
    def run_with_noise(plane, settings):
        return run_extraction(plane, settings, rms=1e-5 / (1 * plane.flux).to_value("Jy"), background=0.0)

    combined = uvstack.extract(plain["image"], rms=1e-5, background=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvstack.epochs.comparison.task.run", run_with_noise)
        found = uvstack.epochs.compare(combined, [path])
    one = found.matches[0]
    return [*found.comparison["median_ratio"][:2], one["total_beams_epoch"],
            *(one[f"offset_{axis}"].to_value("rad") / BEAM for axis in ("east", "north"))]


def combined(path, plain, survey):
    """With the plain image as the reference: brightness about the source, the beam, peak by itself.

    An epoch that is on another scale weighs next to nothing in the mean: its own peak tells it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*says no frequency; taken to be at that of the others")
        found = uvstack.epochs.combine([plain["image"], path], rms_box=10, noise="mad", threads=1)
    return [found.table["peak"][1].value / 1e-3, *found.mean[18:27:2, 16:25:2].ravel() / 1e-3, *np.array(found.beam[:2]) / BEAM]


def feathered(path, plain, survey):
    """As a dish's map, with the middle of the plain image as the interferometer's, which it covers."""
    with fits.open(plain["image"]) as hdus:
        y, x = np.indices(SHAPE)
        hdus[0].data[..., np.hypot(x - SOURCE[0], y - SOURCE[1]) > 12] = np.nan
        hdus.writeto(path.parent / "middle.fits", overwrite=True)
    found = uvstack.feather(path.parent / "middle.fits", path)
    return [*found.image[0, 18:27:2, 16:25:2].ravel() / 1e-3, *np.array(found.dish_beam[:2]) / BEAM]


def assessed(path, plain, survey):
    """As the truth of the plain image: brightness about the source, ratio of fluxes, rms error."""
    made = assess_image(read_finished(plain["image"], path, read_cube(plain["image"], oriented=False)))
    one = made["against_truth"]
    return [*one.comparison.reference[18:27:2, 16:25:2].ravel() / 1e-3, one.numbers["flux_ratio"][0],
            one.numbers["rms_error"][0]]


def sdint(path, plain, survey):
    """As a dish's map: on the grid of the reconstruction, and its beam."""
    made = uvstack.sdint(survey, path, use="sd", channels=1, size=30, cell=CELL, iterations=0,
                         phase_centre=CENTRE, weighting="natural", threads=1)
    return [*made.dirty[0, 13:22:2, 11:20:2].ravel() / 1e-3,
            *np.array(made.joint.dish_beams[0][:2]) / BEAM]


def assessed_beside(path, plain, survey):
    """As the dish's map beside the plain image: brightness about the source, ratio of fluxes, rms error."""
    made = assess_image(read_finished(plain["image"], None, read_dish(path)))
    one = made["against_dish"]
    return [*one.comparison.reference[18:27:2, 16:25:2].ravel() / 1e-3, one.numbers["flux_ratio"][0],
            one.numbers["rms_error"][0]]


def served(path, plain, survey):
    """As the cutout server gives it: brightness about the source, and the beam."""
    tile = Tile(str(path), name="a")
    read_header(tile)  # what is wrong with it; an archive leaves it out
    archive = LocalArchive(str(path), [tile])
    ra, dec = np.rad2deg(to_frame(SkyCoord(*PLACES[0], unit="rad", frame="fk5"), "ICRS"))
    (cut,) = cutouts(archive, Region(float(ra), float(dec), 40 / 3600), "image")
    (path.parent / "cut.fits").write_bytes(cut.to_bytes())
    found = read_image(path.parent / "cut.fits")
    x, y = found.pixels_of(COORD)
    return [*map_coordinates(found.data, [y, x], order=5) * (prefix_of_jansky(cut.unit) or 1.0) / 1e-3,
            found.beam[0] / BEAM]


#: Command → the kind of image that it reads, and its numbers.
COMMANDS = {"image-stack": ("image", stacked), "image-stack --psf": ("image", with_psf),
            "image-stack --noise-image": ("rms", stacked_by_rms),
            "image-stack --pb-image": ("power", stacked_by_beam), "subtract": ("model", subtracted),
            "image --mask": ("mask", masked), "extract": ("image", extracted), "epochs compare": ("image", compared),
            "epochs combine": ("image", combined), "epochs serve": ("image", served), "feather": ("image", feathered),
            "sdint": ("image", sdint), "sdint-assess": ("image", assessed_beside),
            "sdint-assess --truth": ("image", assessed),
            "stack --noise-image": ("rms", uv_stacked),
            "--primary-beam image": ("power", attenuated)}


#: Commands that work in single precision, give pixels that splines are read from, or sum faint pixels, and how good that is.
SINGLE = {"epochs combine": 1e-5, "feather": 1e-5, "sdint": 1e-5, "sdint-assess": 2e-4, "sdint-assess --truth": 2e-4, "epochs serve": 2e-3}


@pytest.fixture(scope="module")
def wanted(plain, survey):
    return {command: np.asarray(run(plain[kind], plain, survey))
            for command, (kind, run) in COMMANDS.items()}


@pytest.mark.parametrize("name", SPECIMENS)
def test_a_command_reads_it_rightly_or_says_why_not(name, plain, survey, wanted, tmp_path):
    specimen, wrong = SPECIMENS[name], []
    for command, (kind, run) in COMMANDS.items():
        if command in specimen.without:
            continue
        folder = tmp_path / re.sub(r"\W+", "-", command)
        folder.mkdir()
        path = specimen.make(folder, kind)
        expected = specimen.errors.get(command, specimen.errors.get("*"))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", f".*{specimen.warns}")
            try:
                found = np.asarray(run(path, plain, survey))
            except UvstackError as error:
                text = str(error)
                if expected is None or not re.search(expected,
                                                     text) or "\n" in text or path.name not in text:
                    wrong.append(f"{command}: {text!r}")
                continue
        if expected is not None:
            wrong.append(f"{command}: no error")
        elif not np.abs(found
                        - wanted[command]).max() <= max(specimen.tolerance, SINGLE.get(command, 0.0)) * np.abs(
            wanted[command]).max():
            wrong.append(f"{command}: {np.abs(found - wanted[command]).max() / np.abs(wanted[command]).max():.3g} off: {found[:4]} "
                         f"{wanted[command][:4]}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", ["casacore", "casatools"])
def test_an_image_of_casa_by_either_library(library, plain, survey, wanted, tmp_path, monkeypatch):
    """What is not installed is passed over; where neither is, the error says how to export it."""
    pytest.importorskip(library)
    path = SPECIMENS["CASA's image"].make(tmp_path, "image")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: found(name) if name == library or "casa" not in name else None)
    assert stacked(path, plain, survey) == pytest.approx(wanted["image-stack"], rel=1e-6)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match="exportfits"):
        stacked(path, plain, survey)
