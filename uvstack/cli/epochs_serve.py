"""`uvstack epochs serve`."""

from __future__ import annotations

import click

from uvstack.cli.main import Quantity, console, example


@click.command(name="serve",
               epilog=example("uvstack epochs serve --archive /data/vlass --port 8000"))
@click.option("--archive", required=True, metavar="FOLDER|LIST|ADDRESS",
              help="Folder of FITS images, a list of them, or the address of a remote archive.")
@click.option("--port", default=8000, help="Port of TCP.")
@click.option("--host", default="127.0.0.1",
              help="Address to listen at; 0.0.0.0 is heard from other machines.")
@click.option("--upload", default=10_000_000, help="Bytes of an upload, at most.")
@click.option("--pixels", default=2048, help="Pixels along a side of a cutout, at most.")
@click.option("--rate", default=600,
              help="Requests for cutouts, jobs and names of one address a minute, at most.")
@click.option("--jobs", default=2, help="Jobs that run at once.")
@click.option("--waiting", default=20, help="Jobs that wait for their turn, at most.")
@click.option("--lines", default=10_000, help="Lines of a list that is uploaded, at most.")
@click.option("--keep", type=Quantity("s", "1h"), default="1h",
              help="How long files of a job are kept after its end.")
@click.option("--disk", default=4_000_000_000, help="Bytes of the files of all jobs, at most.")
def command(archive, port, host, **limits) -> None:
    """Serve cutouts of the epochs of an archive to browsers and programs, until interrupted."""
    from uvstack.epochs.server.limits import Limits
    from uvstack.epochs.server.task import serve

    serve(archive, port, host, limits=Limits(**limits),
          started=lambda address: console.print(f"serving {archive} at {address} (end with Ctrl-C)"))
