"""A set of a field and a bright source whose gains are known."""

import numpy as np

from factories import ARCSEC, Spw, edit, make_ms, offset, read

N_ANT = 16
FIELD, BRIGHT = (*offset(120 * ARCSEC, 180 * ARCSEC), 0.3), (*offset(240 * ARCSEC, 900 * ARCSEC), 3.0)
MAKE = {"spws": (Spw(n=4),), "n_ant": N_ANT, "n_times": 10, "scale": 0.05}
#: Images that are just fine enough for two sources.
IMAGES = {"size": 384, "cell": 6 * ARCSEC}


def truth_of(seed=2):
    rng = np.random.default_rng(seed)
    g, d = (np.exp(1j * rms * rng.standard_normal(N_ANT)) for rms in (0.12, 0.03))
    return g, d * (1 + 0.05 * rng.standard_normal(N_ANT))


def through(gains, one, two):
    return (gains[one] * gains[two].conj())[:, None, None]


def observe(folder):
    """The set and a region in a folder, a file of the gains, and the models of the field and the source."""
    g, d = truth_of()
    np.savez(folder / "truth.npz", g=g, d=d)
    path = make_ms(folder / "a.ms", sources=[FIELD], **MAKE)
    field = read(path, "DATA")
    bright = read(make_ms(folder / "bright.ms", sources=[BRIGHT], **MAKE), "DATA")
    one, two = read(path, "ANTENNA1"), read(path, "ANTENNA2")
    edit(path, "DATA", lambda _: through(g, one, two) * field + through(g * d, one, two) * bright)
    at = np.rad2deg(BRIGHT[:2])
    (folder / "bright.crtf").write_text(f"#CRTFv0\ncircle [[{at[0]}deg, {at[1]}deg], 200arcsec]\n")
    return folder, field, bright
