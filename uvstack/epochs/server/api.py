"""The interface for programs, under /api/v1: what the pages can do, as FITS, ZIP and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvstack.checks import one_of
from uvstack.epochs.server.answer_files import (
    FITS,
    ZIP,
    description,
    header_words,
    json_bytes,
    zipped,
)
from uvstack.epochs.server.openapi import document
from uvstack.epochs.server.query import read_circle
from uvstack.epochs.server.tile_name import PRODUCTS
from uvstack.errors import OutsideArchiveError

if TYPE_CHECKING:
    from flask import Blueprint, Response

    from uvstack.epochs.server.cutout_files import Region
    from uvstack.epochs.server.service import Service


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

    return routes


def _images(service: Service, region: Region, identifiers: list[str], product: str) -> Response:
    """FITS of one epoch, a ZIP of several."""
    from flask import Response

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
    cut = [image for kind, epochs in wanted.items() for image in service.cut(region, kind, epochs)]
    where = f"{region.ra:.5f}{region.dec:+.5f}"
    if len(cut) == 1:
        name = f"{cut[0].name}-{where}.fits"
        return Response(cut[0].to_bytes(), mimetype=FITS,
                        headers={**header_words(cut[0]), "Content-Disposition": f'attachment; filename="{name}"'})
    files = {f"{image.name}.fits": image.to_bytes() for image in cut}
    files["summary.json"] = json_bytes({"ra": region.ra, "dec": region.dec,
                                        "images": [description(image) for image in cut]})
    return Response(zipped(files), mimetype=ZIP,
                    headers={"Content-Disposition": f'attachment; filename="cutouts-{where}.zip"'})
