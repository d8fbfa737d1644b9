"""Interactive Brokers through ib_async and a running TWS or IB Gateway, which holds the login: no keys here.

Interactive Brokers has no post-only orders for most markets. A quote that would take by the best prices known here is
not sent, but one that the market has come to while it was on its way may take.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from hftgym.live.brokers.tasks import end
from hftgym.live.brokers.venue import (
    BusyError,
    Execution,
    Listener,
    LostError,
    Market,
    RejectedError,
    Report,
    Ticket,
    UnknownOrderError,
    VenueState,
)

try:
    from ib_async import IB, Contract, ExecutionFilter, LimitOrder, OrderStatus, Trade
    from ib_async.util import UNSET_DOUBLE
except ImportError as error:
    raise ImportError('orders through Interactive Brokers need ib_async: pip install "hftgym[ib]"') from error

_LOG = logging.getLogger(__name__)
_AGAIN_S = 2.0  # between attempts to connect again
_TOO_FAST = 100  # error: max rate of messages per second has been exceeded
_STATES: dict[str, VenueState] = {
    "Filled": "filled",
    "Cancelled": "cancelled",
    "ApiCancelled": "cancelled",
    "Inactive": "cancelled",
    "PendingSubmit": "pending",
    "ApiPending": "pending",
}


class IbVenue:
    """One market of an account; see `hftgym.live.brokers.venue.Venue`.

    Orders carry their client id as `orderRef`, which Interactive Brokers does not compare: it is the journal's next
    number that keeps a name from being used twice. Only the API client that has sent an order can cancel it: keep
    `client_id` the same over restarts.

    Args:
        contract: What to trade, as ib_async names it.
        host: Where TWS or the gateway runs.
        port: 4002 and 7497 are the paper accounts of gateway and TWS, 4001 and 7496 the real ones.
        client_id: Number of this API client.
        account: Account, if the login has several.
        ib: The interface, if another one than a new `ib_async.IB()`.
    """

    name = "interactive brokers"
    requests_per_s, burst = 40.0, 20  # 50 messages per second

    def __init__(
        self,
        contract: Contract,
        *,
        host: str = "127.0.0.1",
        port: int = 4002,
        client_id: int = 7,
        account: str = "",
        ib: IB | None = None,
    ) -> None:
        self.symbol, self.market = contract.symbol, Market(price_step=0.01, lot=1.0)
        self._contract, self._ib, self._account = contract, ib or IB(), account
        self._login: dict[str, Any] = {"host": host, "port": port, "clientId": client_id, "account": account}
        self._listener: Listener
        self._trades: dict[str, Trade] = {}  # by client id; only those that are not done
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"IbVenue({self.symbol})"

    async def load(self) -> None:
        """Connect and learn the market's steps.

        Raises:
            LostError: TWS or the gateway does not answer.
            ValueError: The contract is not exactly one, or the account is none of the login's or not named.
        """
        try:
            await self._ib.connectAsync(**self._login)
        except (OSError, TimeoutError) as error:
            raise LostError(f"no TWS or gateway at {self._login['host']}:{self._login['port']}: {error}") from None
        accounts = self._ib.managedAccounts()
        named = self._account or (accounts[0] if len(accounts) == 1 else "")
        if named not in accounts:
            raise ValueError(f"account must be one of the login's: {', '.join(accounts)}, got {named!r}")
        self._account = named
        details = await self._ib.reqContractDetailsAsync(self._contract)
        if len(details) != 1 or details[0].contract is None:
            raise ValueError(f"contract must name exactly one market, {self._contract} names {len(details)}")
        found = details[0]
        self._contract = details[0].contract
        self.market = Market(
            price_step=found.minTick or 0.01, lot=found.sizeIncrement or 1.0, min_size=found.minSize or 0.0
        )

    async def connect(self, listener: Listener) -> None:
        """Listen to orders and executions."""
        self._listener = listener
        self._ib.orderStatusEvent += self._hear_status
        self._ib.commissionReportEvent += self._hear_fill
        self._ib.disconnectedEvent += self._hear_end
        listener.on_connection(up=True)

    def _hear_status(self, trade: Trade) -> None:
        if not self._mine(trade):
            return
        report = _report(trade)
        if report.state == "cancelled":
            # Errors end an order too, and do not say how much of it was filled: its executions do.
            self._spawn(self._look_and_tell(report))
        else:
            self._listener.on_report(report)

    async def _look_and_tell(self, ended: Report) -> None:
        report, executions = await self.look(ended.order_id, ended.venue_id, 0)
        for execution in executions:
            self._listener.on_execution(execution)
        self._listener.on_report(report or ended)

    def _hear_fill(self, trade: Trade, fill: Any, costs: Any) -> None:
        del costs  # it is in the fill
        # The commission comes right after the execution; one whose does not is found when the order is asked about.
        if self._mine(trade):
            self._listener.on_execution(_execution(fill))

    def _hear_end(self) -> None:
        self._listener.on_connection(up=False)
        self._spawn(self._reconnect())

    async def _reconnect(self) -> None:
        while not self._ib.isConnected():
            try:
                await self._ib.connectAsync(**self._login)
            except (OSError, TimeoutError) as error:
                _LOG.warning("%r: %s", self, error)
                await asyncio.sleep(_AGAIN_S)
        self._listener.on_connection(up=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _mine(self, trade: Trade) -> bool:
        return bool(trade.order.orderRef) and trade.contract.conId == self._contract.conId

    async def place(self, ticket: Ticket) -> Report:
        """Send a limit order and wait until it works or has ended; one that is to take is immediate-or-cancel."""
        order = LimitOrder(
            "BUY" if ticket.side > 0 else "SELL",
            ticket.size,
            ticket.price,
            orderRef=ticket.order_id,
            tif="IOC" if ticket.taking else "GTC",
            account=self._account,
        )
        trade = self._placed(order)
        self._trades[ticket.order_id] = trade
        while trade.orderStatus.status in (OrderStatus.PendingSubmit, OrderStatus.ApiPending):
            await trade.statusEvent
        told = next((entry for entry in reversed(trade.log) if entry.errorCode), None)
        if trade.orderStatus.status in OrderStatus.DoneStates and told and not trade.fills:
            raise BusyError(told.message) if told.errorCode == _TOO_FAST else RejectedError(told.message)
        report = _report(trade)
        # What an end leaves filled is told by `_hear_status`.
        return report._replace(state="pending") if report.state == "cancelled" else report

    def _placed(self, order: LimitOrder) -> Trade:
        try:
            return self._ib.placeOrder(self._contract, order)
        except ConnectionError as error:
            raise LostError(str(error)) from None

    async def cancel(self, order_id: str, venue_id: str) -> Report | None:
        """Cancel an order; a status tells when it is."""
        del venue_id
        trade = self._trades.get(order_id)
        if trade is None or trade.isDone():
            raise UnknownOrderError(f"{order_id} is not an open order of this client")
        try:
            self._ib.cancelOrder(trade.order)
        except ConnectionError as error:
            raise LostError(str(error)) from None
        return None

    async def look(self, order_id: str, venue_id: str, since_ns: int) -> tuple[Report | None, Sequence[Execution]]:
        """Return an order from the open and the completed ones, and then its executions of the day."""
        del venue_id, since_ns
        self._connected()
        for reports in (await self._open(), await self._completed()):
            report = next((each for each in reports if each.order_id == order_id), None)
            if report is not None:
                break
        fills = await self._ib.reqExecutionsAsync(ExecutionFilter(acctCode=self._account))
        mine = [_execution(fill) for fill in fills if fill.execution.orderRef == order_id]
        filled = sum(execution.size for execution in mine)
        if report is not None:
            report = report._replace(filled=max(report.filled, filled))
        return report, mine

    async def _open(self) -> list[Report]:
        trades = [trade for trade in await self._ib.reqOpenOrdersAsync() if self._mine(trade)]
        self._trades = {trade.order.orderRef: trade for trade in trades}
        return [_report(trade) for trade in trades if not trade.isDone()]

    async def _completed(self) -> list[Report]:
        return [_report(trade) for trade in await self._ib.reqCompletedOrdersAsync(False) if self._mine(trade)]

    async def open_orders(self) -> Sequence[Report]:
        """Return all open orders of the market and this API client."""
        self._connected()
        return await self._open()

    async def balance(self) -> tuple[float, float]:
        """Return (cash in the account's currency, units)."""
        self._connected()
        values = await self._ib.accountSummaryAsync(self._account)
        cash = sum(float(each.value) for each in values if each.tag == "TotalCashValue")
        held = await self._ib.reqPositionsAsync()
        here = [each for each in held if each.account == self._account and each.contract.conId == self._contract.conId]
        return cash, sum(float(each.position) for each in here)

    def _connected(self) -> None:
        if not self._ib.isConnected():
            raise LostError("TWS or the gateway is not connected")

    async def close(self) -> None:
        """Disconnect."""
        if hasattr(self, "_listener"):
            self._ib.orderStatusEvent -= self._hear_status
            self._ib.commissionReportEvent -= self._hear_fill
            self._ib.disconnectedEvent -= self._hear_end
        await end(self._tasks)
        self._ib.disconnect()


def _report(trade: Trade) -> Report:
    order, status = trade.order, trade.orderStatus
    # Completed orders have their filled units in another field than open ones.
    completed = 0.0 if order.filledQuantity == UNSET_DOUBLE else float(order.filledQuantity)
    filled, side = max(float(status.filled), completed), 1 if order.action == "BUY" else -1
    number = str(status.permId or order.permId or "")
    size = float(order.totalQuantity) or completed
    return Report(
        order.orderRef, number, _STATES.get(status.status, "open"), filled, side, float(order.lmtPrice or 0.0), size
    )


def _execution(fill: Any) -> Execution:
    done, price = fill.execution, float(fill.execution.price)
    side = 1 if done.side == "BOT" else -1
    # A correction has the same id but for its last part: it must not count as another fill.
    name = done.execId.rpartition(".")[0] or done.execId
    fee = float(fill.commissionReport.commission)
    return Execution(name, done.orderRef, str(done.permId), side, price, float(done.shares), fee)
