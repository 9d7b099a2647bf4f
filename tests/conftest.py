"""What every test gets.

CASA without network and logs, a scratch directory to work in, the real data if there are any.
"""

import hashlib
import os
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# Before anything imports casatools, which reads it once.
os.environ["CASASITECONFIG"] = str(HERE / "casa_config.py")


#: Files of few tests that take long in a fresh environment, where programs are compiled: begun
#: first, they do not keep one processor waiting at the end.
LONG = ("test_quartical.py", "test_dist.py")


def pytest_collection_modifyitems(items):
    """Long files first, the others in their order."""
    items.sort(key=lambda item: item.path.name not in LONG)


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
