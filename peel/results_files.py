"""What a run has come to: noise and peaks of its images, fluxes of the other sources, gains."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import NDArray

from peel.directions import noise_in, pixels_of
from peel.field_files import read_plane_of
from peel.gains import Key
from peel.known import Known
from peel.recipe import FIELD_MODEL, PEELED, PEELED_MODEL, SPANS
from peel.region_files import separation
from peel.report import gain_figures, images_figure, models_figure, ratio_figure
from peel.result import PeelResult
from peel.stages_files import FALLING, Seen, gain_snr, span_in
from peel.work_files import IMAGES, STEPS, Work
from uvstack.constants import ARCSEC
from uvstack.errors import UvstackError
from uvstack.extraction.task import find
from uvstack.io.output import write_table
from uvstack.pixels.noise import robust_noise
from uvstack.records import Provenance

#: Times the noise from which another source is listed.
_DETECTION = 7.0
#: By how much of the beam the phases of gains may move a source before that is told.
_MOVED = 0.1


def measure(work: Work, known: Known, seen: Mapping[Key, Seen], settings: Mapping[str, str],
            rounds: int, keep_model: bool, provenance: Provenance) -> PeelResult:
    """The result of a run of so many rounds whose images are all there."""
    planes = {name: read_plane_of(work.folder / f"{name}-image.fits") for name in IMAGES}
    table = _noise_table(work, planes)
    last = read_plane_of(work.folder / STEPS / f"round-{rounds}-image.fits")
    fluxes = _other_sources(work)
    models = {}
    for number, column in enumerate([FIELD_MODEL, *work.bright]):
        path = work.image("dirty images of the models", column, f"{STEPS}/{column}", iterations=0)
        models["field" if number == 0 else f"bright {number}"] = read_plane_of(path)
    fields = _fields_table(work, known, seen)
    figures = {"images": images_figure(planes, IMAGES, work.directions, work.frame.cell),
               "models": models_figure(models, work.frame.cell),
               **gain_figures(known, work.passes.visits, len(work.passes.structure.antenna_names),
                              [one.name for one in work.directions])}
    if len(fluxes):
        figures["fluxes"] = ratio_figure(fluxes)
    columns = (PEELED, *[PEELED_MODEL] * keep_model)
    n_ant = len(work.passes.structure.antenna_names)
    # Each set of gains moves 2/(N − 1) of the noise's variance: G K, and those of each direction.
    bound = float(np.sqrt(2 / (n_ant - 1) * (1 + len(work.directions))))
    return PeelResult(work.target.structure.path, str(work.folder), columns,
                      tuple(one.summary() for one in work.directions), table, fields, fluxes,
                      (*_notes(work, known, seen, fields), *_still_falling(work, table, last)),
                      bound, rounds, dict(settings), figures, provenance)


def _still_falling(work: Work, table: QTable, last: NDArray) -> list[tuple[str, str]]:
    """Advice where the last round, whose image is given, took much of the noise around a direction."""
    peeled = table[-len(work.directions):]
    fell = 1 - peeled["rms_local"].value / noise_in(last, work.around)
    if fell.max() < FALLING:
        return []
    name = peeled["direction"][int(np.argmax(fell))]
    return [("advice", f"the noise around {name} fell by {100 * fell.max():.0f} % in the last round; more "
                       "rounds (rounds=, --rounds) take more")]


def _noise_table(work: Work, planes: Mapping[str, NDArray]) -> QTable:
    rows = []
    for name, told in IMAGES.items():
        data = planes[name]
        everywhere = robust_noise(data)
        for one, rms in zip(work.directions, noise_in(data, work.around), strict=True):
            before = planes["selfcal" if name == "peeled" else name][one.mask].max()
            rows.append((told, one.name, everywhere, rms, float(before), before / rms))
    columns = list(zip(*rows, strict=True))
    unit = u.Jy / u.beam
    return QTable([columns[0], columns[1], *(np.array(one) * unit for one in columns[2:5]),
                   np.array(columns[5])],
                  names=["image", "direction", "rms_global", "rms_local", "peak", "dynamic_range"])


def _other_sources(work: Work) -> QTable:
    """Sources of the peeled image outside the directions, and their fluxes in the others."""
    names = ["name", "ra", "dec", "distance", *(f"flux_{name}{e}" for name in IMAGES
                                                for e in ("", "_error"))]
    try:
        found = find(work.folder / "peeled-image.fits", detection=_DETECTION).catalogue
    except UvstackError:
        found = QTable()
    if len(found):
        row, column = (np.rint(found[name].value).astype(int) for name in ("y", "x"))
        shape = work.directions[0].mask.shape
        inside = (row >= 0) & (row < shape[0]) & (column >= 0) & (column < shape[1])
        near = pixels_of(work.directions)
        found = found[inside]
        found = found[~near[row[inside], column[inside]]]
    if not len(found):
        return QTable(names=names, dtype=[str, *[float] * (len(names) - 1)])
    path = work.folder / STEPS / "sources.ecsv"
    write_table(path, found)
    ra, dec = found["ra"].to_value("rad"), found["dec"].to_value("rad")
    distance = np.min([separation(ra, dec, *one.centre) for one in work.directions], axis=0)
    table = QTable({"name": [str(one) for one in found["source"]], "ra": found["ra"],
                    "dec": found["dec"], "distance": distance * u.rad})
    for name in IMAGES:
        # Of points in one place, in all images alike.
        forced = find(work.folder / f"{name}-image.fits", forced=path).catalogue
        for end in ("", "_error"):
            table[f"flux_{name}{end}"] = forced[f"flux{end}"].to("Jy")
    return table


def _fields_table(work: Work, known: Known, seen: Mapping[Key, Seen]) -> QTable:
    first, last = known.chi_squared["bright"], list(known.chi_squared.values())[-1]
    fits = {(one.field, one.window, one.direction): one for one in known.fits}
    rows = []
    for visit in (one for one in work.passes.visits if one.n_good):
        key = visit.field.id, visit.window.id
        for number, direction in enumerate(work.directions):
            fit = fits.get((*key, number))
            learnt = seen.get(key)
            before, after = (told.get(key, (np.nan, np.nan))[at] for at, told in enumerate((first, last)))
            solved = [terms for one in known.joint for cell, terms in one.cells.items()
                      if cell[:2] == key]
            converged = [one.converged for terms in solved for one in terms.values()]
            span = span_in(work, known, visit)
            snr = 0.0 if fit is None else gain_snr(work, fit, visit, span)
            rows.append((
                visit.field.name, visit.field.id, visit.window.spw.id, direction.name,
                0.0 if fit is None else fit.flux, 0.0 if fit is None else fit.flux_error,
                0.0 if fit is None or learnt is None else fit.flux * learnt.kept(number),
                0.0 if fit is None else fit.parameters[3], snr,
                any(number in own for one in known.joint for cell, own in one.directions.items()
                    if cell[:2] == key), span, np.inf if snr <= 0 else 1 / snr,
                0.0 if learnt is None else learnt.shift(number), before, after,
                known.refused(key),
                float(np.mean(converged)) if converged else np.nan,
                0 if learnt is None else learnt.n_left))
    columns = [np.array(one) for one in zip(*rows, strict=True)]
    names = ("field", "field_id", "spw", "direction", "flux", "flux_error", "flux_corrected",
             "spectral_index", "gain_snr", "has_gains", "cell", "gain_error", "shift",
             "chi_squared_before", "chi_squared_after", "refused", "converged", "n_left")
    table = QTable(columns, names=names)
    for name in ("flux", "flux_error", "flux_corrected"):
        table[name] = table[name] * u.Jy
    table["shift"] = table["shift"] * u.rad
    return table


def _notes(work: Work, known: Known, seen: Mapping[Key, Seen], fields: QTable,
           ) -> list[tuple[str, str]]:
    """What must be known before the numbers are believed."""
    notes = []

    def told(rows: QTable) -> str:
        text = sorted({f"{row['field']} in window {row['spw']}" for row in rows})
        return ", ".join(text[:8]) + (f" and {len(text) - 8} more" if len(text) > 8 else "")

    windows = {visit.window.id: visit.window.spw.id for visit in work.passes.visits}
    for kind, what, refused in known.not_used():
        rows = fields[[any((row["field_id"], row["spw"]) == (f, windows[w]) for f, w in refused)
                       for row in fields]]
        if len(rows):
            notes.append((kind, f"{what}: {told(rows)}"))
    if work.frame.uvmax is not None:
        notes.append(("advice", f"baselines above {work.frame.uvmax:.0f} m are too long for the pixels of the images, "
                      "which leave them out: the model of the field is not known there; --size and --cell "
                      "say how many pixels there may be"))
    left = fields[fields["n_left"] > 0]
    if len(left):
        total = sum(one.n_left for one in seen.values())
        notes.append(("warning", f"gains failed for {total} visibilities, which stay as they were: "
                      + told(left)))
    longer = fields[(fields["cell"] != SPANS[0]) & fields["has_gains"]]
    if len(longer):
        notes.append(("advice", "too faint for gains as often as asked for; they have one a scan, or one "
                      "for all scans (`cell` in fields.ecsv): " + told(longer)))
    faint = fields[~fields["has_gains"]]
    if len(faint):
        notes.append(("advice", "too faint for gains of its own (below 3 times the noise of an "
                      "antenna), taken off through the field's: " + told(faint)))
    moved = fields[(fields["shift"].to_value("rad") > _MOVED * work.beam) & fields["has_gains"]]
    if len(moved):
        most = moved["shift"].to_value("rad").max() / ARCSEC
        notes.append(("warning", f"phases of gains move a source by up to {most:.2g}″: is its "
                      "place right? " + told(moved)))
    slow = fields[fields["converged"] < 0.9]
    if len(slow):
        notes.append(("warning", "fewer than nine tenths of the gains converged: " + told(slow)))
    return notes
