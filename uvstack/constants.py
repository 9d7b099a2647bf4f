"""Physical constants and the code numbers of the measurement-set format."""

#: Speed of light, m/s (exact, CODATA 2018).
SPEED_OF_LIGHT = 299_792_458.0

#: Boltzmann's constant, J/K (exact, SI of 2019), and 1 Jy in W m⁻² Hz⁻¹.
BOLTZMANN, JANSKY = 1.380649e-23, 1e-26

#: One arcsecond and one arcminute, rad.
ARCSEC, ARCMIN = 3.141592653589793 / 648000, 3.141592653589793 / 10800

#: Correlation products by their code in POLARIZATION::CORR_TYPE (casacore `Stokes`).
CORRELATIONS = {1: "I", 2: "Q", 3: "U", 4: "V", 5: "RR", 6: "RL", 7: "LR", 8: "LL", 9: "XX",
                10: "XY", 11: "YX", 12: "YY"}

#: The products whose mean is Stokes I of an unpolarised source.
PARALLEL_HANDS = frozenset({1, 5, 8, 9, 12})
