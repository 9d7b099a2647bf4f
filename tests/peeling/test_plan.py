"""What is to be peeled: regions of all kinds on an image, refusals, recipes."""

import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

import peel
from factories import ARCSEC, CENTRE, Spw, at, edit, make_ms, offset
from peel import plan_files
from peel.region_files import region_masks, separation
from uvstack.errors import NoDataError, UvstackError, UvstackWarning
from uvstack.io.fits import sin_wcs, write_image
from uvstack.sky.beam import Beam

pytest.importorskip("regions")

SIZE, CELL = 256, 2 * ARCSEC
WCS = sin_wcs(*CENTRE, (SIZE, SIZE), CELL)
BEAM = Beam(10.2 * ARCSEC, 10.2 * ARCSEC, 0.0)
#: Pixels (x, y) and Jy.
BRIGHT, SECOND = (190.0, 170.0, 2.0), (60.0, 200.0, 0.5)


def sky(x, y):
    found = WCS.pixel_to_world(x, y)
    return found.ra.deg, found.dec.deg


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch):
    """QuartiCal's own schema reads the recipes in test_quartical.py; here only one that was named is run."""
    named = plan_files._solver
    monkeypatch.setattr(plan_files, "_solver", lambda path: None if path is None else named(path))


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A set of two fields and two windows, one of a single channel, and an image of two sources."""
    folder = tmp_path_factory.mktemp("peel")
    make_ms(folder / "a.ms", fields=(CENTRE, offset(300 * ARCSEC, 0)), n_ant=5,
            spws=(Spw(n=2), Spw(first=1.5e9, n=1)),
            weights={"WEIGHT": 1.0, "SIGMA": 1.0})
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.random.default_rng(1).normal(0, 0.002, (SIZE, SIZE))
    for x0, y0, flux in (BRIGHT, SECOND):
        image += flux * np.exp(-4 * np.log(2) * ((x - x0) ** 2 + (y - y0) ** 2) / 5**2)
    image[:40, :40] = np.nan
    write_image(folder / "i.fits", image, WCS, beams=BEAM, frequency=1.4e9)
    return folder


def ask(observed, text, name="r.crtf", **options):
    (observed / name).write_text(text.format(ra=sky(*BRIGHT[:2])[0], dec=sky(*BRIGHT[:2])[1]))
    return peel.plan(observed / "a.ms", regions=observed / name, image=observed / "i.fits",
                     **options)


def circle(x, y, radius):
    return f"circle [[{sky(x, y)[0]}deg, {sky(x, y)[1]}deg], {radius}arcsec]\n"


X, Y = BRIGHT[:2]
_BOX = SkyCoord(*sky(X, Y), unit="deg", frame="fk5").galactic
_CORNERS = [sky(X + i, Y + j) for i, j in ((-12, -12), (12, -12), (12, 12), (-12, 12))]
REGIONS = {
    "circle without a frame": ("r.crtf", "#CRTFv0\n" + circle(X, Y, 29),
                               lambda x, y: np.hypot(x, y) <= 14.5),
    "circle of another frame": ("r.crtf", f"#CRTFv0\ncircle [[{_BOX.l.deg}deg, {_BOX.b.deg}deg], "
                                "29arcsec], coord=GALACTIC\n", lambda x, y: np.hypot(x, y) <= 14.5),
    "box": ("r.reg", "# Region file format: DS9\nfk5\nbox({ra},{dec},41\",29\",0)\n",
            lambda x, y: (abs(x) <= 10) & (abs(y) <= 7)),
    "ellipse": ("r.reg", "# Region file format: DS9\nfk5\nellipse({ra},{dec},40.9\",20.9\",0)\n",
                lambda x, y: np.hypot(x / 20.45, y / 10.45) <= 1),
    "polygon": ("r.crtf", "#CRTFv0\npoly [" + ", ".join(f"[{a}deg, {b}deg]" for a, b in _CORNERS)
                + "], coord=J2000\n", lambda x, y: (abs(x) < 12) & (abs(y) < 12)),
    "hole": ("r.crtf", "#CRTFv0\n" + circle(X, Y, 49) + "-" + circle(X + 20, Y, 19),
             lambda x, y: (np.hypot(x, y) <= 24.5) & (np.hypot(x - 20, y) > 9.5)),
    "table": ("r.csv", "ra,dec,fwhm\n{ra},{dec},30\n", lambda x, y: np.hypot(x, y) <= 22.5),
    "table without sizes": ("r.csv", "ra,dec\n{ra},{dec}\n", lambda x, y: np.hypot(x, y) <= 15.3)}


@pytest.mark.parametrize("name", REGIONS)
def test_regions_are_drawn(tmp_path, name):
    file, text, inside = REGIONS[name]
    (tmp_path / file).write_text(text.format(ra=sky(X, Y)[0], dec=sky(X, Y)[1]))
    ((_, mask),) = region_masks(tmp_path / file, WCS, (SIZE, SIZE), CELL, BEAM)
    y, x = np.mgrid[:SIZE, :SIZE]
    wrong = mask != inside(x - X, y - Y)
    # Pixels on the edge itself may fall to either side.
    assert wrong.sum() <= (50 if name == "polygon" else 4)


def test_a_plan_says_what_is_there(observed, fingerprint, tmp_path):
    before = fingerprint(observed / "a.ms")
    found = ask(observed, "#CRTFv0\n" + circle(X, Y, 30) + circle(*SECOND[:2], 30).strip()
                + ', label="west"\n', primary_beam="gaussian:1000arcsec@1.4GHz")
    assert fingerprint(observed / "a.ms") == before
    one, two = found.directions
    assert (one.name, two.name) == ("1", "west")
    for direction, (x, y, flux) in zip(found.directions, (BRIGHT, SECOND), strict=True):
        assert separation(*np.deg2rad(sky(x, y)), *direction.centre) < 0.1 * ARCSEC
        assert direction.peak == pytest.approx(flux, abs=0.01)
        assert direction.rms == pytest.approx(0.002, rel=0.2)
    assert found.columns == ("PEELED_DATA",)
    assert found.scratch == ("PEEL_CALIBRATED", "PEEL_FIELD", "PEEL_BRIGHT_1", "PEEL_BRIGHT_2",
                             "PEEL_RESIDUAL")
    # Two fields of 10 baselines and 4 times, of 2 × 2 and 1 × 2 visibilities of 8 bytes.
    assert found.n_bytes == 8 * 2 * 40 * (4 + 2)
    # The data, five columns, and flags; and of 160 rows what else they have.
    assert found.n_bytes_copy == (6 * 8 + 1) * 2 * 40 * (4 + 2) + 200 * 160
    table = found.fields()
    row = table[(table["field_id"] == 1) & (table["spw"] == 0) & (table["direction"] == "1")][0]
    far = separation(*np.deg2rad(sky(X, Y)), *offset(300 * ARCSEC, 0))
    assert row["distance"].value == pytest.approx(far, abs=0.1 * ARCSEC)
    nu = 1.405e9
    assert row["beam_power"] == pytest.approx(
        np.exp(-4 * np.log(2) * (far / (1000 * ARCSEC) * nu / 1.4e9) ** 2), rel=1e-4)
    assert found.summary()["directions"][0]["n_sources"] == 1
    assert found.quartical is None
    page = found.report(tmp_path / "report").read_text()
    for text in ("PEEL_BRIGHT_2", "Recipe joint-one-channel", "direction west",
                 "pinned_directions"):
        assert text in page
    assert "field1" in str(found)


def test_recipes_say_what_must_be_said(observed):
    """K stands in no recipe of one channel; the bright directions alone have their own gains."""
    found = {r.name: r.options
             for r in ask(observed, "#CRTFv0\n" + circle(X, Y, 30)).recipes}
    assert list(found) == ["selfcal", "selfcal-one-channel", "bright", "bright-one-channel",
                           "joint", "joint-one-channel", "field", "field-one-channel"]
    for name, options in found.items():
        has_delay = not any(one in name for one in ("one-channel", "bright"))
        assert ("K" in options["solver"]["terms"]) is has_delay
        assert options["input_ms"]["weight_column"] == "WEIGHT"
        assert options["input_ms"]["select_fields"] == [0, 1]
        assert options["input_ms"]["select_ddids"] == [int("one-channel" in name)]
        assert options["output"]["flags"] is False
        assert options["solver"]["propagate_flags"] is False
    joint = found["joint"]
    assert joint["input_model"]["recipe"] == "PEEL_FIELD:PEEL_BRIGHT_1"
    assert joint["dE"]["pinned_directions"] == [0]
    assert {name: options["input_ms"]["data_column"] for name, options in found.items()
            if "one-channel" not in name} == {
        "selfcal": "DATA", "bright": "PEEL_CALIBRATED", "joint": "PEEL_CALIBRATED",
        "field": "PEEL_RESIDUAL"}


def test_a_plan_is_of_what_was_asked(observed):
    """Intervals in integrations, the memo's solves, one direction after the other, all columns, and images of that size."""
    text = "#CRTFv0\n" + circle(X, Y, 30)
    plain = ask(observed, text)
    found = ask(observed, text, memo=True, order="in-turn", keep_model=True, direction_interval=2 * plain.visits[0].integration)
    names = [one.name.removesuffix("-one-channel") for one in found.recipes]
    assert list(dict.fromkeys(names)) == ["selfcal", "bright-1", "joint-1"]
    assert {one.options["dE"]["time_interval"] for one in found.recipes if one.name.startswith("joint")} == {"2"}
    assert found.columns == ("PEELED_DATA", "PEELED_MODEL")
    assert found.n_bytes == 2 * plain.n_bytes
    for bad, message in (({"mask": "nowhere.fits"}, "nowhere.fits"), ({"cell": 0.0}, "cell is 0.0"), ({"size": 0}, "size is 0"),
                         ({"order": "both"}, "order"), ({"interval": -1.0}, "interval is -1")):
        with pytest.raises(UvstackError, match=message):
            ask(observed, text, **bad)
    with pytest.raises(UvstackError, match="regions is None"):
        peel.plan(found.ms, regions=None)


REFUSED = {"no peak": (circle(120, 120, 30), {}, "no peak in region 1: its highest pixel"),
           "cut": (circle(X + 5, Y, 8), {}, "cuts through a source"),
           "flank": (circle(X + 8, Y, 8), {}, "cuts through a source"),
           "overlap": (circle(X, Y, 30) + circle(X + 4, Y, 40), {}, "1 and 2 overlap"),
           "edge": (circle(SIZE - 5, 100, 30), {}, "not wholly in the image"),
           "far": ("circle [[10deg, -50deg], 30arcsec]\n", {}, "° from the nearest pointing, where nothing of it is seen"),
           "blank": (circle(45, 45, 30), {}, "where the image is blank"),
           "point": (f"symbol [[{sky(X, Y)[0]}deg, {sky(X, Y)[1]}deg], +]\n", {}, "is a point"),
           "column": (circle(X, Y, 30), {"column": "NONE"}, "NONE"),
           "own column": (circle(X, Y, 30), {"column": "DATA-DATA"}, "is a difference"),
           "rounds": (circle(X, Y, 30), {"rounds": 0}, "rounds is 0"),
           "field": (circle(X, Y, 30), {"field": "7"}, "7"),
           "quartical": (circle(X, Y, 30), {"quartical": "/nowhere"}, "pip install quartical"),
           "flux": (circle(X, Y, 30), {"flux_above": 1.0}, "they want regions='auto'")}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(observed, name):
    text, options, message = REFUSED[name]
    with pytest.raises(UvstackError) as error:
        ask(observed, "#CRTFv0\n" + text, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_set_that_is_all_flagged(tmp_path, observed):
    make_ms(tmp_path / "f.ms", n_ant=4)
    edit(tmp_path / "f.ms", "FLAG", np.ones_like)
    with pytest.raises(NoDataError, match=r"f\.ms: every visibility .* is flagged"):
        peel.plan(tmp_path / "f.ms", regions="auto", flux_above=1.0, image=observed / "i.fits")


def test_an_image_is_made_and_its_bright_far_source_found(tmp_path):
    """Of 2 Jy 9′ off is peeled; 1 Jy near the middle and 0.1 Jy far off are not."""
    places = offset(400 * ARCSEC, 380 * ARCSEC), offset(60 * ARCSEC, 0), offset(-500 * ARCSEC, 0)
    make_ms(tmp_path / "a.ms", n_ant=12, noise=0.01, n_times=6, scale=0.05,
            sources=[(*p, s) for p, s in zip(places, (2.0, 1.0, 0.1), strict=True)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UvstackWarning)
        (found,) = peel.plan(tmp_path / "a.ms", regions="auto", flux_above=0.5,
                             distance_above=300 * ARCSEC).directions
    assert separation(*np.array([places[0]]).T, *found.centre)[0] < 3 * ARCSEC
    assert at(places[0]).separation(at(found.centre)).arcsec[0] < 3
    assert found.peak == pytest.approx(2.0, rel=0.05)


def ringed(sources, rms=1e-3):
    """An image of points (x, y, Jy) of which some have rings of this part of their flux around them."""
    y, x = np.mgrid[:512, :512]
    image = np.random.default_rng(5).normal(0, rms, (512, 512))
    for x0, y0, flux, part in sources:
        r = np.hypot(x - x0, y - y0)
        image += flux * (np.exp(-4 * np.log(2) * r**2 / 5**2)
                         + part * np.sqrt(2) * np.cos(0.7 * r) * np.exp(-(r / 80) ** 2) * (r > 8))
    return image


def test_sources_whose_artefacts_matter(observed, tmp_path):
    """Not the faint one in the rings of the brightest, and not bright ones without rings.

    Rings have 1 % of 2 Jy and of 0.8 Jy, of which e^(−2 r²/80²) is left on average from 15 to 75
    pixels: an rms of 12 and 5 times the noise.
    """
    sources = [(150, 150, 2.0, 0.01), (190, 170, 0.1, 0.0), (400, 400, 0.8, 0.01), (400, 100, 0.7, 0.0)]
    wcs = sin_wcs(*CENTRE, (512, 512), CELL)
    write_image(tmp_path / "i.fits", ringed(sources), wcs, beams=BEAM, frequency=1.4e9)

    def found(**options):
        return [wcs.world_to_pixel(at(one.centre))
                for one in peel.plan(observed / "a.ms", regions="auto", image=tmp_path / "i.fits",
                                     **options).directions]

    both = found(artefacts_above=3.0)
    np.testing.assert_allclose(np.array(both).reshape(2, 2), [one[:2] for one in (sources[0], sources[2])],
                               atol=0.5)
    assert len(found(artefacts_above=8.0)) == 1
    assert len(found(flux_above=0.75, artefacts_above=3.0)) == 2
    assert len(found(flux_above=1.0, artefacts_above=3.0)) == 1
    with pytest.raises(UvstackError, match=r"none of the 4 sources .*artefacts of 1\d times the noise.* "
                                           "has artefacts of 50 times the noise or more"):
        found(artefacts_above=50.0)
    with pytest.raises(UvstackError, match="artefacts_above is -1"):
        found(artefacts_above=-1)
