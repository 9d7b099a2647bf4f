"""The interface for programs, under /api/v1: what the pages can do, as FITS, ZIP and JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from uvstack.checks import one_of
from uvstack.epochs.server.answer_files import FITS, ZIP, header_words, write_zip
from uvstack.epochs.server.cutout_files import cutouts
from uvstack.epochs.server.openapi import document
from uvstack.epochs.server.position_text import read_list
from uvstack.epochs.server.query import read_circle, read_levels, read_query, read_settings
from uvstack.epochs.server.tile_name import PRODUCTS
from uvstack.epochs.server.work_files import contour_lines, read_pixels, run_batch, run_query
from uvstack.errors import (
    LimitError,
    ListError,
    OutsideArchiveError,
    PositionsError,
    SelectionError,
)
from uvstack.records import plain

if TYPE_CHECKING:
    from flask import Blueprint, Response
    from numpy.typing import NDArray

    from uvstack.epochs.server.cutout_files import Region
    from uvstack.epochs.server.jobs import Job
    from uvstack.epochs.server.position_text import Line
    from uvstack.epochs.server.query import Query
    from uvstack.epochs.server.service import Service

#: Bad lines that an answer names where none is good.
_TOLD = 5


def blueprint(service: Service) -> Blueprint:
    """Its addresses."""
    from flask import Blueprint, jsonify, request

    routes = Blueprint("api", __name__)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document(service.archive.products(), service.limits))

    @routes.get("/api/v1/datasets")
    def datasets() -> Response:
        found = [{"id": f"{product}/{epoch}", "product": product, "title": PRODUCTS[product], "epoch": epoch}
                 for product, epoch in service.archive.epochs()]
        return jsonify({"datasets": found})

    @routes.get("/api/v1/cutout")
    def cutout() -> Response:
        service.count(request.remote_addr or "")
        region = read_circle(request.args.get("CIRCLE") or request.args.get("circle") or "")
        given = request.args.getlist("ID") or request.args.getlist("id")
        return _images(service, region, given, request.args.get("product", ""))

    @routes.get("/api/v1/resolve")
    def resolve() -> Response:
        service.count(request.remote_addr or "")
        query = read_query({"position": request.args.get("name", "")}, service.archive.products(), service.resolve)
        return jsonify({"name": query.position, "ra": query.ra, "dec": query.dec})

    @routes.post("/api/v1/jobs")
    def start_job() -> tuple[Response, int]:
        service.count(request.remote_addr or "")
        query = read_query(_fields(), service.archive.products(), service.resolve)
        return jsonify(job_words(start_query(service, query))), 202

    @routes.post("/api/v1/batch")
    def start_list() -> tuple[Response, int]:
        service.count(request.remote_addr or "")
        return jsonify(job_words(start_batch(service))), 202

    _add_addresses_of_jobs(routes, service)
    return routes


def _add_addresses_of_jobs(routes: Blueprint, service: Service) -> None:
    from flask import Response, jsonify, request, send_file

    @routes.get("/api/v1/jobs/<job>")
    def job(job: str) -> Response:
        return jsonify(job_words(job_of(service, job)))

    @routes.delete("/api/v1/jobs/<job>")
    def remove_job(job: str) -> tuple[str, int]:
        job_of(service, job)
        service.jobs.remove(job)
        return "", 204

    @routes.get("/api/v1/jobs/<job>/files/<file>")
    def file(job: str, file: str) -> Response:
        path = job_of(service, job).files.get(file)
        if path is None or not path.is_file():
            raise OutsideArchiveError(f"the job has no file {file[:60]!r}")
        return send_file(path.absolute(), as_attachment=not file.endswith(".png"), download_name=file)

    @routes.get("/api/v1/jobs/<job>/images/<image>/pixels")
    def pixels(job: str, image: str) -> Response:
        return Response(_pixels(job, image).tobytes(), mimetype="application/octet-stream")

    @routes.get("/api/v1/jobs/<job>/images/<image>/contours")
    def contours(job: str, image: str) -> Response:
        data, told = _pixels(job, image), _image(job, image)
        multiples = read_levels(request.args.get("levels", ""))
        levels = [one * float(told["rms"] or 0.0) for one in multiples]
        return jsonify({"levels": levels, "lines": contour_lines(data, levels)})

    def _image(job: str, image: str) -> dict[str, Any]:
        found = [one for one in job_of(service, job).images if one["name"] == image]
        if not found:
            raise OutsideArchiveError(f"the job has no image {image[:60]!r}")
        return found[0]

    def _pixels(job: str, image: str) -> NDArray:
        _image(job, image)
        return read_pixels(job_of(service, job), image)


def _fields() -> Mapping[str, Any]:
    """What a request sends, as JSON or as a form."""
    from flask import request

    if not request.is_json:
        return request.form
    fields = request.get_json(silent=True)
    if not isinstance(fields, dict):
        raise SelectionError("the body cannot be read as an object of JSON; wanted is {\"position\": …}")
    return fields


def start_query(service: Service, query: Query) -> Job:
    """The job of a position."""
    return service.jobs.start("position", query.words(), lambda job: run_query(job, service, query))


def start_batch(service: Service) -> Job:
    """The job of a list that is uploaded.

    Raises
    ------
    PositionsError
        There is none, or no line of it can be read.
    LimitError
        It has too many lines.
    """
    from flask import request

    upload = request.files.get("file")
    if upload is None or not upload.filename:
        raise PositionsError("no list was sent; wanted is a file (multipart, field 'file') with a position a line")
    data = upload.stream.read(service.limits.upload + 1)
    if len(data) > service.limits.upload:
        raise LimitError(f"the list is larger than {service.limits.upload / 1e6:g} MB; send it in parts")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PositionsError(f"the list is no text (byte {error.start} is not UTF-8); wanted is CSV or white "
                             "space with a position a line") from None
    settings = read_settings({"combine": "no", **request.form}, service.archive.products())
    lines = read_list(text)
    if len(lines) > service.limits.lines:
        raise LimitError(f"the list has {len(lines)} positions; at most {service.limits.lines} are taken: send it "
                         "in parts")
    if not lines:
        raise PositionsError("the list is empty; wanted is a position a line")
    if all(line.error for line in lines):
        told = "; ".join(f"line {line.number}: {line.error}" for line in lines[:_TOLD])
        raise ListError(f"none of the {len(lines)} lines can be read: {told}", [_line_words(line) for line in lines])
    # What is wrong with its lines is known before the job begins.
    return service.jobs.start("batch", settings.words(), lambda job: run_batch(job, service, lines, settings),
                              [_line_words(line) for line in lines])


def _line_words(line: Line) -> dict[str, Any]:
    good = not line.error
    return {"line": line.number, "text": line.text, "name": line.name, "ra": line.ra if good else None,
            "dec": line.dec if good else None, "error": line.error}


def job_of(service: Service, name: str) -> Job:
    """The job of that identifier."""
    job = service.jobs.get(name)
    if job is None:
        raise OutsideArchiveError("there is no such job; its files may have expired, and it can be started again")
    return job


def job_words(job: Job) -> dict[str, Any]:
    """What is told of a job."""
    own = f"/api/v1/jobs/{job.id}"
    page = f"/batch/{job.id}" if job.kind == "batch" else f"/view?{urlencode(job.words)}"
    images = [{**one, "links": {"pixels": f"{own}/images/{one['name']}/pixels",
                                "contours": f"{own}/images/{one['name']}/contours",
                                "fits": f"{own}/files/{one['name']}.fits",
                                "png": f"{own}/files/{one['name']}.png"}} for one in job.images]
    files = {name: f"{own}/files/{name}" for name in list(job.files)} if job.state == "done" else {}
    return plain({"id": job.id, "kind": job.kind, "state": job.state, "step": job.step, "done": job.done,
                  "total": job.total, "error": job.error or None, "warnings": job.warnings, "query": job.words,
                  "images": images if job.state == "done" else [], "lines": job.lines, "files": files,
                  "links": {"self": own, "page": page}})


def _images(service: Service, region: Region, identifiers: list[str], product: str) -> Response:
    """FITS of one epoch, a ZIP of several."""
    from flask import send_file

    known = service.archive.epochs()
    products = service.archive.products()
    wanted: dict[str, set[str] | None] = {}
    for one in filter(None, identifiers):
        kind, _, epoch = one.partition("/")
        if (kind, epoch) not in known:
            raise OutsideArchiveError(f"the archive has no dataset {one[:60]!r}; it has "
                                      f"{', '.join('/'.join(pair) for pair in known[:12])}")
        epochs = wanted.setdefault(kind, set())
        assert epochs is not None
        epochs.add(epoch)
    if not wanted:
        wanted = {one_of("product", product or products[0], products): None}
    where = f"{region.ra:.5f}{region.dec:+.5f}"
    with service.turn:
        cut = [image for kind, epochs in wanted.items()
               for image in cutouts(service.archive, region, kind, epochs=epochs, most_pixels=service.limits.pixels)]
        # Without a name, and gone when it has been sent: many answers may wait for that.
        out = tempfile.TemporaryFile()  # noqa: SIM115
        if len(cut) == 1:
            out.write(cut[0].to_bytes())
            name, kind, words = f"{cut[0].name}-{where}.fits", FITS, header_words(cut[0])
        else:
            write_zip(out, cut, region)
            name, kind, words = f"cutouts-{where}.zip", ZIP, {}
    out.seek(0)
    answer = send_file(out, mimetype=kind, as_attachment=True, download_name=name)
    answer.headers.update(words)
    return answer
