"""Lists of components: defaults, spectra, tables and what is refused."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from uvstack.errors import ComponentError
from uvstack.sky.components import Components, components, components_from_table, concatenate

ARCSEC = np.deg2rad(1 / 3600)


def some(n=7, seed=3):
    rng = np.random.default_rng(seed)
    shape = np.array(["point", "gaussian", "disc"])[np.arange(n) % 3]
    major = np.where(shape == "point", 0.0, rng.uniform(1, 5, n) * ARCSEC)
    return components(rng.uniform(0, 2 * np.pi, n), rng.uniform(-1.5, 1.5, n),
                      rng.uniform(0, 1e-3, n), reference_frequency=1.4e9, shape=shape,
                      fwhm_major=major, fwhm_minor=0.4 * major,
                      position_angle=rng.uniform(-np.pi, np.pi, n),
                      spectral_index=rng.normal(-0.7, 0.2, n), curvature=rng.normal(0, 0.1, n),
                      q=0.1, u=rng.uniform(-0.2, 0.2, n), v=-0.01, target=np.arange(n) % 2 == 0)


def equal(a, b, tolerance=0.0):
    for name in Components.__dataclass_fields__:
        x, y = getattr(a, name), getattr(b, name)
        if name in ("names", "shape", "target"):
            assert (x == y).all(), name
        else:
            assert y == pytest.approx(x, rel=tolerance, abs=tolerance), name


def test_defaults_are_filled_in():
    made = components([0.1, 0.2], [0.0, -0.5], 1e-3, fwhm_major=[0.0, 2 * ARCSEC])
    assert len(made) == 2
    assert list(made.names) == ["S1", "S2"]
    assert list(made.shape) == ["point", "gaussian"]
    assert made.flux == pytest.approx([1e-3, 1e-3])
    assert made.fwhm_minor == pytest.approx(made.fwhm_major)
    assert not made.target.any()
    assert not made.polarised
    assert made.flux_at(np.array([1e9, 5e9])) == pytest.approx(np.full((2, 2), 1e-3))


def test_empty():
    made = components([], [], [])
    assert len(made) == 0
    assert made.flux_at([1e9]).shape == (0, 1)
    assert len(components_from_table(made.to_table())) == 0
    assert len(concatenate([])) == 0


def test_spectrum_is_the_stated_parabola_with_natural_logarithm():
    made = components(0, 0, 2.0, reference_frequency=1e9, spectral_index=-0.7, curvature=0.1)
    x = np.log(3.0)
    assert made.flux_at([1e9, 3e9])[0] == pytest.approx([2.0, 2.0 * 3.0 ** (-0.7 + 0.1 * x)])


def test_another_reference_frequency_is_the_same_sky():
    made, frequency = some(), np.linspace(1e9, 8e9, 5)
    moved = made.at_reference(3.3e9)
    assert moved.reference_frequency == 3.3e9
    assert moved.flux_at(frequency) == pytest.approx(made.flux_at(frequency), rel=1e-12)


def test_subset_and_concatenate_undo_each_other():
    made = some()
    equal(made, concatenate([made.subset(slice(0, 3)), made.subset(np.arange(3, 7))]))
    assert len(made.subset(made.target)) == 4
    assert len(made.subset([])) == 0
    other = made.subset(slice(0, 3)).at_reference(5e9)
    both = concatenate([made, other])
    assert both.flux_at([2e9])[7:] == pytest.approx(made.flux_at([2e9])[:3], rel=1e-12)


@pytest.mark.parametrize("kind", [QTable, Table])
def test_table_round_trip_through_ecsv(tmp_path, kind):
    made, path = some(), tmp_path / "sky.ecsv"
    made.to_table().write(path, format="ascii.ecsv")
    equal(made, components_from_table(kind.read(path, format="ascii.ecsv")), 1e-12)


def test_table_of_another_maker():
    table = QTable({"ra": [10.0] * u.deg, "dec": [-1800.0] * u.arcsec, "flux": [3.0] * u.mJy})
    made = components_from_table(table)
    assert made.dec == pytest.approx(np.deg2rad([-0.5]))
    assert made.flux == pytest.approx([3e-3])


@pytest.mark.parametrize(("change", "message"),
                         [({"flux": [1.0, -1e-3]},
                           "component S2 has flux -0.001; it must not be negative"),
                          ({"flux": [np.nan, 1.0]}, "component S1 has flux nan; it must be finite"),
                          ({"fwhm_major": -1.0}, "fwhm_minor -1"),
                          ({"fwhm_major": 1e-6, "fwhm_minor": 2e-6},
                           r"S1 \(and 1 more\) has fwhm_major 1e-06"),
                          ({"shape": "gausian"},
                           "the shape 'gausian' is unknown: the nearest is gaussian; known are "
                           "point, gaussian, disc"),
                          ({"shape": "point", "fwhm_major": 1e-6}, "must be 0 where the shape"),
                          ({"dec": [0.0, 2.0]}, "dec 2; it must lie within"),
                          ({"q": 0.8, "v": 0.7}, "polarised fraction of at most 1"),
                          ({"spectral_index": -0.7}, "needs reference_frequency"),
                          ({"reference_frequency": 0.0}, "must be positive"),
                          ({"ra": [0.0, 1.0, 2.0]}, "give one value, or one for each"),
                          ({"names": ["a", "b", "c"]}, "names has shape"),
                          ({"curvature": np.inf, "reference_frequency": 1e9},
                           "curvature inf; it must be finite"),])
def test_what_is_refused(change, message):
    given = {"ra": [0.0, 0.1], "dec": [0.0, 0.1], "flux": [1.0, 1.0], **change}
    with pytest.raises(ComponentError, match=message):
        components(**given)


@pytest.mark.parametrize(("table", "message"),
                         [(Table({"ra": [1.0], "dec": [1.0]}), "the table lacks flux"),
                          (Table({"ra": [1.0], "dec": [1.0], "flux": [1.0]}),
                           "column 'ra' has no unit"),
                          (QTable({"ra": [1.0] * u.Jy, "dec": [1.0] * u.deg, "flux": [1.0] * u.Jy}),
                           "column 'ra' is in Jy"),
                          (QTable({"ra": [1.0] * u.deg, "dec": [1.0] * u.deg, "flux": [1.0] * u.Jy},
                                  meta={"frame": "ICRS"}), "the table is in ICRS"),])
def test_tables_that_are_refused(table, message):
    with pytest.raises(ComponentError, match=message):
        components_from_table(table)
