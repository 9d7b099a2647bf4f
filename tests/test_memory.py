"""Memory is bounded by the chunk.

Many times as many rows take no more of it, whatever the command.
"""

import tracemalloc

import pytest

import uvstack
from factories import ARCMIN, ARCSEC, CENTRE, at, make_ms, offset
from uvstack.imaging import passes_files
from uvstack.io import ms as reading
from uvstack.monte_carlo import task as monte_carlo_task
from uvstack.monte_carlo.task import montecarlo
from uvstack.sky.components import components
from uvstack.subtraction import column_files as subtract_column_task

POSITIONS = at(offset(ARCMIN, 0), offset(-ARCMIN, 30 * ARCSEC))
#: Visibilities of a chunk here, and integrations of the short and the long set.
CHUNK, SHORT, LONG = 20_000, 200, 2000


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """36 baselines, 3 channels, 2 correlations.

    7200 and 72 000 rows, 43 000 and 430 000 visibilities.
    """
    folder = tmp_path_factory.mktemp("memory")
    return [make_ms(folder / f"{n}.ms", sources=[(*offset(ARCMIN, 0), 1.0)], n_ant=9, n_times=n)
            for n in (SHORT, LONG)]


def peak(call):
    """Peak of what Python and numpy allocate, bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def stacked(ms):
    uvstack.stack(ms, POSITIONS, threads=1, chunk_size=CHUNK)


def direct(ms):
    montecarlo(ms, POSITIONS, realisations=3, exact=True, seed=1, bins=[1, 1e3, 1e5], threads=1,
               chunk_size=CHUNK)


def through_images(ms):
    montecarlo(ms, POSITIONS, realisations=3, exact=False, seed=1, threads=1, chunk_size=CHUNK)


def imaged(ms):
    uvstack.image(ms, size=64, cell=0.3 * ARCSEC, iterations=0, threads=1, chunk_size=CHUNK)


def subtracted(ms):
    uvstack.subtract(ms, components(*CENTRE, 1.0), threads=1, overwrite=True, chunk_size=CHUNK)


@pytest.mark.parametrize("call", [stacked, direct, through_images, imaged, subtracted],
                         ids=lambda f: f.__name__)
def test_peak_does_not_grow_with_the_rows(sets, monkeypatch, call):
    monkeypatch.setattr(monte_carlo_task, "_KEPT", 500_000)
    monkeypatch.setattr(passes_files, "_MOST_HELD", 500_000)
    for module in (reading, subtract_column_task):
        monkeypatch.setattr(module, "_SCAN_ROWS", 5000)
    call(sets[0])
    short, long = (peak(lambda ms=ms: call(ms)) for ms in sets)
    assert long < short + 1_500_000, (short, long)
