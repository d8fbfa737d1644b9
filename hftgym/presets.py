"""Named markets, and the fees of real venues.

>>> import dataclasses, hftgym
>>> hftgym.PRESETS["mean-reverting"].mean_reversion
0.02
>>> maker, taker = hftgym.VENUE_FEES_BPS["binance-usdm"]
>>> dataclasses.replace(hftgym.EnvParams(), maker_fee_bps=maker, taker_fee_bps=taker).taker_fee_bps
5.0
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from hftgym.params import EnvParams

# 200 ticks of 0.005, sigma = 2, A = 140 and k = 1.5 per unit of currency: the numbers of Avellaneda & Stoikov (2008)
# and of the simulations after it. The half-spread is one unit of currency, so that offsets are the papers' distances;
# the papers have no market orders, which the taker fee makes too dear to be used.
_PAPER = EnvParams(
    spread=0.02,
    price_model="arithmetic",
    volatility=2 * math.sqrt(0.005) / 100,
    microstructure_noise=0.0,
    arrival_intensity=140 * 0.005,
    fill_decay=1.5,
    taker_fee_bps=1_000.0,
    inventory_penalty=0.005,
    horizon=200,
    tick_s=0.005,
    offset_low=0.0,
    offset_high=3.0,
)

PRESETS: Mapping[str, EnvParams] = MappingProxyType(
    {
        "default": EnvParams(),
        # The article's own figures charge the spread alone.
        "article": EnvParams(taker_fee_bps=0.0),
        "avellaneda-stoikov": replace(
            _PAPER,
            price_steps="binary",
            fill_model="linear",
            inventory_limit=50,
            inventory_penalty=0.0,
            offset_low=-0.5,
            reward="cara",
            risk_aversion=0.1,
        ),
        "cartea-jaimungal": _PAPER,
        "alpha": replace(_PAPER, offset_low=-0.4, regime_switching=0.02, regime_drift=0.5),
        "adverse": EnvParams(
            volatility=0.0002,
            jump_probability=0.002,
            jump_volatility=0.002,
            maker_fee_bps=0.1,
            market_order_size=2.0,
            trade_through=True,
            level_depth=2.0,
            level_spacing=1.0,
            order_latency=1,
            order_latency_jitter=0.5,
            order_latency_tail=1.5,
            order_latency_longest=20,
            data_latency=1,
        ),
        "mean-reverting": EnvParams(price_model="arithmetic", mean_reversion=0.02),
    }
)

# (maker, taker) in basis points, lowest tier without discounts, as published by the venues in 2024 and 2025. Venues
# change them: look them up before relying on them.
VENUE_FEES_BPS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {
        "binance-spot": (10.0, 10.0),
        "binance-usdm": (2.0, 5.0),
        "bybit-linear": (2.0, 5.5),
        "coinbase": (40.0, 60.0),
        "kraken-spot": (25.0, 40.0),
    }
)


def named_market(given: str) -> EnvParams:
    """Return the market that a user named: a preset, or the path of a .json or .toml file of EnvParams.

    Raises:
        ValueError: There is no such preset, or the file cannot be read or does not hold a market.
    """
    if given in PRESETS:
        return PRESETS[given]
    path = Path(given)
    if path.suffix not in (".json", ".toml"):
        raise ValueError(f"market must be one of {', '.join(PRESETS)}, or a .json or .toml file, got {given!r}")
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"expected an object of EnvParams' fields, got {type(values).__name__}")
        return EnvParams.from_dict(values)
    except (OSError, ValueError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"market {given}: {reason}") from error
