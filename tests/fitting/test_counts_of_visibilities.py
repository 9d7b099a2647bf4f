"""n_visibilities counts one thing in all results.

(row, chan) of the Stokes parameter that are unflagged, have a weight and entered.
"""

import numpy as np
import pytest

import uvstack
from factories import ARCSEC, CENTRE, at, edit, make_ms, read
from uvstack.errors import SelectionError
from uvstack.image_stacking.image_files import parse_filter


def test_hands_and_flags_count_alike_in_every_result(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)], n_ant=8, n_times=6)
    both = np.random.default_rng(3).random(read(ms, "FLAG").shape[:2]) < 0.2
    edit(ms, "FLAG", lambda flag: np.repeat(both[:, :, None], flag.shape[2], axis=2))
    wanted = int((~both).sum())
    stack = uvstack.stack(ms, at(CENTRE), out=tmp_path / "s.ms")
    fit = uvstack.fit(ms, model="delta")
    picture = uvstack.image(ms, size=64, cell=2 * ARCSEC, iterations=0)
    assert stack.n_visibilities == fit.n_visibilities == picture.n_visibilities == wanted
    assert stack.uv_profile(bins=5)["count"].sum() == fit.profile.table()["count"].sum() == wanted
    assert uvstack.fit(stack.ms, model="delta").n_visibilities == wanted
    assert fit.summary()["n_visibilities"] == stack.summary()["n_visibilities"] == wanted


@pytest.mark.parametrize(("call", "wanted"), [
    (lambda ms: uvstack.fit(ms, uvtaper="5arcsec"), "^uvtaper='5arcsec' cannot be read"),
    (lambda ms: uvstack.fit(ms, uvmax="5arcsec"), "^uvmax='5arcsec' cannot be read"),
    (lambda ms: parse_filter("5arcsec", 1.4e9), "^filter='5arcsec' cannot be read"),
])  # fmt: skip
def test_errors_name_the_option_that_is_wrong(tmp_path, call, wanted):
    with pytest.raises(SelectionError, match=wanted):
        call(make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)]))


def test_fits_and_images_read_phase_centres_and_frequencies_alike(tmp_path):
    ms = make_ms(tmp_path / "a.ms", sources=[(*CENTRE, 1.0)], n_ant=8)
    text = at(CENTRE)[0].to_string("hmsdms", precision=6)
    where = (CENTRE, f"J2000 {text}", at(CENTRE)[0])
    for centre in where:
        picture = uvstack.image(ms, size=64, cell=2 * ARCSEC, iterations=0, phase_centre=centre,
                                reference_frequency="1.41GHz")
        assert np.unravel_index(picture.dirty[0].argmax(), (64, 64)) == (32, 32)
        assert picture.reference_frequency == 1.41e9
        fit = uvstack.fit(ms, model="delta", offset=True, phase_centre=centre, nu0="1.41GHz")
        assert fit.frequency == 1.41e9
        assert np.abs(fit.parameters[:2]).max() < 1e-3
    for call in (lambda at: uvstack.fit(ms, model="delta", phase_centre=at),
                 lambda at: uvstack.image(ms, size=64, cell=1e-5, phase_centre=at)):
        with pytest.raises(uvstack.errors.CoordinateError, match=r"107° from field .*90° or more"):
            call((CENTRE[0], CENTRE[1] - np.deg2rad(107)))
