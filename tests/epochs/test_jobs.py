"""Jobs: what they make, how they end, what is left of them."""

import io
import json
import re
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from survey_archive import SOURCES, make_archive, write_tile
from uvstack.epochs.server.archive_files import open_archive
from uvstack.epochs.server.limits import Limits
from uvstack.epochs.server.service import Service
from uvstack.epochs.server.task import make_application
from uvstack.errors import NameLookupError, SelectionError

POSITION = f"{SOURCES[0][0]} {SOURCES[0][1]}"


def known(name):
    if name == "source A":
        return SOURCES[0][:2]
    raise NameLookupError(f"the name {name!r} could not be looked up: SIMBAD and NED cannot be reached", 503)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return open_archive(make_archive(tmp_path_factory.mktemp("archive"), epochs=(1, 2)))


@pytest.fixture
def service(archive):
    with Service(archive, Limits(upload=100_000), known) as found:
        yield found


@pytest.fixture
def client(service):
    return make_application(service).test_client()


def finished(client, job, seconds=60):
    """What is told of a job that has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        told = client.get(job["links"]["self"]).json
        if told["state"] in ("done", "failed"):
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def batch(client, text, **fields):
    data = {"file": (io.BytesIO(text if isinstance(text, bytes) else text.encode()), "../../list.csv"), **fields}
    return client.post("/api/v1/batch", data=data, content_type="multipart/form-data")


def test_a_position_is_cut_combined_measured_drawn_and_packed(client):
    answer = client.post("/api/v1/jobs", json={"position": POSITION, "size": 50, "unit": "arcsec", "rms_box": 12})
    assert answer.status_code == 202
    told = finished(client, answer.json)
    assert told["state"] == "done", told
    images = {one["name"]: one for one in told["images"]}
    assert list(images) == ["ql-VLASS1", "ql-VLASS2", "ql-mean", "ql-median"]
    for one in images.values():
        header = fits.Header.fromstring(client.get(one["links"]["fits"]).data[:2880 * 6].decode("ascii", "replace"))
        assert one["beam"]["bmaj"] == pytest.approx(header["BMAJ"])
        assert one["peak"] == pytest.approx(SOURCES[0][2], rel=0.15)
        assert one["dynamic_range"] == pytest.approx(one["peak"] / one["rms"])
        # What is shown is what is downloaded.
        with fits.open(io.BytesIO(client.get(one["links"]["fits"]).data)) as hdus:
            shown = np.frombuffer(client.get(one["links"]["pixels"]).data, "<f4").reshape(one["shape"])
            np.testing.assert_array_equal(shown, np.squeeze(hdus[0].data))
        assert client.get(one["links"]["png"]).data[:4] == b"\x89PNG"
        lines = client.get(one["links"]["contours"], query_string={"levels": "5, 50"}).json
        assert lines["levels"] == pytest.approx([5 * one["rms"], 50 * one["rms"]])
        assert len(lines["lines"][1]) >= 1
    with zipfile.ZipFile(io.BytesIO(client.get(told["files"]["all.zip"]).data)) as files:
        assert {"ql-VLASS1.fits", "ql-mean.fits", "ql-median.png", "ql-chi2-calibrated.fits", "ql-combination.json",
                "summary.json"} <= set(files.namelist())
        assert json.loads(files.read("ql-combination.json"))["epochs"] == ["ql-VLASS1.fits", "ql-VLASS2.fits"]
        # No file says where the server has its own.
        assert not [name for name in files.namelist() if b"uvstack-serve-" in files.read(name)]
        assert json.loads(files.read("summary.json"))["query"]["rms_box"] == "12"


def test_epochs_alone_and_a_name(client):
    answer = client.post("/api/v1/jobs", data={"position": "source A", "size": 40, "unit": "pixel", "combine": "no"})
    told = finished(client, answer.json)
    assert [one["shape"] for one in told["images"]] == [[40, 40], [40, 40]]
    assert client.get("/api/v1/resolve?name=source A").json["ra"] == SOURCES[0][0]


@pytest.mark.parametrize(("fields", "status", "word"), [
    ({"position": "elsewhere"}, 503, "cannot be reached"), ({"position": ""}, 400, "position"),
    ({"position": "10 95"}, 400, "declination"), ({"position": "0 12", "size": "x"}, 400, "size"),
    ({"position": "0 12", "size": "-1"}, 400, "size"), ({"position": "0 12", "unit": "parsec"}, 400, "unit"),
    ({"position": "0 12", "rms_box": "1"}, 400, "rms_box"), ({"position": "0 12", "product": "x"}, 400, "product"),
    ({"position": "0 12", "combine": "maybe"}, 400, "combine")])
def test_what_cannot_be_is_refused_at_once(client, fields, status, word):
    answer = client.post("/api/v1/jobs", data=fields)
    assert answer.status_code == status
    assert word in answer.json["error"]
    page = client.get("/view", query_string=fields)
    assert page.status_code == status
    # The sentence stands on the page, and what was typed is still in the form.
    assert 'role="alert"' in page.text
    assert f'value="{fields["position"]}"' in page.text


def test_a_job_that_fails_says_why(client):
    told = finished(client, client.post("/api/v1/jobs", data={"position": "100 -20"}).json)
    assert told["state"] == "failed"
    assert "no Quick Look image" in told["error"]
    told = finished(client, client.post("/api/v1/jobs", data={"position": "0 12", "size": 1, "unit": "deg"}).json)
    assert "at most" in told["error"]


def test_a_list_is_answered_line_by_line(client):
    answer = batch(client, f"name,ra,dec\na,{SOURCES[0][0]},12\nb,x,12\nc,100,-20\n../d,{SOURCES[2][0]},11.99\n",
                   size="20", unit="pixel")
    assert answer.status_code == 202
    # Bad lines are known before the job has begun.
    assert [bool(line["error"]) for line in answer.json["lines"]] == [False, True, False, False]
    told = finished(client, answer.json)
    assert told["state"] == "done", told
    assert [line["line"] for line in told["lines"]] == [2, 3, 4, 5]
    assert [bool(line["error"]) for line in told["lines"]] == [False, True, True, False]
    assert told["lines"][0]["epochs"] == ["VLASS1", "VLASS2"]
    with zipfile.ZipFile(io.BytesIO(client.get(told["files"]["all.zip"]).data)) as files:
        names = files.namelist()
        assert "00002-a/ql-VLASS1.fits" in names
        assert not [name for name in names if ".." in name or name.startswith("/")]
        assert len([name for name in names if name.endswith(".fits")]) == 4
    page = client.get(answer.json["links"]["page"])
    assert page.text.count('class="bad"') == 2


def test_a_list_with_a_combination_of_each_line(client):
    told = finished(client, batch(client, POSITION, size="40", unit="arcsec", combine="yes").json)
    with zipfile.ZipFile(io.BytesIO(client.get(told["files"]["all.zip"]).data)) as files:
        assert any(name.endswith("ql-mean.fits") for name in files.namelist())


@pytest.mark.parametrize(("text", "status", "word"), [
    (b"", 400, "empty"), (b"x y\nz\n", 400, "line 1: "), (b"\xff\xfe\x00", 400, "UTF-8"),
    (b"10 20\n" * 30_000, 413, "larger"), (b"1 2\n" * 10_001, 413, "at most 10000")])
def test_lists_that_cannot_be_are_refused(client, text, status, word):
    answer = batch(client, text)
    assert answer.status_code == status
    assert word in answer.json["error"]


def test_a_list_without_a_good_line_is_answered_line_by_line(client):
    answer = batch(client, "10 95\nx\n")
    assert [line["line"] for line in answer.json["lines"]] == [1, 2]
    assert "declination" in answer.json["lines"][0]["error"]
    page = client.post("/batch", data={"file": (io.BytesIO(b"10 95\nx\n"), "l.txt")}, content_type="multipart/form-data")
    assert page.status_code == 400
    assert page.text.count('class="bad"') == 2


def test_no_list_is_one_sentence(client):
    assert client.post("/api/v1/batch").status_code == 400
    assert client.post("/batch").status_code == 400


def test_jobs_at_once_are_limited_and_the_same_one_is_shared(archive, monkeypatch):
    go = threading.Event()
    with Service(archive, Limits(jobs=1, waiting=1), known) as service:
        client = make_application(service).test_client()
        monkeypatch.setattr(service, "cut", lambda *_: go.wait(30) and [])
        first = client.post("/api/v1/jobs", data={"position": "0 12"}).json
        assert client.post("/api/v1/jobs", data={"position": "0 12"}).json["id"] == first["id"]
        assert client.post("/api/v1/jobs", data={"position": "0 12.001"}).status_code == 202
        refused = client.post("/api/v1/jobs", data={"position": "0 12.002"})
        assert refused.status_code == 429
        assert "try again" in refused.json["error"]
        go.set()


def folders(service):
    folder = service.jobs._folder
    return [] if folder is None else sorted(Path(folder.name).iterdir())


def test_files_go_when_they_expire_are_removed_or_the_server_ends(archive):
    with Service(archive, Limits(keep=0.2), known) as service:
        assert folders(service) == []  # nothing is made before it is needed
        client = make_application(service).test_client()
        ask = {"position": POSITION, "size": 20, "unit": "pixel", "combine": "no"}
        job = client.post("/api/v1/jobs", data=ask).json
        finished(client, job)
        root = folders(service)[0].parent
        end = time.monotonic() + 20
        while folders(service) and time.monotonic() < end:
            time.sleep(0.05)
        assert folders(service) == []
        assert client.get(job["links"]["self"]).status_code == 404
        assert "expired" in client.get(job["links"]["self"]).json["error"]
    assert not root.exists()
    with Service(archive, Limits(), known) as service:
        client = make_application(service).test_client()
        job = client.post("/api/v1/jobs", data=ask).json
        finished(client, job)
        assert len(folders(service)) == 1
        assert client.delete(job["links"]["self"]).status_code == 204
        assert folders(service) == []
        assert client.delete(job["links"]["self"]).status_code == 404


def test_the_disk_is_limited(archive):
    with Service(archive, Limits(disk=1), known) as service:
        client = make_application(service).test_client()
        told = finished(client, batch(client, f"{POSITION}\n" * 3, size="20", unit="pixel").json)
        assert "send the list in parts" in told["error"]
        first = client.post("/api/v1/jobs", data={"position": POSITION, "combine": "no"}).json
        finished(client, first)
        client.post("/api/v1/jobs", data={"position": "0 12", "combine": "no"})
        assert client.get(first["links"]["self"]).status_code == 404


@pytest.mark.parametrize("name", ["../summary.json", "..%2f..%2fetc%2fpasswd", "%2e%2e/x", "nothing.fits", "combined"])
def test_no_path_of_the_user_is_opened(client, name):
    job = client.post("/api/v1/jobs", data={"position": POSITION, "size": 20, "unit": "pixel", "combine": "no"}).json
    finished(client, job)
    for place in ("files/" + name, f"images/{name}/pixels", f"images/{name}/contours"):
        assert client.get(f"{job['links']['self']}/{place}").status_code == 404
    assert client.get(f"/api/v1/jobs/..%2f{job['id']}").status_code == 404


def test_an_epoch_without_a_beam_is_shown_and_not_combined(tmp_path):
    write_tile(tmp_path, 1, "T11t01")
    write_tile(tmp_path, 2, "T11t01", edit=lambda _, header: [header.remove(name) for name in ("BMAJ", "BMIN", "BPA")])
    with Service(open_archive(tmp_path), Limits(), known) as service:
        client = make_application(service).test_client()
        told = finished(client, client.post("/api/v1/jobs", data={"position": "0.031 11.99", "size": 0.5}).json)
    assert [one["beam"] is None for one in told["images"]] == [False, True]
    assert "VLASS2 says no beam" in told["warnings"][0]


def test_one_epoch_is_not_combined(tmp_path):
    write_tile(tmp_path, 1, "T11t01")
    with Service(open_archive(tmp_path), Limits(), known) as service:
        client = make_application(service).test_client()
        told = finished(client, client.post("/api/v1/jobs", data={"position": "0.031 11.99", "size": 0.5}).json)
    assert len(told["images"]) == 1
    assert "one epoch alone" in told["warnings"][0]


def test_pages_link_to_nothing_elsewhere_and_run_nothing_inline(client):
    pages = [client.get(path).text for path in ("/", "/api", f"/view?position={POSITION}", "/nothing")]
    for page in pages:
        assert not re.search(r"""(?:src|href|action)\s*=\s*["'](?:https?:)?//""", page)
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    assert "/openapi.json" in pages[0]
    assert "&lt;b&gt;" in client.get("/view?position=<b>x").text


@pytest.mark.parametrize("limits", [{"rate": 0}, {"pixels": "x"}, {"keep": 0}, {"jobs": 1000}, {"upload": -1}])
def test_limits_that_cannot_be(limits):
    with pytest.raises(SelectionError):
        Limits(**limits)
