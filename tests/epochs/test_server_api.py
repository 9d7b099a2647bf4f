"""The interface for programs: CIRCLE, limits, refusals in one sentence, its own description."""

import io
import json
import zipfile

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from survey_archive import BEAMS, SOURCES, make_archive, write_tile
from uvstack.epochs.server.archive_files import open_archive
from uvstack.epochs.server.limits import Limits
from uvstack.epochs.server.service import Service
from uvstack.epochs.server.task import make_application


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = make_archive(tmp_path_factory.mktemp("archive"), epochs=(1, 2))
    write_tile(folder, 3, "T11t01", product="se")
    return open_archive(folder)


@pytest.fixture
def client(archive):
    with Service(archive, Limits()) as service:
        yield make_application(service).test_client()


def cutout(client, circle, **more):
    return client.get("/api/v1/cutout", query_string={"CIRCLE": circle, **more})


def test_a_circle_is_a_zip_of_every_epoch_with_a_summary(client):
    answer = cutout(client, "0.0005 12.001 0.008")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as files:
        assert set(files.namelist()) == {"ql-VLASS1.fits", "ql-VLASS2.fits", "summary.json"}
        summary = json.loads(files.read("summary.json"))
        for epoch, said in zip((1, 2), summary["images"], strict=True):
            assert (said["epoch"], said["band"], said["versions"]) == (f"VLASS{epoch}", "S", ["v1"])
            assert said["beam"]["bmaj"] * 3600 == pytest.approx(BEAMS[epoch][0])
            with fits.open(io.BytesIO(files.read(f"ql-VLASS{epoch}.fits"))) as hdus:
                data, place = np.squeeze(hdus[0].data), WCS(hdus[0].header, fix=False).celestial
            x, y = place.wcs_world2pix(*SOURCES[0][:2], 0)
            assert data[round(float(y)), round(float(x))] == pytest.approx(SOURCES[0][2], rel=0.15)


def test_one_dataset_is_one_fits_file_that_says_the_same_in_its_head(client):
    names = [one["id"] for one in client.get("/api/v1/datasets").json["datasets"]]
    assert names == ["ql/VLASS1", "ql/VLASS2", "se/VLASS3"]
    answer = cutout(client, "0.031 11.99 0.005", ID="ql/VLASS2")
    assert answer.mimetype == "application/fits"
    assert answer.headers["X-Epoch"] == "VLASS2"
    assert answer.headers["X-Band"] == "S"
    assert answer.headers["X-Product-Version"] == "v1"
    header = fits.Header.fromstring(answer.data[:2880 * 4].decode("ascii", "replace"))
    assert header["EPOCHNAM"] == "VLASS2"
    several = client.get("/api/v1/cutout?CIRCLE=0.031 11.99 0.005&ID=ql/VLASS2&ID=se/VLASS3")
    with zipfile.ZipFile(io.BytesIO(several.data)) as files:
        assert {"ql-VLASS2.fits", "se-VLASS3.fits"} < set(files.namelist())


@pytest.mark.parametrize(("query", "status", "word"), [
    ({"CIRCLE": "100 -20 0.01"}, 404, "no Quick Look image"), ({}, 400, "CIRCLE"), ({"CIRCLE": "1 2"}, 400, "CIRCLE"),
    ({"CIRCLE": "nan 2 0.1"}, 400, "finite"), ({"CIRCLE": "1 95 0.1"}, 400, "declination"),
    ({"CIRCLE": "1 12 -1"}, 400, "radius"), ({"CIRCLE": "0 12 0.4"}, 413, "at most"),
    ({"CIRCLE": "0 12 20"}, 413, "at most"), ({"CIRCLE": "0 12 0.01", "ID": "../../etc/passwd"}, 404, "no dataset"),
    ({"CIRCLE": "0 12 0.01", "product": "cube"}, 400, "product"),
    ({"CIRCLE": "0 12 0.01", "ID": "se/VLASS1"}, 404, "no dataset")])
def test_refusals_are_one_sentence(client, query, status, word):
    answer = client.get("/api/v1/cutout", query_string=query)
    assert answer.status_code == status
    assert word in answer.json["error"]
    assert "\n" not in answer.json["error"]
    assert answer.json["status"] == status


def test_too_many_requests_are_told_to_wait(archive):
    with Service(archive, Limits(rate=3)) as service:
        client = make_application(service).test_client()
        statuses = [cutout(client, "0.031 11.99 0.003").status_code for _ in range(5)]
        assert statuses == [200, 200, 200, 429, 429]
        answer = cutout(client, "0.031 11.99 0.003")
        assert answer.headers["Retry-After"] == "60"
        # Another address has its own count.
        other = client.get("/api/v1/cutout?CIRCLE=0.031 11.99 0.003", environ_base={"REMOTE_ADDR": "10.0.0.9"})
        assert other.status_code == 200


def test_what_is_not_there_and_what_breaks_is_json(client, archive, monkeypatch):
    assert client.get("/api/v1/nothing").json["status"] == 404
    assert client.post("/api/v1/cutout").json["status"] == 405
    monkeypatch.setattr(archive, "near", lambda *_: 1 / 0)
    answer = cutout(client, "0 12 0.01")
    assert answer.status_code == 500
    assert "ZeroDivision" not in answer.text


def test_the_description_names_every_address(client):
    found = client.get("/openapi.json").json
    rules = {str(rule).replace("<", "{").replace(">", "}")
             for rule in client.application.url_map.iter_rules() if str(rule).startswith("/api/")}
    assert rules == set(found["paths"])
    (circle,) = [one for one in found["paths"]["/api/v1/cutout"]["get"]["parameters"] if one["name"] == "CIRCLE"]
    assert circle["required"]
    for path, item in found["paths"].items():
        for operation in item.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == {word[1:-1] for word in path.split("/") if word.startswith("{")}


def test_nothing_comes_from_elsewhere(client):
    policy = client.get("/openapi.json").headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'")
    assert "unsafe" not in policy
