"""The numbers of `docs/measurements.md` that are no times: what stacking gives on real data and on known truths.

Prints, as tables: the published example under several options; the two back ends for casacore's
tables; the stacked set seen by CASA's tclean and by WSClean; errors on pure noise against the true
scatter; pulls of sources far below the noise; the size of a Gaussian source 1° off axis with and
without reprojection. Peers that are not installed are named as such.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Set before casatools is imported, which reads it once.
os.environ.setdefault("CASASITECONFIG", str(ROOT / "tests" / "casa_config.py"))
sys.path.insert(0, str(ROOT / "tests"))

from astropy.io import fits  # noqa: E402
from markdown import head, row  # noqa: E402

import oracles  # noqa: E402
import uvstack  # noqa: E402
from factories import ARCSEC, CENTRE, at, make_ms, offset, read  # noqa: E402

MICRO = 1e6


def published(data: Path) -> None:
    """Fluxes of the published example."""
    ms, positions = data / "stacker_testdata.ms", data / "stacker_testdata_positions.csv"
    head("The published example", "options", "flux (µJy)", "scatter", "equation 7", "bootstrap",
         "visibilities")
    for options in ({}, {"column": "CORRECTED_DATA"}, {"weights": "list"}, {"primary_beam": "vla"},
                    {"primary_beam": "vla", "weights": "primary-beam"}, {"uvmin": "9km"}):
        r = uvstack.stack(ms, positions, bootstrap=1000, seed=1, **options)
        row(options or "default", f"{r.flux * MICRO:.3f}", f"{r.flux_error * MICRO:.3f}",
            f"{r.flux_error_expected * MICRO:.3f}", f"{r.bootstrap_error * MICRO:.2f}",
            r.n_visibilities)
    vis, uvw = read(ms, "DATA"), read(ms, "UVW")
    from uvstack.io.ms import read_structure
    from uvstack.io.tables import read_positions
    from uvstack.sky.coordinates import to_frame

    structure = read_structure(ms)
    pointing, frequency = structure.fields[0], structure.data_descriptions[0].spw.frequency
    where = list(zip(*to_frame(read_positions(positions).coord, "J2000"), strict=True))
    moved = {+1: [], -1: []}
    for corr in (0, 1):
        stacked, _ = oracles.stack(vis[:, :, corr], uvw, frequency, where, pointing.ra,
                                   pointing.dec)
        other, _ = oracles.stack(vis[:, :, corr].conj(), uvw, frequency, where, pointing.ra,
                                 pointing.dec)
        moved[-1].append(stacked.real.mean())
        moved[+1].append(other.real.mean())
    print(f"\nplain float64 sum: {np.mean(moved[-1]) * MICRO:.3f} µJy; "
          f"with the opposite sign of the exponent: {np.mean(moved[+1]) * MICRO:.3f} µJy")
    mosaic(data)


def mosaic(data: Path) -> None:
    """The ALMA mosaic, a real mosaic of four epochs, at the peak of the stamp around one of its pointings."""
    ms = data / "antennae_north_co32.ms"
    if not ms.exists():
        return
    from uvstack.io.ms import read_structure

    fields = read_structure(ms).fields
    centre = (fields[6].ra, fields[6].dec)
    stamp = uvstack.stack(ms, at(centre), primary_beam="alma", weights="primary-beam").image()
    row, col = np.unravel_index(stamp.brightness.argmax(), stamp.brightness.shape)
    peak = offset((32 - col) * stamp.cell, (row - 32) * stamp.cell, centre)
    r = uvstack.stack(ms, at(peak), primary_beam="alma", weights="primary-beam")
    print(f"\nALMA mosaic: peak of the stamp {stamp.brightness.max():.4f} Jy/beam; stacked there "
          f"{r.flux:.4f} ± {r.flux_error:.4f} Jy "
          f"(equation 7 ± {r.flux_error_expected:.4f}), seen by {len(r.per_field)} of "
          f"{len(fields)} pointings")


def back_ends(data: Path, scratch: Path) -> None:
    """The same stack through python-casacore and through casatools."""
    head("Back ends", "tables read and written with", "flux (µJy)", "error (µJy)",
         "stamp peak (µJy)")
    for name in ("casacore", "casatools"):
        os.environ["UVSTACK_TABLES"] = name
        r = uvstack.stack(data / "stacker_testdata.ms", data / "stacker_testdata_positions.csv",
                          out=scratch / f"{name}.ms")
        row(name, f"{r.flux * MICRO:.12f}", f"{r.flux_error * MICRO:.12f}",
            f"{r.image().peak * MICRO:.6f}")
    os.environ.pop("UVSTACK_TABLES")
    same = np.array_equal(read(scratch / "casacore.ms", "DATA"),
                          read(scratch / "casatools.ms", "DATA"))
    print(f"\nthe two stacked sets hold the same visibilities, bit for bit: {same}")


def peers(data: Path, scratch: Path) -> None:
    """tclean and WSClean on the stacked example."""
    ms = scratch / "peers.ms"
    r = uvstack.stack(data / "stacker_testdata.ms", data / "stacker_testdata_positions.csv", out=ms)
    head("Peers: dirty image of the stacked set at the phase centre, natural weights", "program",
         "µJy/beam", "relative to our flux")
    row("uvstack, printed flux", f"{r.flux * MICRO:.4f}", 1)
    peak = r.image(128, 0.25 * ARCSEC).peak
    row("uvstack, stamp", f"{peak * MICRO:.4f}", f"{peak / r.flux:.6f}")
    try:
        from casatasks import tclean
        from casatools import image

        tclean(vis=str(ms), imagename=str(scratch / "tclean"), imsize=1024, cell="0.25arcsec",
               niter=0, weighting="natural")
        tool = image()
        tool.open(str(scratch / "tclean.residual"))
        value = float(tool.getchunk()[512, 512, 0, 0])
        tool.close()
        row("CASA tclean", f"{value * MICRO:.4f}", f"{value / r.flux:.6f}")
    except ImportError:
        row("CASA tclean", "not installed", "")
    if shutil.which("wsclean"):
        subprocess.run(["wsclean", "-quiet", "-size", "1024", "1024", "-scale", "0.25asec",
                        "-weight", "natural", "-name", str(scratch / "ws"), str(ms)], check=True,
                       capture_output=True)
        value = float(fits.getdata(scratch / "ws-dirty.fits")[0, 0, 512, 512])
        row("WSClean", f"{value * MICRO:.4f}", f"{value / r.flux:.6f}")
    else:
        row("WSClean", "not installed", "")


def errors_on_noise(scratch: Path, n_lists: int) -> None:
    """Stated errors against the scatter of many fluxes on pure noise, and pulls of faint sources."""
    rng = np.random.default_rng(1)
    ms = make_ms(scratch / "noise.ms", noise=1.0, n_ant=20, n_times=60, scale=1.0)
    results = []
    for i in range(n_lists):
        positions = at(*(offset(*rng.uniform(-600 * ARCSEC, 600 * ARCSEC, 2)) for _ in range(50)))
        results.append(uvstack.stack(ms, positions, primary_beam="gaussian:30arcmin@1.4GHz",
                                     weights="primary-beam", bootstrap=100, seed=i))
    flux = np.array([r.flux for r in results])
    true, uncertain = flux.std(ddof=1), 1 / np.sqrt(2 * (n_lists - 1))
    head(f"Pure noise: {n_lists} lists of 50 positions", "error",
         f"mean stated / true scatter (± {uncertain:.3f})", "stated, its own scatter")
    for name, values in (("scatter", [r.flux_error for r in results]),
                         ("equation 7", [r.flux_error_expected for r in results]),
                         ("bootstrap", [r.bootstrap_error for r in results])):
        row(name, f"{np.mean(values) / true:.3f}", f"{np.std(values) / np.mean(values):.3f}")
    ratio = np.array([r.flux_error / r.flux_error_expected for r in results])
    print(f"\nscatter / equation 7: {ratio.mean():.4f} ± {ratio.std() / np.sqrt(n_lists):.4f}")


def reprojection(scratch: Path) -> None:
    """Size of a Gaussian source 1° off axis."""
    from test_uv_stack import fitted_fwhm, gaussian_set

    head("Gaussian of 1.5″ 1° off axis", "direction from the phase centre",
         "fitted / true size, plain", "with reprojection")
    diagonal = 0.5**0.5
    directions = {"north": (0, 1), "south": (0, -1), "east": (1, 0), "west": (-1, 0),
                  "north-east": (diagonal, diagonal)}
    for name, (east, north) in directions.items():
        folder = scratch / name
        folder.mkdir()
        ms, target = gaussian_set(folder / "a.ms", (np.deg2rad(east), np.deg2rad(north)),
                                  1.5 * ARCSEC)
        sizes = []
        for reproject in (False, True):
            uvstack.stack(ms, at(target), out=folder / "s.ms", overwrite=True, reproject=reproject)
            sizes.append(fitted_fwhm(folder / "s.ms") / (1.5 * ARCSEC))
        row(name, f"{sizes[0]:.5f}", f"{sizes[1]:.5f}")
    print(f"\nphase centre at declination {np.rad2deg(CENTRE[1]):.1f}°, two hours before transit, "
          "latitude 34°")


def main() -> None:
    """Run what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data",
                        help="folder of the real data")
    parser.add_argument("--lists", type=int, default=300, help="lists of positions on pure noise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        scratch = Path(name)
        if options.data.is_dir():
            published(options.data)
            back_ends(options.data, scratch)
            peers(options.data, scratch)
        else:
            print(f"real data: no folder {options.data}; left out")
        errors_on_noise(scratch, options.lists)
        reprojection(scratch)


if __name__ == "__main__":
    main()
