"""uv- and image-stacking of one list from the same visibilities (Lindroos et al. 2015, sections 3.2, 3.3, 5.2 and 5.4).

The set is taken as it is: step (ii) of section 3.1, with bright sources subtracted before (`uvstack
subtract`). Nothing is deconvolved, "none of the target stacked sources is", and the peak of a point
source does not depend on its sidelobes. With the natural weights of the default, the dirty image at
a position *is* the mean that the uv-stack takes there: for one pointing and equal weights both
methods give one number, noise and all, but for what the image loses. That is the alignment to the
nearest pixel, which the psf stacked with the same offsets foretells (`peak_response`), and how
short baselines are left out: the uv-stack does so exactly (`uvmin`), a stamp by setting Fourier
pixels to zero (`low_filter`), pixels as coarse as one over the stamp. The image keeps the short
baselines, as the paper's did.

Both methods stack the same list: a position that one of them cannot use (off the image, near its
edge, outside the primary beam) is left out of both, and told. In a mosaic with equal weights the
uv-stack still weighs a position by how often it is seen, an image-stack does not: there W_k = A_k²,
the default with a primary beam, makes both the same estimate.

Cost: two or three passes over the set for the image, one for each uv-stack, and 0.1 s for a
thousand stamps. The image is held in memory several times over.
"""

from __future__ import annotations

import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from astropy.coordinates import SkyCoord
from typing_extensions import Unpack

from uvstack._version import __version__
from uvstack.comparison.result import CompareResult, Method
from uvstack.constants import ARCSEC, SPEED_OF_LIGHT
from uvstack.errors import (
    DistantPositionsWarning,
    DroppedPositionsWarning,
    ImageError,
    PositionsError,
    SelectionError,
)
from uvstack.image_stacking.averaging import HALF_WIDTH, Averaging
from uvstack.image_stacking.image_files import parse_filter, read_psf
from uvstack.image_stacking.result import ImageStackResult
from uvstack.image_stacking.task import image_stack
from uvstack.imaging.options import WeightingKind
from uvstack.imaging.result import ImageResult
from uvstack.imaging.task import image as make_image
from uvstack.io.dataset import default_cell, open_sets, warn_of_beam
from uvstack.io.fits import sin_wcs, write_image
from uvstack.io.image_file import read_cube
from uvstack.io.output import check_output, report_folder, together
from uvstack.io.pointing import pointings_text
from uvstack.io.primary_beams import read_primary_beam
from uvstack.io.provenance import provenance_of
from uvstack.io.selection import parse_uv_range
from uvstack.io.tables import read_positions
from uvstack.options import (
    DataOptions,
    ListOptions,
    OverwriteOptions,
    ProfileOptions,
    ReportOptions,
    RunOptions,
    UVRangeOptions,
    options_of,
    takes,
)
from uvstack.pixels.grid import good_size
from uvstack.pixels.psf import fit_beam
from uvstack.records import MeasurementSets, Selection, Structure
from uvstack.report.files import check_asked, files_of_report, write_asked
from uvstack.sky.beam import Beam
from uvstack.sky.coordinates import centre_of, direction_cosines, to_frame
from uvstack.sky.options import PositionOptions
from uvstack.sky.position_weights import check_weights, parse_weights
from uvstack.sky.positions import Positions
from uvstack.sky.primary_beam import Constant, PrimaryBeam
from uvstack.stacking.plan import farthest_view
from uvstack.stacking.result import StackResult
from uvstack.stacking.stamp import check_stamp
from uvstack.stacking.task import stack

logger = logging.getLogger(__name__)

#: Pixels on a side beyond which an image is made only if asked for.
_LARGEST_IMAGE = 8192
#: Stamps without and, at most, with a filter; the latter is the paper's.
_STAMP, _LARGE_STAMP = 64, 256
#: How far outside the band of the data the frequency of a given image may lie.
_BAND_MARGIN = 0.01
#: What `fit` takes: shape of the uv fit, shape of the psf fit.
_SHAPES = {"gaussian": ("gaussian", "circular"), "point": ("delta", "point")}
_ALIGNMENTS = {"nearest": "nearest pixel", "subpixel": "sub-pixel"}


@dataclass(frozen=True)
class _Picture:
    """The image that is stacked: its files, and how `image_stack` is to read them."""

    path: Path
    psf: Path | None
    cell: float
    beam: Beam
    frequency: float
    stamp: int
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Data:
    """What is read of the sets before the work, and what is chosen of them."""

    paths: tuple[str, ...]
    structures: tuple[Structure, ...]
    selections: tuple[Selection, ...]
    centres: np.ndarray
    pointings: np.ndarray
    selection: dict[str, Any]
    primary_beam: PrimaryBeam
    shared: dict[str, Any]

    @property
    def attenuates(self) -> bool:
        """Whether there is a primary beam."""
        return not isinstance(self.primary_beam, Constant)

    @property
    def band(self) -> tuple[float, float]:
        """Lowest and highest channel, Hz."""
        sets = zip(self.structures, self.selections, strict=True)
        channels = np.concatenate([d.spw.frequency for structure, selection in sets for d in structure.used(selection)])
        return float(channels.min()), float(channels.max())

    @property
    def farthest(self) -> float:
        """Distance from a pointing beyond which no antenna of these sees, rad."""
        return farthest_view(self.structures, self.selections)


class SharedOptions(PositionOptions, UVRangeOptions, DataOptions, ListOptions, ReportOptions,
                    ProfileOptions, OverwriteOptions, RunOptions, total=False):
    """The options that it shares with other functions."""


@together()
@takes
def compare(
    ms: MeasurementSets,
    positions: str | Path | SkyCoord | Positions | Any,
    *,
    image: str | Path | None = None,
    psf: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    cell: float | None = None,
    weighting: WeightingKind = "natural",
    robust: float | None = None,
    methods: Sequence[str] = ("mean", "median"),
    low_filter: str | None = None,
    stamp: int | None = None,
    weights: str | None = None,
    image_kind: Literal["corrected", "flat"] | None = None,
    pb_image: str | Path | None = None,
    beam: tuple[float, ...] | None = None,
    fit: Literal["gaussian", "point"] | None = None,
    out: str | Path | None = None,
    image_out: str | Path | None = None,
    **options: Unpack[SharedOptions],
) -> CompareResult:
    """Stacks of the visibilities and of their image at the same positions.

    The image has all baselines up to uvmax; the list is uv-stacked with and without uvmin. Several
    pointings need a primary beam.

    Parameters
    ----------
    ms, positions
        As for `stack`. Bright sources are to be subtracted before: nothing is deconvolved here.
    image, psf : path, optional
        FITS image to be stacked and its dirty beam; by default the dirty image of the set is made.
    size : int or (int, int), optional
        Pixels (m, l) of that image; default all positions with their stamps, or what fits around
        the phase centre.
    cell : float, optional
        Its pixel, and that of all stamps, rad; default a fifth of λ/B for the longest baseline.
    weighting, robust
        Of that image, as for `image`. Natural weights are those of the uv-stack.
    methods : sequence of {"mean", "median", "clipped-mean"}
        How stamps are averaged.
    low_filter : str, optional
        Low spatial frequencies taken out of the image-stack: "5km", "20klambda", "3pixels"; default
        uvmin.
    stamp : int, optional
        Pixels across a stamp, even; default 64, and with a filter as many as put two Fourier pixels
        on its length, up to 256.
    weights : str, optional
        W_k, as for `stack`; default "primary-beam" where one is given, else "equal". "local-noise"
        is that of the image.
    image_kind : {"corrected", "flat"}, optional
        Of a given image; default "corrected". The one made here is of flat noise.
    pb_image : path, optional
        FITS image of the primary beam of a given image.
    beam : tuple of float, optional
        FWHM of both axes and position angle, rad, where a given image says none.
    fit : {"gaussian", "point"}, optional
        Fit this to the stacked set, and with the psf to the mean stamps below the pixel; wants
        `out` or `report`.
    out : path, optional
        Stacked measurement set.
    image_out : path, optional
        Begin of the names under which the image made here is kept, with its psf and response:
        `image_out`-dirty.fits …; default in the report.

    Returns
    -------
    CompareResult

    Raises
    ------
    UvstackError
        One of its subclasses, in one line: bad input, no position that both methods can use, output
        not writable.

    Examples
    --------
    >>> result = uvstack.compare("survey.ms", "positions.csv", column="RESIDUAL", primary_beam="vla", uvmin="5km")
    """
    asked = {**locals(), **options}
    check_asked(CompareResult, options)
    primary_beam, pb_cutoff, report = options["primary_beam"], options["pb_cutoff"], options["report"]
    uvmin, uvmax = options["uvmin"], options["uvmax"]
    limits, low_filter = parse_uv_range(uvmin, uvmax), _filter_text(low_filter, uvmin)
    averages = [Averaging(method).method for method in methods]
    weights = weights or ("equal" if isinstance(read_primary_beam(primary_beam), Constant) else "primary-beam")
    terms = parse_weights(weights)
    check_weights(terms, not isinstance(read_primary_beam(primary_beam), Constant))
    if stamp is not None:
        check_stamp(stamp)
    if fit is not None and out is None and report is None:
        raise SelectionError("a fit wants the stacked measurement set; give out (--out) or report (--report) too")
    _check_image_options({name for name in asked if asked[name] is not None})
    run = {name: asked[name] for name in ("workers", "scheduler", "threads")}
    data = _read_data(ms, {name: asked[name] for name in options_of(DataOptions)}, primary_beam, run)
    inputs = (*data.paths, *(str(p) for p in (image, psf, positions) if isinstance(p, str | Path)))
    for name in ([] if out is None else [out]) + ([] if image_out is None else [f"{image_out}-{p}.fits" for p in ("dirty", "psf", "pb")]):
        check_output(name, options["overwrite"], inputs=inputs)
    sources = read_positions(positions, columns=options["columns"], frame=options["frame"], unit=options["unit"])
    with ExitStack() as scratch:
        folder = None if report is None else scratch.enter_context(report_folder(report, files_of_report(CompareResult)))
        if image is not None:
            picture = _given_picture(Path(image), psf, data, beam, image_kind, pb_image, (stamp, low_filter))
        else:
            start = image_out or f"{folder or scratch.enter_context(tempfile.TemporaryDirectory())}/image"
            picture = _made_picture(data, sources, str(start), size, cell, weighting, robust, uvmax, pb_cutoff,
                                    (stamp, low_filter), options["progress"])
        how = {"weights": weights, "pb_cutoff": pb_cutoff}
        noise = _noise_options(terms, picture, options["noise_image"], options["noise_kind"])
        in_image: dict[str, Any] = {**how, **picture.options, **noise, "threads": options["threads"]}
        chosen, dropped = _usable(picture, sources, in_image)
        in_uv: dict[str, Any] = {**how, **noise, **data.selection, **data.shared, "primary_beam": data.primary_beam,
                                 "progress": options["progress"], "uvmax": uvmax,
                                 "overwrite": options["overwrite"], "stamp_size": picture.stamp, "stamp_cell": picture.cell}
        # The fit wants the stacked set, whether it is kept or not; then it goes with the folder that the report's lies in.
        stacked = folder.parent / "stack.ms" if out is None and fit is not None and folder is not None else out
        found, chosen, dropped = _uv_stacks(data, sources, chosen, dropped, in_uv, uvmin, stacked, picture)
        found += _image_stacks(picture, sources.subset(chosen), averages, low_filter, {**in_image, "stamp": picture.stamp})
        _tell_dropped(dropped, len(sources))
        of_set = None
        if fit is not None and stacked is not None:
            from uvstack.fitting.task import fit_stacked

            of_set = fit_stacked(stacked, _SHAPES[fit][0], options)
            found = [_with_fit(method, picture.cell, _SHAPES[fit][1]) for method in found]
        provenance = provenance_of(
            asked, ms=data.paths, positions=sources.source, primary_beam=data.primary_beam.describe(),
            pointing=pointings_text(data.structures, data.selections))
        settings = {"weights": weights, "uv_range": str(limits), "filter": low_filter, "stamp": picture.stamp, "column": options["column"],
                    "primary_beam": data.primary_beam.describe(), "pb_cutoff": pb_cutoff}
        files = picture.files if image is not None else _kept(picture, image_out, report)
        result = CompareResult(
            name=f"{Path(data.paths[0]).name} and others" if len(data.paths) > 1 else Path(data.paths[0]).name, methods=tuple(found),
            cell=picture.cell, beam=(*picture.beam,), n_positions=chosen.size, n_positions_given=len(sources), dropped=dropped,
            image=picture.settings, settings=settings, files={**files, **({} if out is None else {"ms": str(out)})},
            fit=of_set, provenance=provenance)
        return result if folder is None else write_asked(result, {**options, "report": folder}, "bins")


def _kept(picture: _Picture, image_out: str | Path | None, report: str | Path | None) -> dict[str, str]:
    """Where the image that was made is in the end: under names of its own, in the report, or nowhere."""
    start = image_out if image_out is not None else None if report is None else Path(report) / "image"
    return {} if start is None else {name: f"{start}-{name}.fits" for name in picture.files}


def _with_fit(method: Method, cell: float, shape: str) -> Method:
    """With a fit to its stamp, if that is a mean of stamps aligned below the pixel and its psf is known."""
    if method.is_uv or method.psf is None or (method.alignment, method.average) != ("subpixel", "mean"):
        return method
    from uvstack.image_stacking.psf_fit import fit_psf

    return replace(method, fit=fit_psf(method.stamp, method.psf, cell, shape=shape))


# ------------------------------------------------------------------------------------------------- what is asked for


def _check_image_options(options: set[str]) -> None:
    if "image" in options:
        made = [name for name in ("size", "cell", "image_out") if name in options]
        if made:
            raise SelectionError(f"{', '.join(made)} belong to the image that is made here, and image (--image) is given: leave one out")
        return
    own = [name for name in ("psf", "pb_image", "image_kind", "beam") if name in options]
    if own:
        raise SelectionError(f"{', '.join(own)} belong to an image of your own: give it as image (--image)")


def _filter_text(low_filter: str | None, uvmin: str | float | None) -> str | None:
    """The filter: that given, else the length of uvmin."""
    if low_filter is not None or uvmin is None or parse_uv_range(uvmin, None).minimum == 0:
        return low_filter
    return f"{uvmin}m" if isinstance(uvmin, int | float) else str(uvmin)


def _read_data(ms: MeasurementSets, selection: dict[str, Any], primary_beam: str | PrimaryBeam,
               shared: dict[str, Any]) -> _Data:
    """The sets, and where their selected fields have phase centre and pointing (field, 2), J2000, rad."""
    selection = {k: v for k, v in selection.items() if v is not None}
    structures, selections = open_sets(ms, **{k: v for k, v in selection.items() if k != "column"})
    # Pointings far from the phase centre are told where the beam is used.
    warn_of_beam(structures, selections, primary_beam, None)
    fields = [s.fields[f] for s, chosen in zip(structures, selections, strict=True) for f in sorted(chosen.field_ids)]
    centres, pointings = (np.unique([centre_of(f.frame, *direction)[:2] for f, direction in zip(fields, those, strict=True)], axis=0)
                          for those in ([(f.ra, f.dec) for f in fields], [f.beam_centre for f in fields]))
    return _Data(tuple(s.path for s in structures), structures, selections, centres, pointings, selection,
                 read_primary_beam(primary_beam), shared)


def _stamp_for(wanted: tuple[int | None, str | None], frequency: float, cell: float) -> int:
    """Pixels of a stamp: those asked for, or as many as make a Fourier pixel half the length of the filter, from 64 to 256, even."""
    stamp, low_filter = wanted
    low = None if low_filter is None else parse_filter(low_filter, frequency)
    if stamp is not None or low is None or not low.wavelengths:
        return stamp or _STAMP
    return int(np.clip(2 * math.ceil(1 / (low.wavelengths * cell)), _STAMP, _LARGE_STAMP))


def _noise_options(terms: tuple[str, ...], picture: _Picture, noise_image: str | Path | None, kind: str | None) -> dict[str, Any]:
    """What says the noise in both methods, where weights want it."""
    if "local-noise" not in terms:
        return {}
    return {"noise_image": noise_image or picture.path, "noise_kind": kind or picture.options["image_kind"]}


# ------------------------------------------------------------------------------------------------------- the image


def _given_picture(path: Path, psf: str | Path | None, data: _Data, beam: tuple[float, ...] | None, kind: str | None,
                   pb_image: str | Path | None, wanted: tuple[int | None, str | None]) -> _Picture:
    """An image that exists: of one plane, the band of the data, and a known beam."""
    cube = read_cube(path)
    if len(cube.data) > 1:
        raise ImageError(f"{path}: holds {len(cube.data)} channels; wanted is an image of one plane, made of the same data as the uv-stack")
    low, high = data.band
    frequency = 0.5 * (low + high) if cube.frequency is None else float(cube.frequency[0])
    if not (1 - _BAND_MARGIN) * low <= frequency <= (1 + _BAND_MARGIN) * high:
        raise ImageError(f"{path}: is at {frequency / 1e9:.5g} GHz and the data are at {low / 1e9:.5g} to {high / 1e9:.5g} GHz; give an "
                         "image of these data, or select those it was made of with --spw")
    if beam is not None:
        known = Beam(*beam)
    elif (of_header := cube.beam()) is not None:
        known = of_header
    elif psf is not None:
        known = Beam(*fit_beam(read_psf(psf, cube.cell), cube.cell))
    else:
        raise ImageError(f"{path}: has no beam (BMAJ, BMIN); give the dirty beam as --psf, or --beam 3.2arcsec,1.6arcsec")
    options: dict[str, Any] = {"psf": psf, "frequency": frequency, "image_kind": kind or "corrected", "beam": tuple(known)}
    if pb_image is not None:
        options["pb_image"] = pb_image
    elif data.attenuates:
        options |= {"primary_beam": data.primary_beam, "pointings": _coord(data.pointings)}
    shape = cube.data.shape[1:]
    files = {"image": str(path)} | ({} if psf is None else {"psf": str(psf)})
    return _Picture(path, None if psf is None else Path(psf), cube.cell, known, frequency,
                    _stamp_for(wanted, frequency, cube.cell), options,
                    _described(str(path), shape, cube.cell, frequency, {"kind": kind or "corrected"}), files)


def _made_picture(data: _Data, sources: Positions, start: str, size, cell: float | None, weighting: WeightingKind, robust: float | None,
                  uvmax, pb_cutoff: float, wanted: tuple[int | None, str | None], progress) -> _Picture:
    """The dirty image of the data: natural weights unless told, all baselines up to uvmax, of even noise with a primary beam."""
    cell = cell or _cell_for(data, uvmax)
    if not (math.isfinite(cell) and cell > 0):
        raise ImageError(f"cell is {cell}; wanted a positive angle in rad")
    stamp = _stamp_for(wanted, 0.5 * sum(data.band), cell)
    where = {"size": size} if size is not None else _extent(data, sources, cell, pb_cutoff, stamp)
    found = make_image(list(data.paths), cell=cell, iterations=0, weighting=weighting, robust=robust, uvmax=uvmax,
                       primary_beam=data.primary_beam if data.attenuates else None, progress=progress, **where, **data.selection,
                       **data.shared)
    assert isinstance(found, ImageResult)
    grid, beam = found.grid, Beam(*found.beam)
    wcs = sin_wcs(grid.geometry.ra, grid.geometry.dec, grid.shape, cell)
    planes = {"dirty": found.dirty[0], "psf": found.psf} | ({} if found.response is None else {"pb": found.response})
    for name, plane in planes.items():
        write_image(f"{start}-{name}.fits", plane, wcs, unit="" if name == "pb" else "Jy/beam", beams=beam,
                    frequency=found.reference_frequency, cards={"ORIGIN": f"uvstack {__version__}"})
    options: dict[str, Any] = {"psf": f"{start}-psf.fits", "image_kind": "corrected" if found.response is None else "flat"}
    if found.response is not None:
        options["pb_image"] = f"{start}-pb.fits"
    more = {"weighting": weighting + (f", robust {robust or 0.0:g}" if weighting == "briggs" else ""), "deconvolved": "no",
            "noise_jy_per_beam": found.noise, "pointings": len(data.pointings)}
    return _Picture(Path(f"{start}-dirty.fits"), Path(f"{start}-psf.fits"), cell, beam, found.reference_frequency, stamp, options,
                    _described("dirty image made of the set", grid.shape, cell, found.reference_frequency, more),
                    {name: f"{start}-{name}.fits" for name in planes})


def _described(what: str, shape: tuple[int, ...], cell: float, frequency: float, more: dict[str, Any]) -> dict[str, Any]:
    return {"image": what, "pixels": [int(n) for n in shape], "cell_rad": cell, "frequency_hz": frequency, **more}


def _cell_for(data: _Data, uvmax) -> float:
    """A fifth of λ/B, of the longest baseline or of uvmax where that is shorter, rad."""
    cell, limits = default_cell(data.structures, data.selections), parse_uv_range(None, uvmax)
    longest = limits.maximum
    if limits.unit == "m":
        longest *= data.band[1] / SPEED_OF_LIGHT
    return max(cell, 0.2 / longest) if longest > 0 else cell


def _extent(data: _Data, sources: Positions, cell: float, pb_cutoff: float, stamp: int) -> dict[str, Any]:
    """Middle and size of an image that holds all positions with their stamps.

    Around the phase centre (the middle of all), where nothing is turned; around the middle of the
    positions if this halves the pixels.
    """
    ra, dec = to_frame(sources.coord, "J2000")
    seen, nearest = np.zeros(ra.size, np.bool_), np.inf
    for centre in data.pointings:
        l, m, n_minus_1 = direction_cosines(ra, dec, *centre)
        ahead = n_minus_1 > -1.0
        power = data.primary_beam(l[ahead], m[ahead], np.array(data.band)).max(axis=1)
        seen[ahead] |= np.nan_to_num(power) >= pb_cutoff
        nearest = min(nearest, float(2 * np.arcsin(np.sqrt(np.clip(-n_minus_1.max() / 2, 0, 1)))))
    if not seen.any() or nearest > data.farthest:
        raise PositionsError(
            f"{sources.source}: none of its {ra.size} positions lies inside a primary beam ({data.primary_beam.describe()}, cut-off "
            f"{pb_cutoff:g}); the nearest is {np.rad2deg(nearest):.3g}° from a phase centre: are frame and unit of the list right?")
    ra, dec = ra[seen], dec[seen]
    wanted = {}
    for name, middle in (("field", _middle(*data.centres.T)), ("positions", _middle(ra, dec))):
        l, m, n_minus_1 = direction_cosines(ra, dec, *middle)
        reach = float(np.maximum(np.abs(l), np.abs(m)).max()) if (n_minus_1 > -1.0).all() else math.inf
        # The taps of the stamp's outermost pixels too, on either side.
        wanted[name] = middle, 2 * (math.ceil(reach / cell) + stamp // 2 + HALF_WIDTH + 1) if reach < math.inf else math.inf
    chosen = "field" if wanted["field"][1] ** 2 <= 2 * wanted["positions"][1] ** 2 else "positions"
    middle, n = wanted[chosen]
    if n > _LARGEST_IMAGE:
        raise PositionsError(
            f"{sources.source}: all of its positions want an image of {n} pixels of {cell / ARCSEC:.3g} arcsec, and unasked "
            f"{_LARGEST_IMAGE} are made at most; are frame and unit of the list right? Else give --size, and positions off the image are "
            "left out")
    alone = chosen == "field" and len(data.centres) == 1
    return {"size": good_size(int(n)), "phase_centre": None if alone else middle}


def _middle(ra: np.ndarray, dec: np.ndarray) -> tuple[float, float]:
    x, y, z = (np.cos(dec) * np.cos(ra)).mean(), (np.cos(dec) * np.sin(ra)).mean(), np.sin(dec).mean()
    return float(np.arctan2(y, x) % (2 * np.pi)), float(np.arctan2(z, np.hypot(x, y)))


def _coord(directions: np.ndarray) -> SkyCoord:
    """J2000."""
    return SkyCoord(directions[:, 0], directions[:, 1], unit="rad", frame="fk5")


# ------------------------------------------------------------------------------------------------------ the stacks


def _quietly(function: Callable, *args: Any, **options: Any) -> Any:
    """Without warnings of positions left out or far away: they are told once, with all reasons."""
    with warnings.catch_warnings():
        for told in (DroppedPositionsWarning, DistantPositionsWarning):
            warnings.simplefilter("ignore", told)
        return function(*args, **options)


def _usable(picture: _Picture, sources: Positions, options: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Numbers of the positions that the image has, and of the others by reason; what sub-pixel alignment can use the nearest pixel can."""
    probe = _quietly(image_stack, picture.path, sources, stamp=8, alignment="subpixel", **options)
    return np.flatnonzero(probe.weights > 0), {reason: which for reason, which in probe.dropped.items() if which.size}


def _uv_stacks(data: _Data, sources: Positions, chosen: np.ndarray, dropped: dict[str, np.ndarray], options: dict[str, Any], uvmin,
               out, picture: _Picture) -> tuple[list[Method], np.ndarray, dict[str, np.ndarray]]:
    """uv-stacks of all baselines and, with uvmin, of the longer ones; which positions remain."""
    # Its advice on short baselines wants what each position adds.
    options = options | {"by_position": True}
    first: StackResult = _quietly(stack, list(data.paths), sources.subset(chosen), uvmin=uvmin, out=out, **options)
    results = [first]
    if uvmin is not None:
        results.insert(0, _quietly(stack, list(data.paths), sources.subset(chosen), **options))
    for reason, which in first.dropped.items():
        if which.size:
            # The image may have left out others for the same reason.
            dropped = {**dropped, reason: np.union1d(dropped.get(reason, which[:0]), chosen[which])}
    chosen = np.delete(chosen, np.concatenate(list(first.dropped.values())))
    found = []
    for result in results:
        made = result.image(options["stamp_size"], options["stamp_cell"])
        is_cut = uvmin is not None and result is first
        found.append(Method("uv-stack" + (f", {result.uv_range}" if is_cut else ""), "mean", "exact",
                            f"uv range {result.uv_range}" if is_cut else "all", result, made.brightness, made.psf,
                            picture.beam.fwhm_major / picture.cell))
    return found, chosen, dropped


def _image_stacks(picture: _Picture, sources: Positions, averages: Sequence[str], low_filter: str | None,
                  options: dict[str, Any]) -> list[Method]:
    """Image-stacks with either alignment, each average, without and with the filter."""
    found = []
    for low in (None, low_filter)[:1 if low_filter is None else 2]:
        for average in averages:
            for alignment, text in _ALIGNMENTS.items():
                result: ImageStackResult = _quietly(image_stack, picture.path, sources, method=average, alignment=alignment, low_filter=low,
                                                    **options)
                name = f"image-stack, {text}" + ("" if average == "mean" else f", {average}") + ("" if low is None else f", filter {low}")
                found.append(Method(name, average, alignment, "all" if low is None else f"filter {low}", result, result.stamp, result.psf,
                                    picture.beam.fwhm_major / picture.cell))
    return found


def _tell_dropped(dropped: dict[str, np.ndarray], n: int) -> None:
    if dropped:
        reasons = ", ".join(f"{which.size} {reason}" for reason, which in dropped.items())
        warnings.warn(DroppedPositionsWarning(
            f"{sum(which.size for which in dropped.values())} of {n} positions were left out of both stacks: {reasons}"), stacklevel=5)
