"""Forecasters that are fitted on a table of features: a linear model and gradient-boosted trees, and their contract."""

from abc import ABC, abstractmethod
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from agents.forecasters.features import features, rolling_table

# What a forecaster may claim at most: a log-loss that an unseen case cannot make infinite.
_SURE = 1e-6


class Forecaster(ABC):
    """Learns the direction of the next move; the same data and seed give the same forecaster, bit for bit.

    Args:
        seed: Of everything that is random in the training.
    """

    name: str

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    @abstractmethod
    def fit(self, X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Train on X, float32 (n, width), in the order of time, and y, 1 where the next move was up and 0 where down.

        Raises:
            ValueError: The shapes do not fit, a number is not finite, or y holds one class only.
        """

    @abstractmethod
    def proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of an up move (n,), given that there is one."""


class TableForecaster(Forecaster):
    """A forecaster that looks at features, float32.

    Args:
        table: Matrix (width, k) from windows of moves to features; None where X holds features already.
        seed: Of the training.
    """

    def __init__(self, table: NDArray[np.float64] | None = None, *, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.table = table

    def inputs(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features of X, float32 (n, k)."""
        return X if self.table is None else features(X, self.table)


class Linear(TableForecaster):
    """Logistic regression: the log-odds of an up move are a weighted sum of past moves.

    Attributes:
        weights: float64 (k,), after `fit`.
        bias: Log-odds where all features are zero.
    """

    name = "linear"

    def fit(self, X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Train; see `Forecaster.fit`."""
        check_examples(X, y)
        inputs = self.inputs(X)
        # Features of bars are not of unit variance; the scale is the training's own and is folded into the weights.
        mean, scale = inputs.mean(axis=0, dtype=np.float64), inputs.std(axis=0, dtype=np.float64)
        scale = np.where(scale > 0.0, scale, 1.0)
        model = LogisticRegression(max_iter=500).fit((inputs - mean) / scale, y)
        self.weights: NDArray[np.float64] = model.coef_[0] / scale
        self.bias = float(model.intercept_[0] - self.weights @ mean)

    def proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(up) (n,)."""
        return sigmoid(self.inputs(X).astype(np.float64) @ self.weights + self.bias)


class Trees(TableForecaster):
    """Gradient-boosted trees (LightGBM), shallow and slow learners: the signal is weak and the noise is not.

    Attributes:
        booster: After `fit`.
    """

    name = "trees"

    def __init__(
        self, table: NDArray[np.float64] | None = None, *, seed: int = 0, rounds: int = 100, leaves: int = 15
    ) -> None:
        super().__init__(table, seed=seed)
        self.rounds, self.leaves = rounds, leaves

    def fit(self, X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Train; see `Forecaster.fit`."""
        check_examples(X, y)
        settings: dict[str, Any] = {
            "objective": "binary",
            "num_leaves": self.leaves,
            "learning_rate": 0.05,
            "min_data_in_leaf": int(np.clip(len(y) // 200, 5, 500)),
            "feature_fraction": 0.8,
            "seed": self.seed,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "use_missing": False,
            "verbosity": -1,
        }
        self.booster = lightgbm.train(settings, lightgbm.Dataset(self.inputs(X), y), num_boost_round=self.rounds)

    def proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(up) (n,)."""
        return np.asarray(self.booster.predict(self.inputs(X), num_threads=1))


class Constant(Forecaster):
    """Always the share of up moves in the training: what a forecaster must beat to have learned anything."""

    name = "constant"

    def fit(self, X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Count."""
        check_examples(X, y)
        self.share = float(np.clip(y.mean(), _SURE, 1.0 - _SURE))

    def proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the share, (n,)."""
        return np.full(len(X), self.share)


def rolling(kind: type[TableForecaster], *, seed: int = 0) -> TableForecaster:
    """Return a forecaster of `kind` on the rolling features of a window of moves."""
    return kind(rolling_table(), seed=seed)


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + e^-x), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def check_examples(X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
    """Raise a ValueError unless X (n, width) and y (n,) can be trained on."""
    if X.ndim != 2 or y.shape != (len(X),):
        raise ValueError(f"X must be (n, width) and y (n,), got {X.shape} and {y.shape}")
    if X.dtype != np.float32 or not np.isfinite(X).all():
        raise ValueError(f"X must be float32 and finite, got {X.dtype}{'' if np.isfinite(X).all() else ', not finite'}")
    if not np.isin(y, (0.0, 1.0)).all() or y.min() == y.max():
        raise ValueError(f"y must hold zeros and ones, both of them, got {np.unique(y)[:4].tolist()} in {len(y)} rows")
