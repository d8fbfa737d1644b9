"""Random numbers by counter: Philox4x32-10, and normals and uniforms from its words.

There is no generator to store. Every draw is a function of (seed, episode, tick, stream): an environment's numbers do
not depend on how many others run beside it, on threads, or on what was drawn before.

The elementary functions are branch-free polynomials, because calls into libm would stop LLVM from vectorising.
"""

import math

import numpy as np

from hftgym.market.compile import formula

# Philox4x32-10: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), multipliers and Weyl
# constants of its table 2. Words are kept in uint64, so that the 32x32-bit products are plain multiplications.
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)

# What a block is drawn for. Different uses never share a block.
STREAM_TICK = np.uint64(0)
STREAM_HIDDEN = np.uint64(1)  # jumps, regimes, hidden drift
STREAM_MORE = np.uint64(2)  # volatility, sizes of market orders
STREAM_LATENCY = np.uint64(4)
STREAM_START = np.uint64(3)  # the hidden state that an episode starts in

_MANTISSA = np.uint64(0x000FFFFFFFFFFFFF)
_ONE_BITS = np.uint64(0x3FF0000000000000)
_SQRT_HALF_BITS = np.uint64(0x3FE6A09E667F3BCD)
_52 = np.uint64(52)
_1023 = np.int64(1023)
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


@formula
def philox(c0, c1, c2, c3, k0, k1):
    """Return the four 32-bit words (as uint64) of the Philox4x32-10 block at counter (c0..c3) under key (k0, k1)."""
    for _ in range(10):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0 = (p1 >> _32) ^ c1 ^ k0
        c1 = p1 & _LOW
        c2 = (p0 >> _32) ^ c3 ^ k1
        c3 = p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@formula
def tick_block(seed_low, seed_high, episode, tick, stream):
    """Return the four words of one tick and use; all but the stream are floats that hold integers below 2^32."""
    return philox(
        np.uint64(np.int64(tick)),
        np.uint64(np.int64(episode)),
        stream,
        np.uint64(0),
        np.uint64(np.int64(seed_low)),
        np.uint64(np.int64(seed_high)),
    )


@formula
def uniform(word):
    """Return a uniform in (0, 1), never an end, with a resolution of 2^-32."""
    return (np.float64(np.int64(word)) + 0.5) * 2.0**-32


@formula
def log(x):
    """Return ln(x) for a positive normal x, to 1 ulp: fdlibm's e_log scheme, without its branches."""
    bits = np.float64(x).view(np.uint64)
    # Split x = 2^k (1 + f) with 1 + f between sqrt(1/2) and sqrt(2), by integer arithmetic on the bits.
    shifted = bits + (_ONE_BITS - _SQRT_HALF_BITS)
    k = np.float64(np.int64(shifted >> _52) - _1023)
    mantissa = (shifted & _MANTISSA) + _SQRT_HALF_BITS
    f = np.uint64(mantissa).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    odd = z * (
        6.666666666666735130e-01
        + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    return k * _LN2_HIGH - ((half - (s * (half + (even + odd)) + k * _LN2_LOW)) - f)


@formula
def exp(x):
    """Return e^x to 2 ulp, 0 below -700 and e^700 above 700: a Taylor polynomial between powers of two."""
    x = x if x < 700.0 else 700.0
    tiny = x < -700.0
    x = -700.0 if tiny else x
    n = math.floor(x * 1.4426950408889634 + 0.5)
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    power = np.uint64((np.int64(n) + _1023) << np.int64(52)).view(np.float64)
    return 0.0 if tiny else p * power


@formula
def sincos_turns(v):
    """Return (sin, cos) of 2 pi v for v in [0, 1), to 1e-15: fdlibm's kernel polynomials on an eighth of a turn."""
    q = math.floor(4.0 * v + 0.5)
    r = (v - 0.25 * q) * (2.0 * math.pi)
    z = r * r
    sin = r + r * z * (
        -1.66666666666666324348e-01
        + z
        * (
            8.33333333332248946124e-03
            + z
            * (
                -1.98412698298579493134e-04
                + z * (2.75573137070700676789e-06 + z * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10))
            )
        )
    )
    cos = (
        1.0
        - 0.5 * z
        + z
        * z
        * (
            4.16666666666666019037e-02
            + z
            * (
                -1.38888888888741095749e-03
                + z
                * (
                    2.48015872894767294178e-05
                    + z
                    * (-2.75573143513906633035e-07 + z * (2.08757232129817482790e-09 + z * -1.13596475577881948265e-11))
                )
            )
        )
    )
    # q = 0..4 quarter turns: odd ones swap sine and cosine, and the signs follow.
    odd = (q == 1.0) | (q == 3.0)
    s = cos if odd else sin
    c = sin if odd else cos
    return (-s if (q == 2.0) | (q == 3.0) else s), (-c if (q == 1.0) | (q == 2.0) else c)


@formula
def normal_pair(word_a, word_b):
    """Return two independent standard normals from two words (Box & Muller 1958); none exceeds 6.77 in size."""
    radius = math.sqrt(-2.0 * log(uniform(word_a)))
    sin, cos = sincos_turns(np.float64(np.int64(word_b)) * 2.0**-32)
    return radius * cos, radius * sin
