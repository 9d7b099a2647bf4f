"""The tree of an expression.

Numbers, parameters and frequencies at its ends, operators and functions above them.

`evaluate` gives the value of a tree and its derivatives with respect to the parameters by
forward-mode automatic differentiation (Griewank & Walther 2008, chapter 3): each node gives its
value and the derivatives with respect to the parameters that stand below it, which are exact to
rounding. Cost: one numpy operation a node, and two more for each parameter below it, over the
channels where the node depends on frequency and on a single number elsewhere. All of it is float64.
Where a function has no derivative (|x| at 0, the tie of a minimum) that of one side is given;
comparisons have none. `degree` says whether a tree is affine in its parameters.
`uvstack.fitting.model.expressions` makes trees from text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LN2 = math.log(2.0)
_LN10 = math.log(10.0)


def _power_base(x: Any, q: Any, _: Any) -> Any:
    """∂(x^q)/∂x; 0 for q = 0 also at x = 0, where q x^(q−1) is 0/0."""
    return np.where(q == 0.0, 0.0, q * x ** (q - 1.0))


def _power_exponent(x: Any, q: Any, y: Any) -> Any:
    """∂(x^q)/∂q = x^q ln x; its limit 0 at x = 0 for q > 0.

    NaN for x < 0, where the power exists only for whole q.
    """
    return np.where((x == 0.0) & (q > 0.0), 0.0, y * np.log(x))


@dataclass(frozen=True)
class Rule:
    """How one function is evaluated: its value, and its derivative with respect to each argument.

    The derivatives take all arguments and the value, so that exp, tanh, … need not be evaluated
    twice. None: the derivative is 0 everywhere. `is_choice`: derivatives are 1 or 0, and what is
    not chosen counts for nothing even where it is not finite. `is_linear`: affine in its one
    argument.
    """

    value: Callable[..., Any]
    partials: tuple[Callable[..., Any], ...] | None
    is_choice: bool = False
    is_linear: bool = False


OPERATORS: dict[str, Rule] = {
    "+": Rule(np.add, (lambda a, b, y: 1.0, lambda a, b, y: 1.0)),
    "-": Rule(np.subtract, (lambda a, b, y: 1.0, lambda a, b, y: -1.0)),
    "*": Rule(np.multiply, (lambda a, b, y: b, lambda a, b, y: a)),
    "/": Rule(np.divide, (lambda a, b, y: 1.0 / b, lambda a, b, y: -y / b)),
    "**": Rule(lambda a, b: a**b, (_power_base, _power_exponent)),
    **{
        sign: Rule(lambda a, b, f=f: np.where(f(a, b), 1.0, 0.0), None)
        for sign, f in (("<", np.less), ("<=", np.less_equal), (">", np.greater), (">=", np.greater_equal),
                        ("==", np.equal), ("!=", np.not_equal))
    },
}  # fmt: skip

#: Functions that may be called, by numpy's names.
FUNCTIONS: dict[str, Rule] = {
    "sin": Rule(np.sin, (lambda x, y: np.cos(x),)),
    "cos": Rule(np.cos, (lambda x, y: -np.sin(x),)),
    "tan": Rule(np.tan, (lambda x, y: 1.0 + y * y,)),
    "arcsin": Rule(np.arcsin, (lambda x, y: 1.0 / np.sqrt((1.0 - x) * (1.0 + x)),)),
    "arccos": Rule(np.arccos, (lambda x, y: -1.0 / np.sqrt((1.0 - x) * (1.0 + x)),)),
    "arctan": Rule(np.arctan, (lambda x, y: 1.0 / (1.0 + x * x),)),
    "arctan2": Rule(
        np.arctan2, (lambda a, b, y: b / (a * a + b * b), lambda a, b, y: -a / (a * a + b * b))),
    "hypot": Rule(np.hypot, (lambda a, b, y: a / y, lambda a, b, y: b / y)),
    "sinh": Rule(np.sinh, (lambda x, y: np.cosh(x),)),
    "cosh": Rule(np.cosh, (lambda x, y: np.sinh(x),)),
    "tanh": Rule(np.tanh, (lambda x, y: 1.0 / np.cosh(x) ** 2,)),
    "arcsinh": Rule(np.arcsinh, (lambda x, y: 1.0 / np.hypot(x, 1.0),)),
    "arccosh": Rule(np.arccosh, (lambda x, y: 1.0 / np.sqrt((x - 1.0) * (x + 1.0)),)),
    "arctanh": Rule(np.arctanh, (lambda x, y: 1.0 / ((1.0 - x) * (1.0 + x)),)),
    "exp": Rule(np.exp, (lambda x, y: y,)),
    "exp2": Rule(np.exp2, (lambda x, y: _LN2 * y,)),
    "expm1": Rule(np.expm1, (lambda x, y: np.exp(x),)),
    "log": Rule(np.log, (lambda x, y: 1.0 / x,)),
    "log10": Rule(np.log10, (lambda x, y: 1.0 / (_LN10 * x),)),
    "log2": Rule(np.log2, (lambda x, y: 1.0 / (_LN2 * x),)),
    "log1p": Rule(np.log1p, (lambda x, y: 1.0 / (1.0 + x),)),
    "sqrt": Rule(np.sqrt, (lambda x, y: 0.5 / y,)),
    "cbrt": Rule(np.cbrt, (lambda x, y: 1.0 / (3.0 * y * y),)),
    "square": Rule(np.square, (lambda x, y: 2.0 * x,)),
    "reciprocal": Rule(np.reciprocal, (lambda x, y: -y * y,)),
    "abs": Rule(np.abs, (lambda x, y: np.sign(x),)),
    "sign": Rule(np.sign, None),
    "negative": Rule(np.negative, (lambda x, y: -1.0,), is_linear=True),
    "radians": Rule(np.radians, (lambda x, y: math.pi / 180.0,), is_linear=True),
    "degrees": Rule(np.degrees, (lambda x, y: 180.0 / math.pi,), is_linear=True),
    "minimum": Rule(
        np.minimum, (lambda a, b, y: (a <= b) * 1.0, lambda a, b, y: (a > b) * 1.0), is_choice=True),
    "maximum": Rule(
        np.maximum, (lambda a, b, y: (a >= b) * 1.0, lambda a, b, y: (a < b) * 1.0), is_choice=True),
    "where": Rule(
        lambda c, a, b: np.where(c != 0.0, a, b),
        (lambda c, a, b, y: 0.0, lambda c, a, b, y: (c != 0.0) * 1.0, lambda c, a, b, y: (c == 0.0) * 1.0),
        is_choice=True),
}  # fmt: skip

#: Other names of the same, as numpy and its users have them.
SAME = {
    "absolute": "abs", "fabs": "abs", "deg2rad": "radians", "rad2deg": "degrees",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "ln": "log", "power": "**", "pow": "**", "float_power": "**", "add": "+", "subtract": "-",
    "multiply": "*", "divide": "/", "true_divide": "/"}  # fmt: skip
RULES: dict[str, Rule] = {**OPERATORS, **FUNCTIONS}


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Symbol:
    """`nu`, `nu0` or `t`."""

    name: str


@dataclass(frozen=True)
class Parameter:
    """p[index]."""

    index: int


@dataclass(frozen=True)
class Call:
    """An operator or a function, by its name in `RULES`, of what stands below it."""

    name: str
    arguments: tuple[Node, ...]


Node = Number | Symbol | Parameter | Call


def walk(node: Node) -> Iterator[Node]:
    """The node and all that stand below it."""
    yield node
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from walk(argument)


def call(name: str, *arguments: Node) -> Call:
    """An operator or a function of other nodes."""
    return Call(name, arguments)


def _gauss_line(nu: Node, centre: Node, peak: Node, fwhm: Node) -> Node:
    offset = call("/", call("-", nu, centre), fwhm)
    return call("*", peak, call("exp", call("*", Number(-4.0 * _LN2), call("square", offset))))


def _lorentz_line(nu: Node, centre: Node, peak: Node, fwhm: Node) -> Node:
    offset = call("/", call("-", nu, centre), fwhm)
    return call("/", peak, call("+", Number(1.0), call("*", Number(4.0), call("square", offset))))


def _piece_wise(t: Node, before: Node, after: Node, start: Node, stop: Node) -> Node:
    passed = call("/", call("-", t, start), call("-", stop, start))
    step = _clip(passed, Number(0.0), Number(1.0))
    return call("+", before, call("*", call("-", after, before), step))


def _clip(x: Node, least: Node, most: Node) -> Node:
    return call("minimum", call("maximum", x, least), most)


#: Functions that are made of others: how, the names of their arguments, the silent first argument
#: if there is one.
COMPOSED: dict[str, tuple[Callable[..., Node], tuple[str, ...], str | None]] = {
    "GaussLine": (_gauss_line, ("centre", "peak", "fwhm"), "nu"),
    "LorentzLine": (_lorentz_line, ("centre", "peak", "fwhm"), "nu"),
    "pieceWise": (_piece_wise, ("before", "after", "start", "stop"), "t"),
    "clip": (_clip, ("x", "least", "most"), None),
}
CALLABLE = (*FUNCTIONS, *SAME, *COMPOSED)

#: Degrees of an expression as a polynomial in some of the parameters.
CONSTANT, AFFINE, NOT_AFFINE = 0, 1, 2


def degree(node: Node, parameters: Collection[int] | None) -> int:
    """CONSTANT, AFFINE or NOT_AFFINE.

    What a node is in all the named parameters together (None: in all there are).

    Found from the form: what only cancels, as in p[0]**2/p[0], is not seen.
    """
    if isinstance(node, Parameter):
        return AFFINE if parameters is None or node.index in parameters else CONSTANT
    if not isinstance(node, Call):
        return CONSTANT
    degrees = [degree(argument, parameters) for argument in node.arguments]
    first, last = degrees[0], degrees[-1]
    if max(degrees) == CONSTANT:
        return CONSTANT
    if node.name in ("+", "-") or RULES[node.name].is_linear:
        return max(degrees)
    if node.name == "*":
        return min(first + last, NOT_AFFINE)
    if node.name == "/" and last == CONSTANT:
        return first
    if node.name == "**" and node.arguments[1] == Number(1.0):
        return first
    if node.name == "where" and first == CONSTANT:
        return max(degrees)
    return NOT_AFFINE


#: Value of a node, and its derivative with respect to each parameter below it; all broadcast
#: against one another.
Dual = tuple[Any, dict[int, Any]]


def evaluate(node: Node, p: NDArray[np.float64], names: dict[str, Any],
             with_gradients: bool) -> Dual:
    """Value of a node, and its derivative with respect to each parameter below it.

    Parameters
    ----------
    node : Node
    p : float64 array (n_p,)
        The parameters.
    names : dict
        Values of the symbols that occur, "nu", "nu0" and "t", that broadcast against one another.
    with_gradients : bool
        False leaves the derivatives out.

    Returns
    -------
    value : float64 array or scalar
    gradients : dict
        By the index of a parameter; those that are not in it are 0. Arrays or scalars that
        broadcast against the value.
    """
    if isinstance(node, Number):
        return np.float64(node.value), {}
    if isinstance(node, Symbol):
        return names[node.name], {}
    if isinstance(node, Parameter):
        return p[node.index], ({node.index: np.float64(1.0)} if with_gradients else {})
    below = [evaluate(argument, p, names, with_gradients) for argument in node.arguments]
    rule = RULES[node.name]
    arguments = [value for value, _ in below]
    value = rule.value(*arguments)
    gradients: dict[int, Any] = {}
    for partial, (_, inner) in zip(rule.partials or (), below, strict=bool(rule.partials)):
        if not inner:
            continue
        factor = partial(*arguments, value)
        for index, gradient in inner.items():
            term = np.where(factor == 0.0, 0.0, gradient) if rule.is_choice else factor * gradient
            gradients[index] = gradients[index] + term if index in gradients else term
    return value, gradients
