"""The same quotes over the same tape in hftbacktest, an engine in Rust whose strategies are compiled by numba."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
from numba import njit

from hftgym import EnvParams
from hftgym.backtest import backtest
from hftgym.policies import FixedSpreadPolicy
from hftgym.tape import Tape
from scripts.benchmarks.figure import Figure, interleaved_seconds
from scripts.benchmarks.replay import busy_tape

_TICK_NS, _LATENCY_NS = 100_000_000, 5_000_000


def peer_figures() -> Iterator[Figure]:
    """Yield how fast a tape is played with one quote a side every 100 ms; nothing where hftbacktest is missing."""
    if find_spec("hftbacktest") is None:
        return
    tape, what = busy_tape()
    rows = len(tape.quotes) + len(tape.trades)
    jobs = {"ours": _ours(tape), "hftbacktest": _theirs(tape)}
    seconds = interleaved_seconds(jobs, rounds=5)
    rates = {name: rows / value / 1e6 for name, value in seconds.items()}
    yield Figure(
        name="a backtest with queue position and latency, against hftbacktest",
        value=rates["ours"] / rates["hftbacktest"],
        unit="x its rate",
        note=f"{rates['ours']:.2f} and {rates['hftbacktest']:.2f} M rows/s on {what}, {rows:,} rows; ours asks a "
        "policy in Python, which is most of its time, and keeps path and fills; theirs is compiled as a whole and "
        "keeps neither",
    )


def _ours(tape: Tape) -> Callable[[], object]:
    params = EnvParams(tick_s=_TICK_NS / 1e9, horizon=10_000_000, initial_cash=1e9, inventory_limit=1_000_000)
    return lambda: backtest(FixedSpreadPolicy(offset=1.0), tape, params, latency_s=_LATENCY_NS / 1e9)


def _theirs(tape: Tape) -> Callable[[], object]:
    import hftbacktest as hbt

    events, strategy = _as_events(tape), _strategy(hbt)

    def job() -> None:
        asset = (
            hbt.BacktestAsset()
            .data(events)
            .linear_asset(1.0)
            .constant_order_latency(_LATENCY_NS, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 1e-4)
            .tick_size(tape.price_step or 0.01)
            .lot_size(1e-3)
        )
        engine: Any = hbt.HashMapMarketDepthBacktest([asset])
        strategy(engine)
        engine.close()

    return job


def _strategy(hbt: Any) -> Callable[[Any], int]:
    """Return a strategy that keeps one order at the best price of each side."""
    good, limit = hbt.GTC, hbt.LIMIT

    @njit
    def run(engine):
        number = 1
        while engine.elapse(_TICK_NS) == 0:
            engine.clear_inactive_orders(0)
            orders, depth = engine.orders(0), engine.depth(0)
            resting = [0, 0]
            values = orders.values()
            while values.has_next():
                order = values.get()
                at_best = order.price == (depth.best_bid if order.side == 1 else depth.best_ask)
                if at_best:
                    resting[0 if order.side == 1 else 1] = 1
                elif order.cancellable:
                    engine.cancel(0, order.order_id, False)
            if resting[0] == 0:
                engine.submit_buy_order(0, number, depth.best_bid, 1.0, good, limit, False)
            if resting[1] == 0:
                engine.submit_sell_order(0, number + 1, depth.best_ask, 1.0, good, limit, False)
            number += 2
        return number

    return run


def _as_events(tape: Tape) -> np.ndarray:
    """Return the tape as hftbacktest's events: both best prices with every quote, nothing behind them."""
    import hftbacktest as hbt

    both = int(hbt.EXCH_EVENT | hbt.LOCAL_EVENT)
    bids, asks, depth, trade = int(hbt.BUY_EVENT), int(hbt.SELL_EVENT), int(hbt.DEPTH_EVENT), int(hbt.TRADE_EVENT)
    q, t = tape.quotes, tape.trades
    # A best price that has moved leaves no level behind: the deletion goes before the new one.
    (bid_moved,), (ask_moved,) = np.nonzero(np.diff(q.bid)), np.nonzero(np.diff(q.ask))
    kinds = (
        (both | depth | bids, q.local_ns[bid_moved + 1], q.bid[bid_moved], np.zeros(len(bid_moved))),
        (both | depth | asks, q.local_ns[ask_moved + 1], q.ask[ask_moved], np.zeros(len(ask_moved))),
        (both | depth | bids, q.local_ns, q.bid, q.bid_size),
        (both | depth | asks, q.local_ns, q.ask, q.ask_size),
        (np.where(t.taker_side > 0, both | trade | bids, both | trade | asks), t.local_ns, t.price, t.size),
    )
    parts = []
    for flags, time_ns, price, size in kinds:
        part = np.zeros(len(time_ns), dtype=hbt.types.event_dtype)
        part["ev"], part["px"], part["qty"] = flags, price, size
        part["exch_ts"] = part["local_ts"] = time_ns
        parts.append(part)
    events = np.concatenate(parts)
    return events[np.argsort(events["local_ts"], kind="stable")]
