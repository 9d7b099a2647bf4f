"""Names of objects: SIMBAD first, then NED, and a sentence where nobody can be asked."""

import sys
import types

import pytest
from astropy.table import Table

from uvstack.epochs.server import names
from uvstack.errors import NameLookupError


@pytest.fixture
def services(monkeypatch):
    """Function: what SIMBAD and NED do when they are asked."""
    names.resolve.cache_clear()

    def put(simbad, ned):
        for path, name, ask in (("astroquery.simbad", "Simbad", simbad), ("astroquery.ipac.ned", "Ned", ned)):
            module = types.ModuleType(path)
            setattr(module, name, types.SimpleNamespace(query_object=ask))
            for parent in ("astroquery", "astroquery.ipac"):
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
            monkeypatch.setitem(sys.modules, path, module)

    yield put
    names.resolve.cache_clear()


def answers(ra, dec, upper=False):
    columns = ("RA", "DEC") if upper else ("ra", "dec")
    return lambda _: Table({columns[0]: [ra], columns[1]: [dec]})


def nothing(_):
    return Table({"ra": [], "dec": []})


def unreachable(_):
    raise ConnectionError("no route")


def test_the_first_who_knows_is_believed(services):
    services(answers(187.25, 2.05), unreachable)
    assert names.resolve("3C 273") == (187.25, 2.05)
    names.resolve.cache_clear()
    services(nothing, answers(10.0, -5.0, upper=True))
    assert names.resolve("3C 273") == (10.0, -5.0)
    names.resolve.cache_clear()
    services(unreachable, answers(10.0, -5.0))
    assert names.resolve("3C 273") == (10.0, -5.0)


def test_without_a_network_it_is_said_and_asked_again_later(services):
    services(unreachable, unreachable)
    with pytest.raises(NameLookupError, match="SIMBAD and NED cannot be reached.*give RA and Dec") as caught:
        names.resolve("3C 273")
    assert caught.value.status == 503
    services(answers(1.0, 2.0), nothing)
    assert names.resolve("3C 273") == (1.0, 2.0)


def test_what_nobody_knows_and_what_does_not_answer(services, monkeypatch):
    services(nothing, nothing)
    with pytest.raises(NameLookupError, match="neither SIMBAD nor NED") as caught:
        names.resolve("no such thing")
    assert caught.value.status == 404
    monkeypatch.setattr(names, "_PATIENCE", 0.05)
    services(lambda _: __import__("time").sleep(1), nothing)
    with pytest.raises(NameLookupError, match="SIMBAD cannot be reached"):
        names.resolve("slow")
    with pytest.raises(NameLookupError, match="no name"):
        names.resolve("x" * 200)
