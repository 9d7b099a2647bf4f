"""What no selected row uses does not matter; weights go by row.

The beam is centred where the dish points; rows without (u, v, w).
"""

import numpy as np
import pytest
from casacore.tables import makearrcoldesc, makescacoldesc, maketabdesc, table

import oracles
import uvstack
from factories import ARCMIN, ARCSEC, CENTRE, FIRST_TIME, Spw, at, edit, make_ms, offset, read
from uvstack.errors import (
    ColumnError,
    InvalidVisibilityWarning,
    MeasurementSetError,
    NoDataError,
    OutputError,
    PointingWarning,
    SelectionError,
    UvstackWarning,
    WeightsWarning,
)
from uvstack.io.casa import open_table
from uvstack.io.dataset import open_sets
from uvstack.io.info import describe, format_description
from uvstack.io.ms import read_structure
from uvstack.sky.primary_beam import Gaussian

SOURCE = offset(40 * ARCSEC, -25 * ARCSEC)
ELSEWHERE = (1.0, -0.4)
BEAM, FWHM, AT = "gaussian:20arcmin@1.4GHz", 20 * ARCMIN, 1.4e9


def append_row(path, subtable, **values):
    """A row like the first, but for some values; returns its number."""
    with table(f"{path}/{subtable}", readonly=False, ack=False) as t:
        row = t.nrows()
        t.addrows(1)
        for column in t.colnames():
            if t.iscelldefined(column, 0):
                t.putcell(column, row, t.getcell(column, 0))
        for column, value in values.items():
            if value is not None:
                t.putcell(column, row, value)
    return row


def unused_first_field(path):
    """The set with a field far away before its own, which no row has."""
    append_row(path, "FIELD", NAME="target")
    edit(path, "PHASE_DIR", lambda d: d.__setitem__((0, 0), ELSEWHERE), "FIELD")
    edit(path, "FIELD_ID", lambda ids: ids + 1)


# --------------------------------------------------------------------------------- what nobody uses


def test_a_field_without_rows_is_no_ones_phase_centre(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)], n_ant=9)
    unused_first_field(path)
    assert uvstack.stack(path, at(SOURCE),
                         out=tmp_path / "s.ms").flux == pytest.approx(1e-3, rel=1e-5)
    np.testing.assert_allclose(read(tmp_path / "s.ms", "PHASE_DIR", "FIELD")[0, 0], CENTRE)
    # The fit has its phase centre in the field that was observed, and finds the source where it is.
    fitted = uvstack.fit(path, model="delta", offset=True)
    assert fitted.flux == pytest.approx(1e-3, rel=1e-4)
    assert uvstack.compare(path, at(SOURCE),
                           methods=("mean",)).uv.flux == pytest.approx(1e-3, rel=1e-5)
    found = describe(path)
    assert [f["n_rows"] for f in found["fields"]] == [0, found["n_rows"]]
    assert "unused" in format_description(found)


def test_an_ephemeris_or_polynomial_that_is_not_selected_does_not_matter(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)])
    unused_first_field(path)
    with table(f"{path}/FIELD", readonly=False, ack=False) as field:
        field.addcols(maketabdesc(makescacoldesc("EPHEMERIS_ID", 0)))
        field.putcol("EPHEMERIS_ID", np.array([0, -1]))
    assert uvstack.stack(path, at(SOURCE)).flux == pytest.approx(1e-3, rel=1e-5)
    assert "ephemeris" in format_description(describe(path))
    edit(path, "EPHEMERIS_ID", lambda ids: ids[::-1], "FIELD")
    with pytest.raises(MeasurementSetError, match=r"field 1 \(target\) follows an ephemeris"):
        uvstack.stack(path, at(SOURCE))


@pytest.mark.parametrize("window", ["of another band", "without frequencies"])
def test_a_window_without_rows_is_not_asked_for_its_beam(tmp_path, window):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)], telescope="MeerKAT")
    wanted = uvstack.stack(path, at(SOURCE), primary_beam="meerkat").flux
    if window == "of another band":
        spw = append_row(path, "SPECTRAL_WINDOW", CHAN_FREQ=np.linspace(8e9, 8.1e9, 3))
    else:
        with table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as t:
            spw = t.nrows()
            t.addrows(1)
            t.putcell("NUM_CHAN", spw, 0)
    append_row(path, "DATA_DESCRIPTION", SPECTRAL_WINDOW_ID=spw)
    assert uvstack.stack(path, at(SOURCE), primary_beam="meerkat",
                         out=tmp_path / "s.ms").flux == wanted
    assert uvstack.fit(path, model="delta", primary_beam="meerkat").flux
    assert describe(path)["data_descriptions"][1]["n_rows"] == 0
    # Rows that say they are of a window without channels are another matter.
    if window == "without frequencies":
        edit(path, "DATA_DESC_ID", lambda ids: ids.__setitem__(0, 1))
        with pytest.raises(MeasurementSetError,
                           match="data description 1 has rows and no channel frequencies"):
            uvstack.stack(path, at(SOURCE))


def test_a_pair_of_field_and_window_without_rows_adds_nothing(tmp_path):
    """Two fields, each observed in a window of its own.

    Σ A² over pointings counts only what was observed.
    """
    path = make_ms(tmp_path / "a.ms", fields=[CENTRE, offset(4 * ARCMIN, 0)],
                   spws=[Spw(), Spw(3e9)], sources=[(*SOURCE, 1e-3)],
                   beam=oracles.gaussian_beam(FWHM, AT))
    field, description = read(path, "FIELD_ID"), read(path, "DATA_DESC_ID")
    with table(str(path), ack=False) as t:
        t.selectrows(np.flatnonzero(field == description)).copy(str(tmp_path / "b.ms"), deep=True,
                                                                valuecopy=True).close()
    _, (selection,) = open_sets(tmp_path / "b.ms")
    assert selection.visits == [(0, 0), (1, 1)]
    result = uvstack.stack(tmp_path / "b.ms", at(SOURCE), primary_beam=BEAM, weights="primary-beam")
    assert result.flux == pytest.approx(1e-3, rel=1e-5)


def test_rows_of_fields_that_do_not_exist_are_an_error(tmp_path):
    path = make_ms(tmp_path / "a.ms")
    edit(path, "FIELD_ID", lambda ids: ids.__setitem__(3, 5))
    with pytest.raises(MeasurementSetError,
                       match="FIELD_ID from 0 to 5, and its subtable has 1 rows"):
        uvstack.stack(path, at(SOURCE))
    with pytest.raises(MeasurementSetError, match="FIELD_ID from 0 to 5"):
        describe(path)


def test_a_selection_without_rows_says_so(tmp_path):
    path = make_ms(tmp_path / "a.ms")
    append_row(path, "FIELD", NAME="never")
    never = {"field": "never"}
    for task in (lambda: uvstack.stack(path, at(SOURCE), **never),
                 lambda: uvstack.fit(path, model="delta", **never),
                 lambda: uvstack.image(path, size=64, cell=ARCSEC, **never),
                 lambda: uvstack.compare(path, at(SOURCE), **never)):
        with pytest.raises(NoDataError, match="leaves no cross-correlation"):
            task()


# ----------------------------------------------------------------------------------- weights by row


def test_a_column_is_not_empty_because_every_twentieth_row_is(tmp_path, tables):
    """Five antennas make ten baselines.

    Rows 0, 20, 40 … are all of the first, whose weight is 0.
    """
    path = make_ms(tmp_path / "a.ms", n_ant=5, n_times=100, sources=[(*SOURCE, 1e-3)])
    dead = (read(path, "ANTENNA1") == 0) | (read(path, "ANTENNA2") == 0)
    edit(path, "WEIGHT", lambda w: w.__setitem__(dead, 0))
    edit(path, "DATA", lambda v: v.__setitem__(dead, 5.0))
    assert uvstack.stack(path, at(SOURCE)).flux == pytest.approx(1e-3, rel=1e-5)
    assert uvstack.fit(path, model="delta",
                       phase_centre=SOURCE).flux == pytest.approx(1e-3, rel=1e-5)


@pytest.mark.parametrize("which", ["the first", "the last", "every third"])
def test_rows_without_a_weight_spectrum_have_their_weight(tmp_path, tables, which):
    """Noise, so that the result hangs on the weights: against the plain sum over rows."""
    rng = np.random.default_rng(4)
    shape = (84, 3, 2)  # 7 antennas, 4 times
    spectrum, weight = rng.uniform(0.5, 4, shape).astype("f4"), rng.uniform(
        0.5, 4, (84, 2)).astype("f4")
    path = make_ms(tmp_path / "a.ms", noise=1.0, weights={"WEIGHT": weight})
    has = {"the first": np.arange(84) < 40, "the last": np.arange(84) >= 40,
           "every third": np.arange(84) % 3 == 0}[which]
    with table(str(path), readonly=False, ack=False) as t:
        t.addcols(maketabdesc(makearrcoldesc("WEIGHT_SPECTRUM", 0.0, ndim=2, valuetype="float")))
        for row in np.flatnonzero(has):
            t.putcell("WEIGHT_SPECTRUM", row, spectrum[row])
    used = np.where(has[:, None, None], spectrum, weight[:, None, :])
    right = np.sum(used * read(path, "DATA").real) / used.sum()
    # Budget: float32 products and sums.
    assert uvstack.stack(path, at(CENTRE)).flux == pytest.approx(right, rel=1e-5)
    made = uvstack.stack(path, at(CENTRE), out=tmp_path / "s.ms")
    assert made.flux == pytest.approx(right, rel=1e-5)
    np.testing.assert_allclose(read(tmp_path / "s.ms", "WEIGHT_SPECTRUM"), used, rtol=1e-6)


def test_a_stack_of_sets_with_and_without_a_weight_spectrum_carries_both(tmp_path):
    rng = np.random.default_rng(5)
    spectrum, weight = rng.uniform(0.5, 4,
                                   (84, 3, 2)).astype("f4"), rng.uniform(0.5, 4,
                                                                         (84, 2)).astype("f4")
    paths = [make_ms(tmp_path / "a.ms", noise=1.0,
                     weights={"WEIGHT": 1.0, "WEIGHT_SPECTRUM": spectrum}),
             make_ms(tmp_path / "b.ms", noise=1.0, seed=2, weights={"WEIGHT": weight})]
    used = np.concatenate([spectrum, np.broadcast_to(weight[:, None, :], spectrum.shape)])
    right = np.sum(used * np.concatenate([read(p, "DATA") for p in paths]).real) / used.sum()
    for order in (paths, paths[::-1]):
        assert uvstack.stack(order, at(CENTRE), out=tmp_path / "s.ms",
                             overwrite=True).flux == pytest.approx(right, rel=1e-5)
        assert uvstack.stack(tmp_path / "s.ms", at(CENTRE)).flux == pytest.approx(right, rel=1e-5)


def test_weights_that_are_zero_everywhere_are_told(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)],
                   weights={"WEIGHT": 0.0, "SIGMA": 2.0})
    with pytest.warns(WeightsWarning, match="WEIGHT is 0 in every row; SIGMA is used instead"):
        assert uvstack.stack(path, at(SOURCE)).flux == pytest.approx(1e-3, rel=1e-5)
    assert "WEIGHT is 0 in every row" in format_description(describe(path))
    path = make_ms(tmp_path / "b.ms", weights={"WEIGHT": 0.0})
    with pytest.raises(NoDataError, match="WEIGHT is 0 or empty in every row"):
        uvstack.stack(path, at(SOURCE))
    path = make_ms(tmp_path / "c.ms", weights={})
    with pytest.warns(WeightsWarning, match="no column of weights"):
        uvstack.stack(path, at(SOURCE))


def test_the_weights_of_a_set_without_selected_rows_do_not_matter(tmp_path):
    """Of two nights one is selected; the other has weights of 0 alone."""
    paths = [make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)]),
             make_ms(tmp_path / "b.ms", first_time=FIRST_TIME + 86400.0,
                     weights={"WEIGHT": 0.0, "SIGMA": 0.0})]
    result = uvstack.stack(paths, at(SOURCE), timerange="<2020/01/01/23:00:00")
    assert result.flux == pytest.approx(1e-3, rel=1e-5)
    with pytest.raises(NoDataError, match="b.ms: WEIGHT and SIGMA are 0 or empty in every row"):
        uvstack.stack(paths, at(SOURCE))


def test_a_data_column_that_some_selected_rows_lack_is_refused(tmp_path, tables):
    """To read an empty cell ends the process, in both libraries."""
    path = make_ms(tmp_path / "a.ms", fields=[CENTRE, offset(0, ARCMIN)], sources=[(*SOURCE, 1e-3)])
    with open_table(path, readonly=False) as t:
        t.add_column("CORRECTED_DATA", t.description()["DATA"])
        for row in np.flatnonzero(read(path, "FIELD_ID") == 0):
            t.write_cell("CORRECTED_DATA", int(row), t.read_cell("DATA", int(row)))
    assert uvstack.stack(path, at(SOURCE), column="CORRECTED_DATA",
                         field=0).flux == pytest.approx(1e-3, rel=1e-5)
    with pytest.raises(ColumnError,
                       match="CORRECTED_DATA has no value in some of the rows that are selected"):
        uvstack.stack(path, at(SOURCE), column="CORRECTED_DATA")


# ---------------------------------------------------------------------------- where the dish points


def shifted_ms(path, pointing, **options):
    """A set whose phase centre is 5′ from where the dishes point.

    Sources seen through the beam at the pointing.
    """
    sources = [(*offset(2 * ARCMIN, 1 * ARCMIN), 2e-3), (*offset(-3 * ARCMIN, 2 * ARCMIN), 1e-3)]
    beam = Gaussian(FWHM, AT)
    apparent = []
    for ra, dec, flux in sources:
        l, m, _ = oracles.cosines(ra, dec, *pointing)
        apparent.append((ra, dec,
                         flux * float(beam(np.array([l]), np.array([m]), np.array([AT]))[0, 0])))
    # One narrow window, so that the beam is one number a source.
    return make_ms(path, spws=[Spw(AT, 1e3, 2)], sources=apparent, telescope="VLA", n_ant=9,
                   n_times=6, **options), sources


POINTING = offset(5 * ARCMIN, -3 * ARCMIN)


def check_beam_at_pointing(path, sources, tmp_path, **options):
    """Stack, fit, image and subtraction see each source through the beam at the pointing."""
    positions = at(*[s[:2] for s in sources])
    right = oracles_stack(path, sources)
    with pytest.warns(PointingWarning, match="from the phase centre"):
        assert uvstack.stack(path, positions, primary_beam=BEAM,
                             **options).flux == pytest.approx(right, rel=2e-5)
    with pytest.warns(PointingWarning):
        mc = uvstack.montecarlo(path, positions, primary_beam=BEAM, realisations=2, seed=1,
                                **options)
    assert mc.flux == pytest.approx(right, rel=2e-5)
    with pytest.warns(PointingWarning):
        uvstack.subtract(path, sky_of(sources), primary_beam=BEAM, into="LEFT", overwrite=True,
                         **options)
    assert abs(read(path, "LEFT")).max() < 1e-5 * abs(read(path, "DATA")).max()


def sky_of(sources):
    from uvstack.sky.components import components

    ra, dec, flux = np.array(sources).T
    return components(ra, dec, flux)


def oracles_stack(path, sources):
    """The plain sum of equation 5, with A from the pointing."""
    vis, uvw = read(path, "DATA").mean(axis=2), read(path, "UVW")
    frequency = read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[0]
    beam = Gaussian(FWHM, AT)
    total = 0.0
    for ra, dec, _ in sources:
        l, m, _ = oracles.cosines(ra, dec, *POINTING)
        power = float(beam(np.array([l]), np.array([m]), np.array([AT]))[0, 0])
        total += (vis
                  * oracles.phasor(uvw, frequency, ra, dec,
                                   *CENTRE).conj()).real.mean() / power / len(sources)
    return total


def test_the_beam_stays_where_reference_dir_is(tmp_path):
    path, sources = shifted_ms(tmp_path / "a.ms", POINTING)
    for column in ("REFERENCE_DIR", "DELAY_DIR"):
        edit(path, column, lambda d: d.__setitem__((0, 0), POINTING), "FIELD")
    check_beam_at_pointing(path, sources, tmp_path)
    assert describe(path)["fields"][0]["pointing_offset_rad"] == pytest.approx(
        np.deg2rad(np.hypot(5, 3) / 60), rel=1e-3)
    assert "points 5.83′ away by REFERENCE_DIR" in format_description(describe(path))
    # As CASA's tclean has it: the beam at the phase centre.
    positions = at(*[s[:2] for s in sources])
    wrong = uvstack.stack(path, positions, primary_beam=BEAM, pointing="phase").flux
    assert abs(wrong / oracles_stack(path, sources) - 1) > 0.1
    with pytest.raises(SelectionError, match="pointing='table'"):
        uvstack.stack(path, positions, primary_beam=BEAM, pointing="table")


def test_fit_image_and_comparison_have_the_beam_where_the_dishes_point(tmp_path):
    source = (*offset(2 * ARCMIN, 1 * ARCMIN), 2e-3)
    l, m, _ = oracles.cosines(*source[:2], *POINTING)
    power = float(Gaussian(FWHM, AT)(np.array([l]), np.array([m]), np.array([AT]))[0, 0])
    path = make_ms(tmp_path / "a.ms", spws=[Spw(AT, 1e3, 2)], sources=[(*source[:2], 2e-3 * power)],
                   n_ant=9, n_times=6)
    edit(path, "REFERENCE_DIR", lambda d: d.__setitem__((0, 0), POINTING), "FIELD")
    with pytest.warns(PointingWarning):
        assert uvstack.fit(path, model="delta", phase_centre=source[:2],
                           primary_beam=BEAM).flux == pytest.approx(2e-3, rel=1e-5)
    with pytest.warns(PointingWarning):
        made = uvstack.image(path, size=256, cell=5 * ARCSEC, iterations=0, weighting="natural",
                             primary_beam=BEAM)
    # 5′ to the east are 60 pixels to the left of the middle, 3′ to the south 36 below.
    assert np.unravel_index(made.response.argmax(), made.response.shape) == (128 - 36, 128 - 60)
    with pytest.warns(PointingWarning):
        both = uvstack.compare(path, at(source[:2]), primary_beam=BEAM, methods=("mean",))
    assert both.uv.flux == pytest.approx(2e-3, rel=1e-5)
    # Budget: the image between pixels.
    assert both.methods[-1].flux == pytest.approx(2e-3, rel=0.02)


@pytest.mark.parametrize(("telescope", "column"),
                         [("LOFAR", "DELAY_DIR"), ("VLA", "REFERENCE_DIR")])
def test_delay_dir_is_lofars_beam(tmp_path, telescope, column):
    path = make_ms(tmp_path / "a.ms", telescope=telescope)
    edit(path, column, lambda d: d.__setitem__((0, 0), POINTING), "FIELD")
    (structure,), _ = open_sets(path)
    assert structure.fields[0].pointing_source == column
    np.testing.assert_allclose(structure.fields[0].beam_centre, POINTING, atol=1e-12)


def test_a_direction_that_was_never_filled_is_no_pointing(tmp_path):
    path = make_ms(tmp_path / "a.ms")
    for column in ("REFERENCE_DIR", "DELAY_DIR"):
        edit(path, column, lambda d: d.__setitem__(Ellipsis, 0.0), "FIELD")
    (structure,), _ = open_sets(path)
    assert structure.fields[0].pointing is None
    with pytest.raises(SelectionError, match="neither REFERENCE_DIR nor DELAY_DIR"):
        open_sets(path, pointing="reference")


def fill_pointing(path, direction_of, frame="J2000"):
    """POINTING with a row for each antenna and integration: direction_of(time) → (ra, dec)."""
    times = np.unique(read(path, "TIME"))
    n_ant = read(path, "DISH_DIAMETER", "ANTENNA").size
    with table(f"{path}/POINTING", readonly=False, ack=False) as t:
        t.addrows(times.size * n_ant)
        for row, (time, ant) in enumerate((time, ant) for time in times for ant in range(n_ant)):
            for column, value in {"ANTENNA_ID": ant, "TIME": time, "INTERVAL": 10.0, "NUM_POLY": 0,
                                  "TIME_ORIGIN": time, "NAME": "",
                                  "DIRECTION": np.array([direction_of(time)]),
                                  "TARGET": np.array([direction_of(time)])}.items():
                t.putcell(column, row, value)
        keywords = t.getcolkeyword("DIRECTION", "MEASINFO")
        t.putcolkeyword("DIRECTION", "MEASINFO", keywords | {"Ref": frame})


def test_the_table_of_pointings_comes_first(tmp_path):
    path, sources = shifted_ms(tmp_path / "a.ms", POINTING)
    fill_pointing(path, lambda time: POINTING)
    check_beam_at_pointing(path, sources, tmp_path)
    (structure,), _ = open_sets(path)
    assert structure.fields[0].pointing_source == "POINTING"
    (structure,), _ = open_sets(path, pointing="reference")
    assert structure.fields[0].pointing is None


def test_a_table_of_azimuths_or_of_other_times_is_passed_over(tmp_path):
    path = make_ms(tmp_path / "a.ms")
    fill_pointing(path, lambda time: (0.3, 0.9), frame="AZELGEO")
    (structure,), _ = open_sets(path)
    assert structure.fields[0].pointing_source == "REFERENCE_DIR"
    path = make_ms(tmp_path / "b.ms")
    fill_pointing(path, lambda time: POINTING)
    edit(path, "TIME", lambda t: t - 1e5, "POINTING")
    (structure,), _ = open_sets(path)
    assert structure.fields[0].pointing_source == "REFERENCE_DIR"


def test_dishes_that_move_within_a_field_are_told(tmp_path):
    path, sources = shifted_ms(tmp_path / "a.ms", CENTRE)
    first = read(path, "TIME").min()
    fill_pointing(path, lambda time: offset((time - first - 25.0) * 0.2 * ARCMIN, 0))
    with pytest.warns(PointingWarning, match="apart, at one time or another"):
        uvstack.stack(path, at(sources[0][:2]), primary_beam=BEAM)


# -------------------------------------------------------------------------- rows without a baseline


def test_cross_correlations_without_uvw_are_flagged_and_told(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)])
    rows = [3, 20, 41]
    edit(path, "UVW", lambda u: u.__setitem__(rows, 0.0))
    edit(path, "DATA", lambda v: v.__setitem__(rows, 7.0))
    told = pytest.warns(InvalidVisibilityWarning, match="18 unflagged visibilities .* had no .u, v, w.")  # 3 rows, 3 channels, 2 hands
    with told:
        assert uvstack.stack(path, at(SOURCE)).flux == pytest.approx(1e-3, rel=1e-5)
    with told:
        uvstack.fit(path, model="delta", phase_centre=SOURCE, write="residual", into="LEFT")
    left = read(path, "LEFT")
    assert (left[rows] == 7.0).all()
    assert abs(np.delete(left, rows, axis=0)).max() < 1e-7
    with pytest.warns(InvalidVisibilityWarning, match="3 selected rows have no .u, v, w."):
        uvstack.subtract(path, sky_of([(*SOURCE, 1e-3)]), into="LESS")
    assert (read(path, "LESS")[rows] == 7.0).all()
    with told:
        made = uvstack.image(path, size=64, cell=5 * ARCSEC, iterations=0, weighting="natural")
    assert abs(made.dirty).max() < 1.1e-3
    assert "3 rows without" in format_description(describe(path))


def test_nothing_is_told_of_flagged_rows_without_uvw(tmp_path):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)])
    edit(path, "UVW", lambda u: u.__setitem__([3, 20], 0.0))
    edit(path, "FLAG_ROW", lambda f: f.__setitem__([3, 20], True))
    assert uvstack.stack(path, at(SOURCE)).flux == pytest.approx(1e-3, rel=1e-5)


# --------------------------------------------------------------------------------- tables of tables


def test_a_reference_table_has_the_subtables_of_its_parent(tmp_path, tables):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)])
    with table(str(path), ack=False) as t:
        t.query("ANTENNA1<5", name=str(tmp_path / "sub.ms")).close()
    result = uvstack.stack(tmp_path / "sub.ms", at(SOURCE), out=tmp_path / "s.ms")
    assert result.flux == pytest.approx(1e-3, rel=1e-5)
    assert uvstack.stack(tmp_path / "s.ms", at(CENTRE)).flux == pytest.approx(1e-3, rel=1e-5)
    assert describe(tmp_path / "sub.ms")["telescope"] == "VLA"
    # A column of it would be one of its parent.
    for task in (lambda: uvstack.subtract(tmp_path / "sub.ms", sky_of([(*SOURCE, 1e-3)])),
                 lambda: uvstack.fit(tmp_path / "sub.ms", model="delta", write="model")):
        with pytest.raises(OutputError, match="is a selection of rows of another set"):
            task()
    assert "RESIDUAL_DATA" not in read_structure(path).columns


def test_info_tells_close_channels_and_tai_apart(tmp_path):
    path = make_ms(tmp_path / "a.ms", spws=[Spw(1.4e9, 500.0, 4)])
    assert "1.40000000 to 1.40000150 GHz" in format_description(describe(path))
    before = format_description(describe(path)).splitlines()[2]
    with table(str(path), readonly=False, ack=False) as t:
        t.putcolkeyword("TIME", "MEASINFO", {"type": "epoch", "Ref": "TAI"})
    after = format_description(describe(path)).splitlines()[2]
    assert "the set counts in TAI" in after
    # 37 s in 2020.
    seconds = [line.split()[1] for line in (before, after)]
    assert (np.datetime64(seconds[0]) - np.datetime64(seconds[1])) == np.timedelta64(37, "s")


def test_a_multi_ms_is_read_and_written_as_one_set(tmp_path):
    casatasks = pytest.importorskip("casatasks")
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)], spws=[Spw(), Spw(1.5e9)])
    casatasks.partition(str(path), str(tmp_path / "m.ms"), createmms=True, separationaxis="spw",
                        numsubms=2, datacolumn="data")
    result = uvstack.stack(tmp_path / "m.ms", at(SOURCE), out=tmp_path / "s.ms")
    assert result.flux == pytest.approx(1e-3, rel=1e-5)
    assert result.n_visibilities == uvstack.stack(path, at(SOURCE)).n_visibilities
    assert uvstack.stack(tmp_path / "s.ms", at(CENTRE)).flux == pytest.approx(1e-3, rel=1e-5)
    uvstack.subtract(tmp_path / "m.ms", sky_of([(*SOURCE, 1e-3)]))
    assert abs(read(tmp_path / "m.ms", "RESIDUAL_DATA")).max() < 1e-8


def test_times_are_selected_in_utc_of_a_set_in_tai(tmp_path):
    path = make_ms(tmp_path / "a.ms", n_times=4)
    with table(str(path), readonly=False, ack=False) as t:
        t.putcolkeyword("TIME", "MEASINFO", {"type": "epoch", "Ref": "TAI"})
    # Integrations at 12:00:00, :10, :20 and :30 TAI of 1 January 2020, 37 s less in UTC.
    _, (selection,) = open_sets(path, timerange="2020/01/01/11:59:20~11:59:40")
    low, high = selection.time_ranges[0]
    times = np.unique(read(path, "TIME"))
    assert ((times >= low) & (times <= high)).sum() == 2


@pytest.mark.parametrize("task", ["stack", "fit", "montecarlo", "compare", "image", "subtract"])
def test_a_beam_of_another_telescope_is_told(tmp_path, task):
    """MeerKAT's beam for a set of the VLA, by every task that takes one."""
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1e-3)], telescope="VLA")
    call = {"stack": lambda **k: uvstack.stack(path, at(SOURCE), **k),
            "fit": lambda **k: uvstack.fit(path, model="delta", **k),
            "montecarlo": lambda **k: uvstack.montecarlo(path, at(SOURCE), realisations=2, seed=1,
                                                         radius=ARCMIN, **k),
            "compare": lambda **k: uvstack.compare(path, at(SOURCE), methods=("mean",), **k),
            "image": lambda **k: uvstack.image(path, size=64, cell=2 * ARCSEC, iterations=0, **k),
            "subtract": lambda **k: uvstack.subtract(path, sky_of([(*SOURCE, 1e-3)]), **k)}[task]
    with pytest.warns(UvstackWarning, match="'meerkat' is that of MEERKAT, .*a.ms is of VLA"):
        call(primary_beam="meerkat")
