"""Load on the cutout server: many cutouts at once from an archive of tiles as large as the survey's.

    python scripts/bench_server.py

Four epochs of two tiles of 3722² pixels that meet, beams as the survey has them. Cutouts of 600 and
2000 pixels in one tile and across both are asked for alone and many at once; told are times, errors,
the memory of the server at its highest, and the files that it left.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from astropy.io import fits

PIXELS = 3722
#: Centres, degrees: 1.034° wide, 1° apart, the border at 0h.
TILES = {"T11t01": (0.5, 12.0), "T11t36": (359.5, 12.0)}
BEAMS = {1: (3.6, 2.6, 20.0), 2: (3.2, 2.8, 110.0), 3: (3.4, 3.0, 60.0), 4: (3.3, 2.5, 75.0)}
#: Name, RA, Dec, side in degrees, how many at once.
REQUESTS = (("600 pixels, one tile", 0.45, 12.05, 600 / 3600, 50), ("600 pixels, across tiles", 0.0, 12.0, 600 / 3600, 50),
            ("2000 pixels, one tile", 0.45, 12.0, 1990 / 3600, 8), ("2000 pixels, across tiles", 0.0, 12.0, 1990 / 3600, 8))
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def make_archive(folder: Path) -> None:
    """Tiles of noise with the header of the survey's."""
    rng = np.random.default_rng(1)
    for epoch, beam in BEAMS.items():
        for tile, (ra, dec) in TILES.items():
            header = fits.Header()
            axes = (("RA---SIN", ra, -1 / 3600, PIXELS // 2 + 1), ("DEC--SIN", dec, 1 / 3600, PIXELS // 2 + 1),
                    ("FREQ", 3e9, 2e9, 1.0), ("STOKES", 1.0, 1.0, 1.0))
            for i, (kind, value, step, pixel) in enumerate(axes, 1):
                header[f"CTYPE{i}"], header[f"CRVAL{i}"] = kind, value
                header[f"CDELT{i}"], header[f"CRPIX{i}"] = step, float(pixel)
            header["RADESYS"], header["BUNIT"], header["DATE-OBS"] = "ICRS", "Jy/beam", f"20{16 + 3 * epoch}-02-03T00:00:00"
            header["BMAJ"], header["BMIN"], header["BPA"] = beam[0] / 3600, beam[1] / 3600, beam[2]
            place = "J000200+120000" if ra < 180 else "J235800+120000"
            name = f"VLASS{epoch}.1.ql.{tile}.{place}.10.2048.v1"
            path = folder / f"VLASS{epoch}.1" / tile / name / f"{name}.I.iter1.image.pbcor.tt0.subim.fits"
            path.parent.mkdir(parents=True)
            data = rng.standard_normal((1, 1, PIXELS, PIXELS), dtype=np.float32) * 1.4e-4
            fits.writeto(path, data, header)


def status(pid: int, name: str) -> float:
    """A number of /proc/PID/status, MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) / 1024


def seconds_of_processor(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def get(url: str) -> tuple[int, int, float]:
    """Status, bytes and seconds of an answer."""
    begin = time.perf_counter()
    try:
        with OPENER.open(url, timeout=600) as answer:
            return answer.status, len(answer.read()), time.perf_counter() - begin
    except urllib.error.HTTPError as error:
        return error.code, len(error.read()), time.perf_counter() - begin


def start(archive: Path, scratch: Path) -> tuple[subprocess.Popen, str]:
    """A server and its address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "uvstack", "epochs", "serve", "--archive", str(archive),
                               "--port", str(port)], env={**os.environ, "TMPDIR": str(scratch)})
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            get(f"{address}/api/v1/datasets")
            return server, address
        except urllib.error.URLError:
            time.sleep(0.1)
    raise RuntimeError("the server did not start")


def main() -> None:
    """Make the archive, ask, print the table."""
    with tempfile.TemporaryDirectory() as folder:
        archive, scratch = Path(folder, "archive"), Path(folder, "tmp")
        scratch.mkdir()
        make_archive(archive)
        server, address = start(archive, scratch)
        try:
            print("| request (4 epochs) | one alone, s | at once | all of them, s | CPU s each | errors | "
                  "MB answered each | highest memory, MB |")
            print("|---|---|---|---|---|---|---|---|")
            for name, ra, dec, side, at_once in REQUESTS:
                circle = urllib.parse.urlencode({"CIRCLE": f"{ra} {dec} {side / 2}"})
                url = f"{address}/api/v1/cutout?{circle}"
                alone = get(url)[2]
                cpu, begin = seconds_of_processor(server.pid), time.perf_counter()
                with ThreadPoolExecutor(at_once) as pool:
                    found = list(pool.map(get, [url] * at_once))
                whole = time.perf_counter() - begin
                cpu = (seconds_of_processor(server.pid) - cpu) / at_once
                errors = sum(answer[0] != 200 for answer in found)
                print(f"| {name} | {alone:.2f} | {at_once} | {whole:.1f} | {cpu:.2f} | {errors} | "
                      f"{found[0][1] / 1e6:.1f} | {status(server.pid, 'VmHWM'):.0f} |", flush=True)
            left = [path.name for path in scratch.rglob("*")]
            print(f"files left while it runs: {len(left)} {left[:5]}; open files: {len(os.listdir(f'/proc/{server.pid}/fd'))}")
        finally:
            server.terminate()
            server.wait(30)
        print(f"files left after its end: {len(list(scratch.rglob('*')))}; it ended with {server.returncode}")


if __name__ == "__main__":
    main()
