"""The gate's laws: whatever is wanted, filled, refused or late, the limits hold."""

import dataclasses
import math
import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hftgym.live.broker import NOTHING, Wanted
from hftgym.live.risk import RiskGate, RiskLimits, RiskView

LIMITS = RiskLimits(max_inventory=10.0, max_order_size=4.0, max_loss=100.0, max_orders_per_s=5.0)
VIEW = RiskView(
    now_ns=10**18,
    mid=100.0,
    bid=99.9,
    ask=100.1,
    inventory=0.0,
    in_flight_bid=0.0,
    in_flight_ask=0.0,
    equity=1_000.0,
    start_equity=1_000.0,
    data_age_ns=0,
    latency_ns=0,
)
BOTH = Wanted(99.9, 100.1, 1.0, 1.0)
S = 10**9


class Venue:
    """Orders of both sides at a venue that fills, rejects and confirms cancels when it likes, also late.

    What is in flight can still be filled. A new quote is sent at once, while the old orders' cancels are on their way.
    """

    def __init__(self):
        self.inventory = 0.0
        self.orders = {1: [], -1: []}  # of [price, left, is the cancel sent]
        self.wanted = {1: (0.0, 0.0), -1: (0.0, 0.0)}
        self.sent = []  # times

    def in_flight(self, side):
        return sum(left for _, left, _ in self.orders[side])

    def quote(self, wanted, now_ns):
        for side, price, size in ((1, wanted.bid, wanted.bid_size), (-1, wanted.ask, wanted.ask_size)):
            keeps = bool(size) and self.wanted[side][0] == price and bool(self.orders[side])
            self.wanted[side] = (price, size)
            if not keeps:
                self.replace(side, now_ns)

    def replace(self, side, now_ns):
        for order in self.orders[side]:
            order[2] = True
        self.send(side, self.wanted[side][1], now_ns)

    def send(self, side, size, now_ns):
        if size > 0.0:
            self.orders[side].append([self.wanted[side][0], size, False])
            self.sent.append(now_ns)

    def happen(self, side, what, share):
        """Fill some of an order, or end it: its cancel is confirmed, or it is rejected or has expired."""
        orders = self.orders[side]
        if not orders:
            return
        order = orders[int(share * len(orders)) % len(orders)]
        if what == "fill":
            size = order[1] if share > 0.5 else order[1] * share
            self.inventory += side * size
            order[1] -= size
            self.filled(side, size)
        if what == "end" or order[1] <= 0.0:
            orders.remove(order)

    def filled(self, side, size):
        """Hear of a fill."""


class PatientVenue(Venue):
    """One order a side: a new one is sent when the old one has ended, with what the last quote leaves, also twice."""

    def __init__(self):
        super().__init__()
        self.room = {1: 0.0, -1: 0.0}

    def quote(self, wanted, now_ns):
        self.room = {1: wanted.bid_size, -1: wanted.ask_size}
        super().quote(wanted, now_ns)

    def replace(self, side, now_ns):
        if not self.orders[side]:
            super().replace(side, now_ns)
        for order in self.orders[side]:
            order[2] = order[0] != self.wanted[side][0]

    def filled(self, side, size):
        self.room[side] = max(self.room[side] - size, 0.0)

    def happen(self, side, what, share):
        waiting = any(cancelled for _, _, cancelled in self.orders[side])
        super().happen(side, what, share)
        if not self.orders[side] and (waiting or what == "fill"):  # one that is rejected is not tried again
            self.send(side, min(self.room[side], self.wanted[side][1]), 0)


def view_of(venue, now_ns, **changes):
    return VIEW._replace(
        now_ns=now_ns,
        inventory=venue.inventory,
        in_flight_bid=venue.in_flight(1),
        in_flight_ask=venue.in_flight(-1),
        **changes,
    )


prices = st.sampled_from([98.5, 99.5, 99.8, 99.9, 100.0, 100.1, 100.2, 100.9, 101.5])
sizes = st.sampled_from([0.0, 0.1, 0.7, 1.0, 3.0, 4.0, 7.0, 1e6])
events = st.tuples(st.sampled_from([1, -1]), st.sampled_from(["fill", "end"]), st.floats(0.01, 0.99))
turns = st.lists(
    st.tuples(st.builds(Wanted, prices, prices, sizes, sizes), st.lists(events, max_size=4), st.integers(0, S // 2)),
    max_size=60,
)


@pytest.mark.parametrize("kind", [Venue, PatientVenue])
@settings(max_examples=60)
@given(turns=turns)
def test_whatever_is_filled_the_position_stays_within_its_limit_and_orders_within_their_rate(kind, turns):
    gate, venue, now = RiskGate(LIMITS), kind(), VIEW.now_ns
    for wanted, happening, pause in turns:
        now += pause
        allowed = gate.allow(wanted, view_of(venue, now))
        assert max(allowed.bid_size, allowed.ask_size) <= LIMITS.max_order_size
        assert allowed.bid_size <= wanted.bid_size
        assert allowed.ask_size <= wanted.ask_size
        assert not allowed.bid_size or (allowed.bid == wanted.bid and abs(allowed.bid - 100) <= 1)
        assert not allowed.ask_size or (allowed.ask == wanted.ask and abs(allowed.ask - 100) <= 1)
        venue.quote(allowed, now)
        # All bids may be filled before any ask, and the other way round.
        assert venue.inventory + venue.in_flight(1) <= LIMITS.max_inventory + 1e-6
        assert venue.inventory - venue.in_flight(-1) >= -LIMITS.max_inventory - 1e-6
        for event in happening:
            venue.happen(*event)
            assert abs(venue.inventory) <= LIMITS.max_inventory + 1e-6
    if kind is Venue:
        for first, start in enumerate(venue.sent):
            for last, end in enumerate(venue.sent[first:], start=1):
                assert last <= LIMITS.max_orders_per_s * (1 + (end - start) / S) + 1e-6


@pytest.mark.parametrize("kind", [Venue, PatientVenue])
def test_a_long_run_at_the_edge_never_breaks_the_limit(kind):
    gate, venue, draw = RiskGate(dataclasses.replace(LIMITS, max_orders_per_s=1e6)), kind(), random.Random(0)
    most = 0.0
    for turn in range(20_000):
        size = draw.choice([0.3, 1.0, 1.0, 4.0])
        wanted = Wanted(99.9 + draw.choice([0, 0, 0.1]), 100.3 - draw.choice([0, 0, 0.1]), size, size)
        venue.quote(gate.allow(wanted, view_of(venue, VIEW.now_ns + turn * S)), turn)
        for _ in range(draw.randrange(3)):
            side = draw.choices([1, -1], [5 if turn // 500 % 2 else 1, 2])[0]
            venue.happen(side, draw.choice(["fill", "end"]), draw.random())
            most = max(most, abs(venue.inventory))
        assert most <= 10 + 1e-9
    assert most > 9.5  # the limit was used


def test_a_repeated_order_stays_at_the_limit_and_a_new_one_waits_for_the_cancel():
    gate = RiskGate(LIMITS)
    edge = VIEW._replace(inventory=9.0)
    assert gate.allow(BOTH, edge).bid_size == 1.0
    for _ in range(99):  # costs nothing: it is the same order
        assert gate.allow(BOTH, edge._replace(in_flight_bid=1.0, in_flight_ask=1.0)) == BOTH
    assert gate.allow(BOTH, edge._replace(inventory=9.6, in_flight_bid=0.4, in_flight_ask=1.0)).bid_size < 0.41
    moved = BOTH._replace(bid=100.0)
    assert gate.allow(moved, edge._replace(in_flight_bid=1.0, in_flight_ask=1.0)) == Wanted(0.0, 100.1, 0.0, 1.0)
    assert gate.reason == "inventory"
    assert gate.allow(moved, edge._replace(in_flight_ask=1.0)) == moved


def test_beyond_the_limit_only_the_side_that_reduces_is_quoted():
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH, VIEW) == BOTH
    allowed = gate.allow(BOTH, VIEW._replace(inventory=12.0, in_flight_bid=1.0))
    assert allowed == Wanted(0.0, 100.1, 0.0, 1.0)


def test_an_order_that_has_become_too_large_is_withdrawn_whole():
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH, VIEW) == BOTH
    held = VIEW._replace(inventory=9.5, in_flight_bid=1.0, in_flight_ask=1.0)  # bought elsewhere
    assert gate.allow(BOTH, held) == Wanted(0.0, 100.1, 0.0, 1.0)


def test_the_last_token_is_for_the_side_that_reduces_the_position():
    gate = RiskGate(dataclasses.replace(LIMITS, max_orders_per_s=1.0))
    assert gate.allow(BOTH, VIEW._replace(inventory=2.0)) == Wanted(0.0, 100.1, 0.0, 1.0)
    assert gate.allow(BOTH, VIEW._replace(inventory=-2.0, now_ns=VIEW.now_ns + S)) == Wanted(99.9, 0.0, 1.0, 0.0)


def test_a_clock_that_jumps_gives_no_more_than_one_burst():
    gate, sent, now = RiskGate(LIMITS), 0, VIEW.now_ns
    for jump in (0, -3600 * S, 1, -1, 1, -S, 0):
        now += jump
        for _ in range(10):
            allowed = gate.allow(BOTH, VIEW._replace(now_ns=now))
            sent += bool(allowed.bid_size) + bool(allowed.ask_size)
    assert sent == 5


def test_data_and_decisions_may_be_as_late_as_the_limits_say_and_no_later():
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH, VIEW._replace(data_age_ns=5 * S, latency_ns=S)) == BOTH
    assert gate.allow(BOTH, VIEW._replace(data_age_ns=5 * S + 1)) == NOTHING
    assert gate.allow(BOTH, VIEW._replace(latency_ns=S + 1)) == NOTHING


def test_after_everything_was_withdrawn_the_same_quote_is_a_new_order_beside_the_old_one():
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH, VIEW) == BOTH
    assert gate.allow(BOTH, VIEW._replace(latency_ns=2 * S)) == NOTHING
    flight = VIEW._replace(in_flight_bid=1.0, in_flight_ask=1.0)  # neither end is confirmed yet
    assert gate.allow(BOTH, flight._replace(inventory=9.0)) == Wanted(0.0, 100.1, 0.0, 1.0)
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH, VIEW) == BOTH
    assert gate.allow(BOTH, VIEW._replace(latency_ns=2 * S)) == NOTHING
    assert gate.allow(BOTH, flight._replace(inventory=-9.0)) == Wanted(99.9, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data_age_ns": 5 * S + 1}, "stale"),
        ({"data_age_ns": -1}, "clock"),
        ({"latency_ns": S + 1}, "latency"),
        ({"bid": 100.2}, "crossed"),
        ({"mid": 101.0}, "crossed"),
        ({"bid": -1.0}, "crossed"),
        ({"in_flight_bid": -1.0}, "not finite"),
        *(({name: bad}, "not finite") for bad in (math.nan, math.inf) for name in VIEW._fields if name[-3:] != "_ns"),
    ],
)
def test_what_cannot_be_trusted_withdraws_everything_until_it_is_well_again(change, reason):
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH, VIEW._replace(**change)) == NOTHING
    assert (gate.reason, gate.counts[reason], sum(gate.counts.values())) == (reason, 1, 1)
    assert gate.tripped is None
    assert gate.allow(BOTH, VIEW) == BOTH
    assert gate.reason == ""


@pytest.mark.parametrize("field", Wanted._fields)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_policy_that_wants_nonsense_gets_nothing(field, bad):
    gate = RiskGate(LIMITS)
    assert gate.allow(BOTH._replace(**{field: bad}), VIEW) == NOTHING
    assert gate.allow(BOTH._replace(bid_size=-1.0), VIEW) == NOTHING
    assert gate.counts["not finite"] == 2


def test_an_order_that_takes_at_any_price_gets_the_collar_as_its_limit_and_is_new_every_time():
    gate = RiskGate(LIMITS)
    allowed = gate.allow(Wanted(1e290, -1e290, 1.0, 0.0), VIEW)
    assert allowed == Wanted(101.0, 0.0, 1.0, 0.0)
    assert sum(gate.counts.values()) == 0
    assert gate.allow(Wanted(0.0, -1e290, 0.0, 1.0), VIEW) == Wanted(0.0, 99.0, 0.0, 1.0)
    edge = VIEW._replace(inventory=9.0, in_flight_bid=1.0)
    assert gate.allow(Wanted(1e290, 0.0, 1.0, 0.0), edge) == NOTHING  # the one in flight may fill, and this one too
    assert gate.allow(Wanted(1e290, 0.0, 1.0, 0.0), VIEW._replace(ask=101.5, mid=100.0)) == NOTHING
    assert gate.reason == "collar"


def test_quotes_outside_the_collar_are_withdrawn_and_too_large_ones_cut():
    gate = RiskGate(LIMITS)
    assert gate.allow(Wanted(98.9, 101.0, 1.0, 9.0), VIEW) == Wanted(0.0, 101.0, 0.0, 4.0)
    assert (gate.counts["collar"], gate.counts["order size"]) == (1, 1)


@given(st.lists(st.floats(0, 2_000), max_size=30))
def test_a_loss_stops_for_good(equities):
    gate, lost = RiskGate(LIMITS), False
    for equity in [*equities, 900.0, 1_000.0, 2_000.0]:
        lost = lost or equity <= 900.0
        view = VIEW._replace(equity=equity, in_flight_bid=1.0, in_flight_ask=1.0)
        assert gate.allow(BOTH, view) == (NOTHING if lost else BOTH)
    assert gate.tripped is not None
    assert gate.tripped.startswith("max_loss: lost ")
    gate.trip("something else")
    assert gate.tripped.startswith("max_loss")
    gate.reset()  # a person
    assert gate.allow(BOTH, VIEW) == BOTH


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_inventory": 0},
        {"max_loss": math.nan},
        {"collar": 1.0},
        {"max_orders_per_s": 0.5},
        {"max_order_size": True},
    ],
)
def test_limits_are_checked(wrong):
    (name, value) = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=rf"RiskLimits.{name} must be .*, got {value}"):
        dataclasses.replace(LIMITS, **wrong)


def test_recent_orders_are_all_that_the_rate_counts():
    gate, now, sent = RiskGate(LIMITS), VIEW.now_ns, deque()
    for _ in range(300):
        now += S // 50
        allowed = gate.allow(BOTH, VIEW._replace(now_ns=now))
        sent.extend([now] * (bool(allowed.bid_size) + bool(allowed.ask_size)))
    assert len(sent) == pytest.approx(5 + 6 * 5, abs=1)  # the burst, and five a second
