"""How any result is saved and shown: a summary as JSON, its main table as ECSV beside it, a picture.

The only file of this room that writes. A result says what there is by `summary`, `table_beside` and `figure`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from uvstack.io.output import together, write_figure, write_json, write_table
from uvstack.records import Shown

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure


class Saved(Shown):
    """A result that can be saved and drawn; a subclass gives `summary` and, where it has them, `table_beside` and `figure`."""

    def summary(self) -> dict[str, Any]:
        """Numbers and texts that JSON can hold."""
        raise NotImplementedError

    def table_beside(self) -> Table | None:
        """The table that is saved beside the summary."""
        return None

    def figure(self, *args: Any, **options: Any) -> Figure:
        """The picture that `plot` writes."""
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        """Write `summary` as JSON and, beside it (same name, ending .ecsv), the table where there is one."""
        table = self.table_beside()
        with together():
            write_json(path, self.summary())
            if table is not None:
                write_table(Path(path).with_suffix(".ecsv"), table)

    def plot(self, path: str | Path, *args: Any, **options: Any) -> None:
        """Write the picture, drawn with these options of `figure`; the ending of the path sets the format."""
        write_figure(path, self.figure(*args, **options))
