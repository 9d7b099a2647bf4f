"""CASA's concat of our sets keeps every channel, which it cuts from columns of fixed shape.

Both orders.
"""

import numpy as np
import pytest

import uvstack
from factories import ARCMIN, Spw, at, make_ms, offset, read

casatasks = pytest.importorskip("casatasks")


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    """Stacks of 4 and of 6 channels, with noise, so that a value in a wrong place shows."""
    folder = tmp_path_factory.mktemp("concat")
    for n in (4, 6):
        ms = make_ms(folder / f"from{n}.ms", spws=[Spw(n=n)], noise=1.0, n_ant=5, n_times=3,
                     first_time=5.09e9 + 86400.0 * n)
        uvstack.stack(ms, at(offset(ARCMIN, 0)), out=folder / f"{n}.ms")
    return folder


def cells(path, column):
    """Cells of a column, each with its own shape, in order of time and baseline."""
    from casacore.tables import table

    with table(str(path), ack=False) as opened:
        rows = np.lexsort([opened.getcol(name) for name in ("ANTENNA2", "ANTENNA1", "TIME")])
        return [np.array(opened.getcell(column, int(row))) for row in rows]


@pytest.mark.parametrize("order", [(4, 6), (6, 4)])
def test_joined_stacks_keep_channels_and_values(stacks, tmp_path, monkeypatch, order):
    monkeypatch.chdir(tmp_path)
    casatasks.concat(vis=[str(stacks / f"{n}.ms") for n in order], concatvis="joined.ms")
    n_rows = read(stacks / "4.ms", "DATA").shape[0]
    for column in ("DATA", "FLAG", "WEIGHT", "SIGMA"):
        wanted = [*cells(stacks / "4.ms", column), *cells(stacks / "6.ms", column)]
        found = cells(tmp_path / "joined.ms", column)
        assert [v.shape for v in found] == [v.shape for v in wanted]
        assert all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert len(found) == 2 * n_rows
