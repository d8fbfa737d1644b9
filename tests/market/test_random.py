import math

import numpy as np
import pytest

from hftgym.market.compile import kernel
from hftgym.market.lane import unpack
from hftgym.market.layout import Params, pack
from hftgym.market.random import STREAM_TICK, exp, log, normal_pair, philox, sincos_turns, tick_block, uniform
from hftgym.market.step import draw
from hftgym.params import EnvParams
from tests.reference.twin import philox4x32

# Known answers of the authors' Random123 distribution for philox4x32-10: counter, key, block.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
N = 400_000
STREAM = STREAM_TICK


@kernel
def blocks(seed, episode, count):
    out = np.empty((4, count))
    for i in range(count):
        a, b, c, d = tick_block(float(seed), 0.0, float(episode), float(i), STREAM)
        out[0, i], out[1, i] = normal_pair(a, b)
        out[2, i], out[3, i] = uniform(c), uniform(d)
    return out


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, answer):
    words = philox(*(np.uint64(x) for x in counter), *(np.uint64(x) for x in key))
    assert tuple(int(w) for w in words) == answer
    assert tuple(philox4x32(counter, key)) == answer


def test_logarithm_is_exact_to_rounding():
    x = np.concatenate([10.0 ** np.linspace(-300, 300, 2001), np.linspace(0.5, 2, 2001), [2**-33, 1 - 2**-33]])
    ours = np.array([log(v) for v in x])
    expected = np.array([math.log(v) for v in x])
    np.testing.assert_allclose(ours, expected, rtol=4e-16, atol=2e-16)


def test_exponential_is_exact_to_rounding():
    x = np.concatenate([np.linspace(-700, 700, 4001), np.linspace(-1, 1, 2001), [0.0]])
    np.testing.assert_allclose([exp(v) for v in x], np.exp(x), rtol=5e-16)
    assert exp(0.0) == 1.0
    assert exp(-1e9) == 0.0
    assert exp(1e9) == exp(700.0)


def test_sine_and_cosine_of_turns_are_exact_to_rounding():
    turns = np.concatenate([np.arange(0, 1, 1 / 4096), np.random.default_rng(0).random(2000)])
    ours = np.array([sincos_turns(v) for v in turns])
    # Reduce in exact arithmetic first: 2 pi v loses digits that the kernel keeps.
    expected = np.array([(math.sin(2 * math.pi * v), math.cos(2 * math.pi * v)) for v in turns])
    np.testing.assert_allclose(ours, expected, atol=2e-15)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_draws_are_standard_normal_and_uniform(seed):
    z1, z2, u1, u2 = blocks(seed, 0, N)
    for z in (z1, z2):
        assert abs(z.mean()) < 4 / math.sqrt(N)
        assert abs(z.var() - 1) < 4 * math.sqrt(2 / N)
        assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / N)
        assert np.abs(z).max() < 6.77
    for u in (u1, u2):
        assert u.min() > 0
        assert u.max() < 1
        counts = np.bincount((u * 100).astype(int), minlength=100)
        chi2 = ((counts - N / 100) ** 2 / (N / 100)).sum()
        assert abs(chi2 - 99) < 4 * math.sqrt(2 * 99)


@pytest.mark.parametrize("seed", [0, 1])
def test_price_noise_and_both_flows_are_independent(seed):
    """A known simulator draws arrivals and fills from one stream at seed 0, which doubles its profit."""
    draws = blocks(seed, 0, N)
    for transform in (lambda x: x, np.abs, lambda x: x > np.median(x, axis=1, keepdims=True)):
        correlation = np.corrcoef(transform(draws))
        assert np.abs(correlation - np.eye(4)).max() < 4.5 / math.sqrt(N)


def test_neighbouring_seeds_episodes_and_ticks_are_independent():
    base = blocks(0, 0, N)
    for other in (blocks(1, 0, N), blocks(0, 1, N), np.roll(base, 1, axis=1)):
        correlation = np.corrcoef(base, other)[:4, 4:]
        assert np.abs(correlation).max() < 4.5 / math.sqrt(N)


def test_draws_depend_on_the_whole_seed():
    p = unpack_params(EnvParams())
    low = draw(7.0, 0.0, 0.0, 0.0, 0.0, 0.0, p)
    assert low != draw(7.0, 1.0, 0.0, 0.0, 0.0, 0.0, p)
    assert low != draw(8.0, 0.0, 0.0, 0.0, 0.0, 0.0, p)
    assert low == draw(7.0, 0.0, 0.0, 0.0, 0.0, 0.0, p)


def unpack_params(params) -> Params:
    return unpack(pack(params))
