"""Peeling as a whole by QuartiCal, whose compilation takes minutes in a fresh environment."""

import warnings

import numpy as np
import pytest
from known_gains import IMAGES, observe, through, truth_of

import peel
from factories import edit, read
from uvstack.errors import UvstackWarning


def test_quartical_finds_the_gains(tmp_path):
    """The real one, with noise of 0.014 Jy: 3 Jy are gone to 1.5 %, of which the field is half.

    On 120 baselines gains of the bright source still take a fifth of a faint one after two rounds.
    """
    pytest.importorskip("quartical")
    folder, field, bright = observe(tmp_path)
    path = folder / "a.ms"
    noise = 0.01 * np.random.default_rng(3).standard_normal((*field.shape, 2)) @ [1, 1j]
    edit(path, "DATA", lambda data: data + noise)
    edit(path, "WEIGHT", lambda weight: np.full_like(weight, 1e4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UvstackWarning)
        result = peel.peel(path, regions=folder / "bright.crtf", out=tmp_path / "out",
                           rounds=2, threads=1, **IMAGES)
    left = read(path, "PEELED_DATA") - field
    assert np.std(left) < 0.015 * np.std(bright)
    flux = np.vdot(field, read(path, "PEELED_DATA")).real / np.vdot(field, field).real
    assert 0.75 < flux < 1.05
    row = result.fields[0]
    one, two = read(path, "ANTENNA1"), read(path, "ANTENNA2")
    amplitude = np.abs(through(truth_of()[1], one, two)).mean()
    assert row["flux_corrected"].value == pytest.approx(3.0 * amplitude, rel=0.015)
    assert row["chi_squared_after"] < 0.1 * row["chi_squared_before"]
    assert row["converged"] > 0.9
