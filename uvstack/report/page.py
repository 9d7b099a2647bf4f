"""What is read of any result: sections of rows, pictures and tables, as lines for a terminal and as one page for a browser.

A family turns its result into a list of `Section`, of which the first is the overview. The terminal
prints the overview, the page shows all of them by one template, and `uvstack.report.files` writes
what they hold: nothing else in the project knows of HTML.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from uvstack.constants import ARCSEC
from uvstack.records import Provenance

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure

#: Letters of the names of rows at a terminal, at least.
_NAME = 12
#: Cells that stand to the right at a terminal begin with one of these.
_NUMERIC = tuple("0123456789+-−±.(")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>uvstack: {{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.5em; overflow-wrap: anywhere } h2 { font-size: 1.15em; margin-top: 1.8em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6em 0 }
td, th { padding: .2em 1em .2em 0; text-align: left; vertical-align: top }
th { font-weight: 600 } .rows td, .grid td:first-child { overflow-wrap: anywhere }
.grid td + td { white-space: nowrap } .rows th { white-space: nowrap }
.grid td, .grid th { padding-right: .7em } .grid tr + tr > * { border-top: 1px solid #eee }
.wide { overflow-x: auto } figure { margin: .6em 0 } img { max-width: 100% } small { color: #666 }
.lead { font-size: 1.7em; margin: .3em 0 } .lead small { font-size: .6em }
.text { background: #fff6dd; padding: .5em .8em; border-left: 4px solid #e0a800 }
code { background: #f3f3f3; padding: 0 .25em }
</style>
</head>
<body>
{% for section in sections %}
{% if loop.first %}<h1>{{ section.title }}</h1>{% elif section.title %}<h2>{{ section.title }}</h2>{% endif %}
{% if section.lead %}<p class="lead">{{ section.lead[1] }}
{% if section.lead[2] %}<small>({{ section.lead[2] }})</small>{% endif %}</p>{% endif %}
{% for kind, text in section.text %}<p class="text"><b>{{ kind|capitalize }}:</b> {{ text }}</p>
{% endfor %}
{% if section.grid %}<div class="wide"><table class="grid"><tr>{% for cell in section.grid[0] %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in section.grid[1:] %}<tr>{% for cell in row %}
<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
{% if section.rows %}<table class="rows">{% for row in section.rows %}<tr><th>{{ row[0] }}</th><td>{{ row[1] }}
{% if row|length > 2 %}<br><small>{{ row[2] }}</small>{% endif %}</td></tr>
{% endfor %}</table>{% endif %}
{% for name, picture in pictures[loop.index0].items() %}<figure>
<img alt="{{ section.title or name }}" src="data:image/png;base64,{{ picture }}">
</figure>{% endfor %}
{% if section.names %}<p><small>In files: {% for name in section.names %}<code>{{ name }}</code>
{% endfor %}</small></p>{% endif %}
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """A part of what is read of a result.

    Attributes
    ----------
    title : str
        That of the first section is that of the page.
    rows : sequence of tuple of str
        Name and text, and where the page has room for it an explanation.
    figures : dict of str to Figure
        Drawn, by the names of their files without the ending.
    tables : dict of str to Table
        Likewise: what is written, not shown.
    text : sequence of (str, str)
        What must be known before the numbers are believed, each with its kind: "advice" or
        "warning".
    grid : sequence of tuple of str
        A table that is shown: first its head, then lines of as many cells.
    lead : (str, str, str)
        The number that was looked for: name, value and a remark on it.
    files : dict of str to callable
        Further files by their names, and what writes one to a path.
    """

    title: str
    rows: Sequence[tuple[str, ...]] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    text: Sequence[tuple[str, str]] = ()
    grid: Sequence[tuple[str, ...]] = ()
    lead: tuple[str, str, str] | tuple[()] = ()
    files: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Names of the files that are written of it."""
        return [*(f"{name}.png" for name in self.figures),
                *(f"{name}.ecsv" for name in self.tables), *self.files]

    def __str__(self) -> str:
        """Lines for a terminal: all but figures, tables and explanations."""
        lead = [(self.lead[0],
                 self.lead[1]
                 + (f"   ({self.lead[2]})" if self.lead[2] else ""))] if self.lead else []
        lines = [*lead, *((row[0], row[1]) for row in self.rows), *self.text]
        width = max([_NAME, *(len(name) for name, _ in lines)])
        return "\n".join([*_aligned(self.grid),
                          *(f"{name:<{width}} {text}".rstrip() for name, text in lines)])


def _aligned(grid: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table, numbers to the right."""
    columns = list(zip(*grid, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [all(not cell or cell.startswith(_NUMERIC) for cell in column[1:])
             for column in columns]
    return ["  ".join(cell.rjust(width) if to_right else cell.ljust(width)
                      for cell, width, to_right in zip(row, widths, right, strict=True)).rstrip()
            for row in grid]


def render_page(sections: Sequence[Section], pictures: Sequence[Mapping[str, bytes]]) -> str:
    """All sections as one page without links to anything outside itself; pictures are PNG, by name for each section."""
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined,
                                  trim_blocks=True).from_string(_PAGE)
    embedded = [{name: base64.b64encode(picture).decode() for name, picture in some.items()}
                for some in pictures]
    return template.render(title=sections[0].title, sections=sections, pictures=embedded)


#: Units of options that are numbers, where they have one.
_UNITS = {"facet_size": "rad", "stamp_cell": "rad", "bootstrap": "lists", "stamp_size": "pixels",
          "pb_cutoff": "of the peak", "match": "rad"}


def provenance_section(provenance: Provenance | None) -> Section:
    """What a result came from: nothing is nested, and numbers have their unit."""
    return Section("Provenance", provenance_rows(provenance))


def provenance_rows(provenance: Provenance | None) -> list[tuple[str, str]]:
    """Name and text of what a result came from."""
    if provenance is None:
        return []
    rows = [("made by", f"uvstack {provenance.version}"), ("command", provenance.command),
            ("date", f"{provenance.date} (UTC)")]
    for key, value in provenance.inputs.items():
        if isinstance(value, Mapping):
            rows += [(f"--{name.replace('_', '-')}", _text_of(name, one))
                     for name, one in value.items() if name != "seed"]
        elif value not in (None, []):
            rows.append(("measurement set" if key == "ms" else key.replace("_", " "),
                         _text_of(key, value)))
    if provenance.seed is not None:
        rows.append(("seed", str(provenance.seed)))
    return rows


#: What keys of settings end with: the unit that is shown, and its size in that of the key.
_SHOWN = {"_jy_per_beam": ("µJy/beam", 1e-6), "_jy": ("µJy", 1e-6), "_rad": ("″", ARCSEC),
          "_hz": ("GHz", 1e9), "_m": ("m", 1.0), "_s": ("s", 1.0)}


def setting_rows(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and text of settings, of which None is left out; keys that end with a unit, such as cell_rad, are shown in a better one."""
    rows = []
    for key, value in settings.items():
        end = next((end for end in _SHOWN if key.endswith(end) and isinstance(value, int | float)),
                   "")
        if end:
            rows.append((key.removesuffix(end).replace("_", " "),
                         f"{value / _SHOWN[end][1]:.6g} {_SHOWN[end][0]}"))
        elif value is not None:
            rows.append((key.replace("_", " "), _text_of(key, value)))
    return rows


def _text_of(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {text}".rstrip() for key, text in setting_rows(value))
    if isinstance(value, list | tuple):
        return ", ".join(_text_of(name, one) if isinstance(one, Mapping) else str(one)
                         for one in value)
    if isinstance(value, int | float):
        return f"{value:.6g} {_UNITS.get(name, '')}".rstrip()
    return str(value)
