"""Passes over a set: the rows of each visit, by themselves and among the others."""

import numpy as np
import pytest

from factories import CENTRE, Spw, make_ramp_ms, offset
from peel.passes_files import Passes
from peel.plan_files import open_set
from peel.visits import scan_visits
from peel.working_set_files import working_set


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


def test_a_working_set_holds_the_rows_that_are_peeled(tmp_path, tables, fingerprint):
    """Rows of one field among others, in no order; what is made of them goes to these rows alone."""
    path = make_ramp_ms(tmp_path / "a.ms", n_ant=4, n_times=3, shuffle=True,
                        fields=[CENTRE, offset(0, 0.01)], spws=[Spw(n=3), Spw(1.5e9, n=5)])
    selection, structure = open_set(path, "1", None, "DATA")
    before = fingerprint(path)
    own, target = working_set(structure, selection, "DATA", tmp_path)
    assert fingerprint(path) == before
    assert "DATA" in own.columns
    assert not {"MODEL_DATA", "CORRECTED_DATA"} & {*own.columns}
    visits, _ = scan_visits(own, selection)
    passes = Passes(own, selection, visits, "DATA")
    of_set = {part.key: part for part in Passes(structure, selection, visits, "DATA").parts(["DATA"])}
    for part in passes.parts(["DATA"]):
        np.testing.assert_array_equal(target.rows[part.rows], of_set[part.key].rows)
        np.testing.assert_array_equal(part.values["DATA"], of_set[part.key].values["DATA"])
    passes.write_all({"PEELED_DATA": "DATA"}, ["DATA"], lambda part: [2 * part.values["DATA"]],
                     into=target)
    everything, whole = open_set(path, None, None, "DATA")
    for part in Passes(whole, everything, scan_visits(whole, everything)[0],
                       "DATA").parts(["DATA", "PEELED_DATA"]):
        np.testing.assert_array_equal(part.values["PEELED_DATA"],
                                      (1 + part.key[0]) * part.values["DATA"])
    # A copy that is there is taken up.
    (tmp_path / "data.ms" / "mark").write_text("")
    assert np.array_equal(working_set(structure, selection, "DATA", tmp_path)[1].rows, target.rows)
    assert (tmp_path / "data.ms" / "mark").exists()
