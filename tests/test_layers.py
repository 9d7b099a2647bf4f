"""The layout: which file may import which, how large files and functions may grow, what says its types.

Read from the source alone; nothing of ours is imported.

A rule that is broken is named with file and line. Where the code shows a better place for a rule,
change the tables below and say so in the commit.
"""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent

FAMILIES = {"imaging", "subtraction", "stacking", "image_stacking", "fitting", "extraction"}
#: Studies are made of families.
STUDIES = {"monte_carlo", "comparison", "stacked_fit", "image_sequence", "epochs"}
#: Modules at the top of `uvstack`, and what of `uvstack` each may import.
TOP = {
    "_version": set(),
    "constants": set(),
    "errors": set(),
    "records": {"constants", "errors"},
    "checks": {"errors"},
    "chunks": {"checks", "errors"},
    "options": {"checks"},
    "__init__": {"_version", "checks", "constants", "errors", "records", "joint", *FAMILIES, *STUDIES},
    "__main__": {"cli"},
}
#: What of `uvstack` the files of each folder may import besides their own folder.
BELOW = {"_version", "checks", "constants", "errors", "options", "records"}
ROOMS = BELOW | {"sky", "pixels", "uv", "report", "deconvolution"}
FOLDERS = {
    "sky": BELOW,
    "pixels": BELOW | {"sky"},
    "io": BELOW | {"sky", "pixels"},
    "uv": BELOW | {"sky", "pixels"},
    "report": BELOW | {"sky", "pixels"},
    "deconvolution": BELOW | {"sky", "pixels", "uv"},
    **{family: ROOMS for family in FAMILIES},
    "joint": ROOMS | {"imaging"},
    **{study: ROOMS | FAMILIES for study in STUDIES},
    "cli": ROOMS | {"chunks", "io", "joint"} | FAMILIES | STUDIES,
}
#: Opening files and spreading work over chunks: for tasks, the command line and the two packages
#: beside `uvstack`.
TASK_ONLY = {"io", "chunks"}
#: Packages beside `uvstack` and what of it they may not import; its command line would close a
#: circle.
BESIDE = {"simulate": {"cli"}, "peel": {"cli"}}
#: Optional or slow to import: only inside the function that needs them.
HEAVY = {
    "casacore", "casaconfig", "casadata", "casatasks", "casatools", "daskms", "quartical", "distributed", "regions",
    "bdsf", "radio_beam", "reproject", "astroquery", "flask", "emcee", "matplotlib"}  # fmt: skip
KERNELS_MAY_IMPORT = {"math", "numpy", "numba", "llvmlite", "uvstack.constants"}
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "misc", "common"}
#: The aim is 600.
MOST_LINES_OF_FILE = 620
#: Statements of a function, from below its docstring to its end. The aim is 40.
MOST_LINES_OF_FUNCTION = 60


def violations(path: str, source: str) -> list[str]:
    """Broken rules as "path:line: what".

    `path` is relative to the repository, with forward slashes.
    """
    where = PurePosixPath(path)
    tree = ast.parse(source, path)
    found: list[tuple[int, str]] = [(1, text) for text in _name_violations(where)]
    found += _size_violations(where, source, tree)
    if where.parts[0] in ("uvstack", *BESIDE) and not where.name.endswith("kernels.py") and where.parts[1] != "cli":
        # numba infers the types of kernels; click hands options to commands by name.
        found += _type_violations(tree.body)
    for line, module, lazy in _imports(tree):
        found += [(line, text) for text in _import_violations(where, module, lazy)]
    return [f"{path}:{line}: {text}" for line, text in sorted(set(found))]


def _name_violations(where: PurePosixPath) -> Iterator[str]:
    for name in (*where.parts[:-1], where.stem):
        if name in FORBIDDEN_NAMES:
            yield f"the name {name!r} says nothing; name the idea that is in it"
    if where.parts[0] == "uvstack" and where.stem.endswith("_task"):
        yield f"{where.name}: a task is task.py of its own folder; what opens files for it ends in _files.py"
    if where.parts[0] == "uvstack":
        folder = where.parts[1] if len(where.parts) > 2 else where.stem
        if folder not in (FOLDERS if len(where.parts) > 2 else TOP):
            yield f"{folder!r} has no place in the layout; give it one in the tables of tests/test_layers.py"


def _size_violations(where: PurePosixPath, source: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    if where.parts[0] == "tests":
        return
    n_lines = len(source.splitlines())
    if n_lines > MOST_LINES_OF_FILE:
        yield n_lines, f"{n_lines} lines; a file has at most {MOST_LINES_OF_FILE}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if length > MOST_LINES_OF_FUNCTION:
                yield node.lineno, f"{node.name} has {length} lines of statements; at most {MOST_LINES_OF_FUNCTION}"


def _type_violations(body: list[ast.stmt], in_class: bool = False) -> Iterator[tuple[int, str]]:
    """Public functions and methods that leave the type of an argument or of their result unsaid."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _type_violations(node.body, in_class=True)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            node.name.startswith("_") and node.name not in ("__init__", "__call__")
        ):
            continue
        is_static = any(isinstance(d, ast.Name) and d.id == "staticmethod"
                        for d in node.decorator_list)
        named = [*node.args.posonlyargs, *node.args.args][1 if in_class and not is_static else 0 :]
        rest = [a for a in (node.args.vararg, node.args.kwarg) if a is not None]
        unsaid = [a.arg for a in (*named, *node.args.kwonlyargs, *rest) if a.annotation is None]
        if node.returns is None and node.name != "__init__":
            unsaid.append("its result")
        if unsaid:
            yield node.lineno, f"{node.name} is public and does not say the type of {', '.join(unsaid)}"


def _may_open_files(where: PurePosixPath) -> bool:
    return where.name == "task.py" or where.name.endswith("_files.py") or where.parts[1:] == (
        "report", "files.py")


def _imports(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Line, full name of what is imported (leading dots for a relative one), whether not done on loading the module."""
    inside = {id(node) for block in ast.walk(tree)
              if isinstance(block, ast.FunctionDef | ast.AsyncFunctionDef) or (
                  isinstance(block, ast.If)
                  and ast.unparse(block.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"))
              for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}", id(node) in inside


def _import_violations(where: PurePosixPath, module: str, lazy: bool) -> Iterator[str]:
    package, _, rest = module.partition(".")
    home = where.parts[0]
    if module.startswith("."):
        yield "a relative import; write the full name"
        return
    if home in ("tests", "scripts"):
        if where.name == "oracles.py" and package in ("uvstack", *BESIDE):
            yield f"imports {module}: an oracle that uses the code it judges proves nothing"
        return
    allowed = _begins_with_any(module,
                               KERNELS_MAY_IMPORT) or "kernels" in module or package == "__future__"
    if where.name.endswith("kernels.py") and not allowed:
        yield f"imports {module}: kernels are numba on arrays alone ({', '.join(sorted(KERNELS_MAY_IMPORT))})"
    if package in HEAVY and not lazy:
        yield f"imports {package} where the module is loaded; import it inside the function that needs it"
    if package in BESIDE and package != home:
        if home in BESIDE:
            yield f"imports {module}: {' and '.join(BESIDE)} never import each other"
        elif where.parts[:2] != ("uvstack", "cli"):
            yield f"imports {module}: nothing in uvstack but its command line does"
        elif not lazy:
            yield f"imports {module} where the module is loaded; import it inside the command that needs it"
    if package == "uvstack":
        yield from _uvstack_violations(where, module, rest.partition(".")[0])


def _uvstack_violations(where: PurePosixPath, module: str, layer: str) -> Iterator[str]:
    """Imports of a layer of `uvstack` (a folder, a module at its top, or a public name) from a file of ours."""
    if where.parts[0] in BESIDE:
        if layer in BESIDE[where.parts[0]]:
            yield f"imports {module}: {where.parts[0]} stands beside the command line, which imports it"
        return
    if len(where.parts) == 2:
        allowed = TOP.get(where.stem, set())
        if layer not in allowed:
            yield f"imports {module}: {where.stem}.py may import {_list(allowed)}"
        return
    folder = where.parts[1]
    if layer == folder:
        return
    if layer in TASK_ONLY and (_may_open_files(where)
                               and folder in FAMILIES | STUDIES | {"joint", "report"}
                               or folder == "cli"):
        return
    if layer not in FOLDERS and layer not in TOP:
        if folder != "cli":
            yield f"imports {module}: the public names are for users; import from the module that defines it"
    elif folder in FAMILIES and layer in FAMILIES | STUDIES:
        yield f"imports {module}: the families {', '.join(sorted(FAMILIES))} never import each other"
    elif layer in TASK_ONLY:
        yield f"imports {module}: {layer} is for task.py, *_files.py, report/files.py, cli, simulate and peel alone"
    elif layer not in FOLDERS.get(folder, set()):
        yield f"imports {module}: {folder} stands above {layer} or has nothing to do with it; it may import " + _list(
            FOLDERS.get(folder, set())
        )


def _begins_with_any(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "nothing of uvstack"


def our_files() -> list[str]:
    """Every Python file of ours, relative to the repository."""
    folders = ("uvstack", *BESIDE, "tests", "scripts")
    return sorted(file.relative_to(ROOT).as_posix() for folder in folders
                  for file in (ROOT / folder).rglob("*.py"))


def test_the_tree_keeps_the_rules():
    files = our_files()
    assert "uvstack/stacking/task.py" in files
    found = [text for file in files
             for text in violations(file, (ROOT / file).read_text(encoding="utf-8"))]
    assert not found, "\n" + "\n".join(found)


BAD = [("uvstack/sky/beam.py", "import numpy\nfrom uvstack.uv.phase import phase_factor\n", 2,
        "uvstack.uv.phase"),
       ("uvstack/sky/beam.py", "from uvstack import uv\n", 1, "sky stands above uv"),
       ("uvstack/sky/beam.py", "def _f():\n    import uvstack.uv.dirty\n", 2, "uvstack.uv.dirty"),
       ("uvstack/uv/many_positions.py", "from uvstack.imaging.plane import image_plane\n", 1,
        "uv stands above imaging"),
       ("uvstack/deconvolution/clean.py", "from uvstack.imaging.restore import restore\n", 1,
        "deconvolution stands above imaging"),
       ("uvstack/imaging/plane_task.py", "", 1, "a task is task.py of its own folder"),
       ("uvstack/uv/many_positions.py", "from uvstack.io.ms import read_block\n", 1,
        "io is for task.py"),
       ("uvstack/deconvolution/clean.py", "from uvstack.chunks import map_chunks\n", 1,
        "chunks is for task.py"),
       ("uvstack/uv/task.py", "from uvstack.io import ms\n", 1, "io is for task.py"),
       ("uvstack/stacking/plan.py", "from uvstack.io.ms import read_block\n", 1,
        "io is for task.py"),
       ("uvstack/fitting/task.py", "from uvstack.stacking.result import StackResult\n", 1,
        "never import each other"),
       ("uvstack/fitting/task.py", "from uvstack.cli.main import main\n", 1, "uvstack.cli.main"),
       ("uvstack/fitting/model/model.py", "from uvstack import StackResult\n", 1, "public names"),
       ("uvstack/fitting/model/model.py", "import uvstack\n", 1, "public names"),
       ("uvstack/stacking/task.py", "def _f():\n    from simulate.tracks import antenna_uvw\n", 2,
        "but its command line"),
       ("uvstack/cli/demo.py", "from simulate.tracks import antenna_uvw\n", 1,
        "inside the command"),
       ("uvstack/cli/main.py", "from .stack import command\n", 1, "relative import"),
       ("uvstack/cli/main.py", "from . import stack\n", 1, "relative import"),
       ("uvstack/chunks.py", "from uvstack.records import Field\n", 1,
        "chunks.py may import checks, errors"),
       ("uvstack/errors.py", "from uvstack.constants import SPEED_OF_LIGHT\n", 1,
        "nothing of uvstack"),
       ("uvstack/records.py", "from uvstack.sky.beam import Beam\n", 1, "uvstack.sky.beam"),
       ("uvstack/__init__.py", "from uvstack.io.ms import read_block\n", 1,
        "__init__.py may import"),
       ("uvstack/uv/kernels.py", "import numba\nfrom scipy import special\n", 2,
        "kernels are numba"),
       ("uvstack/uv/kernels.py", "from uvstack.errors import UvstackError\n", 1,
        "kernels are numba"),
       ("uvstack/io/casa.py", "import casatools\n", 1,
        "imports casatools where the module is loaded"),
       ("uvstack/report/figure.py", "from matplotlib.figure import Figure\n", 1, "matplotlib"),
       ("simulate/tracks.py", "from peel.columns import add_column\n", 1,
        "never import each other"),
       ("peel/driver.py", "def _f():\n    import simulate.arrays\n", 2, "never import each other"),
       ("simulate/experiment/task.py", "from uvstack.cli.main import main\n", 1,
        "beside the command line"),
       ("uvstack/cli/experiment.py", "from simulate.experiment.task import run\n", 1,
        "inside the command"),
       ("peel/driver.py", "from uvstack.cli.main import main\n", 1, "beside the command line"),
       ("uvstack/uv/utils.py", "", 1, "'utils' says nothing"),
       ("simulate/common/noise.py", "", 1, "'common' says nothing"),
       ("uvstack/plots/figure.py", "", 1, "'plots' has no place"),
       ("uvstack/settings.py", "", 1, "'settings' has no place"),
       ("uvstack/uv/many_positions.py", "x = 1\n" * 621, 621, "621 lines"),
       ("peel/recipe.py", "\n\ndef _long():\n" + "    x = 1\n" * 61, 3, "_long has 61 lines"),
       ("uvstack/uv/many_positions.py", "def f(a: int, b) -> int:\n    return a\n", 1,
        "does not say the type of b"),
       ("uvstack/uv/many_positions.py", "class C:\n    def f(self, *, a):\n        return a\n", 2,
        "the type of a, its result"),
       ("tests/oracles.py", "from uvstack.constants import SPEED_OF_LIGHT\n", 1, "proves nothing"),]


@pytest.mark.parametrize(("path", "source", "line", "fragment"), BAD)
def test_a_broken_rule_is_named_with_its_line(path, source, line, fragment):
    found = violations(path, source)
    assert len(found) == 1, found
    assert found[0].startswith(f"{path}:{line}: ")
    assert fragment in found[0]


GOOD = [("uvstack/stacking/task.py",
         "from uvstack.chunks import cluster\nfrom uvstack.io import ms\nimport uvstack.uv\n"),
        ("uvstack/subtraction/task.py", "from uvstack.io import ms\n"),
        ("uvstack/stacking/result.py",
         "from uvstack.stacking.sums import W\ndef _f():\n    from uvstack.stacking.task import "
         "g\n"),
        ("uvstack/cli/demo.py",
         "import uvstack\ndef _f():\n    from simulate.tracks import antenna_uvw\n"),
        ("uvstack/uv/dirty.py", "def _f():\n    from ducc0.wgridder import vis2dirty\n"),
        ("uvstack/io/tables.py",
         "from uvstack.sky import positions\ndef _f():\n    from regions import Regions\n"),
        ("uvstack/uv/kernels.py",
         "from __future__ import annotations\nimport numpy as np\nfrom numba import njit\n"),
        ("uvstack/__main__.py", "from uvstack.cli.main import main\n"),
        ("uvstack/stacking/report.py",
         "if TYPE_CHECKING:\n    from matplotlib.figure import Figure\n"),
        ("simulate/tracks.py",
         "from uvstack.io.ms import read_block\nfrom simulate.arrays import vla_like\n"),
        ("simulate/experiment/task.py",
         "from uvstack.chunks import cluster\nfrom simulate.task import observe\n"),
        ("tests/test_phase.py",
         "import casatools\nfrom uvstack.uv import phase\n" + "x = 1\n" * 700),
        ("uvstack/uv/many_positions.py",
         "def _f(a):\n    return a\nclass _C:\n    def f(self):\n        return 1\n"),
        ("uvstack/uv/many_positions.py",
         "class C:\n    def __init__(self, a: int):\n        self.a = a\n"),
        ("uvstack/uv/kernels.py", "def f(a):\n    return a\n"),
        ("peel/recipe.py",
         "def f() -> int:\n    '''What.\n" + "\n" * 200 + "    '''\n    return 1\n"),]


@pytest.mark.parametrize(("path", "source"), GOOD)
def test_what_the_rules_allow_passes(path, source):
    assert violations(path, source) == []


def imported_files(path: str, source: str, files: set[str]) -> dict[str, int]:
    """Files of ours that one imports, lazily or not, and the line.

    What is for type checkers alone does not count.
    """
    tree = ast.parse(source, path)
    for_types = {id(node) for block in ast.walk(tree)
                 if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
                 for node in ast.walk(block)}
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if id(node) in for_types or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [
            f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            parts = name.split(".")
            for n in (len(parts), len(parts) - 1):
                for file in ("/".join(parts[:n]) + ".py", "/".join(parts[:n]) + "/__init__.py"):
                    if file in files and file != path:
                        found.setdefault(file, node.lineno)
                        break
                else:
                    continue
                break
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of files that import each other, directly or on the way (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(one: str) -> None:
        number[one] = lowest[one] = len(number)
        stack.append(one)
        for other in sorted(graph.get(one, ())):
            if other not in number:
                visit(other)
                lowest[one] = min(lowest[one], lowest[other])
            elif other in stack:
                lowest[one] = min(lowest[one], number[other])
        if lowest[one] == number[one]:
            group = []
            while not group or group[-1] != one:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for one in sorted(graph):
        if one not in number:
            visit(one)
    return found


def test_no_file_imports_itself_on_a_way_round():
    files = {file for file in our_files() if not file.startswith(("tests/", "scripts/"))}
    # The public names of a package are loaded when they are used; nothing of ours goes that way.
    graph = {file: set(imported_files(file, (ROOT / file).read_text(encoding="utf-8"), files))
             for file in files if not file.endswith("/__init__.py")}
    found = circles(graph)
    assert not found, "\n" + "\n".join(" ↔ ".join(group) for group in found)


def test_a_circle_is_found():
    files = {"uvstack/a.py", "uvstack/b.py", "uvstack/c.py"}
    sources = {"uvstack/a.py": "def f():\n    from uvstack.b import x\n",
               "uvstack/b.py": "from uvstack import c\n", "uvstack/c.py": "import uvstack.a\n"}
    graph = {file: set(imported_files(file, source, files)) for file, source in sources.items()}
    assert circles(graph) == [sorted(files)]
    sources["uvstack/c.py"] = "if TYPE_CHECKING:\n    from uvstack.a import x\n"
    graph = {file: set(imported_files(file, source, files)) for file, source in sources.items()}
    assert circles(graph) == []


def private_imports(path: str, source: str) -> list[str]:
    """Names with a leading underscore that a file takes from another file of ours."""
    return [f"{path}:{node.lineno}: imports the private name {alias.name} of {node.module}"
            for node in ast.walk(ast.parse(source, path))
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").split(".")[0] in ("uvstack", *BESIDE) for alias in node.names
            if alias.name.startswith("_") and alias.name != "_version"
            and not alias.name.startswith("__")]


def test_no_private_name_of_another_file_is_imported():
    files = [file for file in our_files() if not file.startswith(("tests/", "scripts/"))]
    found = [text for file in files
             for text in private_imports(file, (ROOT / file).read_text(encoding="utf-8"))]
    assert not found, "\n" + "\n".join(found)
    assert private_imports("uvstack/a.py", "from uvstack.b import _c, d\n") == [
        "uvstack/a.py:1: imports the private name _c of uvstack.b"]
