"""`uvstack info`."""

from __future__ import annotations

import click

from uvstack.cli.main import example


@click.command(name="info", epilog=example("uvstack info survey.ms"))
@click.argument("ms")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def command(ms: str, as_json: bool) -> None:
    """What MS holds: fields, spectral windows, correlations, columns, flags, uv range, suggested cell."""
    from uvstack.io.info import describe, format_description
    from uvstack.io.output import json_text

    found = describe(ms)
    click.echo(json_text(found).rstrip() if as_json else format_description(found))
