"""A known session, and processes that write it into a journal until they are killed.

Run as `journalled.py FOLDER KILLS SEED`: forks a writer, kills it at a random moment, checks what it has left, and lets
the next one go on from there; every tenth begins a new journal.
"""

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

from hftgym.live.journal import SessionJournal, read_session
from hftgym.live.recovery import recover

START = {
    "params": {"initial_cash": 10_000.0, "tick_s": 0.1},
    "limits": {"max_inventory": 10.0},
    "venue": "binance-spot",
    "symbol": "BTCUSDT",
    "price_step": 0.01,
    "latency_s": 0.01,
}
WAITING = ("quote", "trade", "decision")  # may be lost


def session():
    """Yield (kind, values) of an endless session, always the same."""
    yield "start", START
    draw, cash, inventory = random.Random(0), 10_000.0, 0.0
    for tick in itertools.count():
        now = 10**18 + tick * 10**8
        for i in range(draw.choice([0, 1, 5, 300])):  # many at once are written in pieces, which a kill may tear
            sizes = {"bid_size": 1.0 + i, "ask_size": 2.0}
            yield "quote", {"received_ns": now + i, "exchange_ns": 0, "bid": 99.9, "ask": 100.1, **sizes}
            yield "trade", {"received_ns": now + i, "exchange_ns": 0, "price": 100.1, "size": 0.1, "taker_side": 1}
        if draw.random() < 0.02:
            yield "status", {"received_ns": now, "kind": "gap", "text": "two numbers are missing"}
        yield "decision", {"tick": tick, "action": [0.1, 0.1], "wanted": [99.9, 100.1, 1.0, 1.0]}
        order = {"order_id": f"o{tick}", "side": draw.choice([1, -1]), "price": 100.0 + draw.randrange(-9, 9) / 10}
        yield "order", {**order, "size": 1.0}
        for size in draw.choice([[], [1.0], [0.5], [0.25, 0.5]]):
            yield "fill", {"time_ns": now, **order, "size": size, "fee": 0.01}
            cash -= order["side"] * size * order["price"] + 0.01
            inventory += order["side"] * size
        yield (
            "mark",
            {"tick": tick, "mid": 100.0, "cash": cash, "inventory": inventory, "equity": cash + 100 * inventory},
        )
        yield "cancel", {"order_id": f"o{tick}"}
        if draw.random() < 0.9:
            yield "closed", {"order_id": f"o{tick}", "reason": "cancelled"}


def after(records):
    """Return (cash, inventory, left by order, next order, ticks) after some records: the slow, obvious way."""
    fills = [values for kind, values in records if kind == "fill"]
    closed = {values["order_id"] for kind, values in records if kind == "closed"}
    orders = [values for kind, values in records if kind == "order"]
    left = {
        o["order_id"]: o["size"] - sum(f["size"] for f in fills if f["order_id"] == o["order_id"]) for o in orders[-99:]
    }
    cash = 10_000.0 - sum(f["side"] * f["size"] * f["price"] + f["fee"] for f in fills)
    inventory = sum(f["side"] * f["size"] for f in fills)
    open_orders = {name: size for name, size in left.items() if size > 0 and name not in closed}
    return cash, inventory, open_orders, len(orders), sum(kind == "mark" for kind, _ in records)


def write(path, acknowledge):
    """Open a journal, go on where it ended, and write without end."""
    journal = SessionJournal(path)
    done = sum(1 for _ in read_session(path))
    rest = itertools.islice(session(), done, None)
    first = next(rest)
    acknowledge(done)
    for number, (kind, values) in enumerate(itertools.chain([first], rest), start=done + 1):
        journal.append(kind, **values)
        if kind not in WAITING:
            acknowledge(number)


def check(path, acknowledged):
    """Assert that a journal is the beginning of the session, with all that was acknowledged; return its length."""
    found = [tuple(record) for record in read_session(path)] if path.exists() else []
    assert len(found) >= acknowledged, (len(found), acknowledged)
    assert found == list(itertools.islice(session(), len(found)))
    if found:
        state, (cash, inventory, left, orders, ticks) = recover(path), after(found)
        assert abs(state.cash - cash) < 1e-6
        assert state.inventory == inventory
        recent = {order.order_id: order.left for order in state.orders}
        assert {name: size for name, size in recent.items() if name in left} == left
        assert (state.next_order, state.ticks, state.stop) == (orders, ticks, None)
    return len(found)


def kill_one(path, seconds, *, writing):
    """Let a writer go on for some time, counted from its start or its first record; kill it.

    Return how many records it has acknowledged, those that it found included.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        write(path, lambda number: os.write(writer, b"%d\n" % number))
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        if writing:
            file.peek(1)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return int((file.read().split() or [b"0"])[-1])


def main(folder, kills, seed):
    """Print how many kills there were, after how many there were new records, and how many tore a line."""
    draw, grown, torn, before = random.Random(seed), 0, 0, 0
    for kill in range(kills):
        path = folder / f"{kill // 10}.journal"
        before = before if path.exists() else 0
        after = check(path, kill_one(path, draw.uniform(0, 0.01), writing=kill % 5 > 0))
        assert after >= before
        grown += after > before
        torn += path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        before = after
    print(kills, grown, torn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
