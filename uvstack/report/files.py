"""How any result is saved and shown: a summary as JSON, tables as ECSV named after what they hold, pictures, one page.

The only file of this room that writes. A result says what there is by `summary`, `tables`, `figure`
and `sections`.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from uvstack.io.output import (
    check_report,
    report_folder,
    together,
    write_figure,
    write_json,
    write_table,
    write_text,
)
from uvstack.records import Provenance, Shown
from uvstack.report.page import Section, provenance_section, render_page

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure


Result = TypeVar("Result", bound="Saved")


class Saved(Shown):
    """A result that can be saved, drawn and shown; a subclass gives `summary`, `overview`, and what it has of the rest."""

    #: What its summary is called in a report.
    JSON: ClassVar[str] = "result.json"
    #: Files that a report of it may hold besides index.html and its summary.
    REPORT: ClassVar[tuple[str, ...]] = ()
    provenance: Provenance | None

    def summary(self) -> dict[str, Any] | list[dict[str, Any]]:
        """Numbers and texts that JSON can hold."""
        raise NotImplementedError

    def overview(self) -> Section:
        """What is read first, and at a terminal alone."""
        raise NotImplementedError

    def sections(self, *args: Any, **options: Any) -> list[Section]:
        """What its page shows above the provenance, the overview first."""
        return [self.overview()]

    def fit_sections(self) -> list[Section]:
        """What was fitted to it, for the terminal and at the end of its page."""
        return []

    def tables(self, *args: Any, **options: Any) -> dict[str, Table]:
        """Tables that are saved beside the summary, by name."""
        return {}

    def figure(self, *args: Any, **options: Any) -> Figure:
        """The picture that `plot` writes."""
        raise NotImplementedError

    def __str__(self) -> str:
        return str(self.overview())

    def save(self, path: str | Path) -> None:
        """Write `summary` as JSON and each of `tables` beside it: NAME.json and NAME-uv_profile.ecsv, for instance."""
        path = Path(path)
        with together():
            write_json(path, self.summary())
            for name, table in self.tables().items():
                write_table(path.with_name(f"{path.stem}-{name}.ecsv"), table)

    def plot(self, path: str | Path, *args: Any, **options: Any) -> None:
        """Write the picture, drawn with these options of `figure`; the ending of the path sets the format."""
        write_figure(path, self.figure(*args, **options))

    def report(self, folder: str | Path, **options: Any) -> Path:
        """Write its summary (`JSON`), tables, pictures and index.html to a folder; path of the page.

        Parameters
        ----------
        folder : str or Path
            Made where it does not exist; files of these names in it are replaced, others stay.
        **options
            Of `sections`.
        """
        return write_report(self, [*self.sections(**options), *self.fit_sections()], folder)


def json_file(value: Any) -> Callable[[Path], None]:
    """What writes a value to a file of a section."""
    return functools.partial(write_json, value=value)


def files_of_report(kind: type[Saved]) -> tuple[str, ...]:
    """Names of all files that a report of this kind of result may hold."""
    return ("index.html", kind.JSON, *kind.REPORT)


def check_asked(kind: type[Saved], options: Mapping[str, Any]) -> None:
    """Before the work: that the report, if one is asked for, can be written; `uvstack.io.output.check_report` says what is refused.

    Parameters
    ----------
    kind : type
        Of the result.
    options : mapping
        Of a task, with those of `uvstack.options.ReportOptions` and `OverwriteOptions`.
    """
    if options["report"] is not None:
        check_report(options["report"], options["overwrite"], files_of_report(kind))


def write_asked(result: Result, options: Mapping[str, Any], *names: str) -> Result:
    """The result, with its report written if one is asked for; `names` are options that `sections` of it takes."""
    if options["report"] is not None:
        result.report(options["report"], **{name: options[name] for name in names})
    return result


def write_report(result: Saved, sections: Sequence[Section], folder: str | Path) -> Path:
    """Write the summary of a result, all that its sections hold, and their page with the provenance; path of the page."""
    sections = [*sections, provenance_section(result.provenance)]
    with report_folder(folder, files_of_report(type(result))) as made:
        write_json(made / result.JSON, result.summary())
        pictures: list[dict[str, bytes]] = []
        for section in sections:
            pictures.append({name: _png(figure) for name, figure in section.figures.items()})
            for name, picture in pictures[-1].items():
                (made / f"{name}.png").write_bytes(picture)
            for name, table in section.tables.items():
                write_table(made / f"{name}.ecsv", table)
            for name, write in section.files.items():
                write(made / name)
        write_text(made / "index.html", render_page(sections, pictures))
    return Path(folder) / "index.html"


def _png(figure: Figure) -> bytes:
    """Drawn once: most of the time of a small report is that of its pictures."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
