"""Datasets of dask-ms in place of a path.

The numbers are those of the set, and few are computed.
"""

import pickle

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

import oracles
import uvstack
from factories import ARCSEC, CENTRE, LL, RR, Spw, at, edit, make_ms, offset, read
from uvstack import errors
from uvstack.errors import (
    ImageError,
    InvalidVisibilityWarning,
    MeasurementSetError,
    OutputError,
    WeightsWarning,
)
from uvstack.io.dataset import open_sets
from uvstack.io.info import describe
from uvstack.io.ms import read_block, scan_rows
from zoo import inhabit

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
daskms = pytest.importorskip("daskms")
xarray = pytest.importorskip("xarray")
zarr_files = pytest.importorskip("daskms.experimental.zarr")

SOURCE, EMPTY = offset(5 * ARCSEC, 3 * ARCSEC), offset(-20 * ARCSEC, 9 * ARCSEC)
SUBTABLES = (
    "ANTENNA",
    "DATA_DESCRIPTION",
    "FEED",
    "FIELD",
    "OBSERVATION",
    "POLARIZATION",
    "SPECTRAL_WINDOW",
)


def make_one(folder):
    """A field, a window, noise, and weights and flags that differ from row to row."""
    return varied(
        make_ms(
            folder / "one.ms",
            sources=[(*SOURCE, 1.0)],
            noise=0.1,
            data_columns=("DATA", "MODEL_DATA"),
        )
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The set of `make_one`, which nobody changes."""
    return make_one(tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def store(one, tmp_path_factory):
    """Its copy in Zarr."""
    return to_zarr(one, tmp_path_factory.mktemp("store") / "copy.zarr", row=17)


@pytest.fixture
def lazy(store):
    """The datasets of the copy."""
    return zarr_files.xds_from_zarr(store)


@pytest.fixture
def several(tmp_path):
    """Two fields and two windows of different shape."""
    return make_ms(
        tmp_path / "several.ms",
        fields=[CENTRE, offset(60 * ARCSEC, 0)],
        noise=0.1,
        sources=[(*SOURCE, 1.0)],
        spws=[Spw(), Spw(1.6e9, 5e6, 4)],
        descriptions=[(0, (RR, LL)), (1, (RR,))],
        weights={"WEIGHT": lambda d: 1.0 + d, "SIGMA": lambda d: (1.0 + d) ** -0.5},
    )


def varied(path):
    rng = np.random.default_rng(3)
    edit(path, "WEIGHT", lambda w: rng.uniform(1, 4, w.shape).astype(np.float32))
    edit(path, "FLAG", lambda f: f | (rng.uniform(size=f.shape) < 0.1))
    edit(path, "FLAG_ROW", lambda f: f | (rng.uniform(size=f.shape) < 0.05))
    edit(path, "MODEL_DATA", lambda v: v * np.complex64(0.25))
    return path


def to_zarr(ms, out, **chunks):
    """Path of a copy of a set as dask-ms writes it."""
    main = daskms.xds_from_ms(str(ms), chunks=chunks or {"row": 10_000})
    writes = [zarr_files.xds_to_zarr(main, str(out))]
    for name in SUBTABLES:
        groups = {"group_cols": "__row__"} if name in ("POLARIZATION", "SPECTRAL_WINDOW") else {}
        rows = daskms.xds_from_table(f"{ms}::{name}", **groups)
        writes.append(zarr_files.xds_to_zarr(rows, f"{out}::{name}"))
    dask.compute(writes)
    return str(out)


def subtables_of(store):
    return {name: zarr_files.xds_from_zarr(f"{store}::{name}") for name in SUBTABLES}


def sources_like(ms, store):
    """The set in all kinds that dask-ms makes of it."""
    lazy = zarr_files.xds_from_zarr(store)
    return {
        "of the set": daskms.xds_from_ms(str(ms), chunks={"row": 10, "chan": 2}),
        "without groups": daskms.xds_from_ms(str(ms), group_cols=["DATA_DESC_ID"]),
        "zarr": lazy,
        "path of zarr": store,
        "subtables of the set": uvstack.Datasets(lazy, ms),
        "subtables given": uvstack.Datasets(lazy, subtables_of(store), frame="J2000"),
        "in memory": uvstack.Datasets([one.compute() for one in lazy], store),
    }


def test_a_stack_of_datasets_is_that_of_the_set(one, store):
    alone = uvstack.stack(one, at(SOURCE), column="DATA-MODEL_DATA")
    assert alone.flux == pytest.approx(0.75, abs=0.03)
    wanted = uvstack.stack(one, at(SOURCE, EMPTY), column="DATA-MODEL_DATA", bootstrap=20, seed=1)
    for kind, given in sources_like(one, store).items():
        found = uvstack.stack(
            given, at(SOURCE, EMPTY), column="DATA-MODEL_DATA", bootstrap=20, seed=1
        )
        assert (found.flux, found.flux_error) == (wanted.flux, wanted.flux_error), kind
        assert found.bootstrap_error == wanted.bootstrap_error, kind
        np.testing.assert_array_equal(found.stamp.brightness, wanted.stamp.brightness)


def test_fields_windows_and_shapes_are_told_apart(several, tmp_path):
    made = sources_like(several, to_zarr(several, tmp_path / "copy.zarr"))
    kinds = {kind: made[kind] for kind in ("of the set", "without groups", "zarr")}
    for select in (
        {},
        {"field": "field1", "spw": "spw1", "uvmin": "1km", "timerange": "12:00:05~12:00:25"},
    ):
        wanted = uvstack.stack(several, at(SOURCE), **select)
        for kind, given in kinds.items():
            found = uvstack.stack(given, at(SOURCE), **select)
            assert found.flux == pytest.approx(wanted.flux, rel=1e-12), (kind, select)
            assert found.flux_error == pytest.approx(wanted.flux_error, rel=1e-12), (kind, select)


def test_every_task_takes_datasets(one, lazy):
    # With more threads the gridder adds in any order.
    image = {"size": 32, "cell": 2 * ARCSEC, "threshold": 0.01, "threads": 1}
    assert uvstack.fit(lazy, model="delta").parameters == uvstack.fit(one, model="delta").parameters
    np.testing.assert_array_equal(
        uvstack.image(lazy, **image).dirty, uvstack.image(one, **image).dirty
    )
    fake = {"realisations": 3, "seed": 1, "radius": 60 * ARCSEC}
    np.testing.assert_array_equal(
        uvstack.montecarlo(lazy, at(SOURCE), **fake).uv.fluxes,
        uvstack.montecarlo(one, at(SOURCE), **fake).uv.fluxes,
    )
    of_set, of_lazy = describe(one), describe(uvstack.Datasets(lazy))
    for found in (of_set, of_lazy):
        del found["path"]
        found["columns"] = sorted(set(found["columns"]) - {"FLAG_CATEGORY"})  # never filled
        found["data_columns"].sort()
    assert of_lazy == of_set


def test_a_stacked_set_of_datasets_is_that_of_the_set(several, tmp_path):
    store = to_zarr(several, tmp_path / "copy.zarr")
    uvstack.stack(several, at(SOURCE), out=tmp_path / "of_set.ms")
    uvstack.stack(store, at(SOURCE), out=tmp_path / "of_zarr.ms")
    order = np.lexsort([read(several, name) for name in ("ANTENNA2", "ANTENNA1", "TIME")])
    assert order.size == read(tmp_path / "of_zarr.ms", "TIME").size
    found, wanted = (
        uvstack.fit(tmp_path / name, model="delta") for name in ("of_zarr.ms", "of_set.ms")
    )
    assert found.parameters[0] == pytest.approx(wanted.parameters[0], rel=1e-7)
    for table, column in (
        ("ANTENNA", "POSITION"),
        ("ANTENNA", "NAME"),
        ("OBSERVATION", "TELESCOPE_NAME"),
        ("DATA_DESCRIPTION", "SPECTRAL_WINDOW_ID"),
        ("FEED", "POLARIZATION_TYPE"),
    ):
        np.testing.assert_array_equal(
            read(tmp_path / "of_zarr.ms", column, table),
            read(tmp_path / "of_set.ms", column, table),
        )


def test_rows_that_were_selected_before(one, lazy):
    (lazy,) = lazy
    wanted = uvstack.stack(one, at(SOURCE), timerange="12:00:15~12:00:25")
    late = (lazy.TIME[0] + 15 < lazy.TIME) & (lazy.TIME[0] + 25 > lazy.TIME)
    for selected in (lazy.isel(row=np.flatnonzero(late)), lazy.where(late.compute(), drop=True)):
        assert uvstack.stack([selected], at(SOURCE)).flux == wanted.flux
    with pytest.raises(
        MeasurementSetError, match="ANTENNA1 .*no whole numbers; select rows with isel"
    ):
        uvstack.stack([lazy.where(late)], at(SOURCE))
    with pytest.raises(MeasurementSetError, match=r"announces \(3, 2\) .* cut the datasets"):
        uvstack.stack([lazy.isel(chan=[1, 2])], at(SOURCE))


def test_values_that_are_none(tmp_path):
    one = make_one(tmp_path)
    edit(one, "DATA", lambda v: np.where(np.arange(v.shape[0])[:, None, None] % 7 == 2, np.nan, v))
    edit(one, "UVW", lambda v: np.where(np.arange(len(v))[:, None] % 11 == 3, np.nan, v))
    store = to_zarr(one, tmp_path / "copy.zarr")
    with pytest.warns(InvalidVisibilityWarning) as of_set:
        wanted = uvstack.stack(one, at(SOURCE))
    with pytest.warns(InvalidVisibilityWarning) as of_zarr:
        assert uvstack.stack(store, at(SOURCE)).flux == wanted.flux
    assert str(of_zarr[0].message) == str(of_set[0].message)


def test_only_the_chunks_that_rows_touch_are_computed(one):
    computed = []

    def seen(block):
        computed.append(block.shape)
        return block

    (lazy,) = daskms.xds_from_ms(str(one), chunks={"row": 6})
    spied = lazy.assign(
        DATA=(
            lazy.DATA.dims,
            lazy.DATA.data.map_blocks(seen, meta=np.zeros((0, 0, 0), np.complex64)),
        )
    )
    computed.clear()
    (structure,), (selection,) = open_sets([spied], timerange="12:00:15~12:00:25")
    assert not computed
    blocks = scan_rows(structure, selection, {0: 7})
    table = structure.datasets
    for block in blocks:
        computed.clear()
        (partition,) = read_block(structure, selection, block, ("DATA", None))
        assert 1 <= len(computed) <= 3
        assert partition.vis.shape[0] <= 7
        np.testing.assert_array_equal(partition.vis, read(one, "DATA")[partition.rows])
    computed.clear()
    np.testing.assert_array_equal(
        table.read_rows("DATA", np.array([2, 13, 14])), read(one, "DATA")[[2, 13, 14]]
    )
    assert len(computed) == 2


def test_datasets_travel_to_other_processes(one, lazy):
    import cloudpickle

    (structure,), (selection,) = open_sets(lazy)
    (block,) = scan_rows(structure, selection, {0: 10**6})
    there, chosen = pickle.loads(cloudpickle.dumps((structure, selection)))
    (here,), (moved,) = (
        list(read_block(s, selection, block, ("DATA", None))) for s in (structure, there)
    )
    assert chosen == selection
    np.testing.assert_array_equal(moved.vis, here.vis)
    np.testing.assert_array_equal(moved.weight, here.weight)


def test_what_datasets_cannot(one, lazy, store, tmp_path):
    with pytest.raises(OutputError, match="only read; write them to a measurement set"):
        uvstack.subtract(lazy, "MODEL_DATA")
    with pytest.raises(OutputError, match="only read; write them to a measurement set"):
        uvstack.fit(lazy, model="delta", write="model", into="FITTED")
    with pytest.raises(ImageError, match="reads measurement sets alone; use our own imager"):
        uvstack.image(lazy, size=32, cell=ARCSEC, imager="wsclean")
    with pytest.raises(MeasurementSetError, match=r"subtables=\"survey.ms\""):
        uvstack.stack([lazy[0].compute()], at(SOURCE))
    with pytest.raises(MeasurementSetError, match="it has no .*SPECTRAL_WINDOW"):
        uvstack.stack(
            uvstack.Datasets(lazy, {"FIELD": zarr_files.xds_from_zarr(f"{store}::FIELD")}),
            at(SOURCE),
        )
    with pytest.raises(MeasurementSetError, match="put those that make one set together"):
        uvstack.stack([one, *lazy], at(SOURCE))
    with pytest.raises(MeasurementSetError, match="there are none"):
        uvstack.stack(uvstack.Datasets([]), at(SOURCE))
    with pytest.raises(MeasurementSetError, match="a str among them"):
        uvstack.stack(uvstack.Datasets([str(one)]), at(SOURCE))
    with pytest.raises(MeasurementSetError, match="neither a measurement set nor a store"):
        uvstack.stack(uvstack.Datasets(lazy, tmp_path / "elsewhere"), at(SOURCE))
    with pytest.raises(MeasurementSetError, match="has no .*UVW"):
        uvstack.stack(uvstack.Datasets([lazy[0].drop_vars("UVW")], one), at(SOURCE))
    with pytest.raises(MeasurementSetError, match="DATA has the axes row, corr, chan"):
        uvstack.stack([lazy[0].transpose("row", "corr", "chan", "uvw")], at(SOURCE))


def test_a_chunk_that_cannot_be_computed_is_one_line(one):
    def broken(block):
        raise ValueError("disk\non fire")

    (lazy,) = daskms.xds_from_ms(str(one))
    data = lazy.DATA.data.map_blocks(broken, meta=np.zeros((0, 0, 0), np.complex64))
    with pytest.raises(MeasurementSetError, match="DATA cannot be computed: disk on fire"):
        uvstack.stack([lazy.assign(DATA=(lazy.DATA.dims, data))], at(SOURCE))


def test_sets_and_datasets_together(one, tmp_path):
    other = varied(
        make_ms(
            tmp_path / "other.ms",
            sources=[(*SOURCE, 1.0)],
            noise=0.1,
            seed=5,
            data_columns=("DATA", "MODEL_DATA"),
        )
    )
    wanted = uvstack.stack([one, other], at(SOURCE), out=tmp_path / "of_sets.ms")
    mixed = [one, uvstack.Datasets(zarr_files.xds_from_zarr(to_zarr(other, tmp_path / "b.zarr")))]
    found = uvstack.stack(mixed, at(SOURCE), out=tmp_path / "mixed.ms")
    assert found.flux == wanted.flux
    for column in ("DATA", "UVW", "WEIGHT", "ANTENNA1", "DATA_DESC_ID"):
        np.testing.assert_array_equal(
            read(tmp_path / "mixed.ms", column), read(tmp_path / "of_sets.ms", column)
        )


def test_frames_that_dask_ms_does_not_keep(tmp_path):
    path = make_ms(tmp_path / "b1950.ms", frame="B1950", sources=[(*SOURCE, 1.0)])
    store = to_zarr(path, tmp_path / "b1950.zarr")
    lazy = zarr_files.xds_from_zarr(store)
    from astropy.coordinates import SkyCoord

    from uvstack.sky.coordinates import parse_frame

    where = SkyCoord([SOURCE[0]], [SOURCE[1]], unit="rad", frame=parse_frame("B1950"))
    assert uvstack.stack(daskms.xds_from_ms(str(path)), where).flux == pytest.approx(1, abs=1e-5)
    assert uvstack.stack(uvstack.Datasets(lazy, frame="B1950"), where).flux == pytest.approx(
        1, abs=1e-5
    )
    with pytest.raises(MeasurementSetError, match="says its frame; leave frame out"):
        uvstack.stack(uvstack.Datasets(lazy, path, frame="B1950"), where)
    fields = zarr_files.xds_from_zarr(f"{store}::FIELD")
    fields = [
        f.assign(PhaseDir_Ref=(("row",), da.full(f.sizes["row"], 21, chunks=f.sizes["row"])))
        for f in fields
    ]
    with pytest.raises(MeasurementSetError, match="frames by number"):
        uvstack.stack(uvstack.Datasets(lazy, subtables_of(store) | {"FIELD": fields}), where)


def test_weights_follow_the_rules_of_sets(tmp_path):
    path = make_ms(
        tmp_path / "w.ms",
        sources=[(*SOURCE, 1.0)],
        noise=0.1,
        weights={"WEIGHT_SPECTRUM": 0.0, "WEIGHT": 0.0, "SIGMA": 0.5},
    )
    edit(
        path, "SIGMA", lambda s: np.random.default_rng(1).uniform(1, 2, s.shape).astype(np.float32)
    )
    lazy = zarr_files.xds_from_zarr(to_zarr(path, tmp_path / "w.zarr"))
    with pytest.warns(WeightsWarning, match="SIGMA is used instead"):
        wanted = uvstack.stack(path, at(SOURCE))
    with pytest.warns(WeightsWarning, match="SIGMA is used instead"):
        assert uvstack.stack(lazy, at(SOURCE)).flux == wanted.flux
    bare = [one.drop_vars(["WEIGHT_SPECTRUM", "WEIGHT", "SIGMA"]) for one in lazy]
    with pytest.warns(WeightsWarning, match="no column of weights"):
        uvstack.stack(bare, at(SOURCE))


#: Layouts of the zoo in which datasets might go another way than the set.
RARE = (
    "unused rows first",
    "DATA_DESCRIPTION the other way round",
    "ANTENNA the other way round",
    "frame ICRS",
    "frame of each row",
    "REFERENCE_DIR in another frame",
    "POINTING that agrees",
    "windows of two shapes",
    "shuffled",
    "autocorrelations",
    "several observations",
    "SIGMA alone",
    "weights 0",
    "spectrum of weights of one window",
    "field with an ephemeris",
)


@pytest.mark.parametrize("name", RARE)
def test_layouts_of_the_zoo(name, tmp_path):
    who = inhabit(name, tmp_path)
    targets = SkyCoord(*np.array(who.scene.targets).T, unit="rad", frame="fk5")
    options = {"primary_beam": who.scene.beam, **who.layout.select}
    if who.layout.fails is not None:
        with pytest.raises(getattr(errors, who.layout.fails[0]), match=who.layout.fails[1]):
            uvstack.stack(daskms.xds_from_ms(who.path), targets, **options)
        return
    truth = oracles.rows_stacked(who.rows, who.scene.targets, who.scene.power)
    found = uvstack.stack(daskms.xds_from_ms(who.path), targets, **options).flux
    assert found == pytest.approx(truth, abs=1e-4 * who.layout.slack)
    assert found == pytest.approx(uvstack.stack(who.path, targets, **options).flux, rel=1e-12)


@pytest.mark.parametrize(
    "name", ["spectrum of weights in some rows", "spectrum of weights in later rows"]
)
def test_cells_that_dask_ms_cannot_read(name, tmp_path):
    """It would end the process, or leave the column out and give other weights."""
    who = inhabit(name, tmp_path)
    with pytest.raises(
        MeasurementSetError,
        match="WEIGHT_SPECTRUM has values in some rows .* give the path itself",
    ):
        uvstack.stack(daskms.xds_from_ms(who.path), at(SOURCE))


def test_parquet(one, tmp_path):
    pytest.importorskip(
        "pyarrow", reason="pyarrow, by which dask-ms reads Parquet, is not installed"
    )
    from daskms.experimental.arrow import xds_from_parquet, xds_to_parquet

    store = str(tmp_path / "copy.parquet")
    writes = [xds_to_parquet(daskms.xds_from_ms(str(one)), store)]
    for name in SUBTABLES:
        if name != "FEED":  # its strings do not go into Parquet
            writes.append(
                xds_to_parquet(daskms.xds_from_table(f"{one}::{name}"), f"{store}::{name}")
            )
    dask.compute(writes)
    wanted = uvstack.stack(one, at(SOURCE)).flux
    assert uvstack.stack(store, at(SOURCE)).flux == wanted
    assert uvstack.stack(uvstack.Datasets(xds_from_parquet(store), one), at(SOURCE)).flux == wanted
    assert uvstack.stack(xds_from_parquet(store), at(SOURCE)).flux == wanted
