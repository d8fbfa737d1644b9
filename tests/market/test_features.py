import numpy as np
import pytest

from hftgym.envs import MarketMakingEnv
from hftgym.market import layout as at
from hftgym.market.replay import fill_log
from hftgym.market.single import FIELDS_AT, allocate, reset_replay, step_replay
from hftgym.observation import FEATURE_NAMES, FEATURES, N_FEATURES
from hftgym.params import EnvParams
from tests.tapes import path_track

QUIET = np.ones(2)


def features_on(prices, params):
    """Run the observation over given prices; return the float64 features, (ticks, 8)."""
    memory, observation = allocate(params), np.zeros(N_FEATURES, dtype=np.float32)
    track = path_track(prices, half_spread=0.01)
    orders, log = np.zeros(track.order_rows), fill_log(track)
    reset_replay(memory, observation, 0.0, 0.0, 0.0, orders, track)
    rows = []
    for _ in prices[1:]:
        step_replay(memory, QUIET, observation, orders, track, log)
        rows.append(memory[FIELDS_AT + at.FEATURE : FIELDS_AT + at.FEATURE + N_FEATURES].copy())
        assert (rows[-1].astype(np.float32) == observation).all()
    return np.array(rows)


def expected(prices, params):
    w, nominal = params.window, params.nominal_volatility
    rows = np.zeros((len(prices) - 1, 3))
    for t in range(w - 1, len(prices)):
        window = prices[t - w + 1 : t + 1]
        std = window.std()
        if std > 0:
            rows[t - 1, 0] = (window[-1] - window.mean()) / std / 5
        rows[t - 1, 1] = np.std(window[1:] / window[:-1] - 1) / nominal - 1
        rows[t - 1, 2] = (window[-1] / window[0] - 1) / (nominal * np.sqrt(w - 1)) / 5
    return np.clip(rows, -1, 1)


@pytest.mark.parametrize("window", [3, 50, 64])
def test_window_features_stay_exact_on_a_long_path_with_a_large_move(window):
    """Plain running sums, Kahan sums and sliding Welford all fail on this path."""
    rng = np.random.default_rng(window)
    moves = 0.002 * rng.standard_normal(20_000)
    moves[5_000:8_000] += 0.003  # up by a factor of some thousands
    moves[8_000:12_000] *= 0.01  # and then nearly still
    prices = 100 * np.cumprod(1 + moves)
    params = EnvParams(window=window, horizon=len(prices))
    ours = features_on(prices, params)[:, [2, 3, 5]]
    # Where the move of a window is tiny against its price, the two-pass reference itself is good to 1e-10 or so.
    np.testing.assert_allclose(ours, expected(prices, params), atol=2e-10)


def test_features_are_neutral_until_the_window_is_full():
    prices = 100 * np.cumprod(1 + 0.002 * np.random.default_rng(0).standard_normal(80))
    rows = features_on(prices, EnvParams(window=50, horizon=100))
    full = 50 - 2  # row i is the observation after i + 1 ticks, that is with i + 2 prices
    assert not rows[:full, [2, 3, 5]].any()
    assert rows[full:, [2, 3, 5]].all()
    assert rows[:, 4].all()


def test_a_price_that_stands_still_has_no_zscore():
    prices = np.concatenate([100 * np.cumprod(1 + 0.002 * np.random.default_rng(0).standard_normal(70)), [97.3] * 130])
    rows = features_on(prices, EnvParams(window=50, horizon=300))
    assert not rows[-80:, 2].any()
    assert (rows[-79:, 3] == -1).all()


def test_what_rounding_leaves_of_a_still_window_is_no_deviation():
    rng, params = np.random.default_rng(0), EnvParams(window=10, horizon=100)
    for price in rng.uniform(20, 500, 50):
        # The sums of the window that ends at tick 20 are measured from the price at tick 10, far away.
        prices = np.concatenate([100 * np.cumprod(1 + 0.002 * rng.standard_normal(11)), [price] * 10])
        assert features_on(prices, params)[-1, 2] == 0


def test_a_small_move_far_from_where_the_sums_are_measured_counts():
    moves = 3e-6 * np.random.default_rng(0).standard_normal(21)
    moves[11] = 0.5
    prices = 100 * np.cumprod(1 + moves)
    params = EnvParams(window=10, horizon=100)
    # The variance is 1e-10 of the mean square, and loses ten of its sixteen digits.
    np.testing.assert_allclose(features_on(prices, params)[-1, 2], expected(prices, params)[-1, 0], rtol=1e-4)


def test_table_names_what_the_environment_gives():
    assert len(FEATURES) == N_FEATURES == MarketMakingEnv().observation_space.shape[0]
    assert len(set(FEATURE_NAMES)) == N_FEATURES
    page = MarketMakingEnv.__doc__
    for index, name in enumerate(FEATURE_NAMES):
        assert f"| {index} | `{name}`:" in page


def test_account_features():
    env = MarketMakingEnv()
    env.reset(seed=0, options={"tick": 250, "inventory": -4})
    observation, *_ = env.step([-1.0, 1.0])
    values = dict(zip(FEATURE_NAMES, observation.tolist(), strict=True))
    assert values["inventory"] == pytest.approx(-0.3)
    assert values["time_left"] == pytest.approx(1 - 2 * 251 / 1000)
    assert (values["bid_fill"], values["ask_fill"]) == (1, 0)
