import pytest

from hftgym.params import EnvParams

MARKETS = {
    "default": EnvParams(),
    "linear": EnvParams(fill_model="linear", arrival_intensity=0.7),
    "fees": EnvParams(maker_fee_bps=-0.5, taker_fee_bps=5.0, inventory_limit=2),
    "arithmetic-binary": EnvParams(price_model="arithmetic", price_steps="binary", microstructure_noise=0.0),
    "dear": EnvParams(initial_price=60_000.0, initial_cash=1e7, spread=1e-5, volatility=5e-5, offset_high=9.0),
    "short": EnvParams(horizon=30, window=7, inventory_limit=1, inventory_penalty=0.5),
    "wild": EnvParams(volatility=0.05, microstructure_noise=1.0, window=2, horizon=400),
    "still": EnvParams(volatility=0.0, horizon=120),
}


@pytest.fixture(params=MARKETS.values(), ids=MARKETS.keys())
def market(request):
    return request.param
