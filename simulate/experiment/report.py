"""What a person reads of an experiment: Table 2 beside the paper's, what goes beyond it, and the figures."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from simulate.experiment.collect import MEANING, MEANING_BEYOND, beyond, markdown, table_2
from simulate.experiment.figures import figures_of
from simulate.experiment.results import PACKED, write_packed
from uvstack.io.output import write_text
from uvstack.report.files import json_file
from uvstack.report.page import Section

if TYPE_CHECKING:
    from simulate.experiment.result import ExperimentResult


def overview(result: ExperimentResult) -> Section:
    """Table 2 with the paper's lines, and how many realisations there are."""
    rows = [("realisations", f"{result.n_computed} computed, {result.n_taken} taken from "
                             f"{result.folder}"),
            ("entries", MEANING)]
    return Section("Table 2 of Lindroos et al. (2015), computed anew", rows,
                   grid=table_2(result.table))


def sections(result: ExperimentResult) -> list[Section]:
    """Table 2, what goes beyond it, and the figures."""
    text = functools.partial(write_text, text=markdown(result.table))
    packed = functools.partial(write_packed, found=result.realisations)
    more = Section("Beyond the paper", [("entries", MEANING_BEYOND)], tables=result.tables(),
                   files={"table.md": text, "provenance.json": json_file(vars(result.provenance)),
                          PACKED: packed},
                   grid=beyond(result.table))
    if not result.with_figures:
        return [overview(result), more]
    return [overview(result), more,
            Section("Fluxes over the paper's", figures={"fluxes": result.figure()}),
            *(Section(name.replace("figure", "Figure "), figures={name: figure})
              for name, figure in figures_of(result.realisations).items())]
