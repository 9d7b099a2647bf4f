"""Slow and plain versions of the formulas, with constants of their own.

Nothing of the package is imported.

Sign: V = Σ_k A_k S_k exp(+2πi ν/c (u l_k + v m_k + w (n_k − 1))). There is no 1/n: the flux density
of a point source is ∫ I dΩ, and dΩ = dl dm / n.
"""

import numpy as np

LIGHT = 299_792_458.0


def cosines(ra, dec, ra0, dec0):
    """(l, m, n) of one direction seen from a phase centre, rad.

    Thompson, Moran & Swenson (2017), chapter 3.
    """
    l = np.cos(dec) * np.sin(ra - ra0)
    m = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(ra - ra0)
    n = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra - ra0)
    return l, m, n


def tangent(ra, dec, ra0, dec0):
    """Unit vectors to the east and north of a direction, in (l, m, n) of a phase centre.

    By turning equatorial vectors.
    """

    def equatorial(a, d):
        return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])

    def frame(a, d):
        return np.array([[-np.sin(a), np.cos(a), 0.0],
                         [-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)],
                         equatorial(a, d)])

    there, centre = frame(ra, dec), frame(ra0, dec0)
    return centre @ there[0], centre @ there[1]


def phasor(uvw, frequency, ra, dec, ra0, dec0):
    """exp(+2πi ν/c (u l + v m + w (n − 1))) of one direction, (row, chan) complex128."""
    l, m, n = cosines(ra, dec, ra0, dec0)
    path = uvw[:, 0] * l + uvw[:, 1] * m + uvw[:, 2] * (n - 1.0)
    return np.exp(2j * np.pi * np.outer(path, np.asarray(frequency)) / LIGHT)


def predict(uvw, frequency, sources, ra0, dec0, beam=None):
    """Visibilities (row, chan) of point sources [(ra, dec, flux) …].

    beam(l, m, frequency) gives A (chan,), or None.
    """
    vis = np.zeros((len(uvw), len(frequency)), complex)
    for ra, dec, flux in sources:
        l, m, _ = cosines(ra, dec, ra0, dec0)
        power = 1.0 if beam is None else beam(l, m, np.asarray(frequency))
        vis += power * flux * phasor(uvw, frequency, ra, dec, ra0, dec0)
    return vis


def gaussian_beam(fwhm, reference_frequency):
    """A(l, m, ν) = exp(−4 ln2 (θ ν / (fwhm ν₀))²) as a function."""

    def power(l, m, frequency):
        theta = np.arcsin(np.hypot(l, m))
        return np.exp(-4 * np.log(2) * (theta * frequency / (fwhm * reference_frequency)) ** 2)

    return power


def stack(vis, uvw, frequency, positions, ra0, dec0, weights=None, beam=None):
    """Equation 5 of Lindroos et al. (2015).

    The stacked (row, chan) of visibilities (row, chan), and Σ W_k.

    positions [(ra, dec) …], weights W_k (pos,), beam as in `predict`.
    """
    weights = np.ones(len(positions)) if weights is None else weights
    total = np.zeros(vis.shape, complex)
    for (ra, dec), weight in zip(positions, weights, strict=True):
        l, m, _ = cosines(ra, dec, ra0, dec0)
        power = 1.0 if beam is None else beam(l, m, np.asarray(frequency))
        total += weight / power * phasor(uvw, frequency, ra, dec, ra0, dec0).conj()
    return vis * total / np.sum(weights), float(np.sum(weights))


def weighted_mean(stacks):
    """Flux of [(stacked (row, chan), Σ W_k, data weight), …].

    Mean of the real part with the weights of equation 6.
    """
    value = sum(np.sum(weight * norm * vis.real) for vis, norm, weight in stacks)
    return value / sum(np.sum(weight * norm * np.ones(vis.shape)) for vis, norm, weight in stacks)


def predict_components(uvw, frequency, sources, ra0, dec0, beam=None):
    """Visibilities (row, chan) of sources given as dicts, one term at a time in complex128.

    Keys: ra, dec, flux, ν0 as "at", "alpha", "beta" (natural logarithm), "shape", "major", "minor",
    "angle" (from north through east, at the source); sizes are the FWHM of a Gaussian, the
    diameters of a disc, in rad. The envelope is taken at (u, v) of a phase centre on the source:
    the baseline's components along east and north there.
    """
    from scipy.special import jv

    vis = np.zeros((len(uvw), len(frequency)), complex)
    for s in sources:
        l, m, _ = cosines(s["ra"], s["dec"], ra0, dec0)
        term = phasor(uvw, frequency, s["ra"], s["dec"], ra0, dec0)
        for chan, nu in enumerate(frequency):
            x = np.log(nu / s.get("at", 1e9))
            flux = s["flux"] * np.exp(s.get("alpha", 0.0) * x + s.get("beta", 0.0) * x * x)
            power = 1.0 if beam is None else beam(l, m, np.array([nu]))[0]
            for row in range(len(uvw)):
                east, north = tangent(s["ra"], s["dec"], ra0, dec0)
                u, v = np.dot(uvw[row], east) * nu / LIGHT, np.dot(uvw[row], north) * nu / LIGHT
                a = s.get("angle", 0.0)
                along, across = u * np.sin(a) + v * np.cos(a), u * np.cos(a) - v * np.sin(a)
                q = np.hypot(s.get("major", 0.0) * along,
                             s.get("minor", s.get("major", 0.0)) * across)
                envelope = 1.0
                if s.get("shape", "point") == "gaussian":
                    envelope = np.exp(-(np.pi * q) ** 2 / (4 * np.log(2)))
                elif s.get("shape") == "disc" and q > 0:
                    envelope = 2 * jv(1, np.pi * q) / (np.pi * q)
                vis[row, chan] += power * flux * envelope * term[row, chan]
    return vis


def predict_pixels(uvw, frequency, image, l, m):
    """Visibilities (row, chan) of pixels (m, l) in Jy at direction cosines l (column,) and m (line,), pixel by pixel."""
    vis = np.zeros((len(uvw), len(frequency)), complex)
    for i, y in enumerate(m):
        for j, x in enumerate(l):
            if image[i, j] != 0:
                path = uvw[:, 0] * x + uvw[:, 1] * y + uvw[:, 2] * (np.sqrt(1 - x * x - y * y) - 1)
                vis += image[i, j] * np.exp(2j * np.pi * np.outer(path, np.asarray(frequency))
                                            / LIGHT)
    return vis


def profile(shape, x, y=0.0):
    """Transform of a source of unit flux at x = π major q, of a Gaussian ring also y = π σ q.

    One number.
    """
    from scipy.integrate import quad
    from scipy.special import jv, k0

    ln2 = np.log(2.0)
    if shape == "gaussian-ring":
        # Radii in units of 1/(2πq): R = x, σ = 2y.
        ends, knots = (max(0.0, x - 12 * y * 2),
                       x + 12 * y * 2), np.linspace(max(0.0, x - 24 * y), x + 24 * y, 50)
        kept = {"points": knots[1:-1], "limit": 400, "epsabs": 1e-14, "epsrel": 1e-12}
        ring = lambda r: r * np.exp(-0.5 * ((r - x) / (2 * y)) ** 2)  # noqa: E731
        return quad(lambda r: ring(r) * jv(0, r), *ends, **kept)[0] / quad(ring, *ends, **kept)[0]
    return {"delta": lambda: 1.0, "gaussian": lambda: np.exp(-(x**2) / (4 * ln2)),
            "disc": lambda: 2 * jv(1, x) / x, "ring": lambda: jv(0, x),
            "sphere": lambda: 3 * (np.sin(x) - x * np.cos(x)) / x**3,
            "bubble": lambda: np.sin(x) / x, "expo": lambda: (1 + (x / ln2) ** 2) ** -1.5,
            "power-2": lambda: 2 / ln2 * k0(x),
            "power-3": lambda: np.exp(-x / np.sqrt(2 ** (2 / 3) - 1)),}[shape]()


def moved_axes(l, m):
    """East and north of the phase centre, turned with the rotation about the origin that takes (0, 0, 1) to (l, m, n)."""
    n = np.sqrt(1 - l * l - m * m)
    r = np.hypot(l, m)
    if r == 0:
        return np.array([1.0, 0, 0]), np.array([0.0, 1, 0])
    k = np.array([[0, 0, l / r], [0, 0, m / r], [-l / r, -m / r, 0]])  # a × for the axis a = (−m, l, 0)/r
    turn = np.eye(3) + r * k + (1 - n) * (k @ k)  # Rodrigues: r is the sine, n the cosine
    return turn[:, 0], turn[:, 1]


def fit_model(uvw, frequency, sources):
    """Visibilities (row, chan) of sources [(shape, l, m, flux, major, ratio, angle, sigma) …], rad and Jy, term by term.

    Any of the numbers may be a function of the frequency; angle is from north through east, the
    minor axis is ratio major. Shapes lie in the plane tangent at the source, north being that of
    the phase centre moved there along the great circle.
    """
    vis = np.zeros((len(uvw), len(frequency)), complex)
    for shape, *given in sources:
        for chan, nu in enumerate(frequency):
            numbers = [x(nu) if callable(x) else x for x in given]
            l, m, flux, major, ratio, angle, sigma = numbers + [0, 0, 0, 0, 1, 0, 0][len(numbers):]
            east, north = moved_axes(l, m)
            for row in range(len(uvw)):
                u, v, w = uvw[row] * nu / LIGHT
                x, y = np.dot(uvw[row], east) * nu / LIGHT, np.dot(uvw[row], north) * nu / LIGHT
                q = np.hypot(x * np.sin(angle) + y * np.cos(angle),
                             ratio * (x * np.cos(angle) - y * np.sin(angle)))
                turns = u * l + v * m - w * (l * l + m * m) / (1 + np.sqrt(1 - l * l - m * m))
                vis[row, chan] += flux * profile(shape, np.pi * major * q,
                                                 np.pi * sigma * q) * np.exp(2j * np.pi * turns)
    return vis


def smeared(uvw, frequency, sources, width=None, change=None, n=16):
    """`fit_model` averaged over channels of that width (chan,) Hz and over uvw ± change/2 (row, 3), by n nodes of Gauss each."""
    node, weight = np.polynomial.legendre.leggauss(n)
    total = np.zeros((len(uvw), len(frequency)), complex)
    for a, wa in zip(node / 2, weight / 2, strict=True) if change is not None else [(0.0, 1.0)]:
        for b, wb in zip(node / 2, weight / 2, strict=True) if width is not None else [(0.0, 1.0)]:
            at = np.asarray(frequency) + (b * np.asarray(width) if width is not None else 0.0)
            total += wa * wb * fit_model(uvw + (a * change if change is not None else 0.0), at,
                                         sources)
    return total


def local_noise(image, x, y, stamp, radius):
    """Standard deviation around positions (pos,) in a square of so many pixels without a circle.

    Lindroos et al. (2015), section 3.2.
    """
    half = stamp // 2
    offset = np.arange(-half, stamp - half)
    outside = np.hypot(offset[:, None], offset[None, :]) > radius
    noise = np.full(len(x), np.nan)
    for k in range(len(x)):
        if not (np.isfinite(x[k]) and np.isfinite(y[k])):
            continue
        rows, cols = offset + int(round(float(y[k]))), offset + int(round(float(x[k])))
        row_ok, col_ok = (rows >= 0) & (rows < image.shape[0]), (cols >= 0) & (
            cols < image.shape[1])
        values = image[np.ix_(rows[row_ok], cols[col_ok])][outside[np.ix_(row_ok, col_ok)]]
        values = values[np.isfinite(values)]
        if len(values) >= 0.25 * outside.sum():
            noise[k] = values.std()
    return noise


def direction(l, m, ra0, dec0):
    """(ra, dec) at direction cosines (l, m) of a phase centre, rad.

    The inverse of `cosines`, also at a pole.
    """
    n = np.sqrt(1.0 - l * l - m * m)
    x, z = n * np.cos(dec0) - m * np.sin(dec0), n * np.sin(dec0) + m * np.cos(dec0)
    return np.arctan2(l * np.cos(ra0) + x * np.sin(ra0),
                      x * np.cos(ra0) - l * np.sin(ra0)), np.arctan2(z, np.hypot(x, l))


def separation(ra, dec, ra0, dec0):
    """Angle between two directions, rad, exact for small ones."""
    l, m, n = cosines(ra, dec, ra0, dec0)
    return np.arctan2(np.hypot(l, m), n)


def cosine_taper(fwhm, reference_frequency):
    """A(θ, ν) of Mauch et al. (2020), equations 3 and 4, as a function."""

    def power(theta, frequency):
        s = 1.189 * theta * frequency / (fwhm * reference_frequency)
        return (np.cos(np.pi * s) / (1 - 4 * s * s)) ** 2

    return power


def rows_seen(row, sources, beam=None):
    """Visibilities (chan,) of sources [(ra, dec, flux) …] in one row.

    A row is a dict: uvw (3,), frequency (chan,), centre and pointing (ra, dec), vis and weight
    (chan, corr), the latter 0 where a visibility does not count. beam(θ, ν) gives A, θ from the
    pointing; None is 1.
    """
    vis = np.zeros(len(row["frequency"]), complex)
    for ra, dec, flux in sources:
        power = 1.0 if beam is None else beam(separation(ra, dec, *row["pointing"]),
                                              row["frequency"])
        vis += power * flux * phasor(row["uvw"][None], row["frequency"], ra, dec, *row["centre"])[0]
    return vis


def rows_stacked(rows, positions, beam=None):
    """Mean flux at positions [(ra, dec) …].

    Equations 5 and 6 of Lindroos et al. (2015), row by row, with W_k = 1.
    """
    total = norm = 0.0
    for row in rows:
        factor = np.zeros(len(row["frequency"]), complex)
        for ra, dec in positions:
            power = 1.0 if beam is None else beam(separation(ra, dec, *row["pointing"]),
                                                  row["frequency"])
            factor += phasor(row["uvw"][None], row["frequency"], ra, dec,
                             *row["centre"])[0].conj() / power
        total += np.sum(row["weight"] * (row["vis"] * factor[:, None]).real)
        norm += np.sum(row["weight"]) * len(positions)
    return total / norm


def rows_imaged(rows, l, m):
    """Dirty brightness at one pixel (l, m) of natural weights, Jy/beam.

    All rows have one phase centre.
    """
    total = norm = 0.0
    for row in rows:
        u, v, w = row["uvw"]
        path = u * l + v * m + w * (np.sqrt(1 - l * l - m * m) - 1)
        turned = row["vis"] * np.exp(-2j * np.pi * np.asarray(row["frequency"]) * path
                                     / LIGHT)[:, None]
        total += np.sum(row["weight"] * turned.real)
        norm += np.sum(row["weight"])
    return total / norm


def galactic(ra, dec):
    """(l, b), rad, of a direction of J2000: the pole and the longitude of the celestial pole of the IAU (1958), in J2000."""
    pole_ra, pole_dec, node = np.deg2rad([192.85948121, 27.12825118, 122.93191857])
    sin_b = np.sin(dec) * np.sin(pole_dec) + np.cos(dec) * np.cos(pole_dec) * np.cos(ra - pole_ra)
    y = np.cos(dec) * np.sin(ra - pole_ra)
    x = np.sin(dec) * np.cos(pole_dec) - np.cos(dec) * np.sin(pole_dec) * np.cos(ra - pole_ra)
    return node - np.arctan2(y, x), np.arcsin(sin_b)


def least_common_area(beams, steps=121):
    """Least product of FWHM of an ellipse above all of (major, minor, angle), by search.

    Every angle, every major axis, ever finer.

    In the frame of an ellipse of axes a and b a matrix s lies below it where a² > s11 and b² ≥ s22
    + s12²/(a² − s11).
    """
    longest = max(b[0] for b in beams)
    angles, majors = (0.0, np.pi), (longest, 1.5 * longest)
    best = (np.inf, 0.0, 0.0)
    for _ in range(8):
        for pa in np.linspace(*angles, steps):
            a = np.linspace(*majors, steps)
            square = np.zeros(steps)
            for major, minor, angle in beams:
                turn = angle - pa
                s11 = (major * np.cos(turn)) ** 2 + (minor * np.sin(turn)) ** 2
                s22 = (major * np.sin(turn)) ** 2 + (minor * np.cos(turn)) ** 2
                s12 = (major**2 - minor**2) * np.sin(turn) * np.cos(turn)
                room = a**2 - s11
                with np.errstate(divide="ignore", invalid="ignore"):
                    rest = np.where(np.abs(s12) < 1e-12 * major**2, 0.0,
                                    np.where(room > 0, s12**2 / room, np.inf))
                square = np.maximum(square, np.where(room < -1e-12 * major**2, np.inf, s22 + rest))
            area = a * np.sqrt(square)
            i = int(np.argmin(area))
            best = min(best, (float(area[i]), pa, float(a[i])))
        _, pa, a = best
        width = (angles[1] - angles[0]) / 8, (majors[1] - majors[0]) / 8
        angles, majors = (pa - width[0], pa + width[0]), (max(longest, a - width[1]), a + width[1])
    return best[0]


def split_island(image, cut, n_levels, fraction, detection, shape, above=0, whole=None):
    """Parts (level, flat indices) of an island by sub-thresholds on the way up.

    Spreeuw (2010), section 2.7.4.

    `image` is 0 outside the island; `shape` is scipy's structuring element.
    """
    from scipy.ndimage import label

    whole = image if whole is None else whole
    for k in range(above + 1, n_levels + 1):
        level = cut * (whole.max() / cut) ** (k / (n_levels + 1))
        labels, n = label(image > level, shape)
        parts = [labels == i for i in range(1, n + 1)]
        flux = [(image[part] - level).sum() > fraction * whole.sum() for part in parts]
        parts = [part for part, bright in zip(parts, flux, strict=True)
                 if bright and image[part].max() > detection]
        if len(parts) > 1:
            return [one for part in parts
                    for one in split_island(np.where(part, image, 0), cut, n_levels, fraction,
                                            detection, shape, k, whole)]
        if not any(flux):
            break
    return [(cut * (whole.max() / cut) ** (above / (n_levels + 1)), np.flatnonzero(image > 0))]


def clipped_noise(values, beam_area):
    """(background, rms) of a box.

    Spreeuw (2010), equations 2.18 to 2.25, and a variance of N − 2 A of N pixels.
    """
    from scipy.special import erf, erfcinv

    values = np.array([value for value in values.ravel() if np.isfinite(value)], float)
    gain, clipped = 1.0, True
    while clipped:
        n = values.size
        median, mean = np.median(values), values.sum() / n
        variance = ((values - mean) ** 2).sum() / max(n - 2 * beam_area, n / 2)
        sigma = gain * np.sqrt(variance)
        limit = np.sqrt(2) * erfcinv(1 / (2 * max(n / beam_area, 1)))
        kept = values[np.abs(values - median) <= limit * sigma]
        clipped = kept.size < n or gain == 1.0
        values = kept
        inside = erf(limit / np.sqrt(2))
        # The last turn clips nothing, and its σ is what stays.
        if clipped:
            gain = np.sqrt(inside / (inside - np.sqrt(2 / np.pi) * limit * np.exp(-(limit**2) / 2)))
    return (median if abs(mean - median) > 0.3 * sigma else 2.5 * median - 1.5 * mean), sigma


def nearest_pairs(first, second, radius):
    """Pairs (i, k) of places (ra, dec), rad, within a radius.

    Of all that are left always the closest.
    """
    apart = {}
    for i, (ra1, dec1) in enumerate(first):
        for k, (ra2, dec2) in enumerate(second):
            half = (np.sin((dec1 - dec2) / 2) ** 2
                    + np.cos(dec1) * np.cos(dec2) * np.sin((ra1 - ra2) / 2) ** 2)
            if 2 * np.arcsin(np.sqrt(half)) <= radius:
                apart[i, k] = 2 * np.arcsin(np.sqrt(half))
    pairs = []
    while apart:
        i, k = min(apart, key=apart.get)
        pairs.append((i, k))
        apart = {pair: r for pair, r in apart.items() if pair[0] != i and pair[1] != k}
    return pairs


def flux_statistics(pairs, f_cal=0.05):
    """VLASS memo 26, appendix, of pairs ((S, rms, area, beam's area) of epoch and combined map).

    (median ratio, MAD, mean δ, mean δσ, left out for S_a ≤ 0, left out for NaN); areas are 1 of
    peaks.
    """
    ratios, deltas, sigmas, not_positive, not_finite = [], [], [], 0, 0
    for pair in pairs:
        sigma = []
        for flux, rms, area, beam in pair:
            n_beam = area / beam if not area / beam < 1 else 1.0
            sigma.append(((f_cal * flux) ** 2 + (rms * n_beam**0.5) ** 2) ** 0.5)
        s_a, s_b = pair[0][0], pair[1][0]
        both = (sigma[0] ** 2 + sigma[1] ** 2) ** 0.5
        if not np.isfinite(both + s_a + s_b):
            not_finite += 1
        elif s_a <= 0:
            not_positive += 1
        else:
            ratios.append(s_b / s_a)
            deltas.append(100 * max(abs(s_a - s_b) - both, 0) / s_a)
            sigmas.append(100 * both / s_a)

    def middle(values):
        values, n = sorted(values), len(values)
        return values[n // 2] if n % 2 else (values[n // 2 - 1] + values[n // 2]) / 2

    median = middle(ratios)
    return (median, middle([abs(r - median) for r in ratios]), sum(deltas) / len(deltas),
            sum(sigmas) / len(sigmas), not_positive, not_finite)


def septic_spline_sum(coefficients, x, y):
    """Σ c(j, i) β(x − i) β(y − j) at places (arrays of one shape), with scipy's septic B-spline β."""
    from scipy.interpolate import BSpline

    spline = BSpline.basis_element(np.arange(-4.0, 5.0), extrapolate=False)
    out = np.zeros(np.shape(x))
    for place in np.ndindex(out.shape):
        across, down = (np.nan_to_num(spline(v[place] - np.arange(n)))
                        for v, n in ((x, coefficients.shape[1]), (y, coefficients.shape[0])))
        out[place] = down @ coefficients.astype(float) @ across
    return out


def box_deviation(image, box):
    """Standard deviation of finite pixels in a square about each of them (VLASS memo 26, section 4).

    An even square has one row and one column more after the pixel than before it.
    """
    out = np.full(image.shape, np.nan)
    low, high = (box - 1) // 2, box // 2
    for y, x in np.argwhere(np.isfinite(image)):
        square = image[max(y - low, 0) : y + high + 1, max(x - low, 0) : x + high + 1]
        values = square[np.isfinite(square)].astype(float)
        if values.size > 1:
            out[y, x] = np.sqrt(((values - values.mean()) ** 2).mean())
    return out


def epoch_average(values, rms, minimum, memo, calibration=0.05):
    """(mean, median, weight, χ², χ² with the calibration, epochs) of a pixel (memo 26, section 4).

    The memo's median is the first sorted value whose cumulative weight reaches half of the total,
    to 1e-6; else it is interpolated at half the total between the middles of the weights.
    """
    pairs = sorted((float(v), 1.0 / float(s) ** 2) for v, s in zip(values, rms, strict=True)
                   if np.isfinite(v) and np.isfinite(s) and s > 0)
    total = sum(w for _, w in pairs)
    if not pairs or len(pairs) < minimum:
        return np.nan, np.nan, total, np.nan, np.nan, len(pairs)
    mean = sum(v * w for v, w in pairs) / total
    reached = np.cumsum([w for _, w in pairs])
    if memo:
        median = next(v for (v, _), r in zip(pairs, reached, strict=True)
                      if r >= (0.5 - 1e-6) * total)
    else:
        middles = [r - 0.5 * w for (_, w), r in zip(pairs, reached, strict=True)]
        median = float(np.interp(0.5 * total, middles, [v for v, _ in pairs]))
    if len(pairs) < 2:
        return mean, median, total, np.nan, np.nan, 1
    chi2 = sum(w * (v - mean) ** 2 for v, w in pairs)
    calibrated = sum((v - mean) ** 2 / (1 / w + (calibration * mean) ** 2) for v, w in pairs)
    return mean, median, total, chi2, calibrated, len(pairs)
