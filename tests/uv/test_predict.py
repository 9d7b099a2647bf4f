"""Visibilities of components and images against analytic transforms, plain loops and brute-force integrals.

Error budget of every comparison: 1e-5 of the sum of flux densities, as the project promises; 1e-6
rms is measured.
"""

from dataclasses import replace

import numpy as np
import pytest
from astropy.wcs import WCS

import oracles
from oracles import LIGHT, cosines, gaussian_beam, phasor, predict_components, predict_pixels
from simulate.arrays import vla_like
from simulate.tracks import antenna_uvw
from uvstack.errors import ComponentError, ImageError
from uvstack.pixels.geometry import ImageGeometry, image_geometry
from uvstack.sky.components import components, concatenate
from uvstack.sky.primary_beam import Gaussian
from uvstack.uv.predict import predict, predict_image, predict_stokes, to_correlations
from uvstack.uv.predict_kernels import jinc

BUDGET = 1e-5
ARCSEC = np.deg2rad(1 / 3600)
RA0, DEC0 = 1.0, -0.52
FREQUENCY = 1.4e9 + 60e6 * np.arange(3)


def rows(n_times=1, scale=1.0, stations=3):
    """(uvw, antenna1, antenna2, time) of a small Y, 36 km at scale 1, hour angles up to 3 h."""
    itrf, _ = vla_like(scale, stations)
    sidereal = np.linspace(-3, 3, n_times) * np.pi / 12 - 1.878 + RA0 if n_times > 1 else np.array([-1.5 + RA0])
    x = antenna_uvw(itrf, sidereal, RA0, DEC0)
    first, second = np.triu_indices(itrf.shape[0], 1)
    uvw = (x[:, second] - x[:, first]).reshape(-1, 3)
    return uvw, np.tile(first, n_times), np.tile(second, n_times), np.repeat(
        np.arange(n_times) * 10.0, first.size)


def sky(n, kind, seed=1, field=0.006, size=4.0):
    """n components of one kind in a square field, sizes up to 4″, spectra of their own."""
    rng = np.random.default_rng(seed)
    major = 0.0 if kind == "point" else rng.uniform(0.2, size, n) * ARCSEC
    return components(RA0 + rng.uniform(-field, field, n) / 2 / np.cos(DEC0),
                      DEC0 + rng.uniform(-field, field, n) / 2, rng.uniform(1e-6, 1e-3, n),
                      shape=kind, fwhm_major=major, fwhm_minor=major * rng.uniform(0.1, 1, n),
                      position_angle=rng.uniform(-3, 3, n), spectral_index=rng.normal(-0.7, 0.3, n),
                      curvature=rng.normal(0, 0.1, n), reference_frequency=1.3e9)


def as_dicts(c):
    return [{"ra": c.ra[i], "dec": c.dec[i], "flux": c.flux[i], "at": c.reference_frequency,
             "alpha": c.spectral_index[i], "beta": c.curvature[i], "shape": c.shape[i],
             "major": c.fwhm_major[i], "minor": c.fwhm_minor[i], "angle": c.position_angle[i]}
            for i in range(len(c))]


def compare(found, wanted, flux):
    assert found.dtype == np.complex64
    assert np.abs(found - wanted).max() < BUDGET * flux
    assert np.abs(wanted).max() > 1e-3 * flux  # there is something to compare


@pytest.mark.parametrize("kind", ["point", "gaussian", "disc"])
@pytest.mark.parametrize("n", [1, 12])
def test_each_shape_equals_the_plain_sum(kind, n):
    visibilities, made = rows(2, 0.3), sky(n, kind)
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0)
    wanted = predict_components(visibilities[0], FREQUENCY, as_dicts(made), RA0, DEC0)
    compare(found, wanted, made.flux.sum())


def test_shapes_together_in_any_order():
    visibilities = rows(1, 0.3)
    made = concatenate([sky(5, kind, seed)
                        for seed, kind in enumerate(("disc", "point", "gaussian"))])
    made = made.subset(np.random.default_rng(0).permutation(15))
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0)
    compare(found, predict_components(visibilities[0], FREQUENCY, as_dicts(made), RA0, DEC0),
            made.flux.sum())


@pytest.mark.parametrize("kind", ["gaussian", "disc"])
def test_many_of_one_shape_take_the_antenna_form_and_agree(kind):
    visibilities = rows(1, 0.3)
    made = sky(40, kind)
    made = replace(made, fwhm_major=np.full(40, 2 * ARCSEC), fwhm_minor=np.full(40, ARCSEC),
                   position_angle=np.full(40, 0.6))
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0)
    compare(found, predict_components(visibilities[0], FREQUENCY, as_dicts(made), RA0, DEC0),
            made.flux.sum())
    # A few of them at a time take the direct form.
    parts = sum(predict(*visibilities, FREQUENCY, made.subset(slice(i, i + 10)), RA0, DEC0)
                for i in range(0, 40, 10))
    compare(parts, found, made.flux.sum())


def test_circular_gaussian_at_the_centre_is_its_transform():
    """Half of the flux is left where q θ = 2 ln 2 / π."""
    theta, at = 3 * ARCSEC, 1.5e9
    q = 2 * np.log(2) / np.pi / theta * LIGHT / at
    uvw = np.array([[q, 0, 0], [0, q, 0], [q / np.sqrt(2), -q / np.sqrt(2), 0], [0, 0, 0]])
    vis = predict(uvw, np.zeros(4, int), np.ones(4, int), np.arange(4.0), np.array([at]),
                  components(RA0, DEC0, 2.0, fwhm_major=theta), RA0, DEC0)
    # The third baseline has u = −v: equation 1 as printed would say 2 there.
    assert vis[:, 0] == pytest.approx([1, 1, 1, 2], rel=BUDGET)


@pytest.mark.parametrize("kind", ["gaussian", "disc"])
def test_an_ellipse_equals_the_integral_over_its_brightness(kind):
    """Major axis 30° from north towards east, on pixels; l grows to the east."""
    angle, major, minor = np.pi / 6, 6 * ARCSEC, 2 * ARCSEC
    step = np.arange(-200, 201) * (0.08 * ARCSEC if kind == "gaussian" else 0.02 * ARCSEC)
    l, m = np.meshgrid(step, step)
    along, across = l * np.sin(angle) + m * np.cos(angle), l * np.cos(angle) - m * np.sin(angle)
    squared = (along / major) ** 2 + (across / minor) ** 2
    image = np.exp(-4 * np.log(2)
                   * squared) if kind == "gaussian" else (squared < 0.25).astype(float)
    visibilities = rows(1, 0.5)
    few = tuple(x[::5] for x in visibilities)
    made = components(RA0, DEC0, 1.0, shape=kind, fwhm_major=major, fwhm_minor=minor,
                      position_angle=angle)
    wanted = predict_pixels(few[0], FREQUENCY[:1], image / image.sum(), step, step)
    found = predict(*few, FREQUENCY[:1], made, RA0, DEC0)
    # The edge of the disc goes through pixels: 0.1 % of its area.
    assert np.abs(found - wanted).max() < (BUDGET if kind == "gaussian" else 2e-3)
    mirrored = predict(*few, FREQUENCY[:1], replace(made, position_angle=-made.position_angle), RA0,
                       DEC0)
    assert np.abs(mirrored - wanted).max() > 0.05


def test_long_thin_gaussian_does_not_cancel():
    visibilities = rows(1, 1.0)
    made = components([RA0], [DEC0], 1.0, fwhm_major=60 * ARCSEC, fwhm_minor=0.01 * ARCSEC,
                      position_angle=0.3)
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0)
    wanted = predict_components(visibilities[0], FREQUENCY, as_dicts(made), RA0, DEC0)
    assert np.abs(found - wanted).max() < BUDGET
    q = 2000.0  # wavelengths across the thin axis, where it is not resolved
    uvw = np.array([[np.cos(0.3), -np.sin(0.3), 0.0]]) * q * LIGHT / 1.4e9 * 50
    vis = predict(uvw, np.array([0]), np.array([1]), np.array([0.0]), np.array([1.4e9]), made, RA0,
                  DEC0)
    assert vis[0, 0] == pytest.approx(1.0, abs=1e-4)


def test_resolved_gaussians_are_skipped_and_no_others():
    """Sizes from 0.1″ to 60″ at 36 km: most are gone on most baselines."""
    visibilities = rows(1, 1.0)
    made = sky(300, "gaussian", size=60.0)
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0)
    few = slice(None, None, 6)
    wanted = predict_components(visibilities[0][few], FREQUENCY[:1], as_dicts(made), RA0, DEC0)
    assert np.abs(found[few, :1] - wanted).max() < BUDGET * made.flux.sum()


def test_source_towards_the_east_turns_the_phase_forwards_with_u():
    made = components(RA0 + 1e-4 / np.cos(DEC0), DEC0, 1.0)
    uvw = np.array([[300.0, 0.0, 0.0]])
    vis = predict(uvw, np.array([0]), np.array([1]), np.array([0.0]), np.array([1e9]), made, RA0,
                  DEC0)
    assert np.angle(vis[0, 0]) == pytest.approx(2 * np.pi * 300.0 * 1e9 / LIGHT * 1e-4, rel=1e-4)


@pytest.mark.parametrize("kind", ["point", "gaussian", "disc"])
def test_w_matters_and_is_right(kind):
    visibilities, made = rows(1, 1.0), sky(8, kind, field=0.01, size=0.5)
    wanted = predict_components(visibilities[0], FREQUENCY, as_dicts(made), RA0, DEC0)
    compare(predict(*visibilities, FREQUENCY, made, RA0, DEC0), wanted, made.flux.sum())
    flat = visibilities[0] * [1, 1, 0]
    assert np.abs(predict(flat, *visibilities[1:], FREQUENCY, made, RA0, DEC0)
                  - wanted).max() > 0.05 * made.flux.sum()


def test_primary_beam_of_each_channel():
    visibilities = rows(1, 0.3)
    made = concatenate([sky(4, kind, seed)
                        for seed, kind in enumerate(("point", "gaussian", "disc"))])
    beam = Gaussian(np.deg2rad(15 / 60), 1.4e9)
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0, beam)
    wanted = predict_components(visibilities[0], FREQUENCY, as_dicts(made), RA0, DEC0,
                                gaussian_beam(np.deg2rad(15 / 60), 1.4e9))
    compare(found, wanted, made.flux.sum())
    assert np.abs(predict(*visibilities, FREQUENCY, made, RA0, DEC0)
                  - wanted).max() > 0.01 * made.flux.sum()


def test_pointing_elsewhere_than_the_phase_centre():
    visibilities, made = rows(1, 0.3), sky(6, "point")
    pointing = (RA0 + 0.002, DEC0 - 0.001)
    beam = Gaussian(np.deg2rad(15 / 60), 1.4e9)
    found = predict(*visibilities, FREQUENCY, made, RA0, DEC0, beam, pointing)
    wanted = 0
    for source in as_dicts(made):
        l, m, _ = cosines(source["ra"], source["dec"], *pointing)
        power = gaussian_beam(np.deg2rad(15 / 60), 1.4e9)(l, m, FREQUENCY)
        wanted = wanted + power * predict_components(visibilities[0], FREQUENCY, [source], RA0,
                                                     DEC0)
    compare(found, wanted, made.flux.sum())


def test_spectrum_of_a_component():
    made = components(RA0, DEC0, 1.0, reference_frequency=1e9, spectral_index=-0.8, curvature=-0.2)
    frequency = np.array([1e9, 2e9, 1.5e9])
    vis = predict(*rows(), frequency, made, RA0, DEC0)
    x = np.log(frequency / 1e9)
    assert vis.real == pytest.approx(np.broadcast_to(np.exp(-0.8 * x - 0.2 * x * x), vis.shape),
                                     rel=BUDGET)


def test_polarisation():
    visibilities = rows(1, 0.3)
    made = concatenate([sky(3, "point"), sky(3, "gaussian", 2)])
    made = replace(made, q=np.array([0.3, 0, 0, -0.2, 0, 0]), u=np.array([0, 0.1, 0, 0, 0, 0.2]),
                   v=np.array([0, 0, 0.05, 0, 0, 0]))
    stokes = predict_stokes(*visibilities, FREQUENCY, made, RA0, DEC0)
    assert stokes.shape == (4, visibilities[0].shape[0], 3)
    for plane, fraction in zip(stokes, (np.ones(6), made.q, made.u, made.v), strict=True):
        sources = [{**s, "flux": s["flux"] * f}
                   for s, f in zip(as_dicts(made), fraction, strict=True)]
        wanted = predict_components(visibilities[0], FREQUENCY, sources, RA0, DEC0)
        assert np.abs(plane - wanted).max() < BUDGET * made.flux.sum()
        assert np.abs(wanted).max() > 1e-6
    plain = predict_stokes(*visibilities, FREQUENCY, sky(3, "point"), RA0, DEC0)
    assert plain.shape == (1, visibilities[0].shape[0], 3)


def test_correlations_are_coherencies_of_the_fields():
    """E Eᴴ of random fields, in linear and in circular feeds: nothing of the formulas is used."""
    rng = np.random.default_rng(4)
    x, y = (rng.normal(size=1000) + 1j * rng.normal(size=1000) for _ in range(2))
    mean = {"XX": np.mean(x * x.conj()), "XY": np.mean(x * y.conj()), "YX": np.mean(y * x.conj()),
            "YY": np.mean(y * y.conj())}
    right, left = (x + 1j * y) / np.sqrt(2), (x - 1j * y) / np.sqrt(2)  # Hamaker & Bregman (1996), section 4
    mean |= {"RR": np.mean(right * right.conj()), "RL": np.mean(right * left.conj()),
             "LR": np.mean(left * right.conj()), "LL": np.mean(left * left.conj())}
    # I = <|x|²> + <|y|²> with correlations twice the coherency; U = 2 Re <x y*>, V = 2 Im <x y*> of
    # the IAU.
    i, q = mean["XX"] + mean["YY"], mean["XX"] - mean["YY"]
    u, v = 2 * mean["XY"].real, 2 * mean["XY"].imag
    stokes = np.array([i, q, u, v]).reshape(4, 1, 1).astype(np.complex64)
    found = to_correlations(stokes, (5, 6, 7, 8, 9, 10, 11, 12, 1, 4))[0, 0]
    wanted = [2 * mean[name] for name in ("RR", "RL", "LR", "LL", "XX", "XY", "YX", "YY")] + [i, v]
    assert found == pytest.approx(np.array(wanted), rel=1e-5)


def test_correlations_of_stokes_i_alone():
    out = to_correlations(np.full((1, 2, 3), 2 + 1j, np.complex64), (5, 6, 8, 9, 10, 1, 2))
    assert out.shape == (2, 3, 7)
    assert out[0, 0] == pytest.approx(np.array([1, 0, 1, 1, 0, 1, 0]) * (2 + 1j))
    with pytest.raises(ValueError, match="correlation code 13; wanted are 1 I, 2 Q"):
        to_correlations(np.zeros((1, 1, 1), np.complex64), (13,))


def test_nothing_one_row_and_rows_that_are_not_finite():
    visibilities, made = rows(1, 0.3), concatenate([sky(2, kind)
                                                    for kind in ("point", "gaussian", "disc")])
    none = tuple(x[:0] for x in visibilities)
    assert predict(*none, FREQUENCY, made, RA0, DEC0).shape == (0, 3)
    assert not predict(*visibilities, FREQUENCY, made.subset([]), RA0, DEC0).any()
    one = tuple(x[4:5] for x in visibilities)
    whole = predict(*visibilities, FREQUENCY, made, RA0, DEC0)
    assert np.abs(predict(*one, FREQUENCY, made, RA0, DEC0)
                  - whole[4:5]).max() < BUDGET * made.flux.sum()
    broken = visibilities[0].copy()
    broken[3] = np.nan
    found = predict(broken, *visibilities[1:], FREQUENCY, made, RA0, DEC0)
    assert not found[3].any()
    keep = np.arange(len(broken)) != 3
    assert np.abs(found - whole)[keep].max() < BUDGET * made.flux.sum()


def test_what_is_refused():
    visibilities = rows()
    with pytest.raises(ComponentError, match="component S1 is 90° or more from the phase centre"):
        predict(*visibilities, FREQUENCY, components(RA0 + np.pi, DEC0, 1.0), RA0, DEC0)
    with pytest.raises(ValueError, match=r"wanted \(row, 3\) and three of \(row,\)"):
        predict(visibilities[0].T, *visibilities[1:], FREQUENCY, components(RA0, DEC0, 1.0), RA0,
                DEC0)


def test_jinc_equals_the_bessel_function():
    from scipy.special import j1

    x = np.concatenate([np.geomspace(1e-9, 1, 50), np.linspace(1, 20, 2000),
                        np.geomspace(20, 1e4, 200)])
    assert [jinc(value) for value in x] == pytest.approx(2 * j1(x) / x, abs=1e-7)
    assert jinc(0.0) == pytest.approx(1.0, abs=1e-9)


def picture(shape, seed=2):
    rng = np.random.default_rng(seed)
    image = np.zeros(shape)
    image[rng.integers(0, shape[0], 40), rng.integers(0, shape[1], 40)] = rng.uniform(0, 1, 40)
    return image


@pytest.mark.parametrize("shape", [(64, 64), (41, 70), (10, 7)])
@pytest.mark.parametrize("cells", [(-1, 1), (1, 1), (-1, -1)])
def test_image_equals_the_sum_over_its_pixels(shape, cells):
    uvw = rows(1, 1.0)[0]
    image, cell = picture(shape), 20 * ARCSEC
    where = ImageGeometry(RA0, DEC0, cells[0] * cell, cells[1] * cell, 3.3e-4, -2e-4)
    l = 3.3e-4 + (np.arange(shape[1]) - shape[1] // 2) * cells[0] * cell
    m = -2e-4 + (np.arange(shape[0]) - shape[0] // 2) * cells[1] * cell
    wanted = predict_pixels(uvw, FREQUENCY[::-1], image, l, m)
    compare(predict_image(uvw, FREQUENCY[::-1], image, where, RA0, DEC0), wanted, image.sum())


def header(shape, ra=RA0, dec=DEC0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---SIN", "DEC--SIN"
    wcs.wcs.crval = np.rad2deg(ra), np.rad2deg(dec)
    wcs.wcs.crpix = shape[1] / 2 + 4.25, shape[0] / 2 - 3
    wcs.wcs.cdelt = -12 / 3600, 10 / 3600
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    return wcs


@pytest.mark.parametrize("beam", [None, Gaussian(np.deg2rad(1.0), 1.4e9)])
def test_image_of_a_header_equals_points_at_its_world_coordinates(beam):
    """The image touches the sky elsewhere than at the phase centre.

    Pixels become points through astropy's WCS.
    """
    visibilities = rows(1, 1.0)
    shape = (50, 61)
    wcs = header(shape, RA0 + 0.01, DEC0 + 0.004)
    image = picture(shape)
    y, x = np.nonzero(image)
    ra, dec = np.deg2rad(wcs.wcs_pix2world(np.stack([x, y], axis=1), 0)).T
    found = predict_image(visibilities[0], FREQUENCY, image, image_geometry(wcs, shape), RA0, DEC0,
                          beam)
    sources = [{"ra": a, "dec": d, "flux": s} for a, d, s in zip(ra, dec, image[y, x], strict=True)]
    power = None if beam is None else gaussian_beam(np.deg2rad(1.0), 1.4e9)
    wanted = predict_components(visibilities[0], FREQUENCY, sources, RA0, DEC0, power)
    compare(found, wanted, image.sum())
    points = predict(*visibilities, FREQUENCY, components(ra, dec, image[y, x]), RA0, DEC0, beam)
    compare(points, found, image.sum())


def test_image_leaves_bad_rows_and_pixels_out():
    uvw = rows(1, 0.3)[0].copy()
    uvw[2] = np.nan
    image, where = picture((40, 40)), ImageGeometry(RA0, DEC0, -ARCSEC, ARCSEC)
    holed = np.where(image == 0, np.nan, image)
    found = predict_image(uvw, FREQUENCY, holed, where, RA0, DEC0)
    assert not found[2].any()
    assert np.isfinite(found).all()
    assert not predict_image(uvw, FREQUENCY, 0 * image, where, RA0, DEC0).any()
    assert predict_image(uvw[:0], FREQUENCY, image, where, RA0, DEC0).shape == (0, 3)


def test_images_that_are_refused():
    good = ImageGeometry(RA0, DEC0, -ARCSEC, ARCSEC)
    with pytest.raises(ImageError, match=r"shape \(1, 4, 4\); wanted are two axes"):
        predict_image(np.zeros((1, 3)), FREQUENCY, np.ones((1, 4, 4)), good, RA0, DEC0)
    with pytest.raises(ImageError, match="beyond the horizon"):
        predict_image(np.zeros((1, 3)), FREQUENCY, np.ones((40, 40)), replace(good, cell_l=-0.05),
                      RA0, DEC0)
    wcs = header((40, 40))
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    with pytest.raises(ImageError, match="RA---TAN and DEC--TAN; wanted RA---SIN"):
        image_geometry(wcs, (40, 40))
    wcs = header((40, 40))
    wcs.wcs.pc = [[0.8, -0.6], [0.6, 0.8]]
    with pytest.raises(ImageError, match="turned against north"):
        image_geometry(wcs, (40, 40))


def test_frame_of_an_image():
    wcs, shape = header((40, 40)), (40, 40)
    fk5 = image_geometry(wcs, shape)
    assert (fk5.ra, fk5.dec) == pytest.approx((RA0, DEC0), abs=1e-14)
    wcs.wcs.radesys, wcs.wcs.equinox = "ICRS", np.nan
    icrs = image_geometry(wcs, shape)
    assert 1e-3 * ARCSEC < np.hypot(icrs.ra - RA0, icrs.dec - DEC0) < 0.05 * ARCSEC
    wcs.wcs.radesys, wcs.wcs.equinox = "FK4", 1950.0
    with pytest.raises(ImageError, match="an image in fk4, equinox 1950"):
        image_geometry(wcs, shape)
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2020.0
    with pytest.raises(ImageError, match="an image in fk5, equinox 2020"):
        image_geometry(wcs, shape)


def test_phasor_of_the_oracle_has_the_sign_of_the_package():
    uvw = np.array([[300.0, 0.0, 0.0]])
    assert np.angle(phasor(uvw, [1e9], RA0 + 1e-4, DEC0, RA0, DEC0))[0, 0] > 0


@pytest.mark.parametrize("kind", ["gaussian", "disc"])
def test_extended_source_off_axis_is_the_sum_of_its_parts(kind):
    # Its parts are points on the sphere, so that w is exact for each: the slope of w (n − 1) across
    # the source included.
    rng = np.random.default_rng(12)
    uvw = rng.normal(size=(60, 3)) * 9e3
    ra, dec, major, minor, angle = RA0 + 0.0045, DEC0 + 0.003, 5.0 * ARCSEC, 3.0 * ARCSEC, 0.6
    antennas = np.arange(60), np.arange(60) + 60, np.zeros(60)
    found = predict(uvw, *antennas, FREQUENCY[:1],
                    components(ra, dec, 1.0, shape=kind, fwhm_major=major, fwhm_minor=minor,
                               position_angle=angle), RA0, DEC0)
    x, y = np.meshgrid(*2 * [np.linspace(-2.5, 2.5, 501)])
    weight = np.exp(-4 * np.log(2)
                    * (x**2 + y**2)) if kind == "gaussian" else 1.0 * (x**2 + y**2 <= 0.25)
    along, across = (x * major)[weight > 0], (y * minor)[weight > 0]
    north, east = along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)
    to_east, to_north = oracles.tangent(ra, dec, RA0, DEC0)
    parts = np.array(cosines(ra, dec, RA0,
                             DEC0))[:, None] + np.outer(to_east, east) + np.outer(to_north, north)
    parts /= np.linalg.norm(parts, axis=0)
    path = uvw @ (parts - np.array([[0.0], [0.0], [1.0]]))
    wanted = (np.exp(2j * np.pi * path * FREQUENCY[0] / LIGHT)
              * weight[weight > 0]).sum(axis=1) / weight.sum()
    # The edge of the disc in pixels of 1/100: 1e-3; a Gaussian's sum is exact.
    assert np.abs(found[:, 0] - wanted).max() < (2e-4 if kind == "gaussian" else 2e-3)
    at_centre = oracles.predict_components(uvw @ np.diag([1, 1, 0]), FREQUENCY[:1],
                                           as_dicts(components(RA0, DEC0, 1.0, shape=kind,
                                                               fwhm_major=major, fwhm_minor=minor,
                                                               position_angle=angle)), RA0, DEC0)
    assert np.abs(np.abs(found) - np.abs(at_centre)).max() > 0.005  # which its transform at (u, v) misses
