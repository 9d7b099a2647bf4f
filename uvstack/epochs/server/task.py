"""`uvstack.epochs.serve`: the cutout server, from an archive to an address."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from uvstack.checks import whole_number
from uvstack.epochs.server.answer_files import HEADERS, status_of
from uvstack.epochs.server.archive_files import open_archive
from uvstack.epochs.server.limits import Limits
from uvstack.epochs.server.service import Service
from uvstack.errors import MissingDependencyError, SelectionError, UvstackError

if TYPE_CHECKING:
    from flask import Flask

_LOG = logging.getLogger(__name__)
#: Requests that are answered at once.
_THREADS = 16
#: Bytes of a request beside the file that it uploads.
_AROUND_UPLOAD = 20_000
#: A body up to this is read to its end before it is refused, so that the refusal is heard.
_MOST_HEARD = 64_000_000
#: A field of a form that is no file.
_MOST_FIELD = 100_000


def serve(archive: str | os.PathLike, port: int = 8000, host: str = "127.0.0.1", *, limits: Limits | None = None,
          started: Callable[[str], None] | None = None) -> None:
    """Serve cutouts of an archive over HTTP until interrupted; see `docs/server.md`.

    Parameters
    ----------
    archive : path or str
        Folder of FITS images, list of them, or address of a remote archive.
    port : int
        Of TCP, 1 to 65535.
    host : str
        Address to listen at: 127.0.0.1 is heard on this machine alone, 0.0.0.0 everywhere.
    limits : Limits, optional
        See `uvstack.epochs.Limits`.
    started : callable, optional
        Gets the server's address once it listens.

    Raises
    ------
    ArchiveError
        There is no archive, or no image in it.
    SelectionError
        The port cannot be, or is taken.
    MissingDependencyError
        Without the extra `epochs`.

    Examples
    --------
    >>> uvstack.epochs.serve("/data/vlass", port=8000)
    """
    port = whole_number("port", port, 1, 65535)
    lacking = [name for name in ("flask", "limits", "waitress") if importlib.util.find_spec(name) is None]
    if lacking:
        raise MissingDependencyError(f"the server needs {', '.join(lacking)}: pip install 'uvstack[epochs]'")
    import waitress

    limits = limits or Limits()
    _check_free(host, port)
    with Service(open_archive(archive), limits) as service:
        application = make_application(service)
        try:
            server = waitress.create_server(
                application, host=host, port=port, threads=_THREADS, ident="uvstack", connection_limit=500,
                max_request_body_size=max(_MOST_HEARD, 4 * limits.upload))
        except (OSError, ValueError) as error:
            raise _cannot_listen(host, port, error) from error
        # Requests that wait for a thread are no fault of its.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        if started is not None:
            started(f"http://{host}:{port}/")
        try:
            with _ended_by_a_signal():
                server.run()
        finally:
            server.close()


@contextlib.contextmanager
def _ended_by_a_signal() -> Iterator[None]:
    """SIGTERM ends the server as Ctrl-C does, so that its files go, where nobody else has a use for it."""
    if (threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL):
        yield
        return

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _check_free(host: str, port: int) -> None:
    """Refuse a port that is taken before the archive is read, which may take minutes."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error


def _cannot_listen(host: str, port: int, error: Exception) -> SelectionError:
    reason = getattr(error, "strerror", None) or str(error)
    return SelectionError(f"cannot listen at {host}, port {port}: {reason}; choose another with host= (--host) "
                          "and port= (--port)")


def make_application(service: Service) -> Flask:
    """The application of WSGI, for any server of it."""
    from flask import Flask, Response, jsonify, render_template, request
    from werkzeug.exceptions import HTTPException

    from uvstack.epochs.server import api, pages

    application = Flask("uvstack.epochs.server", static_folder="static", template_folder="templates")
    application.config.update(MAX_CONTENT_LENGTH=service.limits.upload + _AROUND_UPLOAD,
                              MAX_FORM_MEMORY_SIZE=_MOST_FIELD, MAX_FORM_PARTS=50)
    application.json.sort_keys = False  # type: ignore[attr-defined]
    application.register_blueprint(api.blueprint(service))
    application.register_blueprint(pages.blueprint(service))

    def told(text: str, status: int, lines: list[dict] | None = None) -> Response:
        if request.path.startswith(("/api/", "/openapi")):
            answer = jsonify({"error": text, "status": status, **({"lines": lines} if lines else {})})
        else:
            fields = {} if status == 413 else {**request.args, **request.form}
            page = render_template("start.html", error=text, lines=lines, **pages.form_words(service, fields))
            answer = Response(page, mimetype="text/html")
        answer.status_code = status
        if status == 429:
            answer.headers["Retry-After"] = "60"
        return answer

    @application.errorhandler(UvstackError)
    def refused(error: UvstackError) -> Response:
        return told(str(error), status_of(error), getattr(error, "lines", None))

    @application.errorhandler(HTTPException)
    def not_found(error: HTTPException) -> Response:
        status = error.code or 500
        text = {404: f"there is nothing at {request.path[:80]}",
                405: f"{request.method} is not done at {request.path[:80]}; /openapi.json has what is",
                413: f"the upload is larger than {service.limits.upload / 1e6:g} MB; send it in parts"}.get(
            status, str(error.description))
        return told(text, status)

    @application.errorhandler(Exception)
    def broken(error: Exception) -> Response:
        _LOG.error("%s %s", request.method, request.path, exc_info=error)
        return told("the server met an error of its own, and has written it down", 500)

    @application.after_request
    def guarded(answer: Response) -> Response:
        answer.headers.update(HEADERS)
        return answer

    return application


