"""Numba kernels of Gaussian fits to pixels of an image whose noise is correlated.

Frame of the pixels: x along the last axis, y along the first. A component has six numbers: peak P,
centre (x0, y0), and a, b, c of

    G = P exp(−(a dx² + 2 b dx dy + c dy²)),   dx = x − x0, dy = y − y0.

Several components on the same pixels are one problem of 6 n numbers, of which a mask says which are
free. With the free ones' Jacobian J and a whitening W = (LLᵀ)⁻¹ (the identity for plain least
squares) the estimate moves with the noise as H n, with H = (JᵀWJ)⁻¹JᵀW, so that its covariance is
the sandwich V = H C Hᵀ, C the covariance of the noise between the pixels (Refregier & Brown 1998),
and its bias of second order is, by expanding the normal equations,

    b = (JᵀWJ)⁻¹ [ Σ_k (∂_k J)ᵀ W e_k − ½ JᵀW m ],   m_i = tr(∂∂G_i V),   e_k = (C Hᵀ − J V) column k,

of which Box (1971, J. R. Statist. Soc. B 33, 171) has the second term; the first vanishes where W
is C⁻¹.

The pixels are those about the centre that was fitted, so that they move with it. By the theorem of
Gauss the motion of their edge is the sum over the pixels of Σ_k ∂_k (J e_k), k along x and y, which
joins the bracket: for a beam of 5 × 4 pixels 1.2 % of the flux at 10 σ, 0.5 % at 15 σ. It is taken
for one component without weights: several share their edges, whitened pixels know their neighbours.
"""

import math

import numpy as np
from numba import njit

#: Numbers of a component, and their places.
N_NUMBERS, PEAK, X0, Y0, A, B, C = 6, 0, 1, 2, 3, 4, 5
#: Why a fit ended.
CONVERGED, MOST_STEPS, STUCK, TOO_FEW_PIXELS, SINGULAR = 0, 1, 2, 3, 4
_MOST_STEPS = 60
#: A step this small, in units of the error without correlation, ends the fit (its square).
_SMALL_STEP = 1e-10
_options = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**_options)
def select_pixels(image, label, own, ellipse, centre, sign, stride, out_x, out_y, out_value):
    """Pixels within any of the ellipses (n, 3), a dx² + 2 b dx dy + c dy² ≤ 1 about (n, 2), that are not blank nor another island's.

    `own` are the islands of the components. Pixels count from the corner that the first centre is
    in. Returns their number; where it would be more than there is room for, −1.
    """
    n_rows, n_columns = image.shape
    low_x, high_x, low_y, high_y = n_columns, -1, n_rows, -1
    for k in range(centre.shape[0]):
        a, b, c = ellipse[k]
        area = a * c - b * b
        reach_x, reach_y = math.sqrt(c / area), math.sqrt(a / area)
        low_x, high_x = min(low_x, int(centre[k, 0] - reach_x)), max(
            high_x, int(centre[k, 0] + reach_x) + 1)
        low_y, high_y = min(low_y, int(centre[k, 1] - reach_y)), max(
            high_y, int(centre[k, 1] + reach_y) + 1)
    n = 0
    for y in range(max(low_y, 0), min(high_y, n_rows - 1) + 1):
        for x in range(max(low_x, 0), min(high_x, n_columns - 1) + 1):
            if (x + y * (stride // 2)) % stride != 0 or y % stride != 0:
                continue
            inside = False
            for k in range(centre.shape[0]):
                dx, dy = x - centre[k, 0], y - centre[k, 1]
                inside |= ellipse[k, 0] * dx * dx + 2.0 * ellipse[k, 1] * dx * dy + ellipse[k, 2] * dy * dy <= 1.0
            if not inside or not math.isfinite(image[y, x]):
                continue
            mine = label[y, x] == 0
            for k in range(own.size):
                mine |= label[y, x] == own[k]
            if not mine:
                continue
            if n == out_x.size:
                return -1
            out_x[n], out_y[n], out_value[n] = x, y, sign * image[y, x]
            n += 1
    return n


@njit(**_options)
def evaluate(numbers, x, y, model, jacobian):
    """Sum of components (n, 6) on pixels, and its derivatives (pix, 6 n)."""
    for i in range(x.size):
        total = 0.0
        for k in range(numbers.shape[0]):
            p, a, b, c = numbers[k, PEAK], numbers[k, A], numbers[k, B], numbers[k, C]
            dx, dy = x[i] - numbers[k, X0], y[i] - numbers[k, Y0]
            shape = math.exp(-(a * dx * dx + 2.0 * b * dx * dy + c * dy * dy))
            value = p * shape
            total += value
            j = N_NUMBERS * k
            jacobian[i, j + PEAK] = shape
            jacobian[i, j + X0] = 2.0 * value * (a * dx + b * dy)
            jacobian[i, j + Y0] = 2.0 * value * (b * dx + c * dy)
            jacobian[i, j + A] = -value * dx * dx
            jacobian[i, j + B] = -2.0 * value * dx * dy
            jacobian[i, j + C] = -value * dy * dy
        model[i] = total


@njit(**_options)
def _second(numbers, x, y, out):
    """Second derivatives of one component on a pixel, (6, 6)."""
    p, a, b, c = numbers[PEAK], numbers[A], numbers[B], numbers[C]
    dx, dy = x - numbers[X0], y - numbers[Y0]
    shape = math.exp(-(a * dx * dx + 2.0 * b * dx * dy + c * dy * dy))
    value = p * shape
    out[PEAK, X0], out[PEAK, Y0] = 2.0 * (a * dx + b * dy), 2.0 * (b * dx + c * dy)
    out[PEAK, A], out[PEAK, B], out[PEAK, C] = -dx * dx, -2.0 * dx * dy, -dy * dy
    out[PEAK, PEAK] = 0.0
    for i in range(X0, N_NUMBERS):
        for j in range(i, N_NUMBERS):
            out[i, j] = value * out[PEAK, i] * out[PEAK, j]
    out[X0, X0] -= 2.0 * value * a
    out[X0, Y0] -= 2.0 * value * b
    out[Y0, Y0] -= 2.0 * value * c
    out[X0, A] += 2.0 * value * dx
    out[X0, B] += 2.0 * value * dy
    out[Y0, B] += 2.0 * value * dx
    out[Y0, C] += 2.0 * value * dy
    for i in range(X0, N_NUMBERS):
        out[PEAK, i] *= shape
        out[i, PEAK] = out[PEAK, i]
        for j in range(X0, i):
            out[i, j] = out[j, i]


@njit(**_options)
def cholesky(matrix, lower):
    """Lower triangle L of a symmetric matrix, L Lᵀ; False where it is not positive."""
    for i in range(matrix.shape[0]):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                lower[i, i] = math.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    return True


@njit(**_options)
def _forward(lower, columns):
    """L⁻¹ of columns (n, q), in place."""
    for i in range(columns.shape[0]):
        for k in range(i):
            for q in range(columns.shape[1]):
                columns[i, q] -= lower[i, k] * columns[k, q]
        for q in range(columns.shape[1]):
            columns[i, q] /= lower[i, i]


@njit(**_options)
def _backward(lower, columns):
    """L⁻ᵀ of columns (n, q), in place."""
    for i in range(columns.shape[0] - 1, -1, -1):
        for k in range(i + 1, columns.shape[0]):
            for q in range(columns.shape[1]):
                columns[i, q] -= lower[k, i] * columns[k, q]
        for q in range(columns.shape[1]):
            columns[i, q] /= lower[i, i]


@njit(**_options)
def noise_between(x, y, correlation, out):
    """Correlation of the noise between pixels, (pix, pix), out of the table (2 r + 1, 2 r + 1) by lags; 0 beyond it."""
    r = correlation.shape[0] // 2
    for i in range(x.size):
        for j in range(i + 1):
            dx, dy = int(x[i] - x[j]), int(y[i] - y[j])
            near = abs(dx) <= r and abs(dy) <= r
            out[i, j] = correlation[dy + r, dx + r] if near else 0.0
            out[j, i] = out[i, j]


@njit(**_options)
def _residuals(numbers, free, x, y, value, lower, model, full, columns):
    """Whitened derivatives by the free numbers, and residuals in the last column, (pix, q + 1); sum of the squares of these."""
    evaluate(numbers, x, y, model, full)
    for i in range(x.size):
        for q in range(free.size):
            columns[i, q] = full[i, free[q]]
        columns[i, free.size] = value[i] - model[i]
    if lower.size:
        _forward(lower, columns)
    total = 0.0
    for i in range(x.size):
        total += columns[i, free.size] ** 2
    return total


@njit(**_options)
def _normal(columns, matrix):
    """Products of all columns with each other."""
    q = columns.shape[1]
    matrix[:] = 0.0
    for i in range(columns.shape[0]):
        for j in range(q):
            for k in range(j + 1):
                matrix[j, k] += columns[i, j] * columns[i, k]
    for j in range(q):
        for k in range(j):
            matrix[k, j] = matrix[j, k]


@njit(**_options)
def _may_be(numbers, start, free, reach):
    """Whether all are ellipses with a peak of their sign whose centre is within `reach` pixels of where it began.

    Where only peaks are free they may have any sign.
    """
    linear = True
    for j in range(free.size):
        linear &= free[j] % N_NUMBERS == PEAK
    if linear:
        return True
    for k in range(numbers.shape[0]):
        p, a, b, c = numbers[k, PEAK], numbers[k, A], numbers[k, B], numbers[k, C]
        far = max(abs(numbers[k, X0] - start[k, X0]), abs(numbers[k, Y0] - start[k, Y0])) > reach
        if far or not (p * start[k, PEAK] > 0.0 and a > 0.0 and c > 0.0
                       and a * c - b * b > 1e-8 * a * c):
            return False
    return True


@njit(**_options)
def _solve(normal, q, damping, damped, lower, step):
    """Step of Levenberg and Marquardt (Marquardt 1963: each diagonal element times 1 + damping); False where it cannot be."""
    for j in range(q):
        for k in range(q):
            damped[j, k] = normal[j, k]
        damped[j, j] *= 1.0 + damping
        step[j, 0] = normal[j, q]
    if not cholesky(damped[:q, :q], lower):
        return False
    _forward(lower, step)
    _backward(lower, step)
    return True


@njit(**_options)
def fit(numbers, free, x, y, value, lower_noise, reach):
    """Least squares of components (n, 6), changed in place, over pixels in units of the noise; why it ended, and the sum of squares.

    free are the places in 6 n of the free numbers; lower_noise (pix, pix) the Cholesky triangle
    that whitens, or empty.
    """
    q, n = free.size, x.size
    if n <= q:
        return TOO_FEW_PIXELS, 0.0
    start, trial = numbers.copy(), numbers.copy()
    model, full = np.empty(n), np.empty((n, numbers.size))
    columns, normal = np.empty((n, q + 1)), np.empty((q + 1, q + 1))
    damped, lower, step = np.empty((q, q)), np.zeros((q, q)), np.empty((q, 1))
    damping = 1e-3
    chi = _residuals(numbers, free, x, y, value, lower_noise, model, full, columns)
    for _ in range(_MOST_STEPS):
        _normal(columns, normal)
        while True:
            if not _solve(normal, q, damping, damped, lower, step):
                return SINGULAR, chi
            trial[:] = numbers
            flat = trial.reshape(-1)
            size = 0.0
            for j in range(q):
                flat[free[j]] += step[j, 0]
                for k in range(q):
                    size += step[j, 0] * normal[j, k] * step[k, 0]
            if _may_be(trial, start, free, reach):
                new = _residuals(trial, free, x, y, value, lower_noise, model, full, columns)
                if new <= chi or size < _SMALL_STEP:
                    break
            damping = max(10.0 * damping, 1e-6)
            if damping > 1e12:
                return STUCK, chi
        numbers[:] = trial
        chi, damping = new, damping * 0.1
        if size < _SMALL_STEP:
            return CONVERGED, chi
    return MOST_STEPS, chi


@njit(**_options)
def _correlated(x, y, correlation, columns, out):
    """C times columns (pix, q): the noise's covariance out of the table of correlations."""
    r = correlation.shape[0] // 2
    out[:] = 0.0
    for i in range(x.size):
        for j in range(x.size):
            dx, dy = int(x[i] - x[j]), int(y[i] - y[j])
            if abs(dx) <= r and abs(dy) <= r:
                rho = correlation[dy + r, dx + r]
                for q in range(columns.shape[1]):
                    out[i, q] += rho * columns[j, q]


@njit(**_options)
def _inverse(normal, q, lower, out):
    if not cholesky(normal[:q, :q], lower):
        return False
    out[:] = 0.0
    for j in range(q):
        out[j, j] = 1.0
    _forward(lower, out)
    _backward(lower, out)
    return True


@njit(**_options)
def covariance_and_bias(numbers, free, x, y, value, lower_noise, correlation, covariance, bias):
    """Sandwich covariance (q, q) and bias of second order (q,) of the free numbers, for noise of variance 1; False if singular.

    The module's formulas; the second derivatives of different components with each other vanish.
    """
    q, n = free.size, x.size
    model, full = np.empty(n), np.empty((n, numbers.size))
    columns, normal = np.empty((n, q + 1)), np.empty((q + 1, q + 1))
    lower, inverse = np.zeros((q, q)), np.empty((q, q))
    _residuals(numbers, free, x, y, value, lower_noise, model, full, columns)
    _normal(columns, normal)
    if not _inverse(normal, q, lower, inverse):
        return False
    # The transposed of H, (pix, q).
    back = np.ascontiguousarray(columns[:, :q]) @ inverse
    if lower_noise.size:
        _backward(lower_noise, back)
    moved = np.empty((n, q))
    _correlated(x, y, correlation, back, moved)
    covariance[:] = back.T @ moved
    jacobian = full[:, free]
    extra = moved - jacobian @ covariance
    if lower_noise.size:
        _forward(lower_noise, extra)
        _backward(lower_noise, extra)
    _second_order(numbers, free, x, y, covariance, extra, back, inverse, bias)
    if numbers.shape[0] == 1 and not lower_noise.size:
        slope = np.zeros(q)
        _edge_of_pixels(numbers[0], free, x, y, correlation, back, jacobian, covariance, extra, slope)
        bias += inverse @ slope
    return True


@njit(**_options)
def _edge_of_pixels(numbers, free, x, y, correlation, back, jacobian, covariance, extra, out):
    """Add to `out` (q,) the sum over pixels of Σ_k ∂_k (J e_k), k along x and y where they are free."""
    second, rate = np.zeros((N_NUMBERS, N_NUMBERS)), np.empty((x.size, 1))
    table = np.empty_like(correlation)
    for k in range(free.size):
        axis = free[k]
        if axis != X0 and axis != Y0:
            continue
        table[:] = 0.0
        if axis == X0:
            table[:, 1:-1] = 0.5 * (correlation[:, 2:] - correlation[:, :-2])
        else:
            table[1:-1] = 0.5 * (correlation[2:] - correlation[:-2])
        _correlated(x, y, table, back[:, k:k + 1].copy(), rate)
        for i in range(x.size):
            # Along x the model changes as against x0.
            _second(numbers, x[i], y[i], second)
            change = rate[i, 0]
            for r in range(free.size):
                change += second[axis, free[r]] * covariance[r, k]
            for r in range(free.size):
                out[r] += jacobian[i, r] * change - second[axis, free[r]] * extra[i, k]


@njit(**_options)
def _second_order(numbers, free, x, y, covariance, extra, back, inverse, bias):
    second, slope = np.zeros((N_NUMBERS, N_NUMBERS)), np.zeros(free.size)
    bias[:] = 0.0
    for k in range(numbers.shape[0]):
        for i in range(x.size):
            _second(numbers[k], x[i], y[i], second)
            trace = 0.0
            for p in range(free.size):
                if free[p] // N_NUMBERS != k:
                    continue
                for r in range(free.size):
                    if free[r] // N_NUMBERS == k:
                        element = second[free[p] % N_NUMBERS, free[r] % N_NUMBERS]
                        trace += element * covariance[p, r]
                        slope[r] += element * extra[i, p]
            for p in range(free.size):
                bias[p] -= 0.5 * trace * back[i, p]
    bias += inverse @ slope


@njit(**_options)
def _pixels_of_group(image, label, first, last, islands, ellipse, numbers, sign, most, out_x, out_y,
                     out_value):
    """As `select_pixels`, of every second, third … pixel where there are more than `most`; returns their number."""
    stride = 1
    while True:
        n = select_pixels(image, label, islands[first:last], ellipse[first:last],
                          numbers[first:last, X0:A], sign, stride, out_x[:most], out_y[:most],
                          out_value[:most])
        if n >= 0:
            return n
        stride += 1


@njit(**_options)
def _free_of_group(free, first, last, out):
    """Places of the free numbers among those of the components; their number."""
    n = 0
    for k in range(first, last):
        for j in range(N_NUMBERS):
            if free[k, j]:
                out[n] = N_NUMBERS * (k - first) + j
                n += 1
    return n


@njit(**_options)
def _whitening(x, y, correlation, ridge, noise, lower):
    """Cholesky triangle of the noise between pixels with a ridge, that grows until there is one.

    Measured in a small image, a correlation need not be positive definite.
    """
    noise_between(x, y, correlation, noise)
    more = ridge
    for i in range(x.size):
        noise[i, i] += more
    # Beyond as many pixels the diagonal outweighs any row of correlations.
    while not cholesky(noise, lower) and more <= 2.0 * x.size:
        for i in range(x.size):
            noise[i, i] += more
        more *= 2.0


@njit(**_options)
def fit_groups(image, label, islands, rms, sign, ellipse, reach, free, group_start,
               covariance_start, correlation, ridge, most, numbers, covariance, bias, status,
               chi_squared, n_pixels):
    """Fit every group of components that share pixels; `uvstack.extraction.gaussian_fit.fit_gaussians` says what the arguments are.

    numbers (n, 6) come in as starting values and go out fitted; covariance holds (6 n_g)² numbers
    for each group, from covariance_start on, and bias (n, 6) belongs to the numbers. ridge < 0 is
    least squares without weights.
    """
    x, y, value = np.empty(most), np.empty(most), np.empty(most)
    for g in range(group_start.size - 1):
        first, last = group_start[g], group_start[g + 1]
        unit = rms[first]
        n = _pixels_of_group(image, label, first, last, islands, ellipse, numbers, sign[first],
                             most, x, y, value)
        places = np.empty(N_NUMBERS * (last - first), np.int64)
        places = places[:_free_of_group(free, first, last, places)]
        n_pixels[first:last] = n
        lower = np.zeros((0, 0))
        if ridge >= 0.0 and n > places.size:
            noise, lower = np.empty((n, n)), np.zeros((n, n))
            _whitening(x[:n], y[:n], correlation, ridge, noise, lower)
        value[:n] /= unit
        now = numbers[first:last].copy()
        now[:, PEAK] *= sign[first] / unit
        end, chi = fit(now, places, x[:n], y[:n], value[:n], lower, reach[first])
        status[first:last], chi_squared[first:last] = end, chi
        if end > MOST_STEPS:
            continue
        found, shift = np.empty((places.size, places.size)), np.empty(places.size)
        if not covariance_and_bias(now, places, x[:n], y[:n], value[:n], lower, correlation, found,
                                   shift):
            status[first:last] = SINGULAR
            continue
        now[:, PEAK] *= sign[first] * unit
        numbers[first:last] = now
        wide = covariance[covariance_start[g]:covariance_start[g + 1]].reshape(
            N_NUMBERS * (last - first), N_NUMBERS * (last - first))
        for p in range(places.size):
            scale = sign[first] * unit if places[p] % N_NUMBERS == PEAK else 1.0
            bias[first + places[p] // N_NUMBERS, places[p] % N_NUMBERS] = shift[p] * scale
            for r in range(places.size):
                other = sign[first] * unit if places[r] % N_NUMBERS == PEAK else 1.0
                wide[places[p], places[r]] = found[p, r] * scale * other
