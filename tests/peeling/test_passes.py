"""Passes over a set: the rows of each visit, by themselves and among the others."""

import numpy as np
import pytest

from factories import CENTRE, Spw, make_ramp_ms, offset
from peel.passes_files import Passes
from peel.plan_files import open_set
from peel.visits import scan_visits


@pytest.mark.parametrize("at_once", [7, 10_000])
def test_visits_apart_hold_their_rows(tmp_path, tables, monkeypatch, at_once):
    monkeypatch.setattr("peel.passes_files._IDS_AT_ONCE", at_once)
    path = make_ramp_ms(tmp_path / "a.ms", n_ant=4, n_times=3, shuffle=True,
                        fields=[CENTRE, offset(0, 0.01)], spws=[Spw(n=3), Spw(1.5e9, n=5)])
    selection, structure = open_set(path, None, None, "DATA")
    visits, _ = scan_visits(structure, selection)
    passes = Passes(structure, selection, visits, "DATA")
    whole: dict = {}
    for part in passes.parts(["DATA"]):
        whole.setdefault(part.key, []).append(part)
    with passes.apart(tmp_path / "apart"):
        for visit in visits:
            one = passes.of(visit)
            assert one.structure.n_rows == visit.n_rows
            found, wanted = list(one.parts(["DATA"])), whole[visit.field.id, visit.window.id]
            for name in ("vis", "uvw", "time", "antenna1", "weight"):
                np.testing.assert_array_equal(*(np.concatenate([getattr(part.partition, name)
                                                                for part in parts])
                                                for parts in (found, wanted)))
    assert not (tmp_path / "apart").exists()
    # Afterwards among the others.
    (part,) = passes.of(visits[-1]).parts(["DATA"])
    np.testing.assert_array_equal(part.rows, wanted[0].rows)
