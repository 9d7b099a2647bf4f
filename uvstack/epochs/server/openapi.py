"""The description of the interface in the words of OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from uvstack._version import __version__
from uvstack.epochs.server.limits import Limits
from uvstack.epochs.server.query import DEFAULTS, UNITS

_SENTENCE = {"type": "object", "properties": {"error": {"type": "string"}, "status": {"type": "integer"}},
             "required": ["error", "status"]}
_JOB = {"type": "object", "properties": {
    "id": {"type": "string"}, "state": {"type": "string", "enum": ["waiting", "running", "done", "failed"]},
    "step": {"type": "string"}, "done": {"type": "integer"}, "total": {"type": "integer"},
    "error": {"type": ["string", "null"]}, "warnings": {"type": "array", "items": {"type": "string"}},
    "images": {"type": "array", "items": {"type": "object"}},
    "lines": {"type": "array", "items": {"type": "object"}},
    "files": {"type": "object", "additionalProperties": {"type": "string"}},
    "links": {"type": "object", "additionalProperties": {"type": "string"}}}}


def document(products: Sequence[str], limits: Limits) -> dict[str, Any]:
    """The whole description, of an archive with these products."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "uvstack cutout server", "version": __version__,
                 "description": "Cutouts of the epochs of a survey, and their weighted mean and median. Directions "
                                "are ICRS. Errors are one sentence in JSON. Limits: uploads of "
                                f"{limits.upload / 1e6:g} MB and {limits.lines} lines, cutouts of {limits.pixels} pixels "
                                f"along a side (413); {limits.rate} requests for work a minute and address, "
                                f"{limits.jobs} jobs at once and {limits.waiting} that wait (429)."},
        "paths": {
            "/api/v1/datasets": {"get": _operation(
                "datasets", "Products and epochs of the archive, with the values of ID.", [], {"200": _json("The list.")})},
            "/api/v1/cutout": {"get": _operation(
                "cutout", "The square around a circle, of every epoch or of those named: FITS of one, a ZIP of "
                "several. As the cutouts of the IVOA's SODA.",
                [_parameter("CIRCLE", "query", "RA, Dec and radius in degrees, with blanks between them.", required=True),
                 _parameter("ID", "query", "Dataset as /api/v1/datasets names it; may be given several times. Default: "
                                           "every epoch of the product."),
                 _parameter("product", "query", "Kind of images where no ID is given; default the first.",
                            {"type": "string", "enum": list(products)})],
                {"200": {"description": "The images. Beam, band, epoch and version stand in each header, and of a ZIP "
                                        "in summary.json.",
                         "content": {"application/fits": {"schema": _BINARY}, "application/zip": {"schema": _BINARY}}},
                 **_errors("400", "404", "413", "429")})},
            "/api/v1/resolve": {"get": _operation(
                "resolve", "RA and Dec of an object by SIMBAD or NED, or of any notation.",
                [_parameter("name", "query", "Name or position.", required=True)],
                {"200": _json("ra and dec, degrees."), **_errors("400", "404", "429", "503")})},
            **_paths_of_jobs(_settings(products)),
        },
        "components": {"schemas": {"Error": _SENTENCE, "Job": _JOB}},
    }


def _paths_of_jobs(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    job = _parameter("job", "path", "Identifier that the answer to a POST has.")
    image = _parameter("image", "path", "Name of an image of the job, without its ending.")
    return {
        "/api/v1/jobs": {"post": _operation(
            "startJob", "Cut a position of every epoch, and combine them; runs in the background.", [],
            {"202": _json("The job.", _JOB), **_errors("400", "413", "429", "503")},
            body={"application/json": {"schema": settings["one"]},
                  "application/x-www-form-urlencoded": {"schema": settings["one"]}})},
        "/api/v1/batch": {"post": _operation(
            "startBatch", "The same of every line of a list, CSV or white space; bad lines are told one by one.", [],
            {"202": _json("The job; `lines` has what is wrong with which line.", _JOB),
             **_errors("400", "413", "429")},
            body={"multipart/form-data": {"schema": settings["many"]}})},
        "/api/v1/jobs/{job}": {
            "get": _operation("job", "How far a job is, and what it made.", [job],
                              {"200": _json("The job.", _JOB), **_errors("404")}),
            "delete": _operation("removeJob", "Stop a job and remove its files.", [job],
                                 {"204": {"description": "Gone."}, **_errors("404")})},
        "/api/v1/jobs/{job}/files/{file}": {"get": _operation(
            "file", "A file of a job: FITS, PNG, JSON or ZIP.",
            [job, _parameter("file", "path", "A name of its `files`.")],
            {"200": {"description": "The file.", "content": {"application/octet-stream": {"schema": _BINARY}}},
             **_errors("404")})},
        "/api/v1/jobs/{job}/images/{image}/pixels": {"get": _operation(
            "pixels", "Pixels of an image as little-endian float32, row by row from the south; NaN is blank.",
            [job, image],
            {"200": {"description": "The pixels.", "content": {"application/octet-stream": {"schema": _BINARY}}},
             **_errors("404")})},
        "/api/v1/jobs/{job}/images/{image}/contours": {"get": _operation(
            "contours", "Lines of equal brightness, in pixels from 0.",
            [job, image, _parameter("levels", "query", "Multiples of the image's rms, with commas: 3,6,12.")],
            {"200": _json("levels (in the unit of the image) and lines."), **_errors("400", "404")})},
    }


_BINARY = {"type": "string", "format": "binary"}


def _settings(products: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Schemas of what is sent to start a job, of one position and of a list."""
    common = {
        "size": {"type": "number", "exclusiveMinimum": 0, "default": float(DEFAULTS["size"]),
                 "description": "Side of the square, in `unit`."},
        "unit": {"type": "string", "enum": list(UNITS), "default": DEFAULTS["unit"]},
        "product": {"type": "string", "enum": list(products)},
        "rms_box": {"type": "integer", "minimum": 3, "default": int(DEFAULTS["rms_box"]),
                    "description": "Side of the boxes in which combination measures the noise, pixels."},
        "combine": {"type": "string", "enum": ["yes", "no"], "description": "Whether mean and median are made."}}
    position = {"type": "string", "description": "RA and Dec in any usual notation, or the name of an object."}
    degrees = {"type": "number", "description": "Degrees, in place of `position`."}
    upload = {"type": "string", "format": "binary",
              "description": "Lines of [name] RA Dec, or a table with a first line name,ra,dec."}
    return {"one": {"type": "object", "properties": {"position": position, "ra": degrees, "dec": degrees, **common}},
            "many": {"type": "object", "required": ["file"], "properties": {"file": upload, **common}}}


def _parameter(name: str, where: str, text: str, schema: Mapping[str, Any] | None = None, *,
               required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "description": text, "required": required or where == "path",
            "schema": dict(schema or {"type": "string"})}


def _operation(name: str, text: str, parameters: Sequence[Mapping[str, Any]], answers: Mapping[str, Any],
               body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"operationId": name, "summary": text, "parameters": list(parameters),
                             "responses": dict(answers)}
    if body is not None:
        found["requestBody"] = {"required": True, "content": dict(body)}
    return found


def _json(text: str, schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": dict(schema or {"type": "object"})}}}


def _errors(*statuses: str) -> dict[str, Any]:
    texts = {"400": "What was asked for cannot be read or cannot be.", "404": "It is outside the archive, or not there.",
             "413": "It is larger than the limits.", "429": "Too many requests or jobs; come back later.",
             "503": "The name cannot be looked up now."}
    return {status: _json(texts[status], _SENTENCE) for status in statuses}
