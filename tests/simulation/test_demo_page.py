"""What the page of the demo adds to that of a stack.

Beam and rms where they are drawn, provenance without nesting, empty places.
"""

import numpy as np
import pytest
from matplotlib.figure import Figure

from simulate.demo import draw_places
from uvstack.constants import ARCSEC
from uvstack.records import Provenance
from uvstack.report.figure import mark_beam_and_rms
from uvstack.report.page import provenance_rows


def gaussian(east, north, major, minor, angle):
    """A Gaussian of these FWHM with its major axis at `angle` from north through east."""
    along = east * np.sin(angle) + north * np.cos(angle)
    across = east * np.cos(angle) - north * np.sin(angle)
    return 0.5 ** ((2 * along / major) ** 2 + (2 * across / minor) ** 2)


def test_the_ellipse_is_the_half_power_contour_of_the_beam():
    cell, major, minor, angle = 0.2, 3.0, 1.5, np.deg2rad(35)
    offset = (np.arange(64) - 32) * cell
    psf = gaussian(-offset[None, :], offset[:, None], major, minor, angle)
    noise = np.random.default_rng(1).normal(0, 2e-6, psf.shape)
    axes = Figure().add_subplot()
    axes.set(xlim=(6.4, -6.4), ylim=(-6.4, 6.4))
    mark_beam_and_rms(axes, noise, psf, cell * ARCSEC)
    (ellipse,) = axes.patches
    drawn = axes.transData.inverted().transform(ellipse.get_transform().transform(
                                                    ellipse.get_path().vertices))
    # Every third vertex of a Bézier curve lies on it.
    east, north = (drawn - ellipse.get_center())[:-1:3].T
    assert gaussian(east, north, major, minor, angle) == pytest.approx(0.5, abs=0.03)
    said = " ".join(text.get_text() for text in axes.texts)
    assert "rms 2 µJy/beam" in said
    assert "3″ × 1.5″" in said


def test_provenance_is_a_table_with_units():
    options = {"facet_size": 0.00145444, "reproject": False, "seed": 3}
    rows = dict(provenance_rows(Provenance("1.2", "uvstack stack",
                                           {"ms": ["a.ms", "b.ms"], "options": options}, 3,
                                           "2030-01-01")))
    assert rows["measurement set"] == "a.ms, b.ms"
    assert rows["--facet-size"] == "0.00145444 rad"
    assert rows["--reproject"] == "no"
    assert rows["seed"] == "3"
    assert not any("{" in text for text in rows.values())
    assert provenance_rows(None) == []
    # What is nested is told in words and units, not as it is written in Python.
    nested = {"options": {"epochs": {"first": {"cell_rad": 2 * ARCSEC, "width_hz": None}},
                          "errors": [{"kind": "Phase", "rms": 0.1}, "flags"]}}
    rows = dict(provenance_rows(Provenance("1.2", "uvstack simulate", nested)))
    assert rows["--epochs"] == "first cell 2 ″"
    assert rows["--errors"] == "kind Phase, rms 0.1, flags"


def test_places_fill_the_disc_evenly():
    ra, dec = draw_places(20_000, np.random.default_rng(2))
    distance = np.hypot((ra - np.deg2rad(150)) * np.cos(dec), dec - np.deg2rad(2.2))
    assert distance.max() < np.deg2rad(12 / 60) * (1 + 1e-6)
    # Half of a disc's area lies within 1/√2 of its radius: ± 5 standard deviations of a binomial.
    assert np.mean(distance < np.deg2rad(12 / 60)
                   / np.sqrt(2)) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(20_000))
