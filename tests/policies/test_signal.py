"""A forecaster traded: when it crosses, what it remembers, and what is refused."""

import math

import numpy as np
import pytest

from hftgym.evaluation import evaluate
from hftgym.observation import FEATURE_NAMES, N_FEATURES
from hftgym.policies import SignalPolicy
from hftgym.policies.base import CROSS, WITHDRAW
from hftgym.policies.signal import GRID, WINDOW, on_grid
from hftgym.rollout import rollout

RETURN, INVENTORY = FEATURE_NAMES.index("last_return"), FEATURE_NAMES.index("inventory")


class Says:
    """Always the same probability."""

    def __init__(self, up):
        self.up = up

    def proba(self, windows):
        return np.full(len(windows), self.up)


class Momentum:
    """A forecaster with a memory of its whole window, so that any error in it shows."""

    weights = np.linspace(-1.0, 2.0, WINDOW)

    def proba(self, windows):
        return 0.5 + 0.5 * np.tanh(windows.astype(np.float64) @ self.weights)


def observations(*shape, seed=0):
    values = np.random.default_rng(seed).uniform(-1, 1, size=(*shape, N_FEATURES))
    return values.astype(np.float32)


@pytest.mark.parametrize(
    ("up", "inventory", "action"),
    [
        (0.61, 0.0, (CROSS, WITHDRAW)),
        (0.39, 0.0, (WITHDRAW, CROSS)),
        (0.59, 0.0, (WITHDRAW, WITHDRAW)),
        (0.41, 0.0, (WITHDRAW, WITHDRAW)),
        (0.5, 0.0, (WITHDRAW, WITHDRAW)),
        (1.0, 0.9, (CROSS, WITHDRAW)),
        (1.0, 1.0, (WITHDRAW, WITHDRAW)),
        (0.0, -1.0, (WITHDRAW, WITHDRAW)),
        (0.0, 1.0, (WITHDRAW, CROSS)),
    ],
)
def test_crosses_when_sure_enough_and_within_the_limit(up, inventory, action):
    observation = np.zeros(N_FEATURES, dtype=np.float32)
    observation[INVENTORY] = inventory
    got, _ = SignalPolicy(Says(up), entry=0.6).predict(observation)
    assert tuple(got) == action


def test_the_window_holds_the_last_moves_and_zeros_before_the_start():
    policy, state = SignalPolicy(Momentum()), None
    seen = observations(WINDOW + 20)
    for t, observation in enumerate(seen):
        _, state = policy.predict(observation, state)
        moves = on_grid(seen[max(t + 1 - WINDOW, 0) : t + 1, RETURN])
        expected = np.concatenate([np.zeros(WINDOW - len(moves), dtype=np.float32), moves])
        assert np.array_equal(state[0], expected)
        assert state[0].dtype == np.float32


def test_batch_equals_singles_with_episodes_that_start_apart():
    policy = SignalPolicy(Momentum(), entry=0.7)
    seen, starts = observations(80, 5, seed=1), np.random.default_rng(2).random((80, 5)) < 0.1
    batch_state, states = None, [None] * 5
    for t in range(80):
        actions, batch_state = policy.predict(seen[t], batch_state, starts[t])
        for i in range(5):
            action, states[i] = policy.predict(seen[t, i], states[i], starts[t, i : i + 1])
            assert np.array_equal(action, actions[i])
            assert np.array_equal(states[i][0], batch_state[0][i])


def test_a_start_forgets_even_what_is_not_finite():
    policy, observation = SignalPolicy(Momentum()), observations()
    poisoned = (np.full(WINDOW, np.nan, dtype=np.float32),)
    action, state = policy.predict(observation, poisoned, np.array([True]))
    fresh, fresh_state = policy.predict(observation)
    assert np.array_equal(action, fresh)
    assert np.array_equal(state[0], fresh_state[0])


def test_neither_state_nor_observation_is_written_to():
    policy, seen = SignalPolicy(Momentum()), observations(3)
    state = (np.full((3, WINDOW), 0.25, dtype=np.float32),)
    policy.predict(seen, state, np.ones(3, dtype=bool))
    assert (state[0] == 0.25).all()
    assert np.array_equal(seen, observations(3))


def test_plays_episodes_and_loses_its_costs_where_it_knows_nothing():
    figures = rollout(SignalPolicy(Says(0.9)), episodes=20, seed=0).figures
    assert (figures.inventory_abs_max == 10).all()
    assert (figures.fills == 10).all()
    assert evaluate({"idle": SignalPolicy(Says(0.5))}, episodes=5)["fills"].sum() == 0


def test_grid():
    moves = np.random.default_rng(0).uniform(-1, 1, 10_000).astype(np.float32)
    rounded = on_grid(moves)
    assert np.array_equal(on_grid(rounded), rounded)
    assert np.abs(rounded - moves).max() <= GRID / 2
    assert np.array_equal(rounded / GRID, np.rint(rounded / GRID))


@pytest.mark.parametrize("entry", [0.49, 1.0, -1.0, math.nan, math.inf, "0.6", None, True])
def test_an_entry_that_is_no_threshold_is_refused(entry):
    with pytest.raises(ValueError, match=r"entry must be a probability from 0.5 to below 1, got "):
        SignalPolicy(Says(0.5), entry)


@pytest.mark.parametrize("forecaster", [None, object(), 0.7])
def test_what_does_not_forecast_is_refused(forecaster):
    with pytest.raises(TypeError, match="forecaster must have a method proba"):
        SignalPolicy(forecaster)


@pytest.mark.parametrize("up", [1.5, -0.1, math.nan])
def test_what_is_no_probability_is_refused(up):
    with pytest.raises(ValueError, match="forecaster must return 1 probabilities"):
        SignalPolicy(Says(up)).predict(observations())


@pytest.mark.parametrize(
    "state", [(), (np.zeros(WINDOW),) * 2, (np.zeros(WINDOW - 1),), (np.zeros((1, WINDOW)),), (np.zeros((2, WINDOW)),)]
)
def test_a_state_of_another_shape_is_refused(state):
    with pytest.raises(ValueError, match=r"state must be one array of the shape \(50,\)"):
        SignalPolicy(Momentum()).predict(observations(), state)


def test_a_non_finite_observation_is_refused():
    observation = observations()
    observation[RETURN] = np.nan
    with pytest.raises(ValueError, match="last_return"):
        SignalPolicy(Momentum()).predict(observation)
