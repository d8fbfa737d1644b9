"""The contract: what every policy accepts and returns, and offsets that come back from the market's action map."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym import policies
from hftgym.market.layout import Params, pack
from hftgym.market.matching import quote
from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.params import EnvParams
from hftgym.policies import (
    AvellanedaStoikovPolicy,
    FixedSpreadPolicy,
    LinearSkewPolicy,
    OptimalPolicy,
    RandomPolicy,
    ZScorePolicy,
)
from hftgym.policies.base import (
    CROSS,
    WITHDRAW,
    action_of_offset,
    action_of_quote,
    feature,
    quote_of_action,
    ticks_left,
    units_held,
)

SMALL = EnvParams(horizon=20, inventory_limit=3)
ALL = {
    "avellaneda-stoikov": lambda: AvellanedaStoikovPolicy(SMALL),
    "avellaneda-stoikov, constant spread": lambda: AvellanedaStoikovPolicy(SMALL, time_term=False),
    "fixed": lambda: FixedSpreadPolicy(params=SMALL),
    "linear": lambda: LinearSkewPolicy(params=SMALL),
    "optimal": lambda: OptimalPolicy(SMALL),
    "random": lambda: RandomPolicy(seed=3),
    "z-score": lambda: ZScorePolicy(),
}
RANGES = st.tuples(st.floats(-1.0, 20.0), st.floats(0.01, 100.0)).map(lambda r: (r[0], r[0] + r[1]))


@pytest.fixture(params=ALL)
def make(request):
    return ALL[request.param]


@pytest.fixture
def observations():
    return np.random.default_rng(0).uniform(-1, 1, (40, N_FEATURES)).astype(np.float32)


def test_a_batch_is_its_single_observations(make, observations):
    batch, _ = make().predict(observations)
    alone = make()
    singles = [alone.predict(observation)[0] for observation in observations]
    assert np.array_equal(batch, np.stack(singles))


def test_actions_are_float32_pairs_inside_the_box(make, observations):
    batch, _ = make().predict(observations)
    single, _ = make().predict(observations[0])
    nothing, _ = make().predict(observations[:0])
    assert (batch.shape, single.shape, nothing.shape) == ((40, 2), (2,), (0, 2))
    assert batch.dtype == single.dtype == np.float32
    assert np.abs(batch).max() <= 1.0


def test_the_state_is_handed_back(make, observations):
    state = (np.ones(3),)
    assert make().predict(observations, state, np.ones(40, dtype=bool), deterministic=False)[1] is state
    assert make().predict(observations)[1] is None


@pytest.mark.parametrize("shape", [(), (7,), (9,), (3, 7), (2, 3, 8)])
def test_another_shape_is_refused(make, shape):
    with pytest.raises(ValueError, match=r"observation must have the shape \(8,\) or \(N, 8\), got"):
        make().predict(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_observation_that_is_not_finite_is_refused_by_feature_name(make, observations, bad):
    observations[5, FEATURE_NAMES.index("momentum")] = bad
    with pytest.raises(ValueError, match="observation must be finite, got a NaN or an infinity in momentum"):
        make().predict(observations)
    with pytest.raises(ValueError, match="in momentum"):
        make().predict(observations[5])


def test_features_are_read_by_name(observations):
    for i, name in enumerate(FEATURE_NAMES):
        assert np.array_equal(feature(observations, name), observations[:, i])
    with pytest.raises(ValueError, match=r"feature must be one of inventory, .*, got 'price'"):
        feature(observations, "price")


def test_inventory_and_time_come_back_in_units_and_ticks():
    inventory, tick = np.meshgrid(np.arange(-3, 4), np.arange(21))
    observations = np.zeros((inventory.size, N_FEATURES), dtype=np.float32)
    observations[:, FEATURE_NAMES.index("inventory")] = inventory.ravel() / 3
    observations[:, FEATURE_NAMES.index("time_left")] = 1 - 2 * tick.ravel() / 20
    assert units_held(observations, SMALL) == pytest.approx(inventory.ravel(), abs=1e-6)
    assert ticks_left(observations, SMALL) == pytest.approx(20 - tick.ravel(), abs=1e-5)


@settings(deadline=None)  # the first example compiles the formula
@given(ends=RANGES, share=st.floats(0.0, 1.0), side=st.sampled_from([1.0, -1.0]))
def test_the_market_rests_the_quote_where_the_offset_says(ends, share, side):
    params = EnvParams(offset_low=ends[0], offset_high=ends[1])
    offset = ends[0] + share * (ends[1] - ends[0])
    mid, half_spread = 100.0, 0.025
    action = action_of_offset(offset, params)
    price = quote(float(action), side, mid, half_spread, Params._make(pack(params)))
    assert action.dtype == np.float32
    # Half the spacing of float32 just below 1 is 3e-8, the nearest number inside the ends is 6e-8 away.
    tolerance = 6e-8 * (ends[1] - ends[0]) + 1e-12 * (1 + offset)
    assert side * (mid - price) / half_spread == pytest.approx(offset, abs=tolerance)


@given(ends=RANGES, offset=st.floats(allow_nan=False))
def test_limiting_an_offset_never_crosses_or_withdraws(ends, offset):
    params = EnvParams(offset_low=ends[0], offset_high=ends[1])
    action = float(action_of_offset(offset, params))
    assert CROSS < action < WITHDRAW
    price = quote(action, 1.0, 100.0, 0.025, Params._make(pack(params)))
    low, high = 100.0 - ends[1] * 0.025, 100.0 - ends[0] * 0.025
    assert low - 1e-9 <= price <= high + 1e-9
    # A quote limited at the touch itself stays inside it.
    assert price < 100.025


def test_quotes_and_actions_are_inverse_to_each_other():
    params = EnvParams()
    offsets = np.array([-1.0, -0.99, 0.0, 2.33, 4.99, np.inf])
    assert quote_of_action(action_of_quote(offsets, params), params) == pytest.approx(offsets, abs=1e-6)
    assert action_of_quote([-1.0, -5.0, np.inf], params).tolist() == [CROSS, CROSS, WITHDRAW]


def test_importing_a_name_loads_neither_compiler_nor_net_library():
    code = (
        "import sys; from hftgym.policies import FixedSpreadPolicy, RandomPolicy, ZScorePolicy, base;"
        "import hftgym.policies as p; ZScorePolicy().predict([0.0] * 8);"
        "assert 'OptimalPolicy' in dir(p) and 'OnnxPolicy' in p.__all__;"
        "print([m for m in ('numba', 'torch', 'onnxruntime', 'llvmlite') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]", out.stdout


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'GoodPolicy'"):
        policies.GoodPolicy  # noqa: B018
