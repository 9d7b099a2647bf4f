"""Sums in bins of uv distance against plain loops, and the table made of them."""

import numpy as np
import pytest
from astropy import units as u

from uvstack.errors import SelectionError
from uvstack.uv.profile import (
    UVSums,
    bin_of,
    fine_bin_edges,
    fine_bin_of,
    merged,
    profile_table,
    uv_edges,
)


def some(n=500):
    rng = np.random.default_rng(3)
    return rng.uniform(50.0, 1050.0, n), rng.uniform(0.5, 2.0, n), rng.normal(size=n)


@pytest.mark.parametrize(("unit", "kind"), [("m", u.m), ("lambda", u.dimensionless_unscaled)])
def test_a_table_is_the_weighted_means_whatever_the_chunks(unit, kind):
    q, weight, value = some()
    edges = uv_edges(8, 100.0, 1000.0)
    whole = UVSums.empty(edges, ("re",))
    whole.add(q, np.ones(q.size), weight, [weight * value])
    parts = UVSums.empty(edges, ("re",))
    for chunk in np.array_split(np.arange(q.size), 7):
        one = UVSums.empty(edges, ("re",))
        one.add(q[chunk], np.ones(chunk.size), weight[chunk], [(weight * value)[chunk]])
        parts += one
    np.testing.assert_allclose(parts.sums, whole.sums, rtol=1e-13)
    table = whole.table(unit, scale=2.0)
    assert table.colnames == ["uv_min", "uv_max", "uv_distance", "re", "re_error", "im_error",
                              "count"]
    assert table["uv_min"].unit == table["uv_distance"].unit == kind
    assert table["re"].unit == u.Jy
    for i, row in enumerate(table):
        # What lies beyond the ends is in the first and the last bin.
        low, high = (-np.inf if i == 0 else edges[i]), (np.inf if i == 7 else edges[i + 1])
        here = [k for k in range(q.size) if low <= q[k] < high]
        total = sum(weight[k] for k in here)
        mean, distance = (sum(weight[k] * x[k] for k in here) / total for x in (value, q))
        assert row["count"] == len(here)
        assert row["re"].value == pytest.approx(mean, rel=1e-12)
        assert row["uv_distance"].value == pytest.approx(distance, rel=1e-12)
        assert row["re_error"].value == pytest.approx((2 / total) ** 0.5, rel=1e-12)
    assert whole.total("re") == pytest.approx((weight * value).sum(), rel=1e-12)


def test_empty_bins_are_left_out():
    sums = UVSums.empty(uv_edges([0, 10, 20, 30], 0, 1), ("re",))
    sums.add(np.array([5.0, 25.0]), np.ones(2), np.ones(2), [np.array([1.0, 2.0])])
    assert sums.table("m")["uv_max"].value.tolist() == [10, 30]
    assert len(UVSums.empty(uv_edges(3, 0, 1), ("re",)).table("m")) == 0


def test_fine_bins_are_merged_to_the_nearest_edges():
    q, weight, value = some()
    edges = fine_bin_edges()
    index = fine_bin_of(q)
    assert ((edges[index] <= q * (1 + 1e-12)) & (q < edges[index + 1] * (1 + 1e-12))).all()
    assert (index == bin_of(edges, q)).all()
    assert fine_bin_of(np.array([0.0, 1e12])).tolist() == [0, edges.size - 2]
    fine = np.stack([np.bincount(index, x, edges.size - 1) for x in (weight, value)], axis=1)
    found, ends = merged(fine, np.array([0.0, 300.0, 2000.0]))
    assert ends == pytest.approx([0.0, 300.0, 2000.0], rel=0.0015)
    assert found.sum(axis=0) == pytest.approx([weight.sum(), value.sum()], rel=1e-12)
    assert found[0] == pytest.approx([x[q < ends[1]].sum() for x in (weight, value)], rel=1e-12)


@pytest.mark.parametrize("bins", [0, 2.5, [1.0], [2.0, 1.0], [-1.0, 1.0], [0.0, np.nan],
                                  [0.0, np.inf], [[0.0, 1.0]]])
def test_bins_that_cannot_be(bins):
    with pytest.raises(SelectionError, match="bins"):
        uv_edges(bins, 0.0, 1.0)


def test_a_table_without_distances():
    table = profile_table(np.array([0.0]), np.array([9.0]), "m", {"re": np.ones(1)}, np.array([4]))
    assert table.colnames == ["uv_min", "uv_max", "re", "count"]
