"""Variables of a model, written as text in the fitted parameters.

"p[0],p[1],p[2]*(nu/1.4e9)**p[3],p[4],1,0".

    variables = parse_variables("p[0], p[1], p[2]*(nu/nu0)**p[3]", 3)
    values, gradients = variables.values_and_gradients(p, nu, nu0)

An expression is made of

- numbers, `pi`, `e`, and the parameters `p[0]`, `p[1]`, …;
- `nu`, the frequency of each channel in Hz; `nu0`, the reference frequency in Hz; `t`, the time since the reference in s;
- `+ - * / **`, brackets, and comparisons (`< <= > >= == !=`), which are 1 where true and 0 elsewhere;
- functions of numpy by their names, with or without `np.` before them (`FUNCTIONS` and `SAME` of
  `uvstack.fitting.model.expression_tree`);
- the functions of UVMultiFit (Martí-Vidal et al. 2014, A&A 563, A136), whose first argument is silently `nu` or `t`:
  `GaussLine(centre, peak, fwhm)`    = peak exp(−4 ln 2 ((nu − centre)/fwhm)²),
  `LorentzLine(centre, peak, fwhm)`  = peak / (1 + (2 (nu − centre)/fwhm)²), all frequencies in Hz,
  `pieceWise(a, b, start, stop)`     = a before start, b after stop (s), a straight line between.
  `nu` or `t` may also be written out as a first argument more.

Differences from UVMultiFit 3.0, which replaces text and hands the rest to Python: its LorentzLine
in the variables of a model fails when it is evaluated (the text is replaced by a misspelt name);
its pieceWise is b at all times when b < a; commas inside functions other than a few known ones
count as variables; under Python 2, 4/3 is 1.

No text of the user is ever run. `ast` reads it, a whitelist turns what it found into a tree of our
own, and that tree is evaluated with exact derivatives (`uvstack.fitting.model.expression_tree`).
Cost: some 60 µs to read, then a few numpy operations over the channels for each operator. Limits:
`MOST_CHARACTERS`, `MOST_LEVELS` and `MOST_PARAMETERS` below.
"""

from __future__ import annotations

import ast
import difflib
import functools
import math
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from uvstack.errors import FitError
from uvstack.fitting.model.expression_tree import (
    CALLABLE,
    COMPOSED,
    NOT_AFFINE,
    RULES,
    SAME,
    Node,
    Number,
    Parameter,
    Symbol,
    call,
    degree,
    evaluate,
    walk,
)

#: What the expressions of a component say, in order; a delta has the first three, most models the
#: first six.
VARIABLE_NAMES = ("RA", "Dec", "flux", "major", "ratio", "PA", "sigma")
MOST_CHARACTERS = 10_000
#: Depth of operators and calls within one another; a sum of n terms is n deep.
MOST_LEVELS = 100
MOST_PARAMETERS = 10_000
_CONSTANTS = {"pi": math.pi, "e": math.e}
_NAMES = ("nu", "nu0", "t")
_MODULES = ("np", "numpy")


@dataclass(frozen=True)
class Expressions:
    """Expressions in p[0], p[1], …, nu, nu0 and t, ready to be evaluated.

    `parse_variables` makes them.

    They can be pickled and compared; nothing in them can change.

    Attributes
    ----------
    text : str
        As the user wrote it.
    where : str
        The keyword it came from, for messages.
    parts : tuple of str
        The text of each expression.
    names : tuple of str
        What each of them says: "RA", "Dec", "flux", …, or "expression 1", ….
    """

    text: str
    where: str
    parts: tuple[str, ...]
    names: tuple[str, ...]
    _trees: tuple[Node, ...]

    def __len__(self) -> int:
        """How many expressions there are."""
        return len(self._trees)

    @functools.cached_property
    def used(self) -> tuple[int, ...]:
        """The indices of the parameters that occur, rising."""
        nodes = (node for tree in self._trees for node in walk(tree))
        return tuple(sorted({node.index for node in nodes if isinstance(node, Parameter)}))

    def used_by(self, k: int) -> tuple[int, ...]:
        """The indices of the parameters that occur in the k-th expression, rising."""
        return tuple(sorted({node.index for node in walk(self._trees[k])
                             if isinstance(node, Parameter)}))

    @functools.cached_property
    def n_parameters(self) -> int:
        """The largest index of a parameter that occurs, plus one."""
        return max(self.used, default=-1) + 1

    @functools.cached_property
    def depends_on_frequency(self) -> bool:
        """Whether `nu` occurs; `nu0` alone is the same in all channels."""
        return self._names("nu")

    @functools.cached_property
    def depends_on_time(self) -> bool:
        """Whether `t` occurs."""
        return self._names("t")

    def linear_in(self, k: int, parameters: Collection[int] | None = None) -> bool:
        """Whether the k-th expression is affine, a + Σ b_i p[i], in all its parameters together.

        With `parameters`, in those alone, the others being held: p[0]*p[1] is affine in p[0], and
        in p[1], not in both. Without any, it is. Found from the form, so what only cancels, as in
        p[0]**2/p[0], counts as not affine; so does a choice (`abs`, `minimum`, …) by a parameter.
        """
        return degree(self._trees[k], parameters) != NOT_AFFINE

    def describe(self, k: int | None = None) -> str:
        """The k-th expression for a message, 'flux = "p[2]*(nu/1e9)**p[3]" of var'.

        Without k, all of them.
        """
        if k is None:
            written = ", ".join(f'{name} = "{part}"'
                                for name, part in zip(self.names, self.parts, strict=True))
            return f"{self.where}: {written}"
        return f'{self.names[k]} = "{self.parts[k]}" of {self.where}'

    def values(
        self, p: ArrayLike, nu: ArrayLike, nu0: float, t: ArrayLike | None = None
    ) -> NDArray[np.float64]:
        """The value of each expression in each channel, and at each time if times are given.

        Parameters
        ----------
        p : float array (n_p,)
            The parameters; at least `n_parameters`, more are not looked at.
        nu : float array (chan,)
            Hz.
        nu0 : float
            Reference frequency, Hz.
        t : float array (time,), optional
            Times since the reference, s.

        Returns
        -------
        float64 array (n_expr, chan), or (n_expr, time, chan) with `t`
            Not finite where an expression is not: nothing is refused or warned of.

        Raises
        ------
        FitError
            Fewer parameters than occur, `t` occurs and none is given, arrays that are not of one
            dimension.
        """
        parameters, names, shape = self._checked(p, nu, nu0, t)
        values = np.empty((len(self), *shape))
        with np.errstate(all="ignore"):
            for k, tree in enumerate(self._trees):
                values[k] = evaluate(tree, parameters, names, with_gradients=False)[0]
        return values

    def values_and_gradients(
        self, p: ArrayLike, nu: ArrayLike, nu0: float, t: ArrayLike | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `values`, and the exact derivative of each expression with respect to each parameter.

        Parameters
        ----------
        p, nu, nu0, t
            As in `values`.

        Returns
        -------
        values : float64 array (n_expr, chan), or (n_expr, time, chan) with `t`
        gradients : float64 array (n_expr, n_p, chan), or (n_expr, n_p, time, chan) with `t`
            0 for parameters that do not occur.
        """
        parameters, names, shape = self._checked(p, nu, nu0, t)
        values = np.empty((len(self), *shape))
        gradients = np.zeros((len(self), len(parameters), *shape))
        with np.errstate(all="ignore"):
            for k, tree in enumerate(self._trees):
                values[k], found = evaluate(tree, parameters, names, with_gradients=True)
                for index, gradient in found.items():
                    gradients[k, index] = gradient
        return values, gradients

    def _names(self, name: str) -> bool:
        return any(node == Symbol(name) for tree in self._trees for node in walk(tree))

    def _checked(
        self, p: ArrayLike, nu: ArrayLike, nu0: float, t: ArrayLike | None
    ) -> tuple[NDArray[np.float64], dict[str, Any], tuple[int, ...]]:
        parameters = np.asarray(p, dtype=np.float64)
        frequency = np.asarray(nu, dtype=np.float64)
        time = None if t is None else np.asarray(t, dtype=np.float64)
        for name, array in (("p", parameters), ("nu", frequency), ("t", time)):
            if array is not None and array.ndim != 1:
                raise FitError(f"{name} has shape {array.shape}; give an array of one dimension")
        if len(parameters) < self.n_parameters:
            raise FitError(f'{self.where} "{self.text}" uses p[{self.n_parameters - 1}], but there '
                           f'are only {len(parameters)} '
                           f"parameters; give {self.n_parameters} values")
        if time is None and self.depends_on_time:
            raise FitError(f'{self.where} "{self.text}" depends on the time t, and none is given '
                           'here; leave t out')
        names: dict[str, Any] = {"nu": frequency, "nu0": np.float64(nu0)}
        if time is None:
            return parameters, names, frequency.shape
        names["t"] = time[:, None]
        return parameters, names, (*time.shape, *frequency.shape)


def parse_variables(text: str, n_wanted: int | None, where: str = "var") -> Expressions:
    """The expressions of `text`, separated by commas, read safely.

    Parameters
    ----------
    text : str
        See the module's docstring for what may stand in it; at most `MOST_CHARACTERS` long.
    n_wanted : int or None
        How many expressions there must be, None for any number from one. With 3 to 7, they are
        named `VARIABLE_NAMES` in messages.
    where : str
        The keyword that the text was given to, for messages.

    Raises
    ------
    FitError
        The text is no expression, names what there is not, or holds another number of expressions;
        the place is marked or the nearest names are told. Everything that is not on the list is
        refused.
    """
    if not isinstance(text, str):
        raise FitError(f'{where} is {text!r}; give text such as "p[0],p[1],p[2]"')
    nodes = _split(_syntax_tree(text, where))
    reader = _Reader(_flat(text), where)
    if not nodes:
        raise FitError(f'{where} holds no expression; give text such as "p[0],p[1],p[2]"')
    parts = tuple(ast.get_source_segment(reader.text, node) or "" for node in nodes)
    if n_wanted is not None and len(nodes) != n_wanted:
        raise FitError(_wrong_number(text, where, parts, n_wanted))
    is_named = n_wanted is not None and 3 <= n_wanted <= len(VARIABLE_NAMES)
    names = VARIABLE_NAMES[: len(nodes)] if is_named else tuple(f"expression {k + 1}"
                                                                for k in range(len(nodes)))
    trees = tuple(reader.node(node) for node in nodes)
    return Expressions(text, where, parts, names, trees)


def _wrong_number(text: str, where: str, parts: tuple[str, ...], n_wanted: int) -> str:
    plural = "expression" if len(parts) == 1 else "expressions"
    message = f'{where} "{text}" has {len(parts)} {plural}, but {n_wanted} '
    message += "is wanted" if n_wanted == 1 else "are wanted"
    if 3 <= n_wanted <= len(VARIABLE_NAMES):
        names = VARIABLE_NAMES[:n_wanted]
        message += f": {', '.join(names)}"
        if len(parts) < n_wanted:
            return f"{message}; add {', '.join(names[len(parts) :])}"
    return f'{message}; leave out "{", ".join(parts[n_wanted:])}"' if len(parts) > n_wanted else message


def _flat(text: str) -> str:
    """The text on one line without spaces around it, which is what `ast` takes for an expression."""
    return text.replace("\r", " ").replace("\n", " ").replace("\t", " ").strip()


def _split(tree: ast.expr | None) -> list[ast.expr]:
    if tree is None:
        return []
    return list(tree.elts) if isinstance(tree, ast.Tuple) else [tree]


#: Signs that word processors, papers and other languages put into formulas.
_INSTEAD = {"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/", "ν": "nu", "π": "pi", "²": "**2",
            "³": "**3", "√": "sqrt()"}


def _syntax_tree(text: str, where: str) -> ast.expr | None:
    """What `ast` makes of the text; None for an empty one."""
    flat = _flat(text)
    if not flat:
        return None
    if len(flat) > MOST_CHARACTERS:
        raise FitError(f"{where} is {len(flat)} characters long; at most {MOST_CHARACTERS} are "
                       "read")
    for position, character in enumerate(flat):
        if character == "#" or not (character.isascii() and character.isprintable()):
            remedy = f"write {_INSTEAD[character]}" if character in _INSTEAD else "leave it out"
            raise FitError(f"{where} holds the sign {character!r} at {_marked(flat, position)}; "
                           f"{remedy}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on its own grammar; what it is about is refused below
            return ast.parse(flat, where, mode="eval").body
    except SyntaxError as error:
        position = max(0, min((error.offset or 1) - 1, len(flat)))
        reason = error.msg.rstrip(".?")
        raise FitError(f"{where} cannot be read at {_marked(flat, position)}: {reason}") from None
    except (RecursionError, MemoryError, ValueError):
        raise FitError(f"{where} is nested too deeply to be read; at most {MOST_LEVELS} "
                       "levels are") from None


def _marked(text: str, position: int) -> str:
    """The text around a position with a mark in it, '"p[0],p[1]*<here>,p[2]"'."""
    start, stop = max(0, position - 40), position + 40
    before, after = text[start:position], text[position:stop]
    return f'"{"…" if start else ""}{before}<here>{after}{"…" if stop < len(text) else ""}"'


_BINARY: dict[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_COMPARED: dict[type, str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}  # fmt: skip
#: What else Python's grammar has, in plain words, and what to write instead where there is
#: something.
_REFUSED: dict[type, str] = {
    ast.BitXor: "the operator ^ (a power is **)",
    ast.FloorDiv: "the operator //",
    ast.Mod: "the operator %",
    ast.BitAnd: "the operator & (multiply the comparisons)",
    ast.BitOr: "the operator |",
    ast.MatMult: "the operator @",
    ast.Invert: "the operator ~",
    ast.Not: "not",
    ast.BoolOp: "and/or (multiply the comparisons)",
    ast.IfExp: "if … else (write where(condition, a, b))",
    ast.Lambda: "lambda",
    ast.NamedExpr: "the assignment :=",
    ast.Starred: "a star before a value",
    ast.Tuple: "a list in brackets",
    ast.List: "a list in square brackets",
    ast.Dict: "curly brackets",
    ast.Set: "curly brackets",
    ast.JoinedStr: "a string",
    ast.ListComp: "a loop",
    ast.SetComp: "a loop",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Slice: "a slice",
}


@dataclass(frozen=True)
class _Reader:
    """Turns nodes of `ast` into nodes of ours, or says why not."""

    text: str
    where: str

    def node(self, found: ast.expr, level: int = 0) -> Node:
        """Our node for one of `ast`; whatever has no method here is refused."""
        if level > MOST_LEVELS:
            raise FitError(f"{self.where} is nested too deeply to be read; at most {MOST_LEVELS} "
                           "levels are")
        if isinstance(found, ast.Constant):
            return self._number(found)
        if isinstance(found, ast.Name):
            return self._name(found.id, found)
        if isinstance(found, ast.Attribute):
            return self._name(self._without_module(found), found)
        if isinstance(found, ast.Subscript):
            return self._parameter(found)
        if isinstance(found, ast.Call):
            return self._function(found, level)
        if isinstance(found, ast.UnaryOp) and isinstance(found.op, ast.USub):
            return call("negative", self.node(found.operand, level + 1))
        if isinstance(found, ast.UnaryOp) and isinstance(found.op, ast.UAdd):
            return self.node(found.operand, level + 1)
        if isinstance(found, ast.BinOp) and type(found.op) in _BINARY:
            return call(_BINARY[type(found.op)], self.node(found.left, level + 1),
                        self.node(found.right, level + 1))
        if isinstance(found, ast.Compare):
            return self._comparison(found, level)
        kind = type(found.op) if isinstance(found, ast.BinOp | ast.UnaryOp) else type(found)
        raise self._refusal(found, _REFUSED.get(kind, f'"{self._source(found)}"'))

    def _source(self, found: ast.expr) -> str:
        return ast.get_source_segment(self.text, found) or ""

    def _refusal(self, found: ast.expr, what: str, remedy: str = "") -> FitError:
        return FitError(f"{self.where} at {_marked(self.text, found.col_offset)}: {what} cannot "
                        f"stand in an expression{remedy}")

    def _number(self, found: ast.Constant) -> Node:
        value = found.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            kinds = {str: "a string", bytes: "a string", complex: "an imaginary number"}
            raise self._refusal(found, kinds.get(type(value), self._source(found)))
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isinf(number):
            raise self._refusal(found, "a number beyond 1.8e308")
        return Number(number)

    def _without_module(self, found: ast.Attribute) -> str:
        """sin of np.sin."""
        if isinstance(found.value, ast.Name) and found.value.id in _MODULES:
            return found.attr
        raise self._refusal(found, f'"{self._source(found)}"',
                            "; only np. and numpy. may stand before a name")

    def _name(self, name: str, found: ast.expr) -> Node:
        if name in _CONSTANTS:
            return Number(_CONSTANTS[name])
        if name in _NAMES and isinstance(found, ast.Name):
            return Symbol(name)
        if name == "p":
            raise self._refusal(found, "p without an index", "; write p[0], p[1], …")
        if name in CALLABLE:
            raise self._refusal(found, f"{name} without its arguments",
                                f"; write {self._usage(name)}")
        raise self._unknown("name", name, ("p[0]", *_NAMES, *_CONSTANTS, *CALLABLE), found)

    def _unknown(self, kind: str, name: str, known: Sequence[str], found: ast.expr) -> FitError:
        lower = {k.lower(): k for k in known}
        near = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)]
        remedy = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(k for k in known if k not in SAME)}"
        return FitError(f'{self.where} at {_marked(self.text, found.col_offset)}: unknown {kind} '
                        f'"{name}"; {remedy}')

    def _parameter(self, found: ast.Subscript) -> Node:
        if not (isinstance(found.value, ast.Name) and found.value.id == "p"):
            raise self._refusal(found, f'"{self._source(found)}"', "; only p has an index")
        index = found.slice.value if isinstance(found.slice, ast.Constant) else None
        if type(index) is not int:
            raise self._refusal(found, f'"{self._source(found)}"',
                                "; the index of a parameter is a whole number from 0, as in p[0]")
        if index >= MOST_PARAMETERS:
            raise self._refusal(found, f'"{self._source(found)}"',
                                f"; there are at most {MOST_PARAMETERS} parameters")
        return Parameter(index)

    def _comparison(self, found: ast.Compare, level: int) -> Node:
        if len(found.ops) > 1:
            raise self._refusal(found, "a chain of comparisons", "; write (a < b)*(b < c)")
        sign = _COMPARED.get(type(found.ops[0]))
        if sign is None:
            raise self._refusal(found, f'"{self._source(found)}"',
                                f"; there are {' '.join(_COMPARED.values())}")
        return call(sign, self.node(found.left, level + 1),
                    self.node(found.comparators[0], level + 1))

    def _function(self, found: ast.Call, level: int) -> Node:
        if isinstance(found.func, ast.Attribute):
            name = self._without_module(found.func)
        elif isinstance(found.func, ast.Name):
            name = found.func.id
        else:
            raise self._refusal(found, f'"{self._source(found)}"',
                                "; only functions called by their name can")
        if name == "p":
            raise self._refusal(found, f'"{self._source(found)}"', "; a parameter is p[0], p[1], …")
        if name not in CALLABLE:
            raise self._unknown("function", name, CALLABLE, found)
        if found.keywords:
            keyword = found.keywords[0].arg or "**"
            raise self._refusal(found, f'the keyword "{keyword}" of {name}',
                                f"; write {self._usage(name)}")
        arguments = [self.node(argument, level + 1) for argument in found.args]
        if name not in COMPOSED:
            key = SAME.get(name, name)
            self._check_count(found, name, len(arguments), self._arguments(name))
            return call(key, *arguments)
        compose, wanted, silent = COMPOSED[name]
        if silent is None:
            self._check_count(found, name, len(arguments), wanted)
            return compose(*arguments)
        is_written = bool(arguments) and arguments[0] in (Symbol("nu"), Symbol("t"))
        self._check_count(found, name, len(arguments), (silent, *wanted) if is_written else wanted)
        return compose(*([] if is_written else [Symbol(silent)]), *arguments)

    def _check_count(self, found: ast.Call, name: str, n_found: int, wanted: Sequence[str]) -> None:
        if n_found != len(wanted):
            raise FitError(
                f"{self.where} at {_marked(self.text, found.col_offset)}: {name} has {n_found} "
                f"argument{'' if n_found == 1 else 's'}; write {name}({', '.join(wanted)})"
            )

    @staticmethod
    def _arguments(name: str) -> tuple[str, ...]:
        """Names of the arguments of a function, for messages; their number is how many it takes."""
        if name in COMPOSED:
            return COMPOSED[name][1]
        key = SAME.get(name, name)
        if key == "where":
            return ("condition", "a", "b")
        partials = RULES[key].partials
        return ("x",) if partials is None or len(partials) == 1 else ("a", "b")

    @classmethod
    def _usage(cls, name: str) -> str:
        return f"{name}({', '.join(cls._arguments(name))})"
