"""Expressions of model variables.

Values against Python's own arithmetic, derivatives against complex steps, refusals.
"""

import ast
import math
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

from uvstack.errors import FitError
from uvstack.fitting.model import expression_tree, expressions
from uvstack.fitting.model.expression_tree import COMPOSED, FUNCTIONS, OPERATORS, SAME, Call, walk
from uvstack.fitting.model.expressions import MOST_LEVELS, VARIABLE_NAMES, parse_variables

NU = np.array([1.0e9, 1.4e9, 1.9e9, 3.3e9])
NU0 = 1.5e9
TIMES = np.array([0.0, 40.0, 100.0])
P = np.array([0.3, 0.7, 1.6, -0.8])


def by_python(text, p, nu=NU, nu0=NU0, t=None):
    """The oracle: Python and numpy evaluate the text, which is ours; p may be complex.

    One value a channel for each.
    """
    names = {name: getattr(np, name) for name in FUNCTIONS} | {"np": np, "numpy": np,
                                                               "clip": np.clip, "pi": math.pi,
                                                               "e": math.e}
    fwhm = 1 / math.sqrt(4 * math.log(2))
    names["GaussLine"] = lambda c, peak, width: peak * np.exp(-(((nu - c) / (width * fwhm)) ** 2))
    names["LorentzLine"] = lambda c, peak, width: peak * 0.25 * width**2 / (
        (nu - c) ** 2 + (0.5 * width) ** 2)
    values = eval(f"[{text}]", {"__builtins__": {}}, names | {"p": p, "nu": nu, "nu0": nu0, "t": t})
    return np.array([np.broadcast_to(v, (1 if t is None else len(t), *nu.shape))
                     for v in values]).squeeze()


def complex_step(text, p):
    """Derivatives by each parameter, exact to rounding: Im f(p + ih)/h."""
    p, columns = np.asarray(p, complex), []
    for i in range(len(p)):
        step = p.copy()
        step[i] += 1e-30j
        columns.append(by_python(text, step).imag / 1e-30)
    return np.array(columns)


def differences(text, p):
    """Derivatives by central differences of two steps, extrapolated.

    Error of order h⁴ + ε/h, 1e-11 for functions of 1.
    """
    columns = []
    for i in range(len(p)):
        slope = []
        for h in (1e-3, 5e-4):
            step = np.zeros(len(p))
            step[i] = h
            slope.append((by_python(text, p + step) - by_python(text, p - step)) / (2 * h))
        columns.append((4 * slope[1] - slope[0]) / 3)
    return np.array(columns)


def gradients(text, p=P):
    return parse_variables(text, 1).values_and_gradients(p, NU, NU0)[1][0]


#: Each function and operator, with parameters in every argument and, where it can be, on both sides
#: of its branches.
ANALYTIC = [
    "p[0] + p[1]*nu/nu0",
    "p[0] - p[1]*p[2]",
    "p[0]*p[1]*p[0]",
    "p[0]/p[3]",
    "nu0/(nu*p[1] + p[0]*nu0)",
    "-p[3]",
    "negative(p[3])*p[0]",
    "p[0]**p[1]",
    "p[3]**3",
    "p[3]**-2",
    "2**p[0]",
    "p[2]*(nu/1.4e9)**p[3]",
    "np.power(nu/nu0, p[0] + p[1]*log(nu/nu0))",
    "sin(p[0]*p[1])",
    "cos(p[0]*nu/nu0)",
    "tan(p[3])",
    "arcsin(p[0])",
    "arccos(p[3])",
    "arctan(p[2]*nu/nu0)",
    "sinh(p[2])",
    "cosh(p[3])",
    "tanh(p[2])",
    "arcsinh(p[2])",
    "arccosh(p[2])",
    "arctanh(p[3])",
    "exp(p[2]*p[3])",
    "exp2(p[2])",
    "expm1(p[0])",
    "log(p[0]*nu/nu0)",
    "log10(p[0])",
    "log2(p[2])",
    "log1p(p[3])",
    "numpy.sqrt(p[0]*p[1])",
    "square(p[3])",
    "reciprocal(p[3])",
    "p[0] + p[1]*pi - e",
]
#: Without a complex derivative in numpy.
REAL = [
    "arctan2(p[0], p[3])",
    "arctan2(p[3], -p[1]*nu/nu0)",
    "hypot(p[0], p[3])",
    "cbrt(p[3])",
    "abs(p[3])*abs(p[0])",
    "radians(p[0])",
    "degrees(p[0]*p[1])",
    "p[0]*sign(p[3])",
    "minimum(p[0]*nu/nu0, p[1])",
    "maximum(p[0]*nu/nu0, p[1])",
    "where(nu > nu0, p[0]*nu/nu0, p[1])",
    "where(p[0]*nu/nu0 < 0.4, p[0]**2, p[1]*p[2])",
    "clip(p[2]*nu/nu0, p[1]*2, p[2]*2)",
    "p[2]*(nu > 1.2e9)*(nu <= 2e9) + p[0]*(nu < 1.2e9) + p[1]*(nu >= 2e9)",
    "p[2]*(nu == 1.4e9) + p[1]*(nu != 1.4e9)",
]


@pytest.mark.parametrize("text", ANALYTIC)
def test_derivatives_are_those_of_a_complex_step(text):
    # Rounding of a few operations, on functions and derivatives of order 1 to 10.
    np.testing.assert_allclose(gradients(text), complex_step(text, P), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(parse_variables(text, 1).values(P, NU, NU0)[0], by_python(text, P),
                               rtol=1e-14)


@pytest.mark.parametrize("text", REAL)
def test_derivatives_are_those_of_finite_differences(text):
    np.testing.assert_allclose(gradients(text), differences(text, P), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(parse_variables(text, 1).values(P, NU, NU0)[0], by_python(text, P),
                               rtol=1e-14)


@pytest.mark.parametrize("line", ["GaussLine", "LorentzLine"])
def test_lines_have_derivatives_of_a_complex_step(line):
    # GHz parameters, as a fit would scale them.
    text = f"0.1 + {line}(p[2]*1e9, p[0], p[1]*1e9)"
    np.testing.assert_allclose(gradients(text), complex_step(text, P), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(parse_variables(text, 1).values(P, NU, NU0)[0], by_python(text, P),
                               rtol=1e-14)


def test_every_function_and_operator_is_in_the_lists_above():
    trees = [parse_variables(text, 1)._trees[0] for text in ANALYTIC + REAL]
    seen = {node.name for tree in trees for node in walk(tree) if isinstance(node, Call)}
    assert seen == {*FUNCTIONS, *OPERATORS}
    assert set(COMPOSED) == {"GaussLine", "LorentzLine", "pieceWise", "clip"}


@pytest.mark.parametrize(("other", "name"), SAME.items())
def test_other_names_are_those_of_numpy(other, name):
    arguments = "p[0], p[1]" if name in (*OPERATORS,
                                         "arctan2") else "p[2]" if name == "arccosh" else "p[0]"
    value = parse_variables(f"{other}({arguments})", 1).values(P, NU, NU0)[0, 0]
    assert value == by_python(f"np.{'log' if other == 'ln' else other}({arguments})", P)[0]


def test_random_trees_agree_with_python():
    rng = random.Random(4)
    leaves = ["p[0]", "p[1]", "p[2]", "p[3]", "nu/nu0", "0.5", "2", "pi"]
    # Functions that are smooth and stay of order 1 on the whole line, so that no tree leaves its
    # domain.
    unary = ["sin({})", "cos({})", "np.tanh({})", "arctan({})", "-{}", "exp(-({})**2)",
             "sqrt(1+({})**2)", "arcsinh({})"]
    binary = ["({}+{})", "({}-{})", "{}*{}", "{}/(1.5+({})**2)", "(1.1+sin({}))**cos({})",
              "{}-({})"]

    def tree(depth):
        if depth == 0 or rng.random() < 0.1:
            return rng.choice(leaves)
        if rng.random() < 0.4:
            return rng.choice(unary).format(tree(depth - 1))
        return rng.choice(binary).format(tree(depth - 1), tree(depth - 1))

    worst = 0.0
    for _ in range(200):
        text = tree(5)
        values, found = parse_variables(text, 1).values_and_gradients(P, NU, NU0)
        truth, slope = by_python(text, P), complex_step(text, P)
        assert np.isfinite(truth).all()
        worst = max(worst, np.max(np.abs(values[0] - truth) / (1 + np.abs(truth))))
        worst = max(worst, np.max(np.abs(found[0] - slope) / (1 + np.abs(slope).max())))
    # Up to some 60 operations, the powers among them amplifying the rounding of their exponents by
    # up to 100.
    assert worst < 1e-12


# --- lines and pieces against their definitions -----------------------------------------------------------------------


@pytest.mark.parametrize(("line", "area"),
                         [("GaussLine", math.sqrt(math.pi / (4 * math.log(2)))),
                          ("LorentzLine", math.pi / 2)])
def test_lines_have_their_peak_their_half_width_and_their_area(line, area):
    centre, peak, fwhm = 115.271e9, 0.3, 2.0e6
    variable = parse_variables(f"{line}(p[0], p[1], p[2])", 1)
    p = (centre, peak, fwhm)
    at = variable.values(p, centre + fwhm * np.array([0.0, 0.5, -0.5]), NU0)[0]
    np.testing.assert_allclose(at, [peak, peak / 2, peak / 2], rtol=1e-9)  # frequencies round to 1.5e-5 Hz of 1e6
    # Trapezium over ±2000 FWHM in steps of FWHM/20; what a Lorentz line leaves outside is
    # 1/(2·2000) of its height·FWHM.
    nu = centre + fwhm * np.arange(-40_000, 40_001) / 20
    found = np.sum(variable.values(p, nu, NU0)) * fwhm / 20
    rest = peak * fwhm / 4000 if line == "LorentzLine" else 0.0
    assert found + rest == pytest.approx(area * peak * fwhm, rel=1e-6)


def test_the_frequency_of_a_line_may_be_written_out():
    short, long = parse_variables("GaussLine(1.5e9,p[0],3e8), GaussLine(nu,1.5e9,p[0],3e8)",
                                  2).values(P, NU, NU0)
    np.testing.assert_array_equal(short, long)


@pytest.mark.parametrize(("before", "after"), [(1.0, 1.5), (1.5, 1.0)])
def test_piece_wise_is_a_ramp_between_two_levels_up_or_down(before, after):
    gain = parse_variables("pieceWise(p[0], p[1], 20, 60)", 1)
    assert gain.depends_on_time
    assert not gain.depends_on_frequency
    t = np.array([0.0, 20.0, 30.0, 60.0, 99.0])
    values, slope = gain.values_and_gradients([before, after], NU[:2], NU0, t)
    assert values.shape == (1, 5, 2)
    assert slope.shape == (1, 2, 5, 2)
    part = np.array([0.0, 0.0, 0.25, 1.0, 1.0])
    np.testing.assert_allclose(values[0, :, 1], before + (after - before) * part, rtol=1e-15)
    np.testing.assert_allclose(slope[0, :, :, 0], [1 - part, part], rtol=1e-15)


# --- what comes out ---------------------------------------------------------------------------------------------------


def test_time_and_frequency_together():
    text = "p[0] + 6.2832*(p[1]*(nu - nu0)*1e-9 + p[2]*t), p[3]"
    phase = parse_variables(text, 2, "phase_gains[1]")
    values, slope = phase.values_and_gradients(P, NU, NU0, TIMES)
    want = P[0] + 6.2832 * (P[1] * (NU - NU0) * 1e-9 + P[2] * TIMES[:, None])
    np.testing.assert_allclose(values[0], want, rtol=1e-14)
    np.testing.assert_array_equal(values[1], np.full((3, 4), P[3]))
    np.testing.assert_allclose(slope[0, 2], np.broadcast_to(6.2832 * TIMES[:, None], (3, 4)),
                               rtol=1e-15)
    np.testing.assert_array_equal(phase.values(P, NU, NU0, TIMES), values)
    with pytest.raises(FitError, match="depends on the time t, and none is given"):
        phase.values(P, NU, NU0)


def test_what_is_known_of_expressions():
    found = parse_variables("p[0], 0.5 + p[7], p[2]*(nu/1.4e9)**p[3], 4/3*nu0/nu0, 1, 0", 6)
    assert found.used == (0, 2, 3, 7)
    assert found.n_parameters == 8
    assert found.depends_on_frequency
    assert not found.depends_on_time
    assert len(found) == 6
    assert found.names == VARIABLE_NAMES[:6]
    assert found.describe(2) == 'flux = "p[2]*(nu/1.4e9)**p[3]" of var'
    assert found.describe().startswith('var: RA = "p[0]", Dec = "0.5 + p[7]"')
    values, slope = found.values_and_gradients(np.arange(10.0), NU, NU0)  # more parameters than occur here
    assert slope.shape == (6, 10, 4)
    np.testing.assert_allclose(values[3], 4 / 3, rtol=1e-15)  # not the whole number of Python 2
    assert not slope[:, [1, 4, 5, 6, 8, 9]].any()
    constant = parse_variables("1.0", None)
    assert constant.used == ()
    assert constant.n_parameters == 0
    np.testing.assert_array_equal(constant.values([], NU, NU0), np.ones((1, 4)))


@pytest.mark.parametrize(
    ("text", "affine"),
    [
        ("p[0]", True), ("3", True), ("2*p[0] - p[1]/nu + 1", True), ("(p[0] + p[1])*(nu/nu0)**0.7", True),
        ("p[0]*(nu/nu0)**p[1]", False), ("p[0]*p[1]", False), ("1/p[0]", False), ("p[0]**2", False),
        ("p[0]**1", True), ("-p[0]*sin(nu/nu0)", True), ("sin(p[0])", False), ("abs(p[0])", False),
        ("where(nu > nu0, p[0], 2*p[1])", True), ("where(p[0] > 0, p[0], p[1])", False), ("(p[0] > 0)*2", False),
        ("GaussLine(1.5e9, p[0], 3e8) + p[1]", True), ("GaussLine(p[1], p[0], 3e8)", False),
        ("LorentzLine(1.5e9, p[0], 3e8)", True), ("pieceWise(p[0], p[1], 3, 9)", True), ("radians(p[0])", True),
        ("p[0]*pieceWise(1, 2, p[1], 9)", False),
    ],
)  # fmt: skip
def test_affine_expressions_are_found_and_are_affine(text, affine):
    found = parse_variables(text, 1)
    assert found.linear_in(0) is affine
    if affine and found.used:
        # The truth of it: the derivative is the same everywhere, and value = value(0) + Σ p ∂.
        t = TIMES if found.depends_on_time else None
        here, slope = found.values_and_gradients(P[:2], NU, NU0, t)
        _, elsewhere = found.values_and_gradients(P[:2] + [3.0, -2.0], NU, NU0, t)
        np.testing.assert_allclose(slope, elsewhere, rtol=1e-14)
        rebuilt = found.values(np.zeros(2), NU, NU0, t) + np.tensordot(P[:2], slope[0], 1)
        np.testing.assert_allclose(here, rebuilt, rtol=1e-14)


def test_affine_in_some_parameters():
    flux = parse_variables("p[0]*(nu/nu0)**p[1]", 1)
    assert flux.linear_in(0, {0})
    assert not flux.linear_in(0, {1})
    assert not flux.linear_in(0, {0, 1})
    assert flux.linear_in(0, {5})


def test_values_that_are_not_finite_come_back_without_a_warning():
    found = parse_variables("1/p[0], log(p[0]), sqrt(p[1]), exp(p[2]), (-2)**0.5", None)
    values, slope = found.values_and_gradients([0.0, -1.0, 1e4], NU, NU0)
    np.testing.assert_array_equal(values[:, 0], [np.inf, -np.inf, np.nan, np.inf, np.nan])
    assert not np.isfinite(slope[[0, 1, 2, 3], [0, 0, 1, 2]]).any()


def test_derivatives_at_the_edges_of_powers_and_choices():
    _, slope = parse_variables("p[0]**0, p[0]**1, p[0]**2, p[0]**p[1], where(nu > 0, p[1], sqrt(p[0]))", None
                               ).values_and_gradients([0.0, 2.0], NU[:1], NU0)  # fmt: skip
    np.testing.assert_array_equal(slope[:, :, 0], [[0, 0], [1, 0], [0, 0], [0, 0], [0, 1]])


def test_expressions_do_not_change_and_can_be_sent_to_workers():
    text = "+".join(f"p[{i}]*nu**{i}" for i in range(MOST_LEVELS - 5))
    found = parse_variables(text, 1)
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    p = np.full(MOST_LEVELS, 0.5)
    np.testing.assert_array_equal(again.values(p, NU * 1e-9, 1.0), found.values(p, NU * 1e-9, 1.0))
    with pytest.raises(AttributeError):
        found.text = "p[1]"
    kept = P.copy(), NU.copy()
    parse_variables("p[0]*nu", 1).values_and_gradients(P, NU, NU0)
    np.testing.assert_array_equal(P, kept[0])
    np.testing.assert_array_equal(NU, kept[1])


def test_no_channels_and_single_precision():
    found = parse_variables("p[0]*nu/nu0", 1)
    values, slope = found.values_and_gradients(P, np.empty(0), NU0)
    assert values.shape == (1, 0)
    assert slope.shape == (1, 4, 0)
    assert found.values(P.astype("f4"), NU.astype("f4"), NU0).dtype == np.float64


@pytest.mark.parametrize(
    ("p", "nu", "message"),
    [([1.0], NU, r"uses p\[3\], but there are only 1 parameters; give 4"), (P, 1e9, r"nu has shape \(\)"),
     (P[:, None], NU, r"p has shape \(4, 1\)")],
)  # fmt: skip
def test_arrays_that_do_not_fit(p, nu, message):
    with pytest.raises(FitError, match=message):
        parse_variables("p[3]*nu", 1).values(p, nu, NU0)


# --- refusals ---------------------------------------------------------------------------------------------------------

MALICIOUS = [
    "__import__('os').system('touch /tmp/never')",
    "p.__class__",
    "p.__class__.__mro__[1].__subclasses__()",
    "().__class__",
    "''.__class__",
    "(lambda: 1)()",
    "lambda p: p",
    "p[0] if 1 else 2",
    "[x for x in p]",
    "(x for x in p)",
    "{p[0]: 1}",
    "{1, 2}",
    "[p[0]]",
    "(p[0], p[1]), 1",
    "*p",
    "(x := 3)",
    "f'{p}'",
    "'p[0]'",
    "b'p'",
    "open('/etc/passwd')",
    "exec('1')",
    "eval('1')",
    "getattr(np, 'sin')(1)",
    "globals()",
    "np.load('x.npy')",
    "np.sin.__call__(1)",
    "np.linalg.norm(p)",
    "np.__dict__",
    "np",
    "math.sin(1)",
    "os.sin(1)",
    "numpy.np.sin(1)",
    "np.p[0]",
    "np.nu",
    "nu[0]",
    "p[0][1]",
    "p[0](1)",
    "sin(x=1)",
    "sin(*p)",
    "sin(**p)",
    "sin(p[0])(1)",
    "p[0] and 1",
    "not p[0]",
    "~1",
    "p[0] & 1",
    "p[0] | 1",
    "p[0] ^ 2",
    "p[0] // 2",
    "p[0] % 2",
    "p[0] @ p[1]",
    "p[0] << 2",
    "1 < p[0] < 2",
    "p[0] is 1",
    "p[0] in p",
    "True",
    "None",
    "...",
    "1j",
    "1e999",
    "1" + "0" * 400,
    "1" * 5000,
    "p[0]; p[1]",
    "p[0] = 1",
    "import os",
    "yield",
    "await p",
    "p[0] # a comment",
    "p[0]\x00",
    "p[0]\\",
    "\ud800",
    "-" * 5000 + "1",
    "(" * 5000 + "1" + ")" * 5000,
    "(" * 90 + "1" + ")" * 89,
    "+".join(["p[0]"] * 500),
    "sin(" * 150 + "1" + ")" * 150,
    "1" * 20_000,
]


@pytest.mark.parametrize("text", MALICIOUS, ids=lambda text: repr(text[:30]))
def test_what_is_not_an_expression_is_refused_on_one_line(text):
    with pytest.raises(FitError) as caught:
        parse_variables(text, None)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900


def test_huge_powers_cost_nothing():
    # Python's whole numbers would fill the memory.
    assert parse_variables("9**9**9**9", 1).values([], NU, NU0)[0, 0] == np.inf


@pytest.mark.parametrize(
    ("text", "n", "message"),
    [
        ("p[0],p[1]", 3, 'var "p[0],p[1]" has 2 expressions, but 3 are wanted: RA, Dec, flux; add flux'),
        ("p[0],p[1],p[2],p[3],1", 6,
         'var "p[0],p[1],p[2],p[3],1" has 5 expressions, but 6 are wanted: RA, Dec, flux, major, ratio, PA; add PA'),
        ("1,2,3,4, 5", 3,
         'var "1,2,3,4, 5" has 5 expressions, but 3 are wanted: RA, Dec, flux; leave out "4, 5"'),
        ("1,2", 1, 'var "1,2" has 2 expressions, but 1 is wanted; leave out "2"'),
        ("", 3, 'var holds no expression; give text such as "p[0],p[1],p[2]"'),
        ("  ()", 3, 'var holds no expression; give text such as "p[0],p[1],p[2]"'),
        ("p[0],p[1]*,p[2]", 3, 'var cannot be read at "p[0],p[1]*<here>,p[2]": invalid syntax'),
        ("p[0],(p[1],p[2]", 3, "var cannot be read at \"p[0],<here>(p[1],p[2]\": '(' was never closed"),
        ("p[0],p[1]−1", 2, "var holds the sign '−' at \"p[0],p[1]<here>−1\"; write -"),
        ("2*p[-1]", 1, 'var at "2*<here>p[-1]": "p[-1]" cannot stand in an expression; the index of a parameter is a '
         "whole number from 0, as in p[0]"),
        ("2*p", 1, 'var at "2*<here>p": p without an index cannot stand in an expression; write p[0], p[1], …'),
        ("p(0)", 1, 'var at "<here>p(0)": "p(0)" cannot stand in an expression; a parameter is p[0], p[1], …'),
        ("1+nuo", 1, 'var at "1+<here>nuo": unknown name "nuo"; did you mean nu, nu0?'),
        ("1+Gausline(1,2,3)", 1,
         'var at "1+<here>Gausline(1,2,3)": unknown function "Gausline"; did you mean GaussLine, asin, asinh?'),
        ("sin", 1, 'var at "<here>sin": sin without its arguments cannot stand in an expression; write sin(x)'),
        ("np.where(nu>1, 2)", 1,
         'var at "<here>np.where(nu>1, 2)": where has 2 arguments; write where(condition, a, b)'),
        ("GaussLine(nu, p[0], p[1])", 1, 'var at "<here>GaussLine(nu, p[0], p[1])": GaussLine has 3 arguments; '
         "write GaussLine(nu, centre, peak, fwhm)"),
        ("GaussLine(1e9, p[0])", 1, 'var at "<here>GaussLine(1e9, p[0])": GaussLine has 2 arguments; '
         "write GaussLine(centre, peak, fwhm)"),
        ("p[0]^2", 1, 'var at "<here>p[0]^2": the operator ^ (a power is **) cannot stand in an expression'),
    ],
)  # fmt: skip
def test_messages_say_what_was_found_and_what_to_do(text, n, message):
    with pytest.raises(FitError) as caught:
        parse_variables(text, n)
    assert str(caught.value) == message


@pytest.mark.parametrize("index",
                         ["p[1.5]", "p[i]", "p[True]", "p['a']", "p[0:1]", "p[0,1]", "p[1+1]",
                          "p[p[0]]", "p[10000]"])
def test_an_index_is_a_whole_number(index):
    with pytest.raises(FitError, match="whole number from 0|at most 10000 parameters"):
        parse_variables(index, 1)


def test_unknown_names_without_a_near_one_list_what_there_is():
    with pytest.raises(FitError, match=r'unknown name "flux"; there are p\[0\], nu, nu0, t, pi, e, sin, .*GaussLine'):
        parse_variables("p[0], flux", None)


@pytest.mark.parametrize("bad", [None, 1.0, ["p[0]"]])
def test_only_text_is_read(bad):
    with pytest.raises(FitError, match="give text such as"):
        parse_variables(bad, 1, "scalefix")


def test_lines_brackets_and_spaces_do_not_matter():
    text = "\n  ( p[0],\r\n\tp[1] , \n p[2] )\n"
    found = parse_variables(text, 3)
    assert found.parts == ("p[0]", "p[1]", "p[2]")
    assert found.text == text


def test_no_text_can_reach_python():
    for module in (expressions, expression_tree):
        called = {node.func.id for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
        assert not called & {"eval", "exec", "compile", "getattr", "__import__", "globals", "vars"}
