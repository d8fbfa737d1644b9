"""What a session shows, tick by tick."""

from typing import Literal, NamedTuple

from hftgym.live.broker import Fill

State = Literal["waiting", "warming", "trading", "withdrawn", "stopped"]


class Snapshot(NamedTuple):
    """What observers see, once per tick. Money in quote currency, inventory in units.

    The state "stopped" is told by a last one alone, if the account has changed since the last tick; it is no tick.
    """

    time_ns: int
    tick: int
    mid: float
    bid: float  # best prices of the market
    ask: float
    quote_bid: float  # own quotes, NaN for none
    quote_ask: float
    inventory: float
    cash: float
    equity: float
    fills: tuple[Fill, ...]
    spread_capture: float  # of this tick
    inventory_pnl: float
    fees: float
    state: State
    reason: str
