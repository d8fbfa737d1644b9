import pytest
from hypothesis import settings

from hftgym.params import EnvParams

# A busy machine makes a law no less true.
settings.register_profile("hftgym", deadline=None)
settings.load_profile("hftgym")

MARKETS = {
    "default": EnvParams(),
    "linear": EnvParams(fill_model="linear", arrival_intensity=0.7),
    "fees": EnvParams(maker_fee_bps=-0.5, taker_fee_bps=5.0, inventory_limit=2),
    "arithmetic-binary": EnvParams(price_model="arithmetic", price_steps="binary", microstructure_noise=0.0),
    "dear": EnvParams(initial_price=60_000.0, initial_cash=1e7, spread=1e-5, volatility=5e-5, offset_high=9.0),
    "short": EnvParams(horizon=30, window=7, inventory_limit=1, inventory_penalty=0.5),
    "wild": EnvParams(volatility=0.05, microstructure_noise=1.0, window=2, horizon=400),
    "hidden": EnvParams(
        drift=1e-5,
        mean_reversion=0.01,
        jump_probability=0.02,
        jump_mean=-0.001,
        jump_volatility=0.01,
        volatility_of_volatility=0.1,
        volatility_reversion=0.05,
        regime_switching=0.02,
        regime_drift=0.5,
        regime_volatility=2.0,
        alpha_volatility=0.1,
        alpha_reversion=0.05,
        excitation=0.5,
        excitation_decay=0.3,
    ),
    "excited": EnvParams(fill_model="linear", arrival_intensity=0.3, excitation=2.0, excitation_decay=0.5),
    "adverse": EnvParams(
        trade_through=True,
        market_order_size=0.7,
        level_depth=0.4,
        level_spacing=1.5,
        maker_fee_bps=0.3,
        terminal_penalty=1.0,
        horizon=300,
        inventory_limit=3,
    ),
    "sized": EnvParams(
        sized_actions=True,
        order_size=4.0,
        market_order_size=2.0,
        level_depth=1.0,
        level_spacing=0.5,
        reward="martingale_free",
        trade_through=True,
    ),
    "late": EnvParams(order_latency=3, data_latency=2, window=7, horizon=400),
    "late orders": EnvParams(order_latency=1, trade_through=True, market_order_size=0.5, order_size=2.0),
    "late data": EnvParams(data_latency=60, sized_actions=True, order_size=2.0),
    "jitter": EnvParams(
        order_latency=1,
        order_latency_jitter=1.5,
        order_latency_tail=1.2,
        order_latency_longest=9,
        data_latency=1,
        market_order_size=0.6,
        order_size=3.0,
        trade_through=True,
        jump_probability=0.05,
        jump_volatility=0.01,
    ),
    "utility": EnvParams(reward="cara", risk_aversion=0.05, terminal_penalty=0.5, horizon=250),
    "still": EnvParams(volatility=0.0, horizon=120),
}


@pytest.fixture(params=MARKETS.values(), ids=MARKETS.keys())
def market(request):
    return request.param
