"""Real orders of the live command: what must be named, whose account it is, who has said yes."""

import dataclasses
import math
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from hftgym.live.brokers.base import VenueBroker
from hftgym.live.brokers.confirm import confirm
from hftgym.live.brokers.ids import OrderIds
from hftgym.live.brokers.keys import find_keys
from hftgym.live.brokers.venue import Venue
from hftgym.live.records import Journal, OrderRecords
from hftgym.live.risk import RiskLimits
from hftgym.live.units import UnitBroker, Units

if TYPE_CHECKING:
    from hftgym.live.recovery import Recovered
    from scripts.live import Arguments

# Options that mean something for real orders alone, and for which brokers.
_OF_BROKERS = {
    "broker": ("ccxt", "alpaca", "ib"),
    "broker_symbol": ("ccxt", "alpaca", "ib"),
    "account": ("ccxt", "alpaca"),
    "broker_url": ("ccxt", "alpaca"),
    "flat": ("ccxt", "alpaca", "ib"),
    "broker_fee_bps": ("alpaca",),
    "ib_host": ("ib",),
    "ib_port": ("ib",),
    "ib_client_id": ("ib",),
    "ib_account": ("ib",),
    "ib_exchange": ("ib",),
}
# Numbers that must be finite, and above 0 or at least 0.
_ABOVE_0 = ("unit", "tick_s", "measure_s", "max_loss", "max_orders_per_s", "collar", "max_data_age_s", "max_latency_s")
_AT_LEAST_0 = ("speed", "latency_s", "ticks", "flat")
_PORTS = ("dashboard_port", "metrics_port", "ib_port")
_IB_ACCOUNTS = {4002: "paper account", 7497: "paper account", 4001: "REAL MONEY", 7496: "REAL MONEY"}  # by port
_EXCHANGES = {
    "binance": "binance",
    "binance-usdm": "binanceusdm",
    "coinbase": "coinbase",
    "coinbase-advanced": "coinbase",
}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def check(arguments: "Arguments") -> None:
    """Refuse options that do not go together.

    Raises:
        ValueError: The message names them.
    """
    _check_numbers(arguments)
    if arguments.replay is not None and (arguments.live or arguments.feed_url is not None):
        raise ValueError(
            f"--replay plays a recording: it does not go with {'--live' if arguments.live else '--feed-url'}"
        )
    given = [each.name for each in dataclasses.fields(arguments) if getattr(arguments, each.name) != each.default]
    for name, brokers in _OF_BROKERS.items():
        if name in given and not arguments.live:
            raise ValueError(f"{_option(name)} is for real orders: it needs --live")
        if name in given and arguments.broker is not None and arguments.broker not in brokers:
            raise ValueError(f"{_option(name)} is for --broker {' or '.join(brokers)}, not for {arguments.broker}")
    if not arguments.live:
        return
    for name, why in (("broker", "ccxt, alpaca or ib"), ("journal", "every order is written down before it is sent")):
        if getattr(arguments, name) is None:
            raise ValueError(f"--live needs {_option(name)}: {why}")
    url = arguments.broker_url
    if url is not None and not (url.startswith(("http://", "https://")) and urlsplit(url).hostname):
        raise ValueError(f"--broker-url must begin with http:// or https:// and name a host, got {url!r}")
    if arguments.broker != "ccxt" and arguments.broker_symbol is None:
        raise ValueError(f"--broker {arguments.broker} needs --broker-symbol, such as BTC/USD: its name for the market")


def _check_numbers(arguments: "Arguments") -> None:
    """Refuse numbers that mean nothing, before anything is opened or connected."""
    for name in (*_ABOVE_0, *_AT_LEAST_0, *_PORTS, "broker_fee_bps"):
        value = getattr(arguments, name)
        if value is None:
            continue
        if name in _PORTS:
            valid, allowed = 0 <= value <= 65_535, "be a port, 0 to 65535"
        elif name in _ABOVE_0:
            valid, allowed = 0 < value < math.inf, "be a finite number above 0"
        elif name in _AT_LEAST_0:
            valid, allowed = 0 <= value < math.inf, "be a finite number, 0 or above"
        else:
            valid, allowed = math.isfinite(value), "be a finite number"
        if not valid:
            raise ValueError(f"{_option(name)} must {allowed}, got {value!r}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def symbol_of(arguments: "Arguments") -> str:
    """Return what the broker calls the market."""
    return arguments.broker_symbol or arguments.symbol


def open_venue(arguments: "Arguments") -> Venue:
    """Return the account that the command names, with its keys; nothing is sent yet.

    Raises:
        ValueError: There are no keys, or no such account.
    """
    try:
        return {"ccxt": _ccxt, "alpaca": _alpaca, "ib": _ib}[str(arguments.broker)](arguments)
    except LookupError as error:
        raise ValueError(str(error)) from None


def _ccxt(arguments: "Arguments") -> Venue:
    from hftgym.live.brokers.ccxt import CcxtVenue, open_exchange

    exchange_id, test = _EXCHANGES[arguments.venue], arguments.account == "test"
    # An address of one's own takes the place of either account's.
    exchange, keys = open_exchange(exchange_id, sandbox=test and arguments.broker_url is None, url=arguments.broker_url)
    return CcxtVenue(exchange, symbol_of(arguments), keys=keys)


def _alpaca(arguments: "Arguments") -> Venue:
    from hftgym.live.brokers.alpaca import AlpacaVenue

    url = arguments.broker_url
    return AlpacaVenue(
        symbol_of(arguments),
        keys=find_keys("alpaca"),
        paper=arguments.account == "test",
        fee_bps=arguments.broker_fee_bps,
        url=url,
        stream_url=None if url is None else f"{url.replace('http', 'ws', 1)}/stream",
    )


def _ib(arguments: "Arguments") -> Venue:
    from ib_async import Crypto

    from hftgym.live.brokers.ib import IbVenue

    symbol, _, currency = symbol_of(arguments).partition("/")
    return IbVenue(
        Crypto(symbol, arguments.ib_exchange, currency or "USD"),
        host=arguments.ib_host,
        port=arguments.ib_port,
        client_id=arguments.ib_client_id,
        account=arguments.ib_account,
    )


def confirmed(arguments: "Arguments", venue: Venue, limits: RiskLimits) -> bool:
    """Show what will happen and demand the symbol; where nobody sits at a terminal, it is a no."""
    shown = dataclasses.make_dataclass("Shown", [*dataclasses.asdict(limits), "unit"])
    told: Any = shown(**dataclasses.asdict(limits), unit=f"{arguments.unit:g} coins; the limits count units")
    return sys.stdin.isatty() and confirm(_place(arguments, venue), symbol_of(arguments), told)


def _place(arguments: "Arguments", venue: Venue) -> str:
    if arguments.broker == "ib":
        whose = _IB_ACCOUNTS.get(arguments.ib_port, "account unknown: treat it as REAL MONEY")
        return f"{venue.name}, {whose} (TWS or gateway at {arguments.ib_host}:{arguments.ib_port})"
    whose = "real money" if arguments.account == "real" else "test account"
    return f"{venue.name}, {whose}" + (f", at {arguments.broker_url}" if arguments.broker_url else "")


def unit_broker(
    arguments: "Arguments",
    venue: Venue,
    *,
    units: Units,
    journal: Journal,
    left: "Recovered | None",
    limits: RiskLimits,
) -> UnitBroker:
    """Return the broker of a session: names go on where the journal's end, and every order is written down."""
    records = OrderRecords(journal, units=units)
    broker = VenueBroker(
        venue,
        # Begun anew by the clock too: names do not come back where a journal is lost.
        ids=OrderIds(_base36(time.time_ns()), left.next_order if left else 0),
        sent=records.sent,
        closed=records.closed,
        latency_s=arguments.latency_s,
    )
    return UnitBroker(broker, units=units, flat=arguments.flat, most=limits.max_inventory)


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits
