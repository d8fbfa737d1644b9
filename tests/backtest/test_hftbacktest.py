"""hftbacktest, an independent engine in Rust, plays the same quotes on the same tape.

Where the two models mean the same, every fill agrees. They differ, by design, in this:

- hftbacktest (no_partial_fill_exchange) fills an order whole as soon as its turn comes, hftgym no more than what is
  left of the trade. The orders here are of one lot, which no trade can fill in part.
- hftbacktest takes as much at the best price as is asked for, hftgym what is shown: again, one lot.
- Behind the best price hftbacktest knows the sizes that the tape has shown there before, or believes in an empty price;
  hftgym takes the queue to be unknown until the best price comes there. Quotes here are meant for the best price or
  inside; with latency some arrive behind it, and only these may differ (the test finds them on the tape).
- hftgym decides at the arrival whether an order at an unchanged price still rests and keeps its place, hftbacktest's
  strategy when it sends. Here a side is quoted in every other tick, so that every order is a new one.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from hftgym.backtest import backtest
from hftgym.params import EnvParams
from hftgym.tape import read_tape
from tests.backtest.test_queue import Played
from tests.tapes import on_grid, random_tape, rows_of

pytestmark = pytest.mark.slow
hbt = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: `make test` installs it")

MAKER, TAKER = 1e-4, 5e-4


def as_events(tape):
    """The tape as hftbacktest's events: levels that a better price hides stay, those that the price has left go."""
    events, levels = [], {1: {}, -1: {}}
    side_flag = {1: hbt.BUY_EVENT, -1: hbt.SELL_EVENT}
    both = hbt.EXCH_EVENT | hbt.LOCAL_EVENT

    def add(kind, side, time, price, size):
        events.append((both | kind | side_flag[side], time, time, price, size, 0, 0, 0.0))

    for time, kind, values in rows_of(tape):
        if kind == "trade":
            price, size, taker = values
            add(hbt.TRADE_EVENT, taker, time, price, size)
            continue
        # What is gone goes first on both sides, so that the book never crosses.
        best = {1: (values[0], values[1]), -1: (values[2], values[3])}
        for side, (price, _) in best.items():
            for gone in [level for level in levels[side] if side * (level - price) > 0]:
                add(hbt.DEPTH_EVENT, side, time, gone, 0.0)
                del levels[side][gone]
        for side, (price, size) in best.items():
            if levels[side].get(price) != size:
                add(hbt.DEPTH_EVENT, side, time, price, size)
                levels[side][price] = size
    return np.array(events, dtype=hbt.types.event_dtype)


def played_by_hftbacktest(events, decisions, *, tick_ns, latency_ns, step, lot):
    """Return (position, balance, fees) after every tick, and the decisions that were filled.

    Decision k is one price for one side, bids in even ticks.
    """
    asset = (
        hbt.BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(latency_ns, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(MAKER, TAKER)
        .tick_size(step)
        .lot_size(lot)
    )
    engine = hbt.HashMapMarketDepthBacktest([asset])
    first = int(events["local_ts"][0])
    path, filled = [], set()
    engine.elapse(1)
    for k, price in enumerate(decisions):
        before = engine.orders(0).get(k - 1) if k else None
        if before is not None and before.cancellable:
            engine.cancel(0, k - 1, False)
        send = engine.submit_sell_order if k % 2 else engine.submit_buy_order
        send(0, k, price, lot, hbt.GTC, hbt.LIMIT, False)
        engine.elapse(first + (k + 1) * tick_ns - engine.current_timestamp)
        found = (engine.orders(0).get(number) for number in (k - 1, k) if number >= 0)
        filled |= {order.order_id for order in found if order is not None and order.status == hbt.FILLED}
        engine.clear_inactive_orders(0)
        state = engine.state_values(0)
        path.append((state.position, state.balance, state.fee))
    engine.close()
    return np.array(path), filled


def behind_the_best(tape, decisions, *, tick_ns, latency_ns):
    """The decisions whose price was worse than the best one of its side when they arrived."""
    q = tape.quotes
    arrivals = q.local_ns[0] + np.arange(len(decisions)) * tick_ns + latency_ns
    row = np.searchsorted(q.local_ns, arrivals, side="right") - 1
    return {k for k, price in enumerate(decisions) if (price > q.ask[row[k]] if k % 2 else price < q.bid[row[k]])}


def compare(tape, *, ticks, latency_s, lot, seed=0):
    """Play one-sided quotes at, inside and through the best prices in both engines, and compare orders and paths."""
    step, rng = tape.price_step, np.random.default_rng(seed)
    params = EnvParams(
        tick_s=0.1,
        horizon=ticks,
        order_size=lot,
        inventory_limit=1_000_000,
        maker_fee_bps=MAKER * 1e4,
        taker_fee_bps=TAKER * 1e4,
        initial_cash=1e9,
        spread=1e-6,
        volatility=1e-4,
        offset_low=-1.0,
        offset_high=1.0,
    )
    # An offset of 1 half-spread is the best price of one's own side: the action just below +1. The other price is
    # inside where the spread has room, and -1 crosses.
    inside = rng.choice([np.nextafter(1.0, 0.0), 0.4, -1.0], ticks, p=[0.8, 0.15, 0.05])
    actions = np.ones((ticks, 2))
    actions[np.arange(ticks), np.arange(ticks) % 2] = inside
    result = backtest(Played(actions), tape, params, latency_s=latency_s)
    events = as_events(tape)
    decisions = []
    for k in range(ticks):
        mid, half = result.mid[k], (result.ask[k] - result.bid[k]) / 2
        side, far = (1, 1e9) if k % 2 == 0 else (-1, step)
        wanted = mid - side * inside[k] * half
        decisions.append(far if inside[k] == -1 else on_grid(side * np.floor(side * wanted / step + 1e-6), step))
    clock = {"tick_ns": 10**8, "latency_ns": round(latency_s * 1e9)}
    theirs, filled = played_by_hftbacktest(events, decisions, step=step, lot=lot, **clock)
    log = result.fills
    joined = np.round((log.time_ns - tape.quotes.local_ns[0]) / 1e9 - log.waited_s - latency_s, 6) / 0.1
    unlike = set(np.round(joined).astype(int).tolist()) ^ filled
    assert unlike <= behind_the_best(tape, decisions, **clock)
    if unlike:
        assert len(unlike) < 0.05 * len(filled)
        return result
    np.testing.assert_allclose(result.inventory[1:], theirs[:, 0], atol=lot / 2)
    np.testing.assert_allclose(np.cumsum(result.fees), theirs[:, 2], atol=1e-6)
    ours = result.cash[1:] - params.initial_cash
    np.testing.assert_allclose(ours, theirs[:, 1] - theirs[:, 2], atol=1e-4)
    return result


@pytest.mark.parametrize("latency_s", [0.0, 0.013, 0.08])
@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_tape(seed, latency_s):
    tape = random_tape(seed, seconds=60)
    result = compare(tape, ticks=590, latency_s=latency_s, lot=0.1, seed=seed)
    assert set(result.fills.reason) == {0, 1, 2, 3}  # every kind of fill occurs
    assert len(result.fills) > 100


@pytest.mark.parametrize("name", ["binance_usdm_btcusdt_20240808.gz", "binance_spot_btcusdt_20240808.gz"])
def test_a_recorded_tape(name):
    folder = Path(os.environ.get("HFTGYM_DATA", "../shared/data"))
    if not (folder / name).is_file():
        pytest.skip(f"{folder / name} is not there: set HFTGYM_DATA to the folder of the captures")
    tape = read_tape(folder / name)
    result = compare(tape, ticks=3_000, latency_s=0.005, lot=tape.size_step)
    assert len(result.fills) > 200
