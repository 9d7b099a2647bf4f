"""`uvstack epochs`: what is done with images of one sky at several times."""

from __future__ import annotations

import click

from uvstack.cli.main import Commands, example


@click.group(name="epochs", cls=Commands,
             modules={"combine": "epochs_combine", "alpha": "epochs_alpha", "compare": "epochs_compare",
                      "serve": "epochs_serve"},
             epilog=example("uvstack epochs combine e1.fits e2.fits --reference 1 --out combined"))
def command() -> None:
    """Combine, compare and serve images of one sky at several times."""
