"""Numba kernels for the radial profiles of model sources in the uv plane.

Numbers and arrays in, results last; no checks.

A source of unit flux and of circular shape has a real transform f(x) with x = π θ q: θ is its size
(`major`) in radians and q the uv distance in wavelengths, taken along axes that are scaled by the
ratio and turned by the position angle. `profile` gives f and its derivatives; every profile is even
in x, so that a size that turns negative in a fit does no harm.

Bessel functions are polynomials in x² up to 8 and the asymptotic form with polynomials in 1/x²
beyond; K0 and K1 are the logarithmic form up to 2 and e^(−x)/√x times polynomials in 1/x beyond.
All were interpolated at Chebyshev nodes to values of 50 digits. They stand in the variable that
runs over −1 … 1, where rounding of the terms is least.

The Gaussian ring I ∝ exp(−(r−R)²/2σ²) has no closed form. With a = R/σ = x/b, b = 2πσq and t = r/σ,

    f = (1/N) ∫₀^∞ t e^(−(t−a)²/2) J0(bt) dt,     N = e^(−a²/2) + a G,  G = √(π/2) (1 + erf(a/√2)).

Three methods, each good to 1e-13, cover all a and b. Where b ≥ 8.2 the Gaussian in b is below
1e-14, and what remains is the cusp of the brightness at r = 0: the asymptotic series Σ
(−1)^((n+1)/2) (n!!)²/n! He_n(a) e^(−a²/2) b^(−n−2) over odd n. Where a ≥ 8 the cut at r = 0 does
not matter and the trapezoidal rule over the whole line converges as e^(−(2π/h − b)²/2). All else is
Gauss–Legendre quadrature. Derivatives are integrals on the same nodes, in a form in which nothing
cancels for small b.
"""

import math

import numpy as np
from numba import njit

# The codes are those of UVMultiFit.
DELTA, GAUSSIAN, DISC, RING, SPHERE, BUBBLE, EXPO, POWER_2, POWER_3, GAUSSIAN_RING = range(10)

# In s = x²/32 − 1, 0 ≤ x ≤ 8: (1 − J0)/x², J1/x and J2/x².
_C0 = (0.02981782297313082, -0.058889736951126367, 0.079154402047600844, -0.053901626807922683,
       0.021452268647181827, -0.0055938922144646516, 0.0010317406967227629, -0.00014196824011033483,
       1.5153271721672664e-5, -1.2924617003249572e-6, 9.0174213564804446e-8, -5.2444788622170719e-9,
       2.5826514583740635e-10, -1.0958916282500282e-11, 4.0122349774001931e-13)
_J1 = (-0.05814382795599107, 0.081058660385897955, 0.15151665143806637, -0.25959486528593027,
       0.15858376432721839, -0.054745818212847249, 0.012456814392263375, -0.0020290394945704575,
       0.00024949458135972766, -2.4045748660034788e-5, 1.8684526037182737e-6,
       -1.1967081822341049e-7, 6.4311901789585704e-9, -2.943016833829492e-10,
       1.1658971884036516e-11, -4.0037632815796752e-13)
_J2 = (-0.0050661662741186222, -0.018939581429758302, 0.048674037241111925, -0.039645941081804432,
       0.017108068191514762, -0.004671305397100254, 0.00088770477887460919, -0.00012474729067419356,
       1.3525733621134382e-5, -1.1677828877196472e-6, 8.2273687782526201e-8, -4.8233835614244275e-9,
       2.3911989259159909e-10, -1.0204624708709984e-11, 3.7542870399268553e-13)
# In s = 128/x² − 1, x ≥ 8: P and x Q of J + iY = √(2/πx) e^(iχ) (P + iQ), χ = x − (2ν + 1) π/4.
_P0 = (0.99945727578825195, -0.00053636731921404334, 6.137416080485309e-6, -2.052744609259914e-7,
       1.2803754179834385e-8, -1.2122319275139989e-9, 1.5504597197599843e-10,
       -2.4631193427474074e-11, 4.6950908927839579e-12, -1.2969352268199891e-12,
       3.3715266679787026e-13)
_Q0 = (-0.12444091103610815, 0.00054665192795548935, -1.1817110663806731e-5, 5.6849703009946071e-7,
    -4.5349676623467621e-8, 5.1471008668155741e-9, -7.5791662925569951e-10, 1.3432080919291522e-10,
    -2.8087903500440922e-11, 8.7083351986103815e-12, -2.4301852588012706e-12)
_P1 = (1.0009070262780822, 0.00089880494167166506, -7.9596946988372053e-6, 2.4536764022725564e-7,
    -1.4708505282683516e-8, 1.3604270469793975e-9, -1.7135355304623533e-10, 2.6935859497280778e-11,
    -5.0935811696161999e-12, 1.3951041528127421e-12, -3.6086055475775019e-13)
_Q1 = (0.37421499221959182, -0.00076971670577283703, 1.4569614812613674e-5, -6.6335668802107312e-7,
    5.136100511032587e-8, -5.7218152995376318e-9, 8.3190839676235671e-10, -1.4612977115507984e-10,
    3.0346848274580142e-11, -9.3347203954476576e-12, 2.5933903474297752e-12)
# In s = x²/2 − 1, 0 ≤ x ≤ 2: I0, I1/x, K0 + ln(x/2) I0 and x (K1 − ln(x/2) I1).
_I0 = (1.5660829297563505, 0.63586172815606856, 0.073589868361053349, 0.0039285651056368085,
       0.0001198206858163441, 2.3575789878936868e-6, 3.2362273523765518e-8, 3.2732478453335283e-10,
       2.5398791969620096e-12, 1.5591642386233992e-14)
_I1 = (0.63586172815606856, 0.14717973672210671, 0.011785695316910425, 0.00047928274326513388,
       1.1787894939469931e-5, 1.9417364216117139e-7, 2.2912734889380461e-9, 2.0317481454626292e-11,
       1.4032637886164458e-13, 7.7606122598826852e-16)
_K0_NEAR = (-0.30362077291575547, 0.34049732101338059, 0.071777010342405096, 0.0050533926431960923,
            0.0001828055582791554, 4.0545066199495613e-6, 6.0933618941721488e-8,
            6.6230132771902778e-10, 5.4525646625978113e-12, 3.5186119788469524e-14)
_K1_NEAR = (0.88508828772958935, -0.33224095524031308, -0.2438385288677433, -0.027854235219771845,
    -0.0013831688466181161, -3.8918690643709185e-5, -7.0811336915174905e-7, -9.0321275112696016e-9,
    -8.5336341681612103e-11, -6.2142292665451797e-13)
# √x e^x K in s = 8/x − 3, 2 ≤ x ≤ 4, and in s = 8/x − 1, x ≥ 4.
_K0_MIDDLE = (1.2037634037320846, -0.014177617202758266, 0.00060926264042581618,
              -4.1093873295530038e-5, 3.5526256758468465e-6, -3.6122306518338765e-7,
              4.126164332786869e-8, -5.149990925980986e-9, 6.8956423036690092e-10,
              -9.7521061937007643e-11, 1.4505079697967313e-11, -2.462953204691519e-12,
              3.977124393503175e-13)
_K1_MIDDLE = (1.4135192225787472, 0.049136920343868659, -0.0011596017017252666,
              6.512120124358752e-5, -5.1338295575078293e-6, 4.9332891773152823e-7,
              -5.4220156505845906e-8, 6.5790748388810852e-9, -8.6202848989994788e-10,
              1.1984219947617936e-10, -1.757544841420876e-11, 2.9441911017393842e-12,
              -4.707426764720981e-13)
_K0_FAR = (1.2349563891012865, -0.017261650748906996, 0.00098530810250504381,
           -9.5601652543656795e-5, 1.2627785520034868e-5, -2.0573580694430465e-6,
           3.9146395721273791e-7, -8.4069746705112573e-8, 1.9911272819535666e-8,
           -5.1107762431614679e-9, 1.4062853529412308e-9, -4.19579783016054e-10,
           1.2984135692373405e-10, -3.2481551507449066e-11, 1.0423482143419516e-11,
           -8.9504538691702491e-12, 3.3535992142132631e-12)
_K1_FAR = (1.3099834570765035, 0.054775184736515459, -0.0017328662249534893, 0.00014094467960101996,
           -1.7066764298613519e-5, 2.6390860900954725e-6, -4.8486693181346321e-7,
           1.0153450104106562e-7, -2.3592783156912078e-8, 5.9659273433037121e-9,
           -1.6218380698175898e-9, 4.7865945871474976e-10, -1.4686540582430048e-10,
           3.6740881353609275e-11, -1.1724635985541903e-11, 9.8855333627604959e-12,
           -3.6871678533874385e-12)

_GAUSSIAN_SCALE = 1.0 / (4.0 * math.log(2.0))
_EXPO_SCALE = 1.0 / math.log(2.0) ** 2
# Brightness (1 + (2^(2/3) − 1) r²/r0²)^(−3/2) transforms to e^(−k) with k = 2π q r0 / √(2^(2/3) −
# 1).
_POWER_3_SCALE = 1.0 / math.sqrt(2.0 ** (2.0 / 3.0) - 1.0)
# 2π ∫₀^r0 r dr/(r² + r0²) = π ln 2 is the flux inside the radius of half the peak; all of it
# transforms to 2π K0(x).
_POWER_2_SCALE = 2.0 / math.log(2.0)

# π/2 in three parts, the first two of 33 bits, so that products with whole numbers up to 2^20 are
# exact.
_QUARTER_0, _QUARTER_1, _QUARTER_2 = 1.5707963267341256, 6.0771005063039660e-11, 2.0222662487959506e-21
_LARGEST_REDUCED = 1.6e6
# The series of sin r/r and cos r from their second and third term on; |r| ≤ π/4.
_SIN = tuple((-1.0) ** (k + 1) / math.factorial(2 * k + 3) for k in range(7))
_COS = tuple((-1.0) ** k / math.factorial(2 * k + 4) for k in range(7))
# Spheres below x = 2, in x²: 3 (sin x − x cos x)/x³ and −1/x times its derivative.
_SPHERE_SERIES = tuple((-1.0) ** k * 6 * (k + 1) / math.factorial(2 * k + 3) for k in range(11))
_SPHERE_SLOPE_SERIES = tuple((-1.0) ** k * 12 * (k + 1) * (k + 2) / math.factorial(2 * k + 5)
                             for k in range(11))

#: From here on b = 2πσq leaves e^(−b²/2) < 1e-14 of a Gaussian ring.
_RING_TAIL = 8.2
#: From here on a = R/σ leaves e^(−a²/2) < 1e-13 at r = 0; also where the trapezoidal rule ends.
_RING_THIN = 8.0
_NODES = tuple(np.polynomial.legendre.leggauss(n) for n in (44, 56, 76))
(_NODE_0, _WEIGHT_0), (_NODE_1, _WEIGHT_1), (_NODE_2, _WEIGHT_2) = _NODES

# No nnan: not-a-number must come through. Division by zero is tested for where it can happen.
_options = {"nogil": True, "cache": True, "fastmath": {"contract", "nsz", "arcp"},
            "error_model": "numpy"}


@njit(inline="always", **_options)
def _polynomial(c, s):
    """Σ c_i s^i as an even and an odd half, which takes half the time of one chain."""
    z = s * s
    even = 0.0
    odd = 0.0
    for i in range((len(c) - 1) // 2, -1, -1):
        even = even * z + c[2 * i]
    for i in range(len(c) // 2 - 1, -1, -1):
        odd = odd * z + c[2 * i + 1]
    return even + s * odd


@njit(**_options)
def _sin_cos(x):
    """sin x and cos x for x ≥ 0, to 2e-16: the library's two functions cost three times as much."""
    if not x < _LARGEST_REDUCED:
        return math.sin(x), math.cos(x)
    quarter = math.floor(x * (2.0 / math.pi) + 0.5)
    r = ((x - quarter * _QUARTER_0) - quarter * _QUARTER_1) - quarter * _QUARTER_2
    z = r * r
    s = r + r * z * _polynomial(_SIN, z)
    c = 1.0 - 0.5 * z + z * z * _polynomial(_COS, z)
    n = int(quarter)
    sin, cos = (c, s) if n & 1 else (s, c)
    return -sin if n & 2 else sin, -cos if (n + 1) & 2 else cos


@njit(**_options)
def _bessel_far(x):
    """J0 and J1 for x ≥ 8."""
    inverse = 1.0 / x
    s = 128.0 * inverse * inverse - 1.0
    sin, cos = _sin_cos(x)
    scale = math.sqrt(inverse / math.pi)
    plus, minus = (sin + cos) * scale, (sin - cos) * scale
    j0 = _polynomial(_P0, s) * plus - _polynomial(_Q0, s) * inverse * minus
    j1 = _polynomial(_P1, s) * minus + _polynomial(_Q1, s) * inverse * plus
    return j0, j1


@njit(**_options)
def _bessel_less_one(x):
    """J0 − 1 and J1/x for x ≥ 0, without cancellation for small x."""
    if x < 8.0:
        square = x * x
        s = square / 32.0 - 1.0
        return -square * _polynomial(_C0, s), _polynomial(_J1, s)
    j0, j1 = _bessel_far(x)
    return j0 - 1.0, j1 / x


@njit(**_options)
def bessel_j01(x: float) -> tuple[float, float]:
    """J0 and J1 for x ≥ 0, to 1e-15."""
    if x < 8.0:
        less_one, ratio = _bessel_less_one(x)
        return 1.0 + less_one, x * ratio
    return _bessel_far(x)


@njit(**_options)
def bessel_k01(x: float) -> tuple[float, float]:
    """K0 and K1 for x > 0, to a relative 1e-14; infinite at x = 0."""
    if x == 0.0:
        return math.inf, math.inf
    if x < 2.0:
        s = 0.5 * x * x - 1.0
        log = math.log(0.5 * x)
        k0 = _polynomial(_K0_NEAR, s) - log * _polynomial(_I0, s)
        k1 = _polynomial(_K1_NEAR, s) / x + log * x * _polynomial(_I1, s)
        return k0, k1
    scale = math.exp(-x) / math.sqrt(x)
    if x < 4.0:
        s = 8.0 / x - 3.0
        return scale * _polynomial(_K0_MIDDLE, s), scale * _polynomial(_K1_MIDDLE, s)
    s = 8.0 / x - 1.0
    return scale * _polynomial(_K0_FAR, s), scale * _polynomial(_K1_FAR, s)


@njit(**_options)
def _disc(x):
    """2 J1(x)/x and −2 J2(x)/x."""
    if x < 8.0:
        s = x * x / 32.0 - 1.0
        return 2.0 * _polynomial(_J1, s), -2.0 * x * _polynomial(_J2, s)
    j0, j1 = _bessel_far(x)
    f = 2.0 * j1 / x
    return f, 2.0 * (j0 - f) / x


@njit(**_options)
def _sphere(x):
    """3 (sin x − x cos x)/x³ and its derivative, −3 j2(x)/x."""
    if x < 2.0:
        z = x * x
        return _polynomial(_SPHERE_SERIES, z), -x * _polynomial(_SPHERE_SLOPE_SERIES, z)
    sin, cos = _sin_cos(x)
    inverse = 1.0 / x
    f = 3.0 * (sin * inverse - cos) * inverse * inverse
    return f, 3.0 * (sin * inverse - f) * inverse


@njit(**_options)
def _bubble(x):
    """sin x/x and its derivative, −x/3 times the sphere."""
    sin, cos = _sin_cos(x)
    if x < 2.0:
        return sin / x if x > 0.0 else 1.0, -x / 3.0 * _polynomial(_SPHERE_SERIES, x * x)
    inverse = 1.0 / x
    f = sin * inverse
    return f, (cos - f) * inverse


@njit(**_options)
def _ring_tail(a, b):
    """Gaussian ring and its derivatives by x and y where b ≥ 8.2: what the cusp at r = 0 leaves."""
    if a > _RING_THIN:
        return 0.0, 0.0, 0.0
    edge = math.exp(-0.5 * a * a)
    slope = math.sqrt(math.pi / 2.0) * (1.0 + math.erf(a / math.sqrt(2.0)))
    norm = edge + a * slope
    inverse = 1.0 / b
    # low = He_(n−1)/b^(n−1), high = He_n/b^n; the series is asymptotic: its terms fall until n is
    # b², 67 or more.
    low, high, factor, sign = 1.0, a * inverse, 1.0, -1.0
    f, by_a, by_b = 0.0, 0.0, 0.0
    for n in range(1, 67, 2):
        next_one = (a * high - n * low * inverse) * inverse
        f += sign * factor * high
        by_a -= sign * factor * next_one * b
        by_b -= sign * factor * high * (n + 2) * inverse
        if factor * n * edge * (abs(high) + abs(next_one) * b) < 1e-18:
            break
        low = next_one
        high = (a * next_one - (n + 1) * high * inverse) * inverse
        factor *= (n + 2) / (n + 1)
        sign = -sign
    scale = edge * inverse * inverse / norm
    f *= scale
    df_dx = (by_a * scale - f * slope / norm) * inverse
    return f, df_dx, 2.0 * (by_b * scale - a * df_dx)


@njit(**_options)
def _ring_thin(x, b):
    """Gaussian ring where R ≥ 8σ: means over a normal z of Bessel functions of x + bz."""
    step = 2.0 * math.pi / (_RING_THIN + b)
    n = int(_RING_THIN / step) + 1
    s = b / x
    mean_0, mean_1, mean_d, mean_zd, total = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(-n, n + 1):
        z = i * step
        weight = math.exp(-0.5 * z * z)
        u = max(x + b * z, 0.0)
        less_one, ratio = _bessel_less_one(u)
        derivative = less_one + 1.0 - ratio
        total += weight
        mean_0 += weight * less_one
        mean_1 += weight * u * ratio
        mean_d += weight * derivative
        mean_zd += weight * z * derivative
    scale = 1.0 / total
    mean_1 *= scale
    mean_d *= scale
    f = 1.0 + mean_0 * scale - s * b * mean_1
    df_dx = s * s * mean_1 - mean_1 - s * b * mean_d
    by_b = -b * mean_d - 2.0 * s * mean_1 - s * b * mean_zd * scale
    return f, df_dx, 2.0 * by_b


@njit(**_options)
def _ring_nodes(phase):
    """Nodes and weights on −1 … 1 for an integrand with that many radians of J0, at most 133: error 3e-14 (measured)."""
    if phase < 32.0:
        return _NODE_0, _WEIGHT_0
    if phase < 64.0:
        return _NODE_1, _WEIGHT_1
    return _NODE_2, _WEIGHT_2


@njit(**_options)
def _ring_thick(a, b):
    """Gaussian ring where R < 8σ and b < 8.2."""
    half = 0.5 * (a + _RING_TAIL)
    node, weight = _ring_nodes(2.0 * half * b)
    flux, by_a, by_b = 0.0, 0.0, 0.0
    for i in range(node.size):
        t = half * (1.0 + node[i])
        u = b * t
        phi = weight[i] * half * math.exp(-0.5 * (t - a) ** 2)
        less_one, ratio = _bessel_less_one(u)
        flux += t * phi * less_one
        by_a += phi * (less_one - u * u * ratio)
        by_b -= t * t * phi * u * ratio
    slope = math.sqrt(math.pi / 2.0) * (1.0 + math.erf(a / math.sqrt(2.0)))
    norm = math.exp(-0.5 * a * a) + a * slope
    flux /= norm
    df_dx = (by_a - flux * slope) / (norm * b)
    return 1.0 + flux, df_dx, 2.0 * (by_b / norm - a * df_dx)


@njit(**_options)
def _gaussian_ring(x, y):
    """Transform of exp(−(r−R)²/2σ²) at x = 2πRq and y = πσq, with its derivatives."""
    b = 2.0 * y
    if not (math.isfinite(x) and math.isfinite(b)):
        return math.nan, math.nan, math.nan
    if b == 0.0:
        j0, j1 = bessel_j01(x)
        return j0, -j1, 0.0
    if b >= _RING_TAIL:
        return _ring_tail(x / b, b)
    if x >= _RING_THIN * b:
        return _ring_thin(x, b)
    return _ring_thick(x / b, b)


@njit(**_options)
def _profile(code, x, extra):
    """`profile` for x ≥ 0 and extra ≥ 0."""
    if code == GAUSSIAN:
        f = math.exp(-_GAUSSIAN_SCALE * x * x)
        return f, -2.0 * _GAUSSIAN_SCALE * x * f, 0.0
    if code == DISC:
        f, df_dx = _disc(x)
        return f, df_dx, 0.0
    if code == RING:
        j0, j1 = bessel_j01(x)
        return j0, -j1, 0.0
    if code == SPHERE:
        f, df_dx = _sphere(x)
        return f, df_dx, 0.0
    if code == BUBBLE:
        f, df_dx = _bubble(x)
        return f, df_dx, 0.0
    if code == EXPO:
        inverse = 1.0 / (1.0 + _EXPO_SCALE * x * x)
        f = inverse * math.sqrt(inverse)
        return f, -3.0 * _EXPO_SCALE * x * inverse * f, 0.0
    if code == POWER_2:
        k0, k1 = bessel_k01(x)
        return _POWER_2_SCALE * k0, -_POWER_2_SCALE * k1, 0.0
    if code == POWER_3:
        f = math.exp(-_POWER_3_SCALE * x)
        return f, -_POWER_3_SCALE * f, 0.0
    if code == GAUSSIAN_RING:
        return _gaussian_ring(x, extra)
    # A delta is 1 everywhere, but where its argument is not a number.
    return 1.0 + 0.0 * x, 0.0 * x, 0.0


@njit(**_options)
def profile(code: int, x: float, extra: float) -> tuple[float, float, float]:
    """Transform f of a source of unit flux, df/dx and df/dextra, to 1e-12 of 1.

    code is one of the ten above. x = π · major · q, any finite number; even in x. extra is πσq for
    a Gaussian ring, with σ in rad, and is not looked at for the others; even in it too. NaN gives
    NaN. At x = 0 POWER_2 is infinite.
    """
    f, df_dx, df_dextra = _profile(code, abs(x), abs(extra))
    return f, df_dx if x >= 0.0 else -df_dx, df_dextra if extra >= 0.0 else -df_dextra


@njit(**_options)
def profiles(code: int, x: np.ndarray, extra: np.ndarray, f: np.ndarray, df_dx: np.ndarray,
             df_dextra: np.ndarray) -> None:
    """`profile` at all of x (n,) and extra (n,) into f, df_dx and df_dextra (n,)."""
    for i in range(x.size):
        f[i], df_dx[i], df_dextra[i] = profile(code, x[i], extra[i])
