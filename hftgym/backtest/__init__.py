"""Policies on recorded ticks."""

from hftgym.backtest.replay import backtest
from hftgym.backtest.result import REASONS, Backtest, Fills
from hftgym.backtest.zscore import ZScoreBacktest, ZScoreTrades, backtest_zscore

__all__ = ["REASONS", "Backtest", "Fills", "ZScoreBacktest", "ZScoreTrades", "backtest", "backtest_zscore"]
