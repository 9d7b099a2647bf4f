"""`uvstack epochs serve` as a process of its own: many requests at once, memory, files it leaves, how it ends."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import uvstack
from survey_archive import SOURCES, make_archive
from uvstack.cli.main import group
from uvstack.errors import ArchiveError, MissingDependencyError, SelectionError

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url, data=None):
    try:
        with OPENER.open(urllib.request.Request(url, data=data), timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@contextlib.contextmanager
def process(archive, scratch, script=None):
    """A server of the command line, or of a script that is given its archive and port, and its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ([sys.executable, "-m", "uvstack", "epochs", "serve", "--archive", str(archive), "--port", str(port)]
               if script is None else [sys.executable, "-c", script, str(archive), str(port)])
    root = str(Path(uvstack.__file__).parent.parent)
    server = subprocess.Popen(command, cwd=root, env={**os.environ, "TMPDIR": str(scratch)}, stderr=subprocess.PIPE)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                get(address)
                break
            assert server.poll() is None, server.stderr.read().decode()
            time.sleep(0.1)
        yield server, address
    finally:
        server.kill()
        server.wait()
        server.stderr.close()


def highest_memory(pid):
    """MB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def test_fifty_cutouts_at_once_without_an_error_or_a_leak(tmp_path):
    archive, scratch = make_archive(tmp_path / "archive", epochs=(1, 2)), tmp_path / "scratch"
    scratch.mkdir()
    places = [SOURCES[0], SOURCES[1], SOURCES[2], (0.0, 12.0, None), (359.999, 11.99, None)]
    with process(archive, scratch) as (server, address):
        urls = [f"{address}/api/v1/cutout?{urllib.parse.urlencode({'CIRCLE': f'{ra} {dec} 0.006'})}"
                for ra, dec, _ in places * 10]
        alone = [get(url) for url in urls[:5]]
        before = len(os.listdir(f"/proc/{server.pid}/fd"))
        with ThreadPoolExecutor(50) as pool:
            found = list(pool.map(get, urls))
        assert [status for status, _ in found] == [200] * 50
        for (_, body), (_, wanted) in zip(found, alone * 10, strict=True):
            with zipfile.ZipFile(io.BytesIO(body)) as one, zipfile.ZipFile(io.BytesIO(wanted)) as other:
                for name in ("ql-VLASS1.fits", "ql-VLASS2.fits"):
                    np.testing.assert_array_equal(fits.getdata(io.BytesIO(one.read(name))),
                                                  fits.getdata(io.BytesIO(other.read(name))))
        assert list(scratch.rglob("*")) == []
        end = time.monotonic() + 30  # connections are closed a little later
        while len(os.listdir(f"/proc/{server.pid}/fd")) > before + 2 and time.monotonic() < end:
            time.sleep(0.2)
        assert len(os.listdir(f"/proc/{server.pid}/fd")) <= before + 2
        assert highest_memory(server.pid) < 1000
        # A job's files go with the server.
        status, _ = get(f"{address}/view?position=0+12&size=20&unit=pixel&combine=no")
        assert status == 200
        server.send_signal(signal.SIGTERM)
        server.wait(60)
        assert server.returncode in (0, 130), server.stderr.read()
    assert list(scratch.rglob("*")) == []


def test_a_script_that_serves_leaves_no_files_either(tmp_path):
    archive, scratch = make_archive(tmp_path / "archive", epochs=(1,)), tmp_path / "scratch"
    scratch.mkdir()
    script = "import sys, uvstack.epochs; uvstack.epochs.serve(sys.argv[1], int(sys.argv[2]))"
    with process(archive, scratch, script) as (server, address):
        get(f"{address}/view?position=0+12&size=20&unit=pixel&combine=no")
        assert [path.name[:14] for path in scratch.iterdir()] == ["uvstack-serve-"]
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    assert list(scratch.iterdir()) == []


def test_uploads_above_the_limit_are_refused_and_heard(tmp_path):
    archive = make_archive(tmp_path / "archive", epochs=(1,))
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="l.txt"\r\n\r\n'
    with process(archive, tmp_path) as (_, address):
        for size, wanted in ((10_000_100, 413), (10 * 2**20 + 1, 413)):
            body = head + b"1 2\n" * (size // 4) + b"\r\n--x--\r\n"
            request = urllib.request.Request(f"{address}/api/v1/batch", data=body,
                                             headers={"Content-Type": "multipart/form-data; boundary=x"})
            with pytest.raises(urllib.error.HTTPError) as refused:
                OPENER.open(request, timeout=60)
            with refused.value as answer:
                assert answer.code == wanted
                assert b"larger than 10 MB" in answer.read()


def test_what_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "limits" else object())
    with pytest.raises(MissingDependencyError, match=r"needs limits: pip install 'uvstack\[epochs\]'"):
        uvstack.epochs.serve(tmp_path)


def test_what_cannot_be_served_is_one_line(tmp_path):
    with pytest.raises(ArchiveError, match="no such archive"):
        uvstack.epochs.serve(tmp_path / "none", port=8000 + os.getpid() % 1000)
    with pytest.raises(SelectionError, match="port"):
        uvstack.epochs.serve(tmp_path, port=0)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SelectionError, match="cannot listen"):
            uvstack.epochs.serve(tmp_path, port=taken.getsockname()[1])
    with pytest.raises(SelectionError, match="cannot listen"):
        uvstack.epochs.serve(tmp_path, host="no.such.host.invalid", port=8123)
    done = CliRunner().invoke(group, ["epochs", "serve", "--archive", "x", "--keep", "5"])
    assert done.exit_code == 2
    assert "has no unit" in done.output
