"""A live session: a policy on a market that is happening, through the observation and the account of the simulator."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from hftgym.live.broker import NOTHING, Broker, Fill, Holdings, Wanted, booked, cancelled, closed, tell_difference
from hftgym.live.events import Event, Feed, Quote, Status
from hftgym.live.kill import KillSwitch
from hftgym.live.latency import LatencyMonitor
from hftgym.live.records import Journal, SessionRecords
from hftgym.live.risk import RiskGate, RiskView
from hftgym.live.snapshot import Snapshot, State
from hftgym.live.watchers import Watchers
from hftgym.market.layout import N_INFO
from hftgym.market.live import begin, quotes, settle_fills, wind_clock
from hftgym.market.single import FIELDS_AT, allocate
from hftgym.observation import N_FEATURES
from hftgym.params import EnvParams
from hftgym.policies.base import checked_action
from hftgym.tape.track import Clock, grid_of, least_half_spread

_STARTS, _GOES_ON, _NO_FILLS = np.ones(1, dtype=bool), np.zeros(1, dtype=bool), np.zeros((0, 4))
# More ticks than this in which nothing came are no market but a clock that has jumped, or a machine that has slept.
_MOST_SILENT_TICKS = 1_000


class LiveSession:
    """Runs one policy on one market.

    At the first quote and every `params.tick_s` seconds after it the policy sees the last quotes received and decides;
    what it wants goes through the gate to the broker. Between two decisions fills are collected, and the account and
    the observation are made of them by the same code as in the environments and in `backtest`.

    After `params.horizon` ticks the observed time starts anew; account and window go on. When the stream breaks, all
    quotes are withdrawn; once it is whole again the window is rebuilt before the policy is asked again. A clock that
    jumps by more than 1,000 ticks counts as a break, and so do the broker's messages: every order is then cancelled,
    and the account goes on with what the venue says is held. A clock that is set back goes on from where it was.

    Args:
        feed: The market.
        policy: Anything with SB3's `predict`. Where it has `act` and `reset` too, as `OnnxPolicy`, these decide: the
            same, and sooner. It remembers by itself then, so that it serves one session at a time.
        broker: Where orders go.
        params: The market as the policy is to see it.
        price_step: The price grid that quotes are rounded to; None for none.
        gate: Limits that do not depend on the policy.
        journal: What happens is written there before it matters.
        clock: ns since 1970, the clock of the feed's `received_ns`; None if time passes with the events alone, as in a
            recorded feed.
        observers: Called with a Snapshot once per tick, and at the stop if fills have become known since.
        kill: Stops the session as soon as it is engaged, whatever comes from the feed or the venue.
        expected: What the journal's last session left; the venue's word counts, and a difference is logged.
        leave_s: How long a venue may take to confirm at the end that every order is cancelled.

    Attributes:
        confirmed: Whether the venue has confirmed at the end that no order rests.
    """

    def __init__(
        self,
        feed: Feed,
        policy: Any,
        broker: Broker,
        *,
        params: EnvParams,
        price_step: float | None = None,
        gate: RiskGate | None = None,
        journal: Journal | None = None,
        clock: Callable[[], int] | None = time.time_ns,
        observers: Sequence[Callable[[Snapshot], None]] = (),
        kill: KillSwitch | None = None,
        expected: Holdings | None = None,
        leave_s: float = 10.0,
    ) -> None:
        self.feed, self.policy, self.broker, self.params = feed, policy, broker, params
        self.latency = LatencyMonitor()
        self.state: State = "waiting"
        self.reason, self.confirmed = "", False
        self._kill, self._expected, self._leave_s = kill or KillSwitch(), expected, leave_s
        self._records = SessionRecords(journal)
        self._write = self._records.write
        self._gate, self._journal, self._clock, self._watchers = gate, journal, clock, Watchers(observers)
        self._steps, self._per_unit = grid_of(price_step)
        self._memory, self._observation = allocate(params), np.zeros(N_FEATURES, dtype=np.float32)
        self._account = self._memory[FIELDS_AT : FIELDS_AT + N_INFO]
        self._sent = NOTHING
        self._acts, self._policy_state = hasattr(policy, "act") and hasattr(policy, "reset"), None
        self._ticks: Clock | None = None
        self._most_silent_ns = _MOST_SILENT_TICKS * params.tick_s * 1e9
        self._tick, self._next_ns, self._now_ns, self._quoted_ns, self._set_back_ns = 0, 0, 0, 0, 0
        self._quote: Quote | None = None
        self._episode_start, self._warm_ticks, self._whole = True, 0, True
        self._broken: set[Literal["feed", "clock", "broker"]] = set()  # why it is not whole
        self._cash, self._inventory, self._equity, self._start_equity, self._mid = 0.0, 0.0, 0.0, 0.0, 0.0
        self._latency_ns = 0
        self._last_tick: int | None = None
        self._stopping = asyncio.Event()

    def stop(self, reason: str) -> None:
        """End the session at the next opportunity; from another thread call it through the loop."""
        if not self._stopping.is_set():  # the first reason stays; that of a break is over
            self.reason = reason
        self._stopping.set()

    async def run(self, ticks: int | None = None) -> None:
        """Run until the feed ends, so many ticks have passed, or something stops it; then cancel every order.

        Raises:
            Exception: What the policy, the broker or the journal raised; every order was cancelled before.
        """
        self._last_tick = ticks
        starting = asyncio.ensure_future(self.broker.start())
        stopping = [asyncio.ensure_future(self._kill.tell(self.stop)), asyncio.ensure_future(self._stopping.wait())]
        tasks: list[asyncio.Future[Any]] = [starting, *stopping]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                self._begin(starting.result())
                tasks = [*stopping, *map(asyncio.ensure_future, (self._read(), self._follow()))]
                if self._clock is not None:
                    tasks.append(asyncio.ensure_future(self._keep_time(self._clock)))
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except Exception as error:
            self.stop(f"{type(error).__name__}: {error}")
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.state = "stopped"
            await self._leave(begun=starting.done() and not starting.cancelled() and starting.exception() is None)

    def _begin(self, held: Holdings) -> None:
        if self._expected is not None:
            tell_difference("the journal", self._expected, held)
        self._cash, self._inventory = held.cash, held.inventory
        step, latency_s = self._steps / self._per_unit, self.broker.latency_s
        self._records.start(
            held,
            policy=self.policy,
            params=self.params,
            gate=self._gate,
            feed=self.feed,
            price_step=step,
            latency_s=latency_s,
        )

    async def _leave(self, *, begun: bool) -> None:
        """Cancel every order and disconnect, from a silent venue too."""
        try:
            if begun:
                self.confirmed = await cancelled(self.broker, within_s=self._leave_s)
                self._book_late()
                doubt = "" if self.confirmed else "; the venue has not confirmed that every order is cancelled"
                reason = (self.reason or "the feed ended") + doubt
                self._write("stop", reason=reason)
                self._watchers.end(self._now_ns, cash=self._cash, inventory=self._inventory, reason=reason)
        finally:
            await self.feed.close()
            await closed(self.broker, within_s=self._leave_s)

    async def _follow(self) -> None:
        """Whenever the broker has lost sight of its orders: withdraw, ask, and go on with what the venue says."""
        while True:
            await self.broker.interrupted()
            self._break("broker", "the broker's messages have broken", self._now_ns)
            await self.broker.cancel_all()
            held = await self.broker.reconcile()
            self._book_late()
            tell_difference("the session", Holdings(cash=self._cash, inventory=self._inventory), held)
            self._write("holdings", cash=held.cash, inventory=held.inventory)
            self._cash, self._inventory, self._warm_ticks = held.cash, held.inventory, -1
            self._mend("broker")

    async def _read(self) -> None:
        async for event in self.feed.events():
            self._on(event)
            if self._stopping.is_set():
                return
        if self._clock is None and self._ticks is not None:
            self._pass(self._now_ns + 1)  # the last tick ends with the last event

    async def _keep_time(self, clock: Callable[[], int]) -> None:
        """End ticks in which nothing comes."""
        while not self._stopping.is_set():
            now = self._time(clock())
            wait_ns = self._next_ns - now if self._ticks is not None else round(self.params.tick_s * 1e9)
            await asyncio.sleep(max(wait_ns, 100_000) * 1e-9)
            now = self._time(clock())
            if self._ticks is not None and now > self._next_ns:
                self._pass(now)

    def _time(self, clock_ns: int) -> int:
        """Return the session's time, which a clock that is set back neither reverses nor stops."""
        behind_ns = self._now_ns - clock_ns - self._set_back_ns
        # What was received before the session began may be told late; afterwards only the clock itself can go back.
        if behind_ns > 0 and self._clock is not None and self._ticks is not None:
            self._set_back_ns += behind_ns
        self._now_ns = max(self._now_ns, clock_ns + self._set_back_ns)
        return self._now_ns

    def _on(self, event: Event) -> None:
        """Take the market's next event."""
        time_ns = self._time(event.received_ns)
        if event.received_ns != time_ns:
            event = event._replace(received_ns=time_ns)
        if self._ticks is not None and self._now_ns > self._next_ns:
            self._pass(self._now_ns)
        if self._stopping.is_set():
            return
        if self._journal is not None:
            self._journal.append_event(event)
        self.broker.on_event(event)
        if isinstance(event, Quote):
            self._quote, self._quoted_ns = event, self._now_ns
            if self._ticks is None:
                self._ticks = Clock(first_ns=self._now_ns, tick_s=self.params.tick_s, latency_s=0.0)
                self._next_ns = self._now_ns
        elif isinstance(event, Status):
            self._on_status(event)

    def _on_status(self, status: Status) -> None:
        if status.kind == "resynchronised":
            self._mend("feed")
        elif status.kind != "connected":
            self._break("feed", status.text, status.received_ns)

    def _break(self, what: Literal["feed", "clock", "broker"], why: str, now_ns: int) -> None:
        """Withdraw until everything is whole again."""
        self._broken.add(what)
        self._whole, self.reason = False, why
        if self.state in ("trading", "warming"):
            self._want(NOTHING, now_ns)
            self.state = "withdrawn"
            self._records.state(self.state, why)

    def _mend(self, what: Literal["feed", "clock", "broker"]) -> None:
        self._broken.discard(what)
        if not self._whole and not self._broken:
            self._whole, self._warm_ticks = True, -1  # the window starts anew at the next tick

    def _pass(self, now_ns: int) -> None:
        """End every tick that has ended before `now_ns`."""
        assert self._ticks is not None
        if now_ns - self._next_ns > self._most_silent_ns:
            self._break("clock", "the clock jumped", now_ns)
            self._end_tick(self._next_ns)
            self._ticks = Clock(first_ns=now_ns, tick_s=self.params.tick_s, latency_s=0.0)
            self._tick, self._next_ns = 0, now_ns
            self._mend("clock")
            return
        while self._next_ns < now_ns and not self._stopping.is_set():
            self._end_tick(self._next_ns)

    def _end_tick(self, time_ns: int) -> None:
        """Settle what happened since the last decision, and make the next one."""
        assert self._ticks is not None
        began = time.perf_counter_ns()
        mid, half = self._market()
        fills = tuple(self.broker.take_fills(time_ns))
        if self.state == "waiting" or self._warm_ticks < 0:
            self._start_window(mid, half, fills)
        else:
            self._settle(fills, mid, half)
        self._records.fills(fills)
        self._decide(time_ns, half)
        self._records.model(self._tick, self.policy)
        self._latency_ns = time.perf_counter_ns() - began
        self.latency.record(self._latency_ns)
        self._tell(time_ns)
        self._tick += 1
        self._next_ns = self._ticks.time_ns(self._tick)
        if self._last_tick is not None and self._tick > self._last_tick:
            self.stop(f"{self._last_tick} ticks have passed")

    def _market(self) -> tuple[float, float]:
        """Return mid and half-spread of the last quote, as a replay sees them."""
        assert self._quote is not None
        _, _, bid, _, ask, _ = self._quote
        mid = 0.5 * bid + 0.5 * ask
        half, least = (ask - bid) / 2, least_half_spread(mid, self._steps, self._per_unit)
        return mid, half if half > least else least

    def _start_window(self, mid: float, half: float, fills: Sequence[Fill]) -> None:
        """Begin an episode with an empty window; fills meanwhile go straight into the account."""
        self._book(fills)
        if self._mid > 0:
            self._watchers.drift(self._inventory * (mid - self._mid))
        begin(self._memory, self._observation, mid, half, self._cash, self._inventory)
        self._mid, self._equity = mid, self._cash + self._inventory * mid
        first = self.state == "waiting"
        at_once = first and self._whole
        self._episode_start, self._policy_state = True, None
        # At the start an agent begins as in every episode; after a break it waits until the window is full again.
        self._warm_ticks = 0 if at_once else self.params.window - 1
        self.state = "trading" if at_once else "warming" if self._whole else "withdrawn"
        self._start_equity = self._start_equity if not first else self._equity

    def _book(self, fills: Sequence[Fill]) -> None:
        self._watchers.book(fills, self._mid)
        held = booked(Holdings(cash=self._cash, inventory=self._inventory), fills)
        self._cash, self._inventory = held.cash, held.inventory

    def _book_late(self) -> None:
        """Book what has become known since the last tick, where no tick will."""
        fills = self.broker.take_fills(self._now_ns)
        self._book(fills)
        self._records.fills(fills)

    def _settle(self, fills: Sequence[Fill], mid: float, half: float) -> None:
        rows = np.array([(f.side, f.price, f.size, f.fee) for f in fills], dtype=np.float64) if fills else _NO_FILLS
        bid, ask, _, _ = self._sent
        self._watchers.add(fills)
        self._mid = mid
        self._cash, self._inventory, self._equity, ended = settle_fills(
            self._memory, self._observation, rows, bid, ask, mid, half
        )
        if self._equity <= 0:
            self.stop("ruin: the equity is not above 0")
        elif ended:
            wind_clock(self._memory, self._observation)
            self._episode_start = True
        if self._warm_ticks:
            self._warm_ticks -= 1
        if self.state == "warming" and self._warm_ticks == 0 and self._whole:
            self.state, self.reason = "trading", ""

    def _decide(self, time_ns: int, half: float) -> None:
        """Ask the policy, and send what the gate lets through."""
        if self._gate is not None and self.state != "trading":
            self._gate.allow(NOTHING, self._view(time_ns))  # a loss counts also while nothing is quoted
        if self._gate is not None and self._gate.tripped:
            self.stop(self._gate.tripped)
        if self.state != "trading" or self._stopping.is_set():
            return
        action = checked_action(self._ask(), self.params, name=type(self.policy).__name__)
        wanted = Wanted._make(quotes(self._memory, action, half, self._steps, self._per_unit))
        if self._journal is not None:
            self._journal.append("decision", tick=self._tick, action=action.tolist(), wanted=list(wanted))
        if self._gate is not None:
            wanted = self._gate.allow(wanted, self._view(time_ns))
            if self._gate.tripped:
                self.stop(self._gate.tripped)
        self._want(wanted, time_ns)

    def _ask(self) -> Any:
        """Return what the policy does about the observation."""
        starts, self._episode_start = self._episode_start, False
        if self._acts:
            if starts:
                self.policy.reset()
            return self.policy.act(self._observation)
        action, self._policy_state = self.policy.predict(
            self._observation.copy(),  # a policy may keep what it sees
            state=self._policy_state,
            episode_start=_STARTS if starts else _GOES_ON,
            deterministic=True,
        )
        return action

    def _want(self, wanted: Wanted, now_ns: int) -> None:
        self._sent = wanted
        self.broker.quote(wanted, now_ns)

    def _view(self, time_ns: int) -> RiskView:
        assert self._quote is not None
        _, _, bid, _, ask, _ = self._quote
        bids, asks = self.broker.in_flight()
        return RiskView(  # by position, as it is made once a tick
            time_ns,
            self._mid,
            bid,
            ask,
            self._inventory,
            bids,
            asks,
            self._equity,
            self._start_equity,
            time_ns - self._quoted_ns,
            self._latency_ns if self._clock is not None else 0,  # a recording's time does not pass meanwhile
        )

    def _tell(self, time_ns: int) -> None:
        account = self._account.tolist()
        if self._journal is not None:
            mid, _, _, inventory, cash, equity, *_ = account
            self._journal.append("mark", tick=self._tick, mid=mid, cash=cash, inventory=inventory, equity=equity)
        self._records.state(self.state, self.reason)
        self._watchers.tell(account, self._sent, time_ns=time_ns, tick=self._tick, state=self.state, reason=self.reason)
