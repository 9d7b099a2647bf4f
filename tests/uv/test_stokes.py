"""Stokes parameters of hands: known skies with noise, flags, and what can be asked for."""

import numpy as np
import pytest

from factories import LL, LR, RL, RR, XX, XY, YX, YY
from uvstack.errors import SelectionError
from uvstack.uv.predict import to_correlations
from uvstack.uv.stokes import (
    STOKES,
    combination_of,
    correlations_of,
    mean_of_hands,
    parallel_hands,
    parse_fit_stokes,
    parse_image_stokes,
)

I, Q, U, V = 1.0, 0.2, -0.3, 0.4
#: Hamaker & Bregman (1996) without their ½, written out anew.
CIRCULAR = (RR, RL, LR, LL), (I + V, Q + 1j * U, Q - 1j * U, I - V)
LINEAR = (XX, XY, YX, YY), (I + Q, U + 1j * V, U - 1j * V, I - Q)


@pytest.mark.parametrize(("codes", "vis"), [CIRCULAR, LINEAR])
def test_values_and_weights_of_noisy_hands(codes, vis):
    rng = np.random.default_rng(1)
    n = 40_000
    sigma = np.array([1.0, 2.0, 0.5, 3.0])
    noise = sigma * (rng.normal(size=(n, 1, 4)) + 1j * rng.normal(size=(n, 1, 4)))
    data = np.array(vis) + noise
    weight = np.broadcast_to(sigma**-2, (n, 1, 4)).astype(np.float32).copy()
    for name, truth in (("I", I), ("Q", Q), ("U", U), ("V", V)):
        combination = combination_of(name, codes)
        found, w = combination(data, weight)
        # n numbers with the noise that the weight says, which is so known to 1/√(2 n).
        error = 1 / np.sqrt(w[0, 0])
        assert found.mean() == pytest.approx(truth, abs=5 * error / np.sqrt(n))
        assert found.real.std() == pytest.approx(error, rel=4 / np.sqrt(2 * n))
        flagged = weight.copy()
        flagged[:10, 0, combination.index[0]] = 0
        found, w = combination(data, flagged)
        assert not w[:10].any()
        assert not found[:10].any()
        assert (w[10:] > 0).all()


@pytest.mark.parametrize(("codes", "vis"), [CIRCULAR, LINEAR])
def test_pi_is_the_mean_of_what_is_there(codes, vis):
    data = np.array(vis, np.complex64) * np.ones((3, 1, 1), np.complex64)
    weight = np.array([[1.0, 9, 9, 0.25], [0, 9, 9, 0.25], [0, 9, 9, 0]], np.float32)[:, None]
    found, w = combination_of("PI", codes)(data, weight)
    np.testing.assert_allclose(found[:, 0], [(vis[0] + vis[3] / 4) / 1.25, vis[3], 0], rtol=1e-6)
    assert w[:, 0].tolist() == [1.25, 0.25, 0]
    mean, total = mean_of_hands(data, weight, np.flatnonzero(parallel_hands(codes)))
    assert (mean == found).all()
    assert (total == w).all()


def test_stokes_is_the_inverse_of_the_correlations_of_the_simulator():
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((4, 3, 2)) + 1j * rng.standard_normal((4, 3, 2))
    planes = planes.astype(np.complex64)
    for correlations in ((RR, RL, LR, LL), (YY, XY, YX, XX), (1, 2, 3, 4)):
        vis = to_correlations(planes, correlations)
        for name, plane in zip("IQUV", planes, strict=True):
            found, _ = combination_of(name, correlations)(vis, np.ones(vis.shape, np.float32))
            assert found == pytest.approx(plane, abs=1e-6)


@pytest.mark.parametrize("codes", [CIRCULAR[0], LINEAR[0], (YY, YX, XY, XX), (1, 2, 3, 4)])
@pytest.mark.parametrize("name", STOKES)
def test_a_model_put_into_the_hands_comes_out_again(name, codes):
    combination = combination_of(name, codes)
    if combination is None:
        assert name not in ("I", "Q", "U", "V", "PI")
        return
    model = np.array([[1.0 + 2j, -0.5j]], np.complex64)
    hands = correlations_of(name, model, codes)
    found, _ = combination(hands, np.ones(hands.shape, np.float32))
    assert found == pytest.approx(model, abs=1e-6)


def test_what_two_hands_cannot_give():
    assert combination_of("Q", (XX, YY)) is not None
    assert combination_of("U", (XX, YY)) is None
    assert combination_of("RR", (XX, YY)) is None
    assert combination_of("I", (RR,)) is None
    assert combination_of("PI", (RR,)).index == (0,)
    assert combination_of("PI", (RL, LR)) is None


@pytest.mark.parametrize(("text", "names"), [
    ("i", "I"), ("IQUV", "I Q U V"), ("V,I", "I V"), ("RRLL", "RR LL"), ("XX YY", "XX YY"),
    ("QU", "Q U")])
def test_lists_of_stokes_to_image(text, names):
    assert parse_image_stokes(text) == tuple(names.split())


@pytest.mark.parametrize(("text", "message"), [
    ("IQW", "did you mean 'IQUV'"), ("RL", "RL = Q .* image Q and U instead"),
    ("XX,YX", "image U and V"), ("IQV", "evenly"), ("II", "did you mean"), ("", "is unknown"),
    ("PI", "image I")])
def test_stokes_that_cannot_be_imaged(text, message):
    with pytest.raises(SelectionError, match=message):
        parse_image_stokes(text)


@pytest.mark.parametrize("name", STOKES)
def test_all_that_can_be_fitted(name):
    assert parse_fit_stokes(f" {name.lower()} ") == name


@pytest.mark.parametrize(("text", "message"), [
    ("IQUV", "are 4, I, Q, U, V; a fit is of one"), ("RRLL", "a fit is of one"),
    ("W", "'W' is unknown"), ("RLL", "did you mean '(RL|LL)'"), ("", "is unknown")])
def test_stokes_that_cannot_be_fitted(text, message):
    with pytest.raises(SelectionError, match=message):
        parse_fit_stokes(text)
