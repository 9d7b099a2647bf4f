"""The pages: a form, the results of a position, those of a list, and the description of the interface."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from uvstack.epochs.server.api import job_of, job_words, start_batch, start_query
from uvstack.epochs.server.openapi import document
from uvstack.epochs.server.query import DEFAULTS, UNITS, read_query
from uvstack.epochs.server.tile_name import PRODUCTS

if TYPE_CHECKING:
    from flask import Blueprint, Response

    from uvstack.epochs.server.service import Service

#: Colour maps that are offered, by their names in matplotlib.
_COLOURS = ("inferno", "viridis", "gray", "gray_r", "coolwarm", "cubehelix")
_STATIC = Path(__file__).parent / "static"


def blueprint(service: Service) -> Blueprint:
    """Their addresses."""
    from flask import Blueprint, jsonify, redirect, render_template, request

    routes = Blueprint("pages", __name__)

    @routes.get("/")
    def start() -> str:
        return render_template("start.html", **form_words(service, request.args))

    @routes.get("/view")
    def view() -> str:
        service.count(request.remote_addr or "")
        query = read_query(request.args, service.archive.products(), service.resolve)
        job = start_query(service, query)
        return render_template("view.html", job=job_words(job), query=query, interactive=has_viewer(),
                               product=PRODUCTS[query.settings.product],
                               change=f"/?{urlencode(query.words())}", permanent=f"/view?{urlencode(query.words())}")

    @routes.post("/batch")
    def send_list() -> Response:
        service.count(request.remote_addr or "")
        return redirect(f"/batch/{start_batch(service).id}", 303)  # type: ignore[return-value]

    @routes.get("/batch/<job>")
    def batch(job: str) -> str:
        words = job_words(job_of(service, job))
        for line in words["lines"]:
            if line["ra"] is not None:
                place = {"position": f"{line['ra']:.7f} {line['dec']:+.7f}"}
                line["view"] = f"/view?{urlencode({**place, **words['query'], 'combine': 'yes'})}"
        return render_template("batch.html", job=words)

    @routes.get("/api")
    def interface() -> str:
        return render_template("api.html", api=document(service.archive.products(), service.limits),
                               datasets=service.archive.epochs())

    @routes.get("/colours.json")
    def colours() -> Response:
        answer = jsonify(_colours())
        answer.headers["Cache-Control"] = "max-age=86400"
        return answer

    return routes


def form_words(service: Service, fields: Any) -> dict[str, Any]:
    """What the form shows: what was typed before, and what can be chosen."""
    return {"fields": {name: fields.get(name) or default for name, default in DEFAULTS.items()}, "units": list(UNITS),
            "products": {name: PRODUCTS[name] for name in service.archive.products()}, "limits": service.limits,
            "epochs": service.archive.epochs()}


@functools.cache
def has_viewer() -> bool:
    """Whether the files of the viewer were put in when the project was built; without them pictures are shown."""
    return (_STATIC / "viewer" / "ol.js").is_file()


@functools.cache
def _colours() -> dict[str, list[int]]:
    """Red, green and blue of 256 steps of each map, one after the other."""
    import numpy as np
    from matplotlib import colormaps

    steps = np.linspace(0.0, 1.0, 256)
    return {name: np.round(255 * colormaps[name](steps)[:, :3]).astype(int).ravel().tolist() for name in _COLOURS}
