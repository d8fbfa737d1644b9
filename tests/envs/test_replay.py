"""The replay environment: Gymnasium's contract, the batch, the backtest, and the tape in pieces agree."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import hftgym
from hftgym.backtest import backtest
from hftgym.market.replay import FIRST
from hftgym.tape import open_tape, write_tape
from hftgym.tape.track import clock_of, stretches, whole_track
from tests.tapes import random_tape, tape_of

ID = "MarketMakingReplay-v0"
PARAMS = hftgym.EnvParams(
    tick_s=0.1, horizon=60, window=10, spread=0.001, volatility=1e-3, inventory_limit=3, initial_cash=1e6
)
TAPE = random_tape(0, seconds=30)


@pytest.fixture(scope="module")
def actions():
    rng = np.random.default_rng(1)
    choices = [-1.0, -2 / 3, -1 / 3, -1 / 3, 0.0, 1.0]
    return rng.choice(choices, (200, 70, 2)).astype(np.float32)


def make(**more):
    return gym.make(ID, tape=TAPE, params=PARAMS, **more)


def make_vec(num_envs=70, **more):
    return gym.make_vec(ID, num_envs=num_envs, tape=TAPE, params=PARAMS, **more)


def test_gymnasium_check():
    check_env(make().unwrapped, skip_render_check=True)


@pytest.mark.parametrize("lane", [0, 63, 64, 69])
@pytest.mark.parametrize("latency_s", [0.004, 0.23])
def test_the_batch_is_the_single_environment(actions, lane, latency_s):
    env, batch = make(latency_s=latency_s), make_vec(latency_s=latency_s, num_threads=2)
    seen, _ = batch.reset(seed=5)
    one, _ = env.reset(seed=5 + lane)
    assert np.array_equal(seen[lane], one)
    ended = False
    for action in actions:
        seen, rewards, terminated, _, infos = batch.step(action)
        if ended:  # the batch resets in the step after an episode's end
            one, info = env.reset()
            reward, ended = 0.0, False
        else:
            one, reward, ended, _, info = env.step(action[lane])
        assert np.array_equal(seen[lane], one)
        assert (rewards[lane], terminated[lane]) == (reward, ended)
        assert {key: infos[key][lane] for key in info} == info
    batch.close()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_every_autoreset_mode_stays_on_the_tape(actions, mode):
    env = make_vec(autoreset_mode=mode)
    env.reset(seed=0)
    for action in actions:
        observation, rewards, terminated, *_ = env.step(action)
        assert np.isfinite(rewards).all()
        assert np.abs(observation).max() <= 1
        if mode is AutoresetMode.DISABLED and terminated.any():
            env.reset(options={"reset_mask": terminated})


def test_the_backtest_is_the_environment(actions):
    class Plays:
        def __init__(self):
            self.left, self.seen = iter(actions[:, 0]), []

        def predict(self, observation, state=None, episode_start=None, deterministic=True):
            self.seen.append(observation)
            return next(self.left), state

    env, policy = make(latency_s=0.03), Plays()
    result = backtest(policy, TAPE, PARAMS, latency_s=0.03)
    observation, _ = env.reset(seed=9, options={"start": 0})
    for k in range(PARAMS.horizon):
        assert np.array_equal(policy.seen[k], observation)
        observation, reward, *_, info = env.step(actions[k, 0])
        assert (reward, info["inventory"], info["cash"]) == (
            result.reward[k],
            result.inventory[k + 1],
            result.cash[k + 1],
        )
    assert len(result.fills) > 10


def test_position_is_the_sum_of_fills_and_the_account_balances(actions):
    result = backtest(Scripted(actions[:, 1]), TAPE, PARAMS, latency_s=0.01)
    log = result.fills
    bought = np.bincount(log.tick, weights=np.where(log.side > 0, log.size, 0), minlength=60)
    sold = np.bincount(log.tick, weights=np.where(log.side < 0, log.size, 0), minlength=60)
    np.testing.assert_allclose(bought, result.fill_bid, atol=1e-12)
    np.testing.assert_allclose(sold, result.fill_ask, atol=1e-12)
    np.testing.assert_allclose(np.diff(result.inventory), bought - sold, atol=1e-12)
    paid = np.bincount(log.tick, weights=log.side * log.size * log.price + log.fee, minlength=60)
    np.testing.assert_allclose(np.diff(result.cash), -paid, atol=1e-6)
    parts = result.spread_capture + result.inventory_pnl - result.fees
    np.testing.assert_allclose(np.diff(result.equity), parts, atol=1e-6)
    assert np.abs(result.inventory).max() <= PARAMS.inventory_limit
    assert (log.waited_s >= 0).all()


class Scripted:
    def __init__(self, actions):
        self.actions = iter(actions)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        return next(self.actions), state


def test_starts_are_drawn_evenly_and_by_the_seed():
    batch = make_vec(num_envs=4_000)
    _, info = batch.reset(seed=0)
    first = info["mid"].copy()
    _, info = batch.reset(seed=0)
    assert np.array_equal(first, info["mid"])
    _, info = batch.reset()
    assert not np.array_equal(first, info["mid"])
    track = whole_track(TAPE, tick_s=0.1, latency_s=0.0).track
    choices = len(track.ticks) - PARAMS.horizon
    mids, counts = np.unique(track.ticks[:choices, 3], return_counts=True)
    found = np.array([(first == mid).sum() for mid in mids])
    expected = counts / choices * 4_000
    assert found.sum() == 4_000
    assert ((found - expected) ** 2 / expected).sum() < len(mids) + 5 * np.sqrt(2 * len(mids))  # chi squared


def test_options(actions):
    env = make()
    _, info = env.reset(options={"start": 17, "inventory": -2.0})
    track = whole_track(TAPE, tick_s=0.1, latency_s=0.0).track
    assert (info["mid"], info["inventory"]) == (track.ticks[17, 3], -2.0)
    last = len(track.ticks) - 1 - PARAMS.horizon
    for start in (-1, last + 1, 0.5, "x"):
        with pytest.raises(ValueError, match=rf"options\['start'\] must be a whole number from 0 to {last}"):
            env.reset(options={"start": start})
    observation, _ = env.reset(options={"start": last, "tick": 59})
    assert observation[1] == pytest.approx(1 - 2 * 59 / 60)
    assert env.step(actions[0, 0])[2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tape": None}, "tape must be a Tape or the path"),
        ({"params": {"horizon": 10_000, "tick_s": 0.1}}, r"horizon must be at most the 29\d ticks of 0.1 s"),
        ({"params": {"reward": "martingale_free", "tick_s": 0.1}}, 'reward must be "pnl" or "cara"'),
        ({"params": {"tick_s": 100.0}}, "tick_s must be below the"),
        ({"latency_s": -1.0}, "latency_s must be from 0 to 3600"),
        ({"price_step": 0.07}, "price_step must divide every recorded price"),
        ({"tape": "nowhere.gz"}, "no such file"),
    ],
)
def test_bad_input(more, message):
    for build in (gym.make, lambda env_id, **kwargs: gym.make_vec(env_id, num_envs=3, **kwargs)):
        with pytest.raises(ValueError, match=message):
            build(ID, **{"tape": TAPE, "params": PARAMS} | more)


def test_a_copy_goes_its_own_way(actions):
    env = make(latency_s=0.15)
    env.reset(seed=3)
    for action in actions[:20, 0]:
        env.step(action)
    copy = pickle.loads(pickle.dumps(env.unwrapped))
    for action in actions[20:40, 0]:
        one, two = env.unwrapped.step(action), copy.step(action)
        assert np.array_equal(one[0], two[0])
        assert one[1:] == two[1:]


def test_environments_share_the_tape():
    env = make_vec(num_envs=1_000)
    events = env._track.events
    env.reset(seed=0)
    env.step(np.zeros((1_000, 2), dtype=np.float32))
    assert env._track.events is events


@pytest.mark.parametrize("rows", [1, 7, 100, 10_000])
def test_a_tape_in_pieces_is_the_whole_tape(rows):
    whole = whole_track(TAPE, tick_s=0.1, latency_s=0.02)
    clock = clock_of(TAPE, tick_s=0.1, latency_s=0.02)
    ticks, rebuilt = 0, []
    for piece in stretches(TAPE, clock, rows=rows):
        count = len(piece.track.ticks) - 1
        for k in range(count):
            one, two = piece.track.ticks[k], whole.track.ticks[ticks + k]
            assert np.array_equal(one[3:], two[3:])
            assert one[1] - one[0] == two[1] - two[0]  # arrival within the tick
            begin, end = (int(piece.track.ticks[i, FIRST]) for i in (k, k + 1))
            rebuilt.append(piece.track.events[begin:end])
            assert np.array_equal(piece.track.events[int(one[2])], whole.track.events[int(two[2])])
        assert np.array_equal(piece.times_ns, whole.times_ns[ticks : ticks + count + 1])
        ticks += count
    first, last = int(whole.track.ticks[0, FIRST]), int(whole.track.ticks[-1, FIRST])
    assert ticks == len(whole.track.ticks) - 1
    assert np.array_equal(np.concatenate(rebuilt), whole.track.events[first:last])


def test_rounding_the_touch_of_a_locked_market_leaves_a_spread_to_quote_in():
    tape = tape_of([(0, 100.0, 1, 100.0, 1), (10**9, 100.1, 1, 100.0, 1), (2 * 10**9, 100.0, 1, 100.1, 1)])
    track = whole_track(tape, tick_s=1.0, latency_s=0.0, price_step=0.1).track
    assert track.ticks[:, 4] == pytest.approx([0.05, 0.05, 0.05])


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_rows_at_the_time_of_the_last_quote_belong_to_the_last_tick(rows):
    second = 10**9
    quotes = [
        (0, 99.9, 1, 100.1, 1),
        (second, 99.9, 1, 100.1, 1),
        (2 * second, 99.9, 1, 100.1, 1),
        (2 * second, 99.8, 2, 100, 3),
    ]
    tape = tape_of(quotes, [(2 * second, 99.9, 5, -1)])
    clock = clock_of(tape, tick_s=1.0, latency_s=0.0)
    events = [p.track.events[int(p.track.ticks[0, FIRST]) :] for p in stretches(tape, clock, rows=rows)]
    assert np.concatenate(events).tolist() == whole_track(tape, tick_s=1.0, latency_s=0.0).track.events[1:].tolist()


def test_a_tape_on_disk_is_refused_with_the_way_out(tmp_path):
    write_tape(random_tape(0), tmp_path / "x.parquet")
    with pytest.raises(
        ValueError, match=r"tape must be a Tape or .*, got a TapeFile: .* tape=read_tape\('.*x.parquet'\)"
    ):
        gym.make("MarketMakingReplay-v0", tape=open_tape(tmp_path / "x.parquet"))
