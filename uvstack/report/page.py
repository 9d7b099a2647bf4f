"""The page of a report: one head for all, sections with rows and pictures, everything in one HTML file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from uvstack.records import Provenance

#: What every page begins with; it takes `title`.
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>uvstack: {{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 1.6em }
table { border-collapse: collapse } td, th { padding: .2em .9em .2em 0; text-align: left; vertical-align: top }
th { font-weight: 600 } .number { font-variant-numeric: tabular-nums } img { max-width: 100% }
.flux { font-size: 1.7em } .advice { background: #fff6dd; padding: .5em .8em; border-left: 4px solid #e0a800 }
code { background: #f3f3f3; padding: 0 .25em }
</style>
</head>
<body>
"""


@dataclass(frozen=True)
class Addition:
    """A section that another task adds to the page of a stack.

    Attributes
    ----------
    title : str
    rows : sequence of (str, str)
        Of its table.
    figures : sequence
        Of matplotlib.
    first : bool
        Before the pictures of the stack, not after them.
    """

    title: str
    rows: Sequence[tuple[str, str]] = ()
    figures: Sequence[Any] = ()
    first: bool = False


#: Units of options that are numbers, where they have one.
_UNITS = {"facet_size": "rad", "stamp_cell": "rad", "bootstrap": "lists", "stamp_size": "pixels", "pb_cutoff": "of the peak"}


def provenance_rows(provenance: Provenance | None) -> list[tuple[str, str]]:
    """Name and text of what a result came from: nothing is nested, and numbers have their unit."""
    if provenance is None:
        return []
    rows = [("made by", f"uvstack {provenance.version}"), ("command", provenance.command), ("date", f"{provenance.date} (UTC)")]
    for key, value in provenance.inputs.items():
        if isinstance(value, Mapping):
            rows += [(f"--{name.replace('_', '-')}", _text_of(name, one)) for name, one in value.items() if name != "seed"]
        elif value not in (None, []):
            rows.append(("measurement set" if key == "ms" else key.replace("_", " "), _text_of(key, value)))
    if provenance.seed is not None:
        rows.append(("seed", str(provenance.seed)))
    return rows


def _text_of(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int | float):
        return f"{value:.6g} {_UNITS.get(name, '')}".rstrip()
    return str(value)


def page(body: str) -> jinja2.Template:
    """Template of a page with this body; to be rendered with `title` and what the body takes."""
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_HEAD + body)


def png(figure: Any) -> str:
    """A figure as base64 for a page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode()
