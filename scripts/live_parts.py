"""What the live command does: find the market, put the session together, watch it, say what came out."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from hftgym import VENUE_FEES_BPS, EnvParams, roster
from hftgym.live.broker import Broker, Holdings
from hftgym.live.events import Event, Feed
from hftgym.live.hot_swap import Reloading
from hftgym.live.kill import KillSwitch
from hftgym.live.logs import json_log, shown_log
from hftgym.live.measuring import measured
from hftgym.live.paper import PaperBroker
from hftgym.live.recorded import TapeFeed
from hftgym.live.risk import RiskGate, RiskLimits
from hftgym.live.session import LiveSession
from hftgym.live.snapshot import Snapshot
from hftgym.live.totals import Totals
from hftgym.live.units import UnitFeed, Units
from hftgym.tape import Tape, calibrate, read_tape
from scripts import live_orders

if TYPE_CHECKING:
    from hftgym.live.dashboard import Dashboard
    from hftgym.live.journal import SessionJournal
    from hftgym.live.metrics import Metrics
    from hftgym.live.recovery import Recovered
    from scripts.live import Arguments

_FRAME_S = 0.1  # of the plot
_Page = TypeVar("_Page", "Dashboard", "Metrics")
VENUES = {
    "binance": "binance-spot",
    "binance-usdm": "binance-usdm",
    "coinbase": "coinbase",
    "coinbase-advanced": "coinbase",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Market:
    """What is traded: its feed in units, and its parameters as the policy is to see them."""

    feed: Feed
    params: EnvParams
    price_step: float | None
    clock: Callable[[], int] | None


def run(arguments: "Arguments", console: Console) -> None:
    """Trade until something stops it."""
    live_orders.check(arguments)
    if not _is_file(arguments.policy):
        roster.rule_name(arguments.policy)  # refused before anybody types a symbol or waits for a measurement
    with ExitStack() as stack:
        stack.enter_context(shown_log())
        if arguments.log is not None:
            stack.enter_context(json_log(arguments.log))
        asyncio.run(_trade(arguments, console, stack))


async def _trade(arguments: "Arguments", console: Console, stack: ExitStack) -> None:
    journal, left = _journal(arguments, stack)
    limits = limits_of(arguments, _chosen(arguments))
    venue = live_orders.open_venue(arguments) if arguments.live else None
    if venue is not None and not live_orders.confirmed(arguments, venue, limits):
        raise ValueError(f"{live_orders.symbol_of(arguments)} was not typed at a terminal: no order was sent")
    market = await _market(arguments, console)
    _same_market(arguments, left, market.feed)
    limits = limits if arguments.live else limits_of(arguments, market.params)  # what was confirmed stays
    # Only now: until the session begins, a signal ends the process by itself.
    kill = stack.enter_context(KillSwitch(arguments.stop_file).signals())
    params, watchers, totals = market.params, list[Callable[[Snapshot], None]](), Totals()
    gate, expected = RiskGate(limits), None if left is None else Holdings(cash=left.cash, inventory=left.inventory)
    broker: Broker
    if venue is not None and journal is not None:
        units = Units(arguments.unit, price_step=market.price_step)
        broker = live_orders.unit_broker(arguments, venue, units=units, journal=journal, left=left, limits=limits)
    else:
        broker = PaperBroker(
            params, latency_s=arguments.latency_s, holdings=expected, max_inventory=limits.max_inventory
        )
    session = LiveSession(
        market.feed,
        _policy(arguments.policy, params, stack),
        broker,
        params=params,
        price_step=market.price_step,
        gate=gate,
        journal=journal,
        clock=market.clock,
        observers=watchers,
        kill=kill,
        expected=expected,
    )
    watchers += [totals.add, *_watchers(arguments, session, kill, console, stack)]
    await session.run(arguments.ticks)
    console.print(summary(totals, session, gate))
    if not session.confirmed:
        raise TimeoutError("the venue has not confirmed that every order is cancelled: look there")


async def _market(arguments: "Arguments", console: Console) -> Market:
    """Connect, or open the recording, and measure."""
    if arguments.replay is not None:
        tape = read_tape(arguments.replay, symbol=arguments.symbol).in_units_of(arguments.unit)
        console.print(f"replay of {tape}", style="dim", markup=False)
        feed = TapeFeed(tape, speed=arguments.speed)
        return Market(feed=feed, params=_params(arguments, tape), price_step=tape.price_step, clock=None)
    source = feed_of(arguments.venue, arguments.symbol, url=arguments.feed_url)
    events: AsyncIterator[Event] = source.events()
    console.print(f"measuring {source.venue} {source.symbol} for {arguments.measure_s:g} s", style="dim", markup=False)
    tape = (await measured(source, events, seconds=arguments.measure_s)).in_units_of(arguments.unit)
    feed = UnitFeed(source, events, units=Units(arguments.unit, price_step=tape.price_step))
    return Market(feed=feed, params=_params(arguments, tape), price_step=tape.price_step, clock=time.time_ns)


def feed_of(venue: str, symbol: str, *, url: str | None = None) -> Feed:
    """Return the live feed of a venue."""
    if venue.startswith("binance"):
        from hftgym.live.binance import BinanceFeed

        return BinanceFeed(symbol, market="usdm" if venue == "binance-usdm" else "spot", url=url)
    if venue == "coinbase":
        from hftgym.live.coinbase import CoinbaseFeed

        return CoinbaseFeed(symbol, url=url)
    from hftgym.live.coinbase_advanced import CoinbaseAdvancedFeed

    return CoinbaseAdvancedFeed(symbol, url=url)


def _chosen(arguments: "Arguments") -> EnvParams:
    """Return the parameters before anything is measured: the limit and the order size stay as they are."""
    if arguments.market is not None:
        return EnvParams.from_json(arguments.market.read_text(encoding="utf-8"))
    return arguments.params


def _params(arguments: "Arguments", tape: Tape) -> EnvParams:
    if arguments.market is not None:
        return _chosen(arguments)
    maker, taker = VENUE_FEES_BPS.get(VENUES[arguments.venue], (0.0, 1.0))
    base = dataclasses.replace(arguments.params, maker_fee_bps=maker, taker_fee_bps=taker, trade_through=True)
    return calibrate(tape, tick_s=arguments.tick_s, base=base)


def limits_of(arguments: "Arguments", params: EnvParams) -> RiskLimits:
    """Return the limits of the command line; what it leaves open follows from the parameters."""
    loss = 0.01 * params.initial_cash if arguments.max_loss is None else arguments.max_loss
    return RiskLimits(
        max_inventory=params.inventory_limit,
        max_order_size=params.order_size,
        max_loss=loss,
        max_orders_per_s=arguments.max_orders_per_s,
        collar=arguments.collar,
        max_data_age_s=arguments.max_data_age_s,
        max_latency_s=arguments.max_latency_s,
    )


def _is_file(policy: str) -> bool:
    return policy.lower().endswith(".onnx")


def _policy(name: str, params: EnvParams, stack: ExitStack) -> Any:
    if _is_file(name):
        return stack.enter_context(Reloading(name))
    return roster.rules([name], params=params)[roster.rule_name(name)]


def _journal(arguments: "Arguments", stack: ExitStack) -> "tuple[SessionJournal | None, Recovered | None]":
    """Open the journal, and return with it where its last session ended."""
    if arguments.journal is None:
        return None, None
    from hftgym.live.journal import SessionJournal
    from hftgym.live.recovery import recover

    journal = stack.enter_context(SessionJournal(arguments.journal))
    return journal, None if journal.empty else recover(arguments.journal)


def _same_market(arguments: "Arguments", left: "Recovered | None", feed: Feed) -> None:
    """Refuse to go on with the account of another market: its units are not this one's."""
    here = f"{feed.venue} {feed.symbol}"
    if left is not None and left.market != here:
        raise ValueError(f"--journal {arguments.journal} is of {left.market}, this session of {here}: take another one")


def _watchers(
    arguments: "Arguments", session: LiveSession, kill: KillSwitch, console: Console, stack: ExitStack
) -> list[Callable[[Snapshot], None]]:
    """Start whatever is to watch the session, and return its observers."""
    found: list[Callable[[Snapshot], None]] = []
    counters = session.feed.counters
    source = "replay" if arguments.replay else arguments.venue
    if arguments.dashboard:
        from hftgym.live.dashboard import Dashboard

        page = Dashboard(
            kill.engage,
            title=f"{source} {session.params.symbol} · {Path(arguments.policy).name} · {arguments.broker or 'paper'}",
            inventory_limit=session.params.inventory_limit,
            counters=counters,
            latency=session.latency,
            port=arguments.dashboard_port,
        )
        found.append(_served(page, "--dashboard-port", arguments.dashboard_port, stack))
        console.print(f"dashboard: {page.url}")
    if arguments.metrics_port is not None:
        from hftgym.live.metrics import Metrics

        labels = {"venue": source, "symbol": arguments.symbol}
        metrics = Metrics(counters, session.latency, labels=labels, port=arguments.metrics_port)
        found.append(_served(metrics, "--metrics-port", arguments.metrics_port, stack))
        console.print(f"metrics: {metrics.url}")
    if arguments.plot:
        found.append(stack.enter_context(Plot(session.params)))
    return found


def _served(page: _Page, option: str, port: int, stack: ExitStack) -> _Page:
    """Start a page, or name the option whose port it did not get."""
    try:
        return stack.enter_context(page)
    except OSError as error:
        advice = "take another port, or 0 for any that is free"
        raise OSError(f"{option} {port} cannot be opened: {advice} ({error})") from None


class Plot:
    """The article's two panes on live data, drawn in this process: a frame takes about 5 ms of it."""

    def __init__(self, params: EnvParams) -> None:
        from hftgym.render import LiveChart

        self.chart, self._drawn_s = LiveChart(params), 0.0
        self._quotes = float("-inf"), float("inf")

    def __enter__(self) -> "Plot":
        return self

    def __exit__(self, *_: object) -> None:
        self.chart.close()

    def __call__(self, snapshot: Snapshot) -> None:
        """Add a tick, and draw if the last picture is a tenth of a second old."""
        sides = [fill.side for fill in snapshot.fills]
        info = {name: getattr(snapshot, name) for name in ("mid", "bid", "ask", "inventory", "equity")}
        info |= {"fill_bid": float(1 in sides), "fill_ask": float(-1 in sides)}
        bid, ask = self._quotes
        self.chart.append(info, quote_bid=bid, quote_ask=ask)
        self._quotes = snapshot.quote_bid, snapshot.quote_ask
        if time.perf_counter() - self._drawn_s >= _FRAME_S:
            self.chart.show(fps=1 / _FRAME_S)
            self._drawn_s = time.perf_counter()


def summary(totals: Totals, session: LiveSession, gate: RiskGate) -> str:
    """Return in a few lines what came out."""
    latency = session.latency.snapshot()
    cut = ", ".join(f"{reason} {count:,}" for reason, count in gate.counts.items() if count) or "nothing"
    pnl = totals.spread_capture + totals.inventory_pnl - totals.fees
    account = "no tick: the account is as it was"
    if totals.start_equity is not None:
        gained = totals.equity - totals.start_equity
        account = f"position {totals.inventory:+g} units, equity {totals.equity:,.4f} ({gained:+,.4f} since the start)"
    return (
        f"stopped: {session.reason or 'the feed ended'}\n"
        f"{totals.ticks:,} ticks, {totals.fills:,} fills, {totals.bought:g} bought, {totals.sold:g} sold\n"
        f"PnL {pnl:+,.4f} = spread {totals.spread_capture:+,.4f}, inventory {totals.inventory_pnl:+,.4f}, "
        f"fees {-totals.fees:+,.4f}\n"
        f"{account}\n"
        f"decisions p50 {latency.get('p50_us', 0):.0f} µs, p99 {latency.get('p99_us', 0):.0f} µs; "
        f"cut by limits: {cut}"
    )
