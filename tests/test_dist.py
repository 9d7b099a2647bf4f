"""Wheel and source distribution.

Nothing is lacking, nothing too much, and what is installed from the wheel alone works.
"""

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents
            if (folder / "setup.cfg").is_file())
PACKAGES = ("uvstack", "simulate", "peel")
#: Without what leads Python to the repository.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def tracked(*more):
    """Files that git holds, relative to the repository.

    `more` are further options of git ls-files.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what belongs into a wheel is known by git: this is no checkout")
    command = ["git", "ls-files", "-z", "--cached", *more]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {name for name in listed.split("\0") if name and (ROOT / name).is_file()}


def packaged():
    """Those of the packages; modules not yet handed to git are meant too."""
    return {name for name in tracked("--others", "--exclude-standard")
            if name.split("/")[0] in PACKAGES}


def viewer():
    """What `make viewer` took from npm, which git does not hold; empty where it was not made."""
    folder = ROOT / "uvstack/epochs/server/static/viewer"
    return {path.relative_to(ROOT).as_posix() for path in folder.glob("*")}


def done(*command, **options):
    """What a command prints; a failure is shown with all it said."""
    process = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                             env=ENVIRONMENT, timeout=300, **options)
    assert process.returncode == 0, f"{command}\n{process.stdout}\n{process.stderr}"
    return process.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder with wheel and source distribution, built from a copy of what git holds, by what `make dist` calls."""
    pytest.importorskip("build")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked() | packaged() | viewer():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    # The wheel is made from the source distribution, so a file that is lacking there is lacking in
    # both.
    done(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(made):
    """Path of the wheel."""
    (path,) = made.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_with_all_their_data_and_no_more(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = packaged() | viewer()
    assert {name for name in names if ".dist-info/" not in name} == wanted
    assert {Path(name).suffix for name in wanted} >= {".py", ".toml", ".cfg", ".txt"}


def test_the_viewer_comes_with_its_licences(wheel):
    if not viewer():
        pytest.skip("viewer: not fetched from npm (make viewer)")
    archive, folder = zipfile.ZipFile(wheel), "uvstack/epochs/server/static/viewer"
    assert {f"{folder}/{name}" for name in ("ol.js", "ol.css", "LICENSES.txt")} <= set(archive.namelist())
    licences = archive.read(f"{folder}/LICENSES.txt").decode()
    for name in json.loads((ROOT / "viewer/package-lock.json").read_text())["packages"]:
        assert name.removeprefix("node_modules/") in licences
    assert "OpenLayers Contributors" in licences


def test_the_wheel_says_who_may_use_it_and_what_it_needs(wheel):
    archive = zipfile.ZipFile(wheel)
    (licence,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    said = email.message_from_bytes(archive.read(metadata))
    assert said["Name"] == "uvstack"
    assert said["Requires-Python"] == ">=3.10"
    # An extra that names the project itself would make pip look for it elsewhere.
    assert {"casacore", "cluster", "docs", "test"} <= set(said.get_all("Provides-Extra"))
    assert any(needed.startswith("numba") for needed in said.get_all("Requires-Dist"))


def test_the_source_distribution_is_all_that_make_needs(made):
    (path,) = made.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {member.name.split("/", 1)[1] for member in archive.getmembers() if member.isfile()}
    assert tracked() <= held


@pytest.fixture(scope="module")
def scripts(wheel, tmp_path_factory):
    """Folder bin/ of an environment with the wheel.

    The packages it needs are lent by the environment of the tests.

    Of a folder that a .pth file adds to the path the own .pth files are not read: the editable
    installation is not seen.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    done(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
         "--no-index", "--no-compile", wheel)
    packages = done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(packages, "lent.pth").write_text("".join(f"{path}\n" for path in sorted(lent)))
    return python.parent


def test_what_is_installed_is_what_runs(scripts, tmp_path):
    where = "import uvstack, simulate; print(uvstack.__file__); print(simulate.__file__)"
    for path in done(scripts / "python", "-c", where, cwd=tmp_path).splitlines():
        assert Path(path).is_relative_to(scripts.parent), "imported from elsewhere than the environment"
    version = (ROOT / "uvstack/_version.py").read_text().split('"')[-2]
    assert done(scripts / "uvstack", "--version", cwd=tmp_path).strip().endswith(version)


def test_the_demo_runs_where_only_the_wheel_is(scripts, tmp_path):
    """It reads beams, antennas and the template of the page from where they were installed."""
    assert "true flux    2.5 µJy" in done(scripts / "uvstack", "demo", "--out", "demo",
                                          cwd=tmp_path)
    page = (tmp_path / "demo/report/index.html").read_text()
    assert page.count("data:image/png;base64,") >= 3
