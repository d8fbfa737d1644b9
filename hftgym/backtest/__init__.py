"""Policies on recorded ticks."""

from hftgym.backtest.replay import backtest
from hftgym.backtest.result import REASONS, Backtest, Fills
from hftgym.backtest.zscore import ZScoreBacktest, ZScoreTrades, backtest_zscore
from hftgym.backtest.zscore_grid import ZScoreGrid, zscore_grid

__all__ = [
    "REASONS",
    "Backtest",
    "Fills",
    "ZScoreBacktest",
    "ZScoreGrid",
    "ZScoreTrades",
    "backtest",
    "backtest_zscore",
    "zscore_grid",
]
