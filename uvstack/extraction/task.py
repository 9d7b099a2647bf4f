"""The task: an image in, a catalogue and maps out."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS
from numpy.typing import NDArray
from typing_extensions import Unpack

from uvstack.checks import finite_number
from uvstack.errors import ImageError, SelectionError, UvstackWarning
from uvstack.extraction.channels import normal_deviation, spectral_indices, weighted_mean
from uvstack.extraction.deblending import deblend as split_islands
from uvstack.extraction.flux_bias import expected_flux
from uvstack.extraction.island_sums import sum_islands
from uvstack.extraction.islands import (
    Islands,
    Map,
    blank_pixels,
    fdr_threshold,
    find_islands,
    map_of,
    peaks_at,
    rows_of,
    values_at,
)
from uvstack.extraction.measure import Measured, force, measure_islands
from uvstack.extraction.moments import measure_moments, moment_errors
from uvstack.extraction.noise_correlation import beam_correlation, measure_correlation
from uvstack.extraction.noise_map import NodeMap, NoiseNodes, measure_noise
from uvstack.extraction.options import ExtractionOptions, ExtractOptions
from uvstack.extraction.plane_files import (
    Plane,
    check_shape,
    read_map,
    read_plane,
    read_planes,
    read_psf_map,
)
from uvstack.extraction.region_files import region_kind, write_regions
from uvstack.extraction.result import ExtractResult
from uvstack.extraction.rows import Surroundings, catalogue_rows
from uvstack.extraction.sky_frame import SkyFrame, beam_frame_of
from uvstack.extraction.source_model import SourceModel, model_of
from uvstack.io.catalogues import catalogue_kind, write_catalogue
from uvstack.io.fits import write_image
from uvstack.io.output import check_output, together
from uvstack.io.provenance import provenance_of
from uvstack.io.tables import read_positions
from uvstack.options import takes
from uvstack.pixels.noise import robust_noise
from uvstack.pixels.psf import fit_beam
from uvstack.records import plain
from uvstack.report.files import check_asked, write_asked
from uvstack.report.numbers import unit_text
from uvstack.sky.beam import areas_of_covariances
from uvstack.sky.catalogue import coord_of
from uvstack.sky.positions import Positions, positions_from_coord
from uvstack.sky.source_flags import Flag

#: What is written, by the names of its arguments.
OUTPUTS = ("out", "rms_out", "background_out", "residual_out", "model_out", "islands_out",
           "regions_out", "channels_out")


@takes
def extract(image: str | Path, **options: Unpack[ExtractOptions]) -> QTable:
    """Catalogue of the sources of an image (Spreeuw 2010, section 2.7).

    Parameters
    ----------
    image : path
        FITS image, or image of CASA. Of a cube sources are found and measured in all channels
        together, and their fluxes in each channel, as of points; with columns spectral_index and
        its error.

    Returns
    -------
    QTable
        Columns as in `uvstack.sky.catalogue`, with units; ``meta`` has frame, provenance,
        threshold.

    Raises
    ------
    UvstackError
        One of its subclasses, in one line.

    Examples
    --------
    >>> catalogue = uvstack.extract("image.fits", detection=5, analysis=3, out="catalogue.fits")
    """
    return find(image, **options).catalogue


@together()
@takes
def find(image: str | Path, **options: Unpack[ExtractOptions]) -> ExtractResult:
    """The catalogue of `extract`, with the maps that it came from; its errors.

    Parameters
    ----------
    image : path
        As for `extract`.
    """
    given: dict[str, Any] = {**options}
    settings = ExtractionOptions(**{name: given[name] for name in ExtractionOptions.names()
                                    if name != "negative"}, negative=bool(options["negative"]))
    maps = {name: given[name] for name in ("rms", "background", "psf_map", "detection_image")}
    outputs = {name: given[name] for name in OUTPUTS}
    read = tuple(str(path) for path in (image, options["forced"], *maps.values())
                 if isinstance(path, str | Path))
    for path in filter(None, outputs.values()):
        check_output(path, options["overwrite"], inputs=read)
    for name, check in (("out", catalogue_kind), ("channels_out", catalogue_kind),
                        ("regions_out", region_kind)):
        if outputs[name] is not None:
            check(outputs[name])
    check_asked(ExtractResult, options)
    if (options["counts_slope"] is None) != (options["lowest_flux"] is None):
        raise SelectionError("counts_slope and lowest_flux belong together: counts S^−q have no "
                             "sum without a lower limit of flux")
    for name in ("search_radius", "position_systematic", "flux_systematic"):
        finite_number(name, given[name], 0.0)
    beam, forced = options["beam"], options["forced"]
    settings.check_forced(forced is not None, options["search_radius"],
                          detection_image=options["detection_image"],
                          islands_out=outputs["islands_out"],
                          detect=None if options["detect"] == "mean" else options["detect"])
    planes = read_planes(image, beam, options["stokes"])
    plane = planes[0]
    if options["negative"] is None:
        settings = replace(settings, negative=plane.is_polarised)
    where: dict[str, Any] = {"places": None if forced is None else read_positions(forced),
                             "search_radius": options["search_radius"]}
    if len(planes) > 1:
        found = _of_cube(planes, settings, options["detect"], where, maps)
    elif options["detect"] != "mean" or outputs["channels_out"] is not None:
        raise ImageError(f"{image}: has one channel; detect and channels_out are for cubes")
    else:
        found = run(plane, settings, **maps, **where)
    _add_columns(found.catalogue, options["counts_slope"], options["lowest_flux"],
                 options["position_systematic"], options["flux_systematic"])
    provenance = provenance_of({"image": image, **options}, image=str(image))
    found.catalogue.meta["provenance"] = json.dumps(plain(vars(provenance)))
    found = replace(found, provenance=provenance)
    _write(found, plane, **outputs)
    return write_asked(found, options)


def run(plane: Plane, options: ExtractionOptions, *, rms: float | str | Path | None = None,
        background: float | str | Path | None = None, psf_map: str | Path | None = None,
        detection_image: str | Path | Plane | None = None, places: Positions | None = None,
        search_radius: float = 0.0, maps: tuple[Map, Map] | None = None) -> ExtractResult:
    """Extraction of a plane, whose data lose their background; `extract` says what the arguments are.

    `maps` are background and noise of a plane that has lost its background already.
    """
    frame = _frame_of(plane, options, psf_map)
    if maps is None:
        plane.data[blank_pixels(plane.data)] = np.nan
    size = _beam_size(plane, frame)
    area = float(areas_of_covariances(size))
    base, noise = _maps(plane, options, area, rms, background) if maps is None else maps
    if places is not None:
        return _forced(plane, frame, base, noise, size, options, places, search_radius)
    sought, sought_noise = plane.data, noise
    if detection_image is not None:
        other = detection_image if isinstance(detection_image, Plane) else read_plane(
            detection_image, plane.beam)
        check_shape(other.data, plane, other.path)
        other.data[blank_pixels(other.data)] = np.nan
        sought, (_, sought_noise) = other.data, _maps(other, options, area, None, None)
    threshold = options.detection
    if options.fdr is not None:
        threshold = fdr_threshold(sought, None, sought_noise, options.fdr, area)
    analysis, between = min(options.analysis, threshold), options.peaks == "interpolated"
    islands = find_islands(sought, None, sought_noise, threshold, analysis,
                           connectivity=options.connectivity, min_pixels=options.min_pixels,
                           negative=options.negative, between=between)
    islands = split_islands(sought, None, sought_noise, islands, options.deblend,
                            options.deblend_fraction, threshold, min_pixels=options.min_pixels,
                            between=between)
    sigma = values_at(noise, islands.peak, plane.data.shape[1])
    level = islands.level if detection_image is None else _lowest(plane.data, islands)
    beam3 = np.array([size[0, 0], size[0, 1], size[1, 1]])
    moments = measure_moments(plane.data, None, islands.start, islands.pixel, level, beam3,
                              sign=islands.sign)
    told = moment_errors(moments, level, sigma, beam3)
    correlation = _correlation(plane.data, noise, islands.label, size)
    found = measure_islands(plane.data, islands.label, moments, told, sigma, size, correlation,
                            options, islands.parent)
    catalogue, model = _table(plane, frame, found, islands, sigma, base, correlation, between)
    catalogue.meta.update(threshold=threshold, analysis=analysis)
    return ExtractResult(catalogue, plane.path, plane.data, base, noise, model, islands.label,
                         plane.beam, frame, threshold, analysis)


def _of_cube(planes: list[Plane], options: ExtractionOptions, detect: str, where: dict[str, Any],
             given: dict[str, Any]) -> ExtractResult:
    """Extraction of all channels together, then fluxes at the places of the sources in each, with spectral indices."""
    path, places = planes[0].path, where["places"]
    refused = [name for name, value in given.items() if value is not None]
    if refused:
        raise ImageError(f"{path}: holds {len(planes)} channels, of which {refused[0]} says "
                         "nothing; give it with one plane")
    if planes[0].beam is None or any(one.frequency is None for one in planes):
        lacking = "frequency" if planes[0].beam else "beam (BMAJ, BMIN)"
        raise ImageError(f"{path}: holds {len(planes)} channels and says no {lacking}; correct "
                         "the header")
    for one in planes:
        one.data[blank_pixels(one.data)] = np.nan
    number = [k for k, one in enumerate(planes) if np.isfinite(one.data).any()]
    planes = [planes[k] for k in number]
    area = float(areas_of_covariances(_beam_size(planes[0],
                                                 _frame_of(planes[0], options, None))))
    maps = [_nodes(one, options, area) for one in planes]
    for one, nodes in zip(planes, maps, strict=True):
        _take_off(nodes.background_nodes, one.data)
    shape = planes[0].data.shape
    rms = np.array([np.nanmedian(map_of(one.rms_nodes, shape, 4)) for one in maps])
    frequency = np.array([one.frequency for one in planes])
    reference = float(np.average(frequency, weights=(rms.min() / rms) ** 2))
    mean = replace(planes[0], data=weighted_mean([one.data for one in planes], rms),
                   frequency=reference)
    nodes = _nodes(mean, options, area)
    base = np.average([one.background for one in maps], axis=0, weights=(rms.min() / rms) ** 2)
    of_mean = replace(nodes, background=base).background_nodes, nodes.rms_nodes
    sought = None
    if detect == "chi-squared" and places is None:
        squares, n = np.zeros(shape), np.zeros(shape, np.int64)
        for one, noise in zip(planes, maps, strict=True):
            good = np.isfinite(one.data)
            squares += np.where(good, one.data / noise.rms_map(), 0.0) ** 2
            n += good
        sought = replace(mean, data=normal_deviation(squares, n).astype(np.float32))
    found = run(mean, options, detection_image=sought, maps=of_mean, **where)
    table = found.catalogue
    if places is None and len(table):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UvstackWarning)
            places = positions_from_coord(coord_of(table))
    rows = [] if places is None else [
        run(one, options, places=places, maps=(noise.background_nodes, noise.rms_nodes)).catalogue
        for one, noise in zip(planes, maps, strict=True)]
    channels, flux, error = _channel_rows(table, rows, np.array(number), frequency)
    table["spectral_index"], table["spectral_index_error"] = spectral_indices(
        frequency, flux, error, reference)
    return replace(found, channels=channels)


def _channel_rows(table: QTable, rows: list[QTable], number: NDArray,
                  frequency: NDArray) -> tuple[QTable, NDArray, NDArray]:
    """One row a row of the catalogue and channel; fluxes and errors (n, chan)."""
    n, shape = len(table), (len(table), len(number))
    channels = QTable({"row": np.repeat(np.arange(n), len(number)),
                       "source": np.repeat(np.asarray(table["source"]), len(number)),
                       "channel": np.tile(number, n), "frequency": np.tile(frequency, n) * u.Hz})
    values = {}
    for name in ("flux", "flux_error", "rms", "flags"):
        unit = getattr(table[name], "unit", None)
        values[name] = np.array([np.asarray(getattr(one[name], "value", one[name]))
                                 for one in rows]).T.reshape(shape)
        channels[name] = values[name].ravel() if unit is None else values[name].ravel() * unit
    channels["flags"] = channels["flags"].astype(np.int64)
    channels.meta.update({key: table.meta[key] for key in ("frame", "brightness_unit")
                          if key in table.meta})
    return channels, values["flux"], values["flux_error"]


def _add_columns(table: QTable, slope: float | None, lowest: float | None, position: float,
                 flux: float) -> None:
    """What is said of fluxes and places beyond the image: expected fluxes, systematic errors."""
    if slope is not None and lowest is not None:
        unit = table["flux"].unit
        expected = expected_flux(table["flux"].value, table["flux_error"].value, slope,
                                 (lowest * u.Jy).to_value(unit))
        table["expected_flux"] = expected * unit
    if position > 0:
        table["position_systematic"] = np.full(len(table), np.rad2deg(position) * 3600) * u.arcsec
    if flux > 0:
        table["flux_systematic"] = flux * np.abs(table["flux"])


def _frame_of(plane: Plane, options: ExtractionOptions, psf_map: str | Path | None) -> SkyFrame:
    where = options.beam_frame
    if where == "auto":
        where = "pixel" if plane.image is None else beam_frame_of(
            str(plane.image.wcs.wcs.ctype[0])[-3:])
    beams = None if psf_map is None else read_psf_map(psf_map, plane.data.shape)
    return SkyFrame(plane.image, plane.data.shape, where, beams)


def _beam_size(plane: Plane, frame: SkyFrame) -> NDArray[np.float64]:
    """Matrix in (x, y) of squares of the beam's FWHM, pixels²; of the noise's correlation where the image says no beam."""
    if plane.beam is not None:
        size = frame.beam_in_pixels(plane.beam)
        if np.linalg.eigvalsh(size)[0] < 1.0:
            remedy = "are BMAJ and BMIN right?" if plane.image is not None else (
                "the image has no coordinates: give the beam in pixels, --beam 5pix,4pix,30deg")
            raise ImageError(f"{plane.path}: its beam is "
                             f"{np.sqrt(np.linalg.eigvalsh(size)[0]):.3g} pixels across; a source "
                             f"wants two or more: {remedy}")
        return size
    guess = np.eye(2) * 16.0
    centred = plane.data - np.nanmedian(plane.data)
    usual = robust_noise(centred)
    label = (~(np.abs(centred) < 4.0 * usual)).astype(np.int32)
    found = measure_correlation(centred, max(usual, 1e-30), label, guess)
    try:
        if found is None:
            raise ImageError("too few pixels")
        # The noise of a beam of FWHM θ is correlated over √2 θ.
        wide = fit_beam(found, 1.0)
    except ImageError as error:
        raise ImageError(f"{plane.path}: says no beam (BMAJ, BMIN), and its noise does not tell it "
                         f"({error}); give beam= (--beam)") from error
    matrix = 0.5 * wide.covariance()
    # Columns of an array run against east.
    return matrix * np.array([[1.0, -1.0], [-1.0, 1.0]])


#: Side of a box in FWHM of the beam (geometric mean), and the least in pixels.
_BEAMS_A_BOX, _LEAST_BOX = 16.0, 32
#: Rows of which a map is made at a time.
_ROWS = 256


def _maps(plane: Plane, options: ExtractionOptions, area: float, rms: float | str | Path | None,
          background: float | str | Path | None) -> tuple[Map, Map]:
    """Background and noise; the background is taken off the plane's data."""
    nodes = None
    if rms is None or background is None:
        nodes = _nodes(plane, options, area)
    base = nodes.background_nodes if background is None and nodes is not None else read_map(
        background, plane, "background")
    _take_off(base, plane.data)
    noise = nodes.rms_nodes if rms is None and nodes is not None else read_map(rms, plane, "rms")
    if not isinstance(noise, NodeMap) and not np.any(np.asarray(noise) > 0):
        raise SelectionError(f"rms={rms}; wanted is a noise above 0")
    return base, noise


def _nodes(plane: Plane, options: ExtractionOptions, area: float) -> NoiseNodes:
    side = options.box or max(int(np.ceil(_BEAMS_A_BOX * np.sqrt(area))), _LEAST_BOX)
    return measure_noise(plane.data, side, area, filter_size=options.filter_size)


def _take_off(base: Map, data: NDArray) -> None:
    for first in range(0, len(data), _ROWS):
        data[first:first + _ROWS] -= rows_of(base, first, min(first + _ROWS, len(data)))


def _lowest(data: NDArray, islands: Islands) -> NDArray[np.float64]:
    """Lowest value in each island: the level at which it was cut in an image where it was not sought."""
    if len(islands) == 0:
        return np.zeros(0)
    values = np.abs(data.ravel()[islands.pixel]).astype(float)
    return np.minimum.reduceat(values, islands.start[:-1])


def _correlation(data: NDArray, noise: Map, label: NDArray[np.int32],
                 size: NDArray) -> NDArray[np.float64]:
    found = measure_correlation(data, noise, label, size)
    return beam_correlation(size) if found is None else found


def _table(plane: Plane, frame: SkyFrame, found: Measured, islands: Islands, sigma: NDArray,
           base: Map, correlation: NDArray, interpolated: bool) -> tuple[QTable, SourceModel]:
    model = model_of(found, plane.data.shape)
    sums, errors, left = sum_islands(plane.data, model, islands, sigma, correlation)
    several = np.bincount(islands.parent,
                          minlength=1)[islands.parent] > 1 if len(islands) else np.zeros(0, bool)
    flags = np.where(islands.touches_edge, int(Flag.EDGE), 0) | np.where(islands.touches_blank,
                                                                         int(Flag.BLANK), 0)
    flags |= np.where(several, int(Flag.DEBLENDED), 0)
    if isinstance(base, NodeMap) and len(islands):
        sides = [n / m for n, m in zip(base.shape, base.nodes.shape, strict=True)]
        wide = (np.diff(islands.box[:, :2])[:, 0] > 0.5 * sides[0]) | (
            np.diff(islands.box[:, 2:])[:, 0] > 0.5 * sides[1])
        flags |= np.where(wide, int(Flag.LARGE), 0)
    brightest = plane.data.ravel()[islands.peak].astype(float)
    if interpolated:
        sign = islands.sign
        brightest = sign * peaks_at(plane.data, islands.peak, sign * brightest, sign)
    around = Surroundings(sigma, values_at(base, islands.peak, plane.data.shape[1]),
                          islands.parent + 1, islands.n_pixels,
                          brightest, sums, errors, left, flags.astype(np.int32))
    return _finished(catalogue_rows(found, around, frame, plane.beam, (plane.bright, plane.flux)),
                     plane, frame), model


def _finished(table: QTable, plane: Plane, frame: SkyFrame) -> QTable:
    table.meta.update(frame=frame.frame_name, image=plane.path, **plane.header)
    if not plane.flux.is_equivalent(u.Jy):
        table.meta["brightness_unit"] = unit_text(plane.bright)
    if plane.image is None:
        table.meta["size_unit"] = "pix"
    if plane.frequency is not None:
        table.meta["reference_frequency"] = plane.frequency
    return table


def _forced(plane: Plane, frame: SkyFrame, base: Map, noise: Map, size: NDArray,
            options: ExtractionOptions, places: Positions, radius: float) -> ExtractResult:
    """Rows of the places asked for, in their order and under their names."""
    if plane.image is None:
        raise ImageError(f"{plane.path}: has no coordinates of the sky, where forced positions "
                         "could lie")
    x, y = plane.image.pixels_of(places.coord)
    # What is bright is no noise, whoever it belongs to.
    islands = find_islands(plane.data, None, noise, options.detection, options.analysis)
    correlation = _correlation(plane.data, noise, islands.label, size)
    column, row = (np.clip(np.nan_to_num(np.rint(v), nan=0.0), 0, n - 1).astype(int)
                   for v, n in zip((x, y), plane.data.shape[::-1], strict=True))
    flat = row * plane.data.shape[1] + column
    sigma = values_at(noise, flat, plane.data.shape[1])
    found = force(plane.data, x, y, sigma, size, correlation, radius=radius / plane.image.cell)
    n = len(x)
    nothing = np.full(n, np.nan)
    off = (found.flags & int(Flag.OFF_IMAGE)) != 0
    seen = [np.where(off, np.nan, values) for values in
            (sigma, values_at(base, flat, plane.data.shape[1]), plane.data[row, column])]
    around = Surroundings(seen[0], seen[1], islands.label[row, column].astype(np.int64),
                          np.zeros(n, np.int64), seen[2], nothing, nothing, nothing,
                          np.zeros(n, np.int32))
    table = _finished(catalogue_rows(found, around, frame, plane.beam, (plane.bright, plane.flux)),
                      plane, frame)
    table["ra"][off], table["dec"][off] = _asked(places, frame, off)
    if places.names is not None:
        table.add_column(places.names, name="name", index=0)
    model = model_of(found, plane.data.shape)
    return ExtractResult(table, plane.path, plane.data, base, noise, model, None, plane.beam, frame,
                         None, None)


def _asked(places: Positions, frame: SkyFrame,
           which: NDArray[np.bool_]) -> tuple[u.Quantity, u.Quantity]:
    from uvstack.sky.coordinates import to_frame

    ra, dec = to_frame(places.coord[which], frame.frame_name)
    return (ra * u.rad).to(u.deg), (dec * u.rad).to(u.deg)


def _write(
    found: ExtractResult, plane: Plane, *, out: Any, rms_out: Any, background_out: Any,
    residual_out: Any, model_out: Any, islands_out: Any, regions_out: Any, channels_out: Any,
) -> None:
    wcs = WCS(naxis=2) if plane.image is None else plane.image.wcs

    def write(path: str | Path | None, pixels: NDArray | None,
              unit: str = unit_text(plane.bright)) -> None:
        if path is None or pixels is None:
            return
        write_image(path, pixels, wcs, unit=unit, beams=plane.beam, frequency=plane.frequency,
                    four_axes=False)

    shape = found.data.shape
    write(rms_out, None if rms_out is None else map_of(found.rms, shape))
    write(background_out, None if background_out is None else map_of(found.background, shape))
    write(residual_out, None if residual_out is None else found.residual)
    write(model_out, None if model_out is None else found.model)
    write(islands_out, found.islands, "")
    if out is not None:
        write_catalogue(out, found.catalogue)
    if regions_out is not None:
        write_regions(regions_out, found.catalogue)
    if channels_out is not None and found.channels is not None:
        write_catalogue(channels_out, found.channels)
