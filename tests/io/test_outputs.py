"""Outputs appear together or not at all.

Runs are killed and interrupted at every step they take on the disk, and run again.
"""

import errno
import fcntl
import importlib
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import uvstack
from factories import CENTRE, make_ms, read
from simulate.demo import DemoField
from simulate.task import observe
from uvstack.cli.main import group
from uvstack.errors import OutputError
from uvstack.io import claim, output
from uvstack.io.output import (
    check_output,
    check_report,
    report_folder,
    size_text,
    together,
    write_text,
    written_whole,
)
from uvstack.io.unfinished_column import read_mark
from uvstack.sky.components import components

NAMES = ("a.json", "b.png")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(uvstack.__file__).parent.parent)}
#: Everything that a run does to names on the disk, as Python's audit events call it.
_STEPS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "open", "os.truncate",
          "subprocess.Popen"}


def write_all(folder, overwrite=False):
    """A run with a file, a table of its own (a folder), and a report.

    What follows finds the file under its name.
    """
    with together():
        check_output(folder / "o.txt", overwrite)
        check_output(folder / "o.ms", overwrite)
        check_report(folder / "report", overwrite, NAMES)
        write_text(folder / "o.txt", "new")
        with written_whole(folder / "o.ms") as partial:
            (partial / "SUB").mkdir(parents=True)
            (partial / "table.dat").write_text("new")
            (partial / "SUB" / "table.dat").write_text("new")
        with report_folder(folder / "report", NAMES) as made:
            write_text(made / "a.json", (folder / "o.txt").read_text())


def tree(folder):
    """Path → content of all files, and None for folders."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
            for p in sorted(Path(folder).rglob("*"))}


class Killed(BaseException):
    """Ends a run without any of its cleaning up, as far as the disk is concerned."""


class Stopper:
    """Raises an exception at a step on the disk of a given number, once.

    Python's audit hooks cannot be taken away.
    """

    def __init__(self):
        self.folder, self.left, self.error = "", 0, None
        sys.addaudithook(self)

    def __call__(self, event, args):
        if self.left and event in _STEPS and self.folder in str(args[:2]):
            self.left -= 1
            if not self.left:
                raise self.error


STOPPER = Stopper()
close_run = claim.Run.close


def close_as_killed(run):
    """The end of a run, but for one that was killed: of that only the locks go."""
    try:
        if isinstance(STOPPER.error, Killed) and not STOPPER.left:
            raise STOPPER.error
        close_run(run)
    except Killed:
        for one in run._claims.values():
            one.unlock()
        raise


def stopped(function, folder, step, error):
    """Run a function and stop it at the step of this number; False where it ended before."""
    STOPPER.folder, STOPPER.left, STOPPER.error = str(folder), step, error
    try:
        function()
    except (Killed, KeyboardInterrupt):
        return True
    finally:
        was_reached, STOPPER.left, STOPPER.error = not STOPPER.left, 0, None
    return was_reached


BEFORE = {"nothing": {},
          "old outputs": {"o.txt": "old", "o.ms/table.dat": "old", "o.ms/OLD/table.dat": "old",
                          "report/a.json": "old", "report/b.png": "old",
                          "report/notes.txt": "of the user"},
          "a folder of the user": {"report/notes.txt": "of the user"}}


@pytest.mark.parametrize("error", [Killed(), KeyboardInterrupt()], ids=["killed", "interrupted"])
@pytest.mark.parametrize("before", BEFORE)
def test_a_run_stopped_at_any_step_leaves_all_or_nothing_and_the_same_run_works(
    tmp_path, before, error, monkeypatch):
    monkeypatch.setattr(claim.Run, "close", close_as_killed)
    overwrite = before == "old outputs"
    step = n_undone = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        for name, text in BEFORE[before].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        folder.mkdir(exist_ok=True)
        start = tree(folder)
        if not stopped(lambda folder=folder: write_all(folder, overwrite), folder, step, error):
            break
        names = ("o.txt", "o.ms", "report")
        with together():  # what a later command does first
            for name in names:
                check_report(folder / name, True,
                             ()) if name == "report" else check_output(folder / name, True)
        now = tree(folder)
        if now == start:
            n_undone += 1
            write_all(folder, overwrite)
            now = tree(folder)
        # Either way all is new, nothing else is there, and what belongs to the user is.
        assert now.pop("report/notes.txt", b"of the user") == b"of the user"
        assert now == {"o.txt": b"new", "o.ms": None, "o.ms/table.dat": b"new", "o.ms/SUB": None,
                       "o.ms/SUB/table.dat": b"new", "report": None, "report/a.json": b"new"}, step
    assert step > 30
    assert n_undone > 0.4 * step


def test_an_error_at_the_end_takes_all_back(tmp_path):
    (tmp_path / "o.txt").write_text("old")

    @together()
    def fails():
        write_text(tmp_path / "o.txt", "new")
        write_text(tmp_path / "p.txt", "new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert tree(tmp_path) == {"o.txt": b"old"}


def test_what_a_user_changed_after_a_kill_is_not_taken_away(tmp_path, monkeypatch):
    """Killed with o.txt in place and the report missing; then o.txt is edited."""

    def run():
        with together():
            write_text(tmp_path / "o.txt", "new")
            raise Killed

    monkeypatch.setattr(claim.Run, "close", close_as_killed)
    STOPPER.error = Killed()
    with pytest.raises(Killed):
        run()
    STOPPER.error = None
    time.sleep(0.01)
    (tmp_path / "o.txt").write_text("edited")
    with pytest.raises(OutputError,
                       match="killed before its end, and was changed since: move it away"):
        write_text(tmp_path / "o.txt", "newer")
    assert (tmp_path / "o.txt").read_text() == "edited"
    (tmp_path / "o.txt").rename(tmp_path / "mine.txt")
    (tmp_path / "o.txt").write_text("another file")
    write_text(tmp_path / "p.txt", "p")
    with pytest.raises(OutputError, match="exists"):
        check_output(tmp_path / "o.txt", False)
    assert tree(tmp_path) == {"mine.txt": b"edited", "o.txt": b"another file", "p.txt": b"p"}


def test_a_folder_of_another_that_has_the_name_of_remains_stays(tmp_path):
    (tmp_path / "o.txt.partial").mkdir()
    (tmp_path / "o.txt.partial" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match=r"o\.txt\.partial is in the way and no remains of a run"):
        write_text(tmp_path / "o.txt", "new")
    assert (tmp_path / "o.txt.partial" / "thesis.tex").exists()


def test_a_report_replaces_no_file_that_was_there(tmp_path):
    (tmp_path / "b.png").write_text("of the user")
    with pytest.raises(OutputError, match=r"b\.png exists"):
        check_report(tmp_path, False, NAMES)
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="is a file, and a report is a folder"):
        check_report(tmp_path / "f", True, NAMES)


@pytest.mark.parametrize("locks", [True, False])
def test_a_live_run_is_left_alone_and_a_dead_one_is_not(tmp_path, locks, monkeypatch):
    """Two processes with one output at once; also where the file system has no locks."""
    body = f"""
        import fcntl, sys, time
        from pathlib import Path
        from uvstack.io.output import written_whole
        if not {locks}:
            def flock(*_):
                raise OSError(95, "not supported")
            fcntl.flock = flock
        with written_whole(Path({str(tmp_path)!r}) / "o.txt") as partial:
            partial.write_text("by the first")
            print("writing", flush=True)
            sys.stdin.readline()
        """
    if not locks:
        def none(*_):
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(fcntl, "flock", none)
    for kill in (True, False):
        first = subprocess.Popen([sys.executable, "-c", textwrap.dedent(body)],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 env=ENVIRONMENT)
        try:
            assert first.stdout.readline() == "writing\n"
            with pytest.raises(OutputError, match=rf"another run, process {first.pid}, is writing .*o\.txt: wait for its end"):
                check_output(tmp_path / "o.txt", True)
            with pytest.raises(OutputError, match="another run"):
                write_text(tmp_path / "o.txt", "by the second")
            if kill:
                first.kill()
            first.communicate("go on\n")
        finally:
            first.kill()
            first.wait()
        if kill:
            write_text(tmp_path / "o.txt", "by the second")
        assert tree(tmp_path) == {"o.txt": b"by the second" if kill else b"by the first"}


def test_sizes_have_a_unit_that_suits_them():
    assert [size_text(n) for n in (0, 999, 42_700, 3.21e6, 4.5e12)] == ["0 bytes", "999 bytes",
                                                                        "42.7 kB", "3.21 MB",
                                                                        "4.5e+03 GB"]


# ----------------------------------------------------------------------------------------- commands


@pytest.fixture
def survey(tmp_path, monkeypatch):
    """A set, a list and a catalogue, in the folder in which the tests then stand."""
    monkeypatch.chdir(tmp_path)
    make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)], noise=0.1, n_ant=5, n_times=4)
    degrees = ",".join(f"{np.rad2deg(angle):.12f}" for angle in CENTRE)
    (tmp_path / "p.csv").write_text(f"ra,dec,kind\n{degrees},x\n")
    (tmp_path / "m.csv").write_text(f"ra,dec,flux\n{degrees},1.0\n")
    return tmp_path / "a.ms"


def run(*args):
    return CliRunner().invoke(group, [str(a) for a in args])


#: Command line, where it is stopped (what is called last before), and what it makes.
COMMANDS = {"stack": (("stack", "a.ms", "p.csv", "--out", "o.ms", "--group-by", "kind", "--fit",
                       "point"), "uvstack.report.files.render_page",
                      {"o.ms", "o-x.ms", "o-report"}),
            "image": (("image", "a.ms", "--size", 32, "--cell", "4arcsec", "--out", "i",
                       "--iterations", 0), "uvstack.report.files.render_page",
                      {"i-image.fits", "i-report"}),
            "compare": (("compare", "a.ms", "p.csv", "--out", "o.ms", "--fit", "point", "--size",
                         160, "--cell", "4arcsec"), "uvstack.report.files.render_page",
                        {"o.ms", "p-compare-report"}),
            "montecarlo": (("montecarlo", "a.ms", "p.csv", "--realisations", 3, "--radius",
                            "5arcmin", "--seed", 1), "uvstack.report.files.render_page",
                           {"p-montecarlo-report"}),
            "fit": (("fit", "a.ms", "--model", "point", "--write", "residual"),
                    "uvstack.report.files.render_page", {"a-fit-report"}),
            "subtract": (("subtract", "a.ms", "--model", "m.csv"),
                         "uvstack.report.files.render_page", {"a-subtract-report"})}


@pytest.fixture
def killed(monkeypatch):
    """Function: run a command and kill it where a function is called."""

    def go(arguments, where):
        def kill(*_, **__):
            STOPPER.error = Killed()
            raise STOPPER.error

        with monkeypatch.context() as patch:
            module, _, name = where.rpartition(".")
            patch.setattr(importlib.import_module(module), name, kill)
            patch.setattr(claim.Run, "close", close_as_killed)
            patch.setattr("uvstack.io.write_columns.remove_column", lambda *_: None)
            with pytest.raises(Killed):
                CliRunner().invoke(group, [str(a) for a in arguments])
        STOPPER.error = None

    return go


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_while_it_writes_its_report_works_again_without_overwrite(
    survey, tmp_path, name, killed):
    arguments, last, outputs = COMMANDS[name]
    before = {p.name for p in tmp_path.iterdir()}
    data = read(survey, "DATA")
    killed(arguments, last)
    assert any(p.suffix == ".partial" for p in tmp_path.iterdir())
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    made = {p.name for p in tmp_path.iterdir()} - before
    assert outputs <= made
    assert not any(".partial" in name for name in made)
    assert np.array_equal(read(survey, "DATA"), data)
    # What is complete is not replaced without being told to.
    again = run(*arguments)
    assert isinstance(again.exception, OutputError)
    assert "exists" in str(again.exception)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_interrupted_while_it_writes_its_report_leaves_nothing(survey, tmp_path, name,
                                                                         monkeypatch):
    arguments, last, _ = COMMANDS[name]
    before, columns = {p.name for p in tmp_path.iterdir()}, set(
        uvstack.io.ms.read_structure(survey).columns)

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    module, _, function = last.rpartition(".")
    monkeypatch.setattr(importlib.import_module(module), function, interrupt)
    assert run(*arguments).exit_code != 0
    assert {p.name for p in tmp_path.iterdir()} == before
    if name == "subtract":
        # All rows are written, and the mark says that the run has not ended.
        assert read_mark(str(survey), "RESIDUAL_DATA")["rows"] == len(read(survey, "TIME"))
    else:
        assert set(uvstack.io.ms.read_structure(survey).columns) == columns
    monkeypatch.undo()
    os.chdir(tmp_path)
    assert run(*arguments).exit_code == 0


def test_a_column_half_written_by_a_killed_fit_is_no_data_and_is_made_anew(survey, killed):
    arguments = ("fit", "a.ms", "--model", "point", "--write", "model", "--no-report")
    killed(arguments, "uvstack.io.write_columns._write_rows")
    assert read_mark(str(survey), "MODEL_DATA") is not None
    stacked = run("stack", "a.ms", "p.csv", "--no-ms", "--column", "MODEL_DATA")
    assert "column MODEL_DATA is unfinished" in str(stacked.exception)
    assert run(*arguments).exit_code == 0
    flux = uvstack.fit(survey, model="point").parameters[0]
    assert np.allclose(read(survey, "MODEL_DATA"), flux, rtol=1e-5)
    assert read_mark(str(survey), "MODEL_DATA") is None


def test_the_demo_replaces_nothing_without_being_told_to(tmp_path, monkeypatch):
    made = []

    def small(folder, seed, progress, *, overwrite):
        made.append(seed)
        done = observe(array="vla.sparse", frequency=1.4e9, width=1e6, integration=30.0,
                       duration=60.0, out=folder / "demo.ms",
                       sky=components(np.deg2rad([150.01]), np.deg2rad([2.2]), [1.0], target=True),
                       overwrite=overwrite, noise=0.1)
        return DemoField(done.ms, done.targets, 1.0, 1.0, 1)

    monkeypatch.setattr("simulate.demo_page.make_demo_field", small)
    monkeypatch.chdir(tmp_path)
    make_ms(tmp_path / "stacked.ms")
    before = tree(tmp_path / "stacked.ms")
    done = run("demo", "--out", ".")
    assert "stacked.ms exists; choose another name or pass --overwrite" in str(done.exception)
    assert not made
    assert tree(tmp_path / "stacked.ms") == before
    assert [p.name for p in tmp_path.iterdir()] == ["stacked.ms"]
    assert run("demo").exit_code == 0
    again = run("demo")
    assert "pass --overwrite" in str(again.exception)
    assert len(made) == 1
    assert run("demo", "--overwrite").exit_code == 0
    assert (tmp_path / "demo" / "report" / "index.html").is_file()


# --------------------------------------------------------------------------------------- full disks


def limited(tmp_path, n_bytes, body):
    """Output of a process none of whose files may grow beyond so many bytes, as on a disk that fills up."""
    text = textwrap.dedent(f"""
        import resource, signal, sys
        from uvstack.cli.main import main
        import simulate.task, uvstack.image_stacking.task, uvstack.stacking.task  # what numba and matplotlib cache is on the disk before
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        sys.argv = ["uvstack", *{body!r}]
        main()
        """)
    return subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True,
                          text=True, check=False, env=ENVIRONMENT)


@pytest.mark.parametrize("n_bytes", [20_000, 120_000, 400_000])
def test_simulate_on_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, n_bytes):
    # Files that grow beyond it: the first tables, the picture, the visibilities.
    done = limited(tmp_path, n_bytes,
                   ["simulate", "lindroos", "--type", "1", "--scale", "0.002", "--out", "s.ms"])
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error")
    assert list(tmp_path.iterdir()) == []


def test_image_stack_on_a_full_disk_leaves_no_half_report(survey, tmp_path):
    assert run("image", "a.ms", "--size", 64, "--cell", "4arcsec", "--out", "i", "--iterations",
               0).exit_code == 0
    before = {p.name for p in tmp_path.iterdir()}
    # The FITS files fit, the page with its pictures does not.
    done = limited(tmp_path, 25_000,
                   ["image-stack", "i-dirty.fits", "p.csv", "--stamp", "16", "--out", "k.fits"])
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "File too large" in done.stderr
    assert {p.name for p in tmp_path.iterdir()} == before


def test_simulate_says_before_the_work_how_much_it_wants(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage",
                        lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 70_000, 70_000))
    options = {"array": "vla.a", "integration": 10.0, "sky": components([2.6], [0.6], [1.0])}
    with pytest.raises(OutputError, match=r"1\.45 MB are needed for s\.ms, 70 kB are free"):
        observe(frequency=1.4e9 + 1e6 * np.arange(8), duration=120.0, out=tmp_path / "s.ms",
                **options)
    assert list(tmp_path.iterdir()) == []


def test_messages_on_interrupt_say_what_is_left(tmp_path, capsys, monkeypatch):
    from uvstack.cli import main

    monkeypatch.setattr(main.signal, "signal", lambda *_: None)

    def interrupt(*_):
        raise KeyboardInterrupt

    @together()
    def interrupted(*_, **__):
        write_text(tmp_path / "o.txt", "new")
        interrupt()

    monkeypatch.setattr(main.group, "main", interrupted)
    with pytest.raises(SystemExit):
        main.main()
    assert "nothing half-written is left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(claim.Claim, "release", interrupt)
    with pytest.raises(SystemExit):
        main.main()
    told = capsys.readouterr().err
    assert "o.txt.partial could not be removed, and the next run with the same outputs does it" in told
    monkeypatch.undo()
    output._left.clear()
