import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftgym.params import EnvParams, as_params
from hftgym.presets import PRESETS, VENUE_FEES_BPS


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inventory_limit", 0, "inventory_limit must be at least 1, got 0"),
        ("inventory_limit", -3, "inventory_limit must be at least 1, got -3"),
        ("horizon", 0, "horizon must be at least 1, got 0"),
        ("window", 1, "window must be at least 2, got 1"),
        ("spread", 0.0, "spread must be greater than 0, got 0.0"),
        ("spread", -0.1, "spread must be greater than 0, got -0.1"),
        ("volatility", -1e-9, "volatility must be at least 0, got -1e-09"),
        ("volatility", 0.2, "volatility must be at most 0.1, got 0.2"),
        ("volatility", float("nan"), "volatility must be finite, got nan"),
        ("initial_cash", float("inf"), "initial_cash must be finite, got inf"),
        ("initial_price", 0, "initial_price must be greater than 0, got 0"),
        ("fill_decay", -0.5, "fill_decay must be greater than 0, got -0.5"),
        ("fill_model", "exponential", "fill_model must be one of poisson, linear, got 'exponential'"),
        ("price_model", "ou", "price_model must be one of geometric, arithmetic, got 'ou'"),
        ("offset_high", -1.0, "offset_high must be greater than -1, got -1.0"),
        ("offset_low", -2.0, "offset_low must be at least -1, got -2.0"),
        ("maker_fee_bps", -2000.0, "maker_fee_bps must be at least -1000, got -2000.0"),
    ],
)
def test_values_out_of_range(name, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        EnvParams(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizon", 2.5),
        ("window", "50"),
        ("spread", None),
        ("inventory_limit", True),
        ("volatility", [1]),
        ("symbol", 3),
    ],
)
def test_values_of_the_wrong_type(name, value):
    with pytest.raises(TypeError, match=re.escape(f"{name} must be") + ".*" + re.escape(repr(value))):
        EnvParams(**{name: value})


def test_values_that_contradict_each_other():
    with pytest.raises(ValueError, match=r"offset_high must be above offset_low = 2.0, got 2.0"):
        EnvParams(offset_low=2.0, offset_high=2.0)
    with pytest.raises(ValueError, match="no price can become negative"):
        EnvParams(volatility=0.1, microstructure_noise=1.0)


def test_parameters_are_frozen_and_hashable():
    params = EnvParams()
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.horizon = 3  # pyright: ignore
    assert hash(params) == hash(EnvParams())
    assert dataclasses.replace(params, horizon=3).horizon == 3


@given(
    st.builds(
        EnvParams,
        symbol=st.text(max_size=20),
        initial_price=st.floats(1e-9, 1e12),
        volatility=st.floats(0, 0.01),
        horizon=st.integers(1, 100_000),
        fill_model=st.sampled_from(["poisson", "linear"]),
        maker_fee_bps=st.floats(-1000, 1000),
    )
)
def test_json_round_trip(params):
    assert EnvParams.from_json(params.to_json()) == params
    assert as_params(params.to_dict()) == params


@pytest.mark.parametrize("text", ["[1]", "3", '"x"'])
def test_json_that_is_not_parameters(text):
    with pytest.raises(ValueError, match="must be a JSON object"):
        EnvParams.from_json(text)


def test_presets():
    assert PRESETS["default"] == EnvParams()
    assert PRESETS["article"].taker_fee_bps == 0
    for maker, taker in VENUE_FEES_BPS.values():
        assert EnvParams(maker_fee_bps=maker, taker_fee_bps=taker).maker_fee_bps <= taker


def test_penalty_is_relative_to_the_half_spread():
    assert EnvParams().phi == pytest.approx(2e-4)
    assert EnvParams(initial_price=60_000.0).phi == pytest.approx(600 * 2e-4)
