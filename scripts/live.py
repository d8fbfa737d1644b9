"""Trade a policy on a live market: on paper, or with real orders where you say so in three ways.

On paper there is no account, no key, and no order leaves the machine:

python scripts/live.py binance BTCUSDT agents/pretrained/default.onnx --dashboard

python scripts/live.py binance-usdm ETHUSDT z-score --unit 0.01 --plot --journal eth.journal

python scripts/live.py binance BTCUSDT agents/pretrained/default.onnx --replay capture.gz --speed 10  (no network)

It connects to the venue's public feed, measures volatility, spread and order flow for a minute (or takes --market, as
written by calibrate.py), and then quotes every --tick-s seconds. Orders on paper stand in a queue, arrive late and pay
the venue's fees; they move nothing.

Real orders need --live, a --broker, keys in the environment or a keyring, and the symbol typed at a terminal. Unless
--account real is given, they go to the venue's test account. Read docs/live.md first; begin like this:

export HFTGYM_BINANCE_KEY=... HFTGYM_BINANCE_SECRET=...

python scripts/live.py binance BTCUSDT z-score --live --broker ccxt --flat 0.01 --journal test.journal --feed-url
wss://stream.testnet.binance.vision/stream  (Binance's testnet)

python scripts/live.py coinbase BTC-USD z-score --live --broker alpaca --broker-symbol BTC/USD --journal alpaca.journal

python scripts/live.py coinbase BTC-USD z-score --live --broker ib --broker-symbol BTC/USD --journal ib.journal

To stop it: Ctrl-C, kill, the dashboard's button, or `touch` the --stop-file. Every order is cancelled, then the process
ends. The model's file may be replaced at any time (with a rename): the next tick is decided by the new one, if it
verifies.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from hftgym import EnvParams
from hftgym.live.brokers.venue import VenueError
from scripts import live_parts

Venue = Literal["binance", "binance-usdm", "coinbase", "coinbase-advanced"]


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to trade, and how.

    Attributes:
        venue: Where the public feed comes from.
        symbol: In the venue's spelling: BTCUSDT, BTC-USD.
        policy: A file written by export.py (.onnx), or the name of a rule such as z-score or avellaneda-stoikov.
        replay: Play this recording (any that hftgym.tape.read_tape knows) instead of connecting.
        speed: Of the replay: 1 as recorded, 10 ten times as fast, 0 as fast as it goes.
        unit: Coins in one unit: limits and orders count units, prices are those of one unit.
        tick_s: Seconds between two decisions.
        latency_s: Seconds from a decision to its arrival on paper, there and back.
        market: params.json of calibrate.py, made with the same --unit and --tick-s; measured if not given.
        measure_s: Seconds to measure a live market, where --market is not given.
        ticks: Stop after so many.
        dashboard: Show a page on http://127.0.0.1 with a button that stops the session.
        dashboard_port: Its port; 0 for any that is free.
        plot: Show the price with fills, and the equity, in a window.
        metrics_port: Answer Prometheus on http://127.0.0.1 at this port.
        journal: Write down everything there, crash-safe; a session that finds one goes on where it ended.
        log: Append structured logs (JSON lines) to this file.
        stop_file: Stop as soon as something is there.
        max_loss: Stop for good after this loss, quote currency; 1 % of the cash at the start if not given.
        max_orders_per_s: New orders a second.
        collar: Furthest quote from the mid, as a share of it.
        max_data_age_s: Withdraw when the market data are older.
        max_latency_s: Withdraw when a decision takes longer.
        feed_url: Another address of the public feed (wss://...): a testnet's, a proxy's, a simulator's.
        live: Send real orders. Needs --broker and --journal, and somebody at the terminal who types the symbol.
        broker: Where to: ccxt (the exchange of the feed), alpaca, or ib (a running TWS or IB Gateway).
        broker_symbol: The market as the broker names it, such as BTC/USD; the feed's for ccxt.
        account: "test" is the venue's testnet or paper account, "real" is money. With ib the port decides.
        broker_url: Scheme and host in place of the venue's (http://...): a simulator or a proxy. ccxt and alpaca.
        broker_fee_bps: What a fill costs; alpaca does not tell it.
        flat: Coins in the account that count as a position of 0. A spot account can sell no more than these.
        ib_host: Where TWS or the gateway runs.
        ib_port: 4002 and 7497 are the paper accounts of gateway and TWS, 4001 and 7496 the real ones.
        ib_client_id: Keep it the same: only the client that has sent an order can cancel it.
        ib_account: Which, if the login has several.
        ib_exchange: Where Interactive Brokers trades the coin.
        params: Limit, order size, penalties and window; price, spread, volatility and fees are the market's.
    """

    venue: tyro.conf.Positional[Venue]
    symbol: tyro.conf.Positional[str]
    policy: tyro.conf.Positional[str]
    replay: Path | None = None
    speed: float = 1.0
    unit: float = 0.001
    tick_s: float = 0.1
    latency_s: float = 0.01
    market: Path | None = None
    measure_s: float = 60.0
    ticks: int | None = None
    dashboard: bool = False
    dashboard_port: int = 5006
    plot: bool = False
    metrics_port: int | None = None
    journal: Path | None = None
    log: Path | None = None
    stop_file: Path | None = None
    max_loss: float | None = None
    max_orders_per_s: float = 20.0
    collar: float = 0.01
    max_data_age_s: float = 5.0
    max_latency_s: float = 1.0
    feed_url: str | None = None
    live: bool = False
    broker: Literal["ccxt", "alpaca", "ib"] | None = None
    broker_symbol: str | None = None
    account: Literal["test", "real"] = "test"
    broker_url: str | None = None
    broker_fee_bps: float = 0.0
    flat: float = 0.0
    ib_host: str = "127.0.0.1"
    ib_port: int = 4002
    ib_client_id: int = 7
    ib_account: str = ""
    ib_exchange: str = "PAXOS"
    params: EnvParams = field(default_factory=EnvParams)


def main() -> int:
    try:
        live_parts.run(tyro.cli(Arguments, description=__doc__), Console(highlight=False, soft_wrap=True))
    except KeyboardInterrupt:
        print("interrupted before the session began: no order was sent", file=sys.stderr)
        return 130
    except (ValueError, ArithmeticError, ImportError, OSError, VenueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
