"""Bad input: one clear line, nothing half-written, the input untouched."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

import uvstack
from factories import ARCSEC, CENTRE, LR, RL, Spw, at, edit, make_ms, offset, read
from places import TESTS
from uvstack.chunks import map_chunks
from uvstack.errors import (
    ColumnError,
    DistantPositionsWarning,
    DroppedPositionsWarning,
    DuplicatePositionsWarning,
    ImageError,
    InvalidVisibilityWarning,
    MeasurementSetError,
    NoDataError,
    OutputError,
    PositionsError,
    PrimaryBeamError,
    SelectionError,
    UvstackError,
)
from uvstack.io.output import check_output
from uvstack.monte_carlo.task import montecarlo
from uvstack.sky.positions import positions_from_coord
from uvstack.stacking import task

SOURCE = offset(40 * ARCSEC, -70 * ARCSEC)
# Budget: as in test_stack_faults.
FLUX_TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """A good set, that no test changes."""
    return make_ms(tmp_path_factory.mktemp("survey") / "survey.ms", sources=[(*SOURCE, 1.0)],
                   n_times=8)


@pytest.fixture
def refused(tmp_path, fingerprint):
    """Function that stacks, wants an error of a kind with a text in one line, and nothing new or changed on the disk."""

    def check(kind, match, ms, positions, **options):
        options.setdefault("out", tmp_path / "out.ms")
        before = fingerprint(tmp_path), (fingerprint(ms) if Path(str(ms)).is_dir() else None)
        with pytest.raises(kind, match=match) as caught:
            uvstack.stack(ms, positions, **options)
        message = str(caught.value)
        assert isinstance(caught.value, UvstackError)
        assert "\n" not in message
        assert len(message) > 20
        assert before == (fingerprint(tmp_path),
                          (fingerprint(ms) if Path(str(ms)).is_dir() else None))
        return message

    return check


# ---------------------------------------------------------------------------------------------------------------------
# The measurement set


def test_a_missing_set(refused, tmp_path):
    refused(MeasurementSetError, r"nowhere\.ms: no such measurement set", tmp_path / "nowhere.ms",
            at(CENTRE))
    refused(MeasurementSetError, r"none-\*\.ms: no measurement set matches",
            str(tmp_path / "none-*.ms"), at(CENTRE))
    refused(MeasurementSetError, "no measurement set is given", [], at(CENTRE))


def test_what_is_no_measurement_set(refused, tmp_path, tables):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.ms").write_text("no")
    for name in ("folder", "file.ms"):
        refused(MeasurementSetError, f"{name}: not a measurement set .*table.dat was wanted",
                tmp_path / name, at(CENTRE))


def test_a_table_that_is_no_measurement_set(refused, survey, tables):
    refused(MeasurementSetError,
            "a casacore table, but no measurement set: it has no ANTENNA1, .*UVW",
            survey / "ANTENNA", at(CENTRE))


def test_damaged_sets(refused, tmp_path, tables):
    path = make_ms(tmp_path / "a.ms")
    data = max(path.glob("table.f*"), key=lambda file: file.stat().st_size)
    os.truncate(data, 1000)
    refused(MeasurementSetError,
            r"a\.ms: casacore cannot read it: .*; it may be damaged: copy or make it again", path,
            at(CENTRE))
    shutil.rmtree(path / "FIELD")
    refused(MeasurementSetError, "a.ms/FIELD: casacore cannot read it: .*does not exist", path,
            at(CENTRE))
    (path / "table.dat").write_bytes(b"rubbish")
    refused(MeasurementSetError, "a.ms: casacore cannot read it", path, at(CENTRE))


def test_a_missing_column(refused, survey, tables):
    refused(ColumnError, "survey.ms: column CORRECTED_DATA does not exist; there are: DATA$",
            survey, at(CENTRE), column="CORRECTED_DATA")
    refused(ColumnError, "column MODEL_DATA does not exist", survey, at(CENTRE),
            column="DATA-MODEL_DATA")
    refused(ColumnError, "column WEIGHT holds no visibilities", survey, at(CENTRE), column="WEIGHT")


def test_a_set_without_rows(refused, tmp_path):
    path = make_ms(tmp_path / "a.ms", n_times=0)
    refused(MeasurementSetError, "a.ms: the set has no rows", path, at(CENTRE))


@pytest.mark.parametrize("column", ["FLAG", "FLAG_ROW"])
def test_a_set_without_unflagged_data(refused, tmp_path, column):
    path = make_ms(tmp_path / "a.ms")
    edit(path, column, np.ones_like)
    refused(NoDataError, "every visibility is flagged, has no weight or is no parallel hand", path,
            at(CENTRE))
    refused(NoDataError, "every visibility is flagged", path, at(CENTRE), out=None)


def test_a_set_of_cross_hands_or_autocorrelations(refused, tmp_path):
    refused(NoDataError, "no parallel hand", make_ms(tmp_path / "a.ms", correlations=(RL, LR)),
            at(CENTRE))
    path = make_ms(tmp_path / "b.ms", autocorrelation=1.0)
    edit(path, "ANTENNA2", lambda a: read(path, "ANTENNA1"))
    refused(NoDataError, "selection leaves no cross-correlation", path, at(CENTRE))


@pytest.mark.parametrize("out", [None, "out.ms"])
def test_nan_and_infinity_count_as_flagged(tmp_path, out):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1.0)])

    def spoil(vis):
        vis[3, 1, 0] = np.nan
        vis[4, :, 1] = complex(0, np.inf)
        vis[5, 2, :] = np.nan

    edit(path, "DATA", spoil)
    edit(path, "FLAG", lambda f: f.__setitem__((5, 2, 1), True))
    with pytest.warns(InvalidVisibilityWarning, match="5 unflagged visibilities were NaN or infinite or had no .u, v, w., and were"):
        result = uvstack.stack(path, at(SOURCE), out=out and tmp_path / out)
    assert result.n_not_finite == 5
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert result.n_visibilities == 84 * 3 - 1  # of one both hands are bad
    if out:
        assert read(result.ms, "FLAG").sum() == 6
        assert np.isfinite(read(result.ms, "DATA")).all()
        assert np.isfinite(read(result.ms, "WEIGHT")).all()
    assert np.isfinite(result.image(16).brightness).all()


@pytest.mark.parametrize("out", [None, "out.ms"])
def test_baselines_that_are_no_numbers_count_as_flagged(tmp_path, out):
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1.0)])
    edit(path, "UVW", lambda uvw: uvw.__setitem__((7, 2), np.nan))
    with pytest.warns(InvalidVisibilityWarning, match="^6 unflagged"):
        result = uvstack.stack(path, at(SOURCE), out=out and tmp_path / out)
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert result.image(16).peak == pytest.approx(1.0, rel=1e-4)


def test_weights_that_are_no_numbers_weigh_nothing(tmp_path):
    weight = np.ones((84, 2), np.float32)
    weight[3], weight[4, 1], weight[5], weight[6] = np.nan, np.inf, -1.0, 0.0
    path = make_ms(tmp_path / "a.ms", sources=[(*SOURCE, 1.0)], weights={"WEIGHT": weight})
    result = uvstack.stack(path, at(SOURCE), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert result.n_visibilities == 3 * (84 - 3)
    assert np.isfinite(read(result.ms, "WEIGHT")).all()


# ---------------------------------------------------------------------------------------------------------------------
# The list of positions


@pytest.mark.parametrize(("text", "message"), [
    ("", "the file is empty; at least one position is needed"),
    ("# nothing\n", "holds only remarks; at least one position is needed"),
    ("ra,dec\n", "holds no positions; at least one is needed"),
    ("177.6,31.5\n177.6,north\n", "line 2: .*'177.6,north'"),
    ("177.6,31.5,1\n177.6\n", "line 2: .*'177.6'"),
    ("177.6,31.5\n177.6,131.5\n", "line 2: the declination 131.5° lies beyond ±90°"),
    ("177.6,31.5,1\n177.6,31.6,-1\n", "line 2: the weight is -1"),
    ("177.6,31.5\n177.6,31.6\nnan,31.7\n", "line 3: the position is NaN or infinite"),
    ("ra,dec\n177.6,31.5\n177.6\n", "line 3: 1 columns where the header has 2")])
def test_lists_that_cannot_be_read(refused, survey, tmp_path, text, message):
    path = tmp_path / "positions.csv"
    path.write_text(text)
    said = refused(PositionsError, message, survey, path)
    assert "positions.csv" in said


def test_a_missing_list(refused, survey, tmp_path):
    refused(PositionsError, r"none\.csv: there is no such file", survey, tmp_path / "none.csv")
    (tmp_path / "lists").mkdir()
    refused(PositionsError, "this is a folder", survey, tmp_path / "lists")
    refused(PositionsError, "given as int", survey, 5)


def test_positions_that_are_nan(refused, survey):
    refused(PositionsError, "1 of 2 positions are empty, NaN or infinite, in row 2; remove", survey,
            Table({"ra": [177.6, np.nan], "dec": [31.5, 31.5]}))
    refused(PositionsError, "NaN or infinite, in row 1", survey,
            SkyCoord([np.nan, 1.0], [0.5, 0.5], unit="rad"))
    refused(PositionsError, "weights must be finite.*row 1 says nan", survey,
            Table({"ra": [177.6], "dec": [31.5], "weight": [np.nan]}))


def test_an_empty_list_in_memory(refused, survey):
    refused(PositionsError, "holds no positions; at least one is needed", survey,
            SkyCoord([], [], unit="rad"))


def test_positions_outside_every_beam(refused, survey, tmp_path):
    refused(PositionsError, r"none of its 1 positions lies inside a primary beam \(gaussian.*cut-off 0\.1\); the nearest is 10° from "
            "field field0: are frame and unit", survey, at(offset(0, np.deg2rad(10))), primary_beam="gaussian:10arcmin@1.4GHz")
    mosaic = make_ms(tmp_path / "mosaic.ms", fields=[offset(0, 0.1 * i) for i in range(3)])
    refused(PositionsError, r"the nearest is 0\.5° from field field2", mosaic,
            at(offset(0, 0.2 + np.deg2rad(0.5))), primary_beam="gaussian:10arcmin@1.4GHz")
    # A constant beam ends at the horizon.
    refused(PositionsError, "up to 180° from field field0.*Beyond 90° nothing", survey,
            at((CENTRE[0] + np.pi, -CENTRE[1])))


def test_positions_inside_without_a_weight(refused, survey):
    far = offset(0, 0.02)
    table = Table({"ra": np.rad2deg([CENTRE[0], far[0]]), "dec": np.rad2deg([CENTRE[1], far[1]]),
                   "weight": [0.0, 1.0]})
    refused(PositionsError,
            "no position inside a primary beam has a weight: those of the list are 0", survey,
            table, weights="list", primary_beam="gaussian:10arcmin@1.4GHz")


def test_positions_outside_are_dropped_with_a_warning(survey):
    with pytest.warns(DroppedPositionsWarning, match=r"1 of 2 positions have no weight in any pointing \(primary beam below 0\.1"):
        result = uvstack.stack(survey, at(offset(0, 0.02), CENTRE),
                               primary_beam="gaussian:10arcmin@1.4GHz")
    assert (result.n_positions, result.n_positions_given) == (1, 2)
    assert result.dropped["outside the primary beam of every pointing"].tolist() == [0]


def test_duplicates_are_warned_of_and_count(survey, tmp_path):
    path = tmp_path / "twice.csv"
    path.write_text("ra,dec\n" + 2 * f"{np.rad2deg(SOURCE[0]):.15g},{np.rad2deg(SOURCE[1]):.15g}\n")
    with pytest.warns(DuplicatePositionsWarning, match="1 of 2 positions repeat another"):
        result = uvstack.stack(survey, path)
    assert result.n_positions == 2
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)


def test_a_column_of_weights_that_is_not_there(refused, survey):
    refused(PositionsError, "weights='list' wants a column of weights, and the list has none",
            survey, at(CENTRE), weights="list")


# ---------------------------------------------------------------------------------------------------------------------
# Options


def test_unknown_names_come_with_the_nearest(refused, survey):
    refused(SelectionError, "'primary-beams' is unknown; .*did you mean primary-beam", survey,
            at(CENTRE), weights="primary_beams")
    refused(SelectionError, "did you mean equal", survey, at(CENTRE), weights="equall")
    refused(SelectionError, "'x' is unknown; wanted equal, list, primary-beam, local-noise", survey,
            at(CENTRE), weights="list*x")
    refused(PrimaryBeamError, "unknown primary beam 'meerkta'; did you mean meerkat", survey,
            at(CENTRE), primary_beam="meerkta")
    refused(PrimaryBeamError, "no reference frequency; write for example gaussian:30arcmin@1.4GHz",
            survey, at(CENTRE), primary_beam="gaussian:3arcmin")
    refused(SelectionError, "has no field 'feild0'; did you mean field0", survey, at(CENTRE),
            field="feild0")
    refused(SelectionError, r"has no spw '4'\. It has 1: 0 \(spw0\)", survey, at(CENTRE), spw="4")


def test_uv_ranges(refused, survey):
    refused(SelectionError, r"uvmin='5 parsec' cannot be read; wanted e\.g\. 300m, 5km, 20klambda",
            survey, at(CENTRE), uvmin="5 parsec")
    refused(SelectionError, "uvmin=5km is above uvmax=3km", survey, at(CENTRE), uvmin="5km",
            uvmax="3km")
    refused(SelectionError, "one is a length, the other in wavelengths", survey, at(CENTRE),
            uvmin="1km", uvmax="3klambda")
    refused(NoDataError, "no unflagged visibility lies within the uv range above 900000 m", survey,
            at(CENTRE), uvmin="900km")
    refused(NoDataError, "within the uv range", survey, at(CENTRE), uvmax="1e-3m", out=None)


def test_numbers_out_of_range(refused, survey):
    refused(SelectionError, "pb_cutoff is 2; wanted a finite number from 0 to 1", survey,
            at(CENTRE), pb_cutoff=2)
    refused(SelectionError, "bootstrap is 1; wanted 0 or at least 2", survey, at(CENTRE),
            bootstrap=1)
    refused(SelectionError, "facet_size is 0; wanted a finite number from", survey, at(CENTRE),
            reproject=True, facet_size=0)


def test_noise_images(refused, survey, tmp_path):
    refused(SelectionError, r"local-noise want noise_image \(--noise-image\)", survey, at(CENTRE),
            weights="local-noise")
    refused(ImageError, "none.fits: no such image", survey, at(CENTRE), weights="local-noise",
            noise_image=tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("no image")
    refused(ImageError, "text.fits: not a FITS file", survey, at(CENTRE), weights="local-noise",
            noise_image=tmp_path / "text.fits")


# ---------------------------------------------------------------------------------------------------------------------
# The output


def test_an_existing_output_stays_unless_told_otherwise(refused, survey, tmp_path):
    first = uvstack.stack(survey, at(SOURCE), out=tmp_path / "out.ms")
    refused(OutputError, r"out\.ms exists; choose another name or pass --overwrite", survey,
            at(CENTRE), out=first.ms)
    second = uvstack.stack(survey, at(CENTRE), out=first.ms + "/", overwrite=True)
    assert second.flux != first.flux
    assert [p.name for p in tmp_path.iterdir()] == ["out.ms"]
    assert uvstack.stack(second.ms, at(CENTRE)).flux == pytest.approx(second.flux, rel=1e-5)


def test_a_failed_run_leaves_the_old_output_as_it_was(refused, survey, tmp_path):
    uvstack.stack(survey, at(SOURCE), out=tmp_path / "out.ms")
    refused(NoDataError, "uv range", survey, at(CENTRE), uvmin="900km", overwrite=True)


def test_an_output_never_replaces_an_input(refused, tmp_path):
    (tmp_path / "data").mkdir()
    path = make_ms(tmp_path / "data" / "a.ms")
    positions = tmp_path / "positions.csv"
    positions.write_text("ra,dec\n177.6,31.5\n")
    for out in (path, f"{path}/", tmp_path / "data" / ".." / "data" / "a.ms"):
        refused(OutputError, "is an input; an output never replaces its input", path, positions,
                out=out, overwrite=True)
    (tmp_path / "link.ms").symlink_to(path)
    refused(OutputError, "is an input", path, positions, out=tmp_path / "link.ms", overwrite=True)
    refused(OutputError, "is an input", tmp_path / "link.ms", positions, out=path, overwrite=True)
    refused(OutputError, "is an input", path, positions, out=positions, overwrite=True)
    # Nor the folder that the input lies in, nor anything inside the input.
    refused(OutputError, "lie one inside the other", path, positions, out=tmp_path / "data",
            overwrite=True)
    refused(OutputError, "lie one inside the other", path, positions, out=path / "FIELD",
            overwrite=True)


def test_a_folder_that_is_no_table_is_never_overwritten(refused, survey, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    refused(OutputError, "thesis is a folder, not a table, and is never overwritten", survey,
            at(CENTRE), out=tmp_path / "thesis", overwrite=True)


def test_a_missing_folder(refused, survey, tmp_path):
    refused(OutputError, r"no such folder for the output out\.ms; make it first", survey,
            at(CENTRE), out=tmp_path / "none" / "out.ms")


def test_no_permission(refused, survey, tmp_path, monkeypatch):
    # Root may write everywhere, so the answer of the system is replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    refused(OutputError, r"no permission to write the output out\.ms there", survey, at(CENTRE))


def test_no_space(refused, survey, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage",
                        lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    refused(OutputError, r"42\.7 kB are needed for out\.ms, 1 kB are free", survey, at(CENTRE))


def test_the_space_asked_for_is_about_what_is_used(tmp_path, monkeypatch):
    path = make_ms(tmp_path / "a.ms", n_times=600, spws=[Spw(n=32)],
                   weights={"WEIGHT": 1.0, "WEIGHT_SPECTRUM": 1.0})
    asked = []

    def watched(path, overwrite, n_bytes=0, inputs=()):
        asked.append(n_bytes)
        return check_output(path, overwrite, n_bytes, inputs)

    monkeypatch.setattr(task, "check_output", watched)
    out = uvstack.stack(path, at(CENTRE), out=tmp_path / "out.ms").ms
    used = sum(file.stat().st_size for file in Path(out).rglob("*"))
    # Subtables and half-filled tiles, about 3 MB, come on top.
    assert 0.8 * max(asked) < used < 1.3 * max(asked) + 4e6


def script(tmp_path, body, tables="casacore"):
    """A Python process that stacks `a.ms` of tmp_path in many small chunks."""
    text = textwrap.dedent(f"""
        import os, signal, sys, time
        # Ignored where the tests run in the background, and children inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, {str(TESTS)!r})
        import uvstack
        from factories import CENTRE, at
        from uvstack.stacking import task
        os.chdir({str(tmp_path)!r})
        def stack(chunk_size=60):
            return uvstack.stack("a.ms", at(CENTRE), out="out.ms", threads=2, chunk_size=chunk_size)
        """) + textwrap.dedent(body)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"UVSTACK_TABLES": tables,
                                              "CASASITECONFIG": str(TESTS / "casa_config.py")})


STALLS = """
    stack_chunk, done = task.stack_chunk, []
    def stall(job, chunk):
        done.append(chunk)
        if len(done) == 4:
            open("stalled", "w").close()
        if len(done) >= 4:
            time.sleep({seconds})
        return stack_chunk(job, chunk)
    task.stack_chunk = stall
    stack()
    """


def wait_for(path, process):
    for _ in range(600):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    raise AssertionError(f"{path} never came")


def test_a_killed_run_leaves_nothing_under_the_name_and_the_next_one_works(tmp_path, fingerprint):
    path = make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)])
    before = fingerprint(path)
    process = script(tmp_path, STALLS.format(seconds=60))
    try:
        wait_for(tmp_path / "stalled", process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (tmp_path / "out.ms").exists()
    assert (tmp_path / "out.ms.partial").is_dir()
    assert fingerprint(path) == before
    result = uvstack.stack(path, at(CENTRE), out=tmp_path / "out.ms")
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ms", "out.ms", "stalled"]


def test_ctrl_c_leaves_nothing_at_all(tmp_path):
    make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)])
    process = script(tmp_path, STALLS.format(seconds=0.5))
    try:
        wait_for(tmp_path / "stalled", process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    assert stderr.strip().splitlines()[-1] == "KeyboardInterrupt"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ms", "stalled"]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interrupted_run_leaves_nothing_and_can_be_repeated(survey, tmp_path, monkeypatch,
                                                               threads):
    stack_chunk, calls = task.stack_chunk, []

    def interrupted(job, chunk):
        calls.append(chunk)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return stack_chunk(job, chunk)

    monkeypatch.setattr(task, "stack_chunk", interrupted)
    with pytest.raises(KeyboardInterrupt):
        uvstack.stack(survey, at(SOURCE), out=tmp_path / "out.ms", threads=threads, chunk_size=200)
    time.sleep(0.2)
    assert list(tmp_path.iterdir()) == []
    result = uvstack.stack(survey, at(SOURCE), out=tmp_path / "out.ms", threads=threads,
                           chunk_size=200)
    assert result.flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)
    assert [p.name for p in tmp_path.iterdir()] == ["out.ms"]


def test_an_error_in_a_chunk_leaves_nothing(survey, tmp_path, monkeypatch, tables):
    def fails(job, chunk):
        raise MeasurementSetError("the disk was pulled out")

    monkeypatch.setattr(task, "stack_chunk", fails)
    with pytest.raises(MeasurementSetError, match="pulled out"):
        uvstack.stack(survey, at(SOURCE), out=tmp_path / "out.ms")
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_that_ends_after_the_run_failed_reaches_no_output():
    started, released, consumed = threading.Event(), threading.Event(), []

    def work(job, chunk):
        if chunk == 0:
            started.set()
            released.wait(10)
        else:
            started.wait(10)
            raise MeasurementSetError("the second chunk fails while the first is still at work")
        return chunk

    with pytest.raises(MeasurementSetError, match="second chunk fails"):
        map_chunks(work, None, [0, 1], lambda index, result: consumed.append(index), threads=2)
    released.set()
    time.sleep(0.2)
    assert consumed == []


def test_a_disk_that_fills_up_in_mid_run(tmp_path, fingerprint, tables):
    """The largest file allowed is smaller than the stack's data.

    Casacore fails while writing, in either back end.
    """
    path = make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)], n_times=100, spws=[Spw(n=8)])
    before = fingerprint(path)
    process = script(tmp_path, """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from uvstack.errors import OutputError
        try:
            stack(5000)
        except OutputError as error:
            print("refused:", error)
        """, tables)
    stdout, stderr = process.communicate(timeout=60)
    # Not ended by casacore's own abort either.
    assert process.returncode == 0, stderr
    (line,) = (line for line in stdout.splitlines() if line.startswith("refused:"))
    assert "casacore cannot write it" in line
    assert line.endswith("is there space and permission?")
    assert fingerprint(path) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ms"]


def test_all_is_well_without_warnings(survey, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert uvstack.stack(survey, at(SOURCE),
                             out=tmp_path / "out.ms").flux == pytest.approx(1.0, rel=FLUX_TOLERANCE)


def test_weights_too_small_for_a_measurement_set_are_an_error_not_a_zero(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)])
    positions = positions_from_coord(at(CENTRE), np.array([1e-30]))
    with pytest.raises(PositionsError, match="only their ratios matter"):
        uvstack.stack(ms, positions, weights="list")



@pytest.mark.parametrize("frame", ["J2000", "B1950"])
def test_positions_where_no_dish_looks_are_told(tmp_path, frame):
    # Of 25 m dishes at 1.4 GHz, 10 λ/D is 4.9°.
    near, far = offset(0, np.deg2rad(4.8)), offset(0, np.deg2rad(5.0))
    ms = make_ms(tmp_path / "s.ms", frame=frame)
    coord = [SkyCoord(*point, unit="rad", frame="fk5" if frame == "J2000" else "fk4").fk5
             for point in (near, far, CENTRE)]
    coord = SkyCoord([c.ra for c in coord], [c.dec for c in coord], frame="fk5")
    uvstack.stack(ms, coord[[0, 2]])
    with pytest.warns(DistantPositionsWarning, match=r"1 of 2 positions lie more than 4\.91° from every .* up to 5° from field field0"):
        uvstack.stack(ms, coord[[1, 2]])
    # A beam leaves them out and tells so itself.
    with pytest.warns(DroppedPositionsWarning):
        uvstack.stack(ms, coord[[1, 2]], primary_beam="gaussian:10arcmin@1.4GHz")


def test_positions_near_one_of_many_fields_are_near(tmp_path):
    mosaic = make_ms(tmp_path / "mosaic.ms", fields=[CENTRE, offset(0, np.deg2rad(10))])
    uvstack.stack(mosaic, at(offset(0, np.deg2rad(13)), CENTRE))


def test_dishes_of_unknown_size_are_told_from_ten_degrees_on(tmp_path):
    ms = make_ms(tmp_path / "s.ms")
    edit(ms, "DISH_DIAMETER", lambda values: values * 0, "ANTENNA")
    uvstack.stack(ms, at(offset(0, np.deg2rad(9.9))))
    with pytest.warns(DistantPositionsWarning, match="more than 10°"):
        uvstack.stack(ms, at(offset(0, np.deg2rad(10.1))))


@pytest.mark.parametrize("function", ["stack", "montecarlo", "compare"])
def test_right_ascensions_in_hours_are_told(tmp_path, function):
    centre = (1.0, -0.5)
    ms = make_ms(tmp_path / "s.ms", fields=[centre])
    table = Table({"ra": np.rad2deg([1.0, 1.0005, 1.001]) / 15,
                   "dec": np.rad2deg([-0.5, -0.5003, -0.5])})
    call = {"stack": uvstack.stack,
            "montecarlo": functools.partial(montecarlo, realisations=2, radius=1e-3),
            "compare": functools.partial(uvstack.compare, cell=2e-5, size=256, stamp=8)}[function]
    hint = "As hours its right ascensions would lie in the fields: name the column ra_hours"
    if function == "compare":
        with pytest.raises(PositionsError,
                           match="off the image; are frame and unit of the list right"):
            call(ms, table)
    else:
        with pytest.warns(DistantPositionsWarning, match=hint):
            call(ms, table)
    table.rename_column("ra", "ra_hours")
    call(ms, table)
