"""What a session's ticks add up to."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the session loads the market's kernels, which whoever watches does not need
    from hftgym.live.snapshot import Snapshot


class Totals:
    """Sums over the snapshots of a session, for whoever watches it.

    Attributes:
        ticks: Snapshots seen, without one that only tells what came after the last tick.
        fills: Executions.
        bought: Units.
        sold: Units.
        spread_capture: Quote currency, as the next two.
        inventory_pnl: Of the inventory held while the mid moved.
        fees: Paid; negative is a rebate.
        start_equity: Of the first snapshot; None before it.
        equity: Of the newest.
        inventory: Units, of the newest.
    """

    def __init__(self) -> None:
        self.ticks = self.fills = 0
        self.bought = self.sold = 0.0
        self.spread_capture = self.inventory_pnl = self.fees = 0.0
        self.start_equity: float | None = None
        self.equity = self.inventory = 0.0

    def add(self, snapshot: "Snapshot") -> None:
        """Count a tick."""
        if self.start_equity is None:
            self.start_equity = snapshot.equity
        self.ticks += snapshot.state != "stopped"
        self.equity, self.inventory = snapshot.equity, snapshot.inventory
        self.spread_capture += snapshot.spread_capture
        self.inventory_pnl += snapshot.inventory_pnl
        self.fees += snapshot.fees
        for fill in snapshot.fills:
            self.fills += 1
            self.bought += fill.size if fill.side > 0 else 0.0
            self.sold += fill.size if fill.side < 0 else 0.0
