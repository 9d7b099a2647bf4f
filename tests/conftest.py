"""What every test gets.

CASA without network and logs, a scratch directory to work in, the real data if there are any.
"""

import base64
import hashlib
import os
from pathlib import Path

import pytest
from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
# Before anything imports casatools, which reads it once.
os.environ["CASASITECONFIG"] = str(HERE / "casa_config.py")


#: The longest files, in a fresh environment, where programs are compiled: begun first, they do not
#: keep one processor waiting at the end.
LONG = ("test_peeling_by_quartical.py", "test_peeling.py", "test_cli_options.py", "test_zoo.py", "test_chunks.py",
        "test_experiment.py", "test_dist.py")


#: A PNG of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
_DRAW = Figure.savefig


def pytest_collection_modifyitems(items):
    """Long files first, the others in their order."""
    order = {name: i for i, name in enumerate(LONG)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONG)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Figures are drawn where a test has the mark `drawn`; else they are made and saved as one pixel.

    Drawing is more than half the time of a small report. Every kind of result and every command has
    its pictures drawn in some test.
    """
    Figure.savefig = _DRAW if item.get_closest_marker("drawn") else _saved_as_a_pixel


def _saved_as_a_pixel(figure, to, **_):
    """What `Figure.savefig` writes, for a path or an open file."""
    if hasattr(to, "write"):
        to.write(PIXEL)
    else:
        Path(to).write_bytes(PIXEL)


@pytest.fixture(scope="session", autouse=True)
def _scratch_directory(tmp_path_factory):
    """CASA leaves logs and *.last files where it stands."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def real_data():
    """Folder of the published data sets; absent on most machines."""
    folder = Path(os.environ.get("UVSTACK_TEST_DATA", HERE.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data: no folder {folder} (set UVSTACK_TEST_DATA)")
    return folder


@pytest.fixture(params=["casacore", "casatools"])
def tables(request, monkeypatch):
    """Name of the back end for casacore's tables that is in force.

    a test with this runs once for each.
    """
    # Some releases of casatools do not load everywhere: the reason is told then.
    pytest.importorskip(request.param, exc_type=ImportError)
    monkeypatch.setenv("UVSTACK_TABLES", request.param)
    return request.param


@pytest.fixture
def fingerprint():
    """Function: path → {file: (SHA-256, time of modification)} of all files of a table."""

    def take(path):
        return {str(file.relative_to(path)): (hashlib.sha256(file.read_bytes()).hexdigest(),
                                              file.stat().st_mtime_ns)
                for file in sorted(Path(path).rglob("*")) if file.is_file()}

    return take
