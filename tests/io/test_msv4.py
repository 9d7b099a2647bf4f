"""Visibilities in the schema of MSv4: a grid has the numbers of the set that it was made of."""

import numpy as np
import pytest

import oracles
import uvstack
from factories import ARCSEC, CENTRE, LL, RR, Spw, at, edit, make_ms, offset, read
from uvstack.errors import MeasurementSetError
from uvstack.io.dataset import open_sets
from uvstack.io.info import describe

xarray = pytest.importorskip("xarray")

SOURCE = offset(5 * ARCSEC, 3 * ARCSEC)
UNIX = 40587 * 86400.0
FIELDS = [CENTRE, offset(60 * ARCSEC, 0)]


@pytest.fixture
def made(tmp_path):
    """Two fields and two windows of different shape, with weights and flags that differ."""
    path = make_ms(
        tmp_path / "made.ms", fields=FIELDS, noise=0.1, sources=[(*SOURCE, 1.0)],
        spws=[Spw(), Spw(1.6e9, 5e6, 3)], descriptions=[(0, (RR, LL)), (1, (LL, RR))],
        autocorrelation=100.0, weights={"WEIGHT_SPECTRUM": 1.0, "WEIGHT": 1.0, "SIGMA": 1.0},
    )  # fmt: skip
    rng = np.random.default_rng(3)
    edit(path, "WEIGHT_SPECTRUM", lambda w: rng.uniform(1, 4, w.shape).astype(np.float32))
    edit(path, "FLAG", lambda f: f | (rng.uniform(size=f.shape) < 0.1))
    return path


def tree_of(path, missing=(), chunks=None):
    """The set as a tree, a node for each field and window.

    `missing` rows are holes in its grids.
    """
    columns = {
        name: read(path, name)
        for name in (
            "DATA",
            "FLAG",
            "WEIGHT_SPECTRUM",
            "UVW",
            "TIME",
            "FIELD_ID",
            "DATA_DESC_ID",
            "ANTENNA1",
            "ANTENNA2",
        )
    }
    names = np.array(list(read(path, "NAME", "ANTENNA")))
    there = np.ones(columns["TIME"].size, bool)
    there[list(missing)] = False
    nodes = {}
    for field, window in np.unique(
        np.stack([columns["FIELD_ID"], columns["DATA_DESC_ID"]]), axis=1
    ).T:
        rows = np.flatnonzero((columns["FIELD_ID"] == field) & (columns["DATA_DESC_ID"] == window))
        times, time = np.unique(columns["TIME"][rows], return_inverse=True)
        pairs = np.stack([columns["ANTENNA1"], columns["ANTENNA2"]])[:, rows]
        baselines, baseline = np.unique(pairs, axis=1, return_inverse=True)
        shape = times.size, baselines.shape[1]

        def grid(name, hole, rows=rows, place=(time, baseline), shape=shape):
            values = columns[name][rows]
            full = np.full((*shape, *values.shape[1:]), hole, values.dtype)
            full[place] = np.where(there[rows].reshape(-1, *[1] * (values.ndim - 1)), values, hole)
            return full

        axes = ("time", "baseline_id")
        group = f"part_{field}_{window}"
        frequency = read(path, "CHAN_FREQ", "SPECTRAL_WINDOW")[window]
        main = xarray.Dataset(
            {
                "VISIBILITY": ((*axes, "frequency", "polarization"), grid("DATA", np.nan)),
                "FLAG": ((*axes, "frequency", "polarization"), grid("FLAG", True).astype(np.uint8)),
                "WEIGHT": ((*axes, "frequency", "polarization"), grid("WEIGHT_SPECTRUM", np.nan)),
                "UVW": ((*axes, "uvw_label"), grid("UVW", np.nan), {"units": "m", "frame": "fk5"}),
            },
            {
                "time": (
                    "time",
                    times - UNIX,
                    {
                        "units": "s",
                        "format": "unix",
                        "scale": "utc",
                        "integration_time": {"attrs": {"units": "s"}, "data": 10.0},
                    },
                ),
                "field_name": ("time", np.full(times.size, f"field{field}")),
                "baseline_antenna1_name": ("baseline_id", names[baselines[0]]),
                "baseline_antenna2_name": ("baseline_id", names[baselines[1]]),
                "frequency": (
                    "frequency",
                    frequency,
                    {
                        "units": "Hz",
                        "observer": "TOPO",
                        "spectral_window_name": f"spw{window}",
                        "channel_width": {
                            "attrs": {"units": "Hz"},
                            "data": float(np.diff(frequency)[0]),
                        },
                    },
                ),
                "polarization": ("polarization", [["RR", "LL"], ["LL", "RR"]][window]),
            },
            {
                "type": "visibility",
                "data_groups": {
                    "base": {
                        "correlated_data": "VISIBILITY",
                        "flag": "FLAG",
                        "weight": "WEIGHT",
                        "uvw": "UVW",
                        "field_and_source": f"{group}/field_and_source_base_xds",
                    }
                },
            },
        )
        centre = (
            "FIELD_PHASE_CENTER_DIRECTION",
            (
                ("field_name", "sky_dir_label"),
                [list(FIELDS[field])],
                {"units": "rad", "frame": "fk5"},
            ),
        )
        nodes |= {
            group: main.chunk(chunks) if chunks else main,
            f"{group}/field_and_source_base_xds": xarray.Dataset(
                dict([centre]), {"field_name": [f"field{field}"]}
            ),
            f"{group}/antenna_xds": xarray.Dataset(
                {
                    "ANTENNA_POSITION": (
                        ("antenna_name", "cartesian_pos_label"),
                        read(path, "POSITION", "ANTENNA"),
                    ),
                    "ANTENNA_DISH_DIAMETER": (
                        "antenna_name",
                        read(path, "DISH_DIAMETER", "ANTENNA"),
                    ),
                },
                {"antenna_name": names},
                {"overall_telescope_name": "VLA"},
            ),
        }
    return xarray.DataTree.from_dict(nodes)


def test_a_tree_has_the_numbers_of_the_set(made, tmp_path):
    for select in (
        {},
        {"field": 1, "spw": "spw1", "timerange": "12:00:05~12:00:25", "uvmin": "500m"},
    ):
        wanted = uvstack.stack(made, at(SOURCE), **select)
        for given in (
            tree_of(made),
            tree_of(made, chunks={"time": 3, "baseline_id": 5}),
            list(tree_of(made).children.values()),
        ):
            found = uvstack.stack(given, at(SOURCE), **select)
            assert found.flux == pytest.approx(wanted.flux, rel=1e-12)
            assert found.flux_error == pytest.approx(wanted.flux_error, rel=1e-12)
    assert wanted.flux == pytest.approx(1, abs=0.1)


def test_a_tree_goes_into_every_task(made, tmp_path):
    tree = tree_of(made)
    assert uvstack.fit(tree, model="delta").parameters == pytest.approx(
        uvstack.fit(made, model="delta").parameters, rel=1e-9
    )
    image = {"size": 32, "cell": 2 * ARCSEC, "threshold": 0.01, "field": "field0"}
    np.testing.assert_allclose(
        uvstack.image(tree, **image).dirty, uvstack.image(made, **image).dirty, atol=1e-6
    )
    of_tree, of_set = describe(uvstack.Datasets(tree)), describe(made)
    for key in (
        "n_rows",
        "telescope",
        "fields",
        "flagged_fraction",
        "autocorrelations",
        "first_time_mjd_s",
        "longest_baseline_m",
        "data_descriptions",
    ):
        if key == "fields":  # the set also says REFERENCE_DIR
            of_tree[key], of_set[key] = (
                [{k: v for k, v in f.items() if "from" not in k} for f in d[key]]
                for d in (of_tree, of_set)
            )
        assert of_tree[key] == of_set[key], key
    uvstack.stack(tree, at(SOURCE), out=tmp_path / "of_tree.ms")
    uvstack.stack(made, at(SOURCE), out=tmp_path / "of_set.ms")
    found, wanted = (
        uvstack.fit(tmp_path / name, model="delta") for name in ("of_tree.ms", "of_set.ms")
    )
    assert found.parameters == pytest.approx(wanted.parameters, rel=1e-6)
    np.testing.assert_array_equal(
        read(tmp_path / "of_tree.ms", "CORR_TYPE", "POLARIZATION"), [[RR, LL], [LL, RR]]
    )


def test_baselines_that_were_not_observed_are_no_rows(made):
    missing = [2, 3, 30, 77, 100, 181]
    tree = tree_of(made, missing)
    n_rows = read(made, "TIME").size
    (structure,), (selection,) = open_sets(tree)
    assert structure.n_rows == n_rows - len(missing)
    edit(made, "FLAG_ROW", lambda f: np.isin(np.arange(f.size), missing))
    assert uvstack.stack(tree, at(SOURCE)).flux == pytest.approx(
        uvstack.stack(made, at(SOURCE)).flux, rel=1e-12
    )


def test_an_oracle_agrees(tmp_path):
    """Signs, times and units: a source far from the phase centre, by a direct sum."""
    far = offset(3000 * ARCSEC, -2000 * ARCSEC)
    path = make_ms(tmp_path / "far.ms", sources=[(*far, 2.0)], weights={"WEIGHT_SPECTRUM": 1.0})
    tree = tree_of(path)
    seen = tree["part_0_0"]
    u = seen["UVW"].values.reshape(-1, 3)
    wanted = oracles.predict(u, seen["frequency"].values, [(*far, 2.0)], *CENTRE)
    np.testing.assert_allclose(
        seen["VISIBILITY"].values.reshape(-1, 3, 2)[:, :, 0], wanted, atol=1e-5
    )
    assert uvstack.stack(tree, at(far)).flux == pytest.approx(2, abs=1e-5)


def test_channels_and_correlations_selected_before(made):
    tree = tree_of(made)["part_0_0"]
    children = {
        name: tree[name].to_dataset() for name in ("antenna_xds", "field_and_source_base_xds")
    }
    cut = tree.to_dataset().isel(frequency=slice(1, 3), polarization=[0], time=slice(0, 2))
    found = uvstack.stack(uvstack.Datasets(cut, children), at(SOURCE))
    assert found.flux == pytest.approx(1, abs=0.1)
    (structure,), _ = open_sets(uvstack.Datasets(cut, children))
    assert structure.data_descriptions[0].shape == (2, 1)
    np.testing.assert_array_equal(structure.data_descriptions[0].spw.frequency, [1.41e9, 1.42e9])


def test_what_a_tree_lacks(made):
    tree = tree_of(made)
    alone = tree["part_0_0"].to_dataset()
    with pytest.raises(MeasurementSetError, match="no antenna_xds beside the visibilities"):
        uvstack.stack([alone], at(SOURCE))
    with pytest.raises(MeasurementSetError, match="no visibilities in the tree"):
        uvstack.stack(tree["part_0_0/antenna_xds"], at(SOURCE))
    children = {
        name: tree[f"part_0_0/{name}"].to_dataset()
        for name in ("antenna_xds", "field_and_source_base_xds")
    }
    for change, wrong in (
        (lambda d: d.drop_vars("UVW"), "no UVW"),
        (
            lambda d: d.assign_coords(field_name=("time", ["other"] * d.sizes["time"])),
            "field_name is 'other'",
        ),
        (
            lambda d: d.assign_coords(time=d.time.assign_attrs(format="jd")),
            "wanted is seconds, unix or mjd",
        ),
        (
            lambda d: d.assign_coords(frequency=d.frequency.assign_attrs(units="GHz")),
            "frequency is in GHz",
        ),
        (lambda d: d.assign_coords(polarization=["PP", "QQ"]), "correlations PP, QQ"),
        (lambda d: d.assign(UVW=d.UVW.assign_attrs(units="lambda")), "UVW is in lambda"),
    ):
        with pytest.raises(MeasurementSetError, match=wrong):
            uvstack.stack(uvstack.Datasets(change(alone), children), at(SOURCE))
    field = children["field_and_source_base_xds"]
    moved = field.assign(
        FIELD_PHASE_CENTER_DIRECTION=field.FIELD_PHASE_CENTER_DIRECTION.assign_attrs(frame="altaz")
    )
    with pytest.raises(MeasurementSetError, match="phase centres in the frame 'altaz'"):
        uvstack.stack(
            uvstack.Datasets(alone, children | {"field_and_source_base_xds": moved}), at(SOURCE)
        )


def test_a_view_of_xarray_ms(made):
    """By xarray-ms itself, which is not in the lock."""
    pytest.importorskip("xarray_ms", reason="xarray-ms is not installed")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a SOURCE table that the small set has not
        tree = xarray.open_datatree(
            str(made),
            engine="xarray-ms:msv2",
            partition_schema=["DATA_DESC_ID", "FIELD_ID", "OBSERVATION_ID"],
        )
        found = uvstack.stack(tree, at(SOURCE))
    assert found.flux == pytest.approx(uvstack.stack(made, at(SOURCE)).flux, rel=1e-12)
