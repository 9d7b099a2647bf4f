"""Options that public functions share, each said once: its name, type, default and meaning.

A group is a TypedDict: `Annotated[type, default]` for each option, and its entry of numpydoc in the
docstring below the first line. A function takes groups by `**options: Unpack[Group]`, so that type
checkers see each keyword, and `takes` makes of it a function like any other: signature and
docstring show all options, defaults are filled in, a name that is no option and a word that is no
choice are told.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from typing_extensions import TypedDict, get_type_hints

from uvstack.checks import one_of

Function = TypeVar("Function", bound=Callable[..., Any])


class DataOptions(TypedDict, total=False):
    """Which data of measurement sets.

    column : str
        Data column, or a difference such as "DATA-MODEL_DATA".
    field, spw : str or int, optional
        Fields and spectral windows as in CASA: "0,3~5,NGC*", "0,2~3"; default all.
    timerange : str, optional
        As in CASA, UTC: "2011/05/28/03:00:00~04:00:00"; default all.
    pointing : {"auto", "phase", "reference", "table"}
        What the primary beam is centred on: the phase centre, REFERENCE_DIR (or DELAY_DIR) of
        FIELD, or the table POINTING; "auto" takes the first of these, from the last, that is there.
    """

    column: Annotated[str, "DATA"]
    field: Annotated[str | int | None, None]
    spw: Annotated[str | int | None, None]
    timerange: Annotated[str | None, None]
    pointing: Annotated[Literal["auto", "phase", "reference", "table"], "auto"]


class UVRangeOptions(TypedDict, total=False):
    """Which baselines.

    uvmin, uvmax : str or float, optional
        Limits of uv distance, e.g. "5km", "20klambda"; numbers are metres. No data are deleted.
    """

    uvmin: Annotated[str | float | None, None]
    uvmax: Annotated[str | float | None, None]


class ListOptions(TypedDict, total=False):
    """How a list of positions is read.

    columns : dict of str, optional
        Columns of the list by name: {"ra": "RA_X", "dec": "DEC_X", "weight": "W"}.
    frame : str, optional
        Frame of the list where it does not say: "J2000", "ICRS", "B1950", "GALACTIC" …
    unit : {"auto", "deg", "rad"}
        Unit of plain numbers in the list.
    """

    columns: Annotated[dict[str, str] | None, None]
    frame: Annotated[str | None, None]
    unit: Annotated[Literal["auto", "deg", "rad"], "auto"]


class ThreadOptions(TypedDict, total=False):
    """How much of this machine.

    threads : int, optional
        Local threads; default all processors.
    """

    threads: Annotated[int | None, None]


class ClusterOptions(ThreadOptions, total=False):
    """What a function runs on.

    workers : int, optional
        Local processes; default local threads.
    scheduler : str, optional
        Address of a dask scheduler, instead.
    progress : callable, optional
        Called with the number of chunks done and in all, in each pass over the data.
    """

    workers: Annotated[int | None, None]
    scheduler: Annotated[str | None, None]
    progress: Annotated[Callable[[int, int], None] | None, None]


class RunOptions(ClusterOptions, total=False):
    """What a function of visibilities runs on.

    chunk_size : int, optional
        Visibilities (row × chan × corr) that each thread or worker works on at once; default as
        many as are fastest. Fewer take less memory.
    """

    chunk_size: Annotated[int | None, None]


class OverwriteOptions(TypedDict, total=False):
    """Whether outputs replace others.

    overwrite : bool
        Whether outputs may exist, files of a report among them; each is replaced as a whole.
    """

    overwrite: Annotated[bool, False]


class ReportOptions(TypedDict, total=False):
    """What is written of a result.

    report : path, optional
        Folder for the result as JSON and tables, pictures and a page, as the command writes it;
        default none.
    """

    report: Annotated[str | Path | None, None]


class ProfileOptions(TypedDict, total=False):
    """How a report shows a result over uv distance.

    bins : int
        Bins of the uv profile of the report.
    """

    bins: Annotated[int, 20]


def takes(function: Function) -> Function:
    """A function that takes groups by `**options: Unpack[Group]`, with all that they say."""
    parts = inspect.signature(function).parameters.values()
    hints = get_type_hints(function, include_extras=True)
    group = next(hints[one.name].__args__[0] for one in parts if one.kind is one.VAR_KEYWORD)
    own = [one.replace(annotation=hints.get(one.name, one.empty))
           for one in parts if one.kind is not one.VAR_KEYWORD]
    taken = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default,
                               annotation=kind)
             for name, (kind, default) in options_of(group).items()]
    defaults = {one.name: one.default for one in taken}
    choices = {one.name: words for one in [*own, *taken] if (words := choices_of(one.annotation))}

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        for name, value in given.items():
            if name not in signature.parameters:
                near = difflib.get_close_matches(name, signature.parameters, n=1, cutoff=0.0)[0]
                raise TypeError(f"{function.__name__}() has no option {name!r}; did you mean "
                                f"{near}?")
            if name in choices and value is not None:
                one_of(name, value, choices[name])
        return function(*args, **(defaults | given))

    signature = inspect.Signature([*own, *taken], return_annotation=hints.get("return", Any))
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__doc__ = _with_entries(inspect.getdoc(function) or "", "\n".join(_entries(group)))
    return call  # type: ignore[return-value]


def options_of(group: Any) -> dict[str, tuple[Any, Any]]:
    """Type and default of each option of a group, by name, in the order in which they are told."""
    hints = get_type_hints(group, include_extras=True)
    order = [name for one in _family(group) for name in one.__annotations__ if name in hints]
    return {name: get_args(hints[name])[:2] for name in dict.fromkeys(order)}


def choices_of(kind: Any) -> tuple[str, ...]:
    """Words of a Literal, also of one that may be None; empty for any other type."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    inner = [one for one in get_args(kind) if one is not type(None)]
    is_union = len(inner) == len(get_args(kind)) - 1 == 1
    return choices_of(inner[0]) if is_union else ()


def _family(group: Any) -> Iterator[Any]:
    """A group, then those that it is made of."""
    yield group
    for base in getattr(group, "__orig_bases__", ()):
        if base is not TypedDict:
            yield from _family(base)


def _entries(group: Any) -> Iterator[str]:
    for one in _family(group):
        text = inspect.cleandoc(one.__doc__ or "").partition("\n\n")[2]
        if text:
            yield text


def _with_entries(text: str, entries: str) -> str:
    """A docstring with more entries at the end of its parameters."""
    after = re.search(r"\n\n(Returns|Raises|Examples)\n---", text)
    at = len(text) if after is None else after.start()
    return f"{text[:at]}\n{entries}{text[at:]}"
