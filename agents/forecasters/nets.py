"""Forecasters that read a window of moves themselves: a small LSTM and a small causal Transformer.

Both predict at every position of a window, from the moves up to it: the move after each position but the last is in
the window itself, so that one window of 50 teaches 50 times. Only the last position is used to forecast.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.forecasters.models import Forecaster, check_examples
from agents.ppo import one_thread
from hftgym.observation import CLIP_SD
from hftgym.policies.signal import WINDOW

_ROWS = 512  # windows at once when forecasting: they stay in the cache


class SequenceForecaster(Forecaster):
    """A net from windows of moves to log-odds, trained by Adam on one thread.

    Args:
        seed: Of weights and order.
        passes: How often every move is trained on.
        batch: Windows per step.
        least_steps: Steps that are taken even if it needs more passes, because the moves are few.
    """

    def __init__(self, *, seed: int = 0, passes: int = 8, batch: int = 32, least_steps: int = 150) -> None:
        super().__init__(seed=seed)
        self.passes, self.batch, self.least_steps = passes, batch, least_steps

    def _net(self) -> nn.Module:
        """Return the untrained net: (n, width) in standard deviations -> log-odds (n, width)."""
        raise NotImplementedError

    def fit(self, X: NDArray[np.float32], y: NDArray[np.float32]) -> None:
        """Train; see `Forecaster.fit`. X must hold windows of moves at consecutive ticks."""
        check_examples(X, y)
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            generator = np.random.default_rng(self.seed)
            self.net = self._net()
            # Each pass tiles the series with windows that do not overlap, from another start.
            steps_per_pass = -(-len(X) // (WINDOW * self.batch))
            passes = max(self.passes, -(-self.least_steps // steps_per_pass))
            starts = [generator.integers(min(WINDOW, len(X))) for _ in range(passes)]
            tiles = [generator.permutation(np.arange(start, len(X), WINDOW)) for start in starts]
            steps = sum(-(-len(tile) // self.batch) for tile in tiles)
            optimizer = torch.optim.Adam(self.net.parameters(), lr=5e-3)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=max(steps, 2))
            for tile in tiles:
                for first in range(0, len(tile), self.batch):
                    rows = tile[first : first + self.batch]
                    optimizer.zero_grad()
                    _loss(self.net, X[rows], y[rows]).backward()
                    nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
                    optimizer.step()
                    schedule.step()
            self.net.eval()

    def proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(up) (n,)."""
        result = np.empty(len(X))
        with one_thread(), torch.inference_mode():
            for first in range(0, len(X), _ROWS):
                moves = torch.from_numpy(np.ascontiguousarray(X[first : first + _ROWS])) * CLIP_SD
                result[first : first + _ROWS] = torch.sigmoid(self.net(moves, last=True)[:, -1].double()).numpy()
        return result

    @property
    def parameters(self) -> int:
        """How many weights the trained net has."""
        return sum(weights.numel() for weights in self.net.parameters())


class LSTM(SequenceForecaster):
    """One layer of long short-term memory, 16 wide, that reads a window move by move."""

    name = "LSTM"
    hidden = 16

    def _net(self) -> nn.Module:
        return _Recurrent(self.hidden)


class Transformer(SequenceForecaster):
    """One block of causal attention, 16 wide in 4 heads, over a window, with a penalty on age."""

    name = "Transformer"
    width, heads = 16, 4

    def _net(self) -> nn.Module:
        return _Attention(self.width, self.heads)


class _Recurrent(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, moves: Tensor, *, last: bool = False) -> Tensor:
        """Return log-odds (n, width) after every position, or (n, 1) after the last one alone."""
        read, _ = self.lstm(moves[:, :, None])
        return self.head(read[:, -1:] if last else read)[:, :, 0]


class _Attention(nn.Module):
    """Embedding, causal attention and a feed-forward layer, each behind a normalisation (pre-norm).

    Places are told by a penalty on age, another one in each head (ALiBi: Press, Smith & Lewis 2022): a decaying memory
    from the start, which is most of what there is to learn.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(1, width)
        self.before, self.between, self.after = (nn.LayerNorm(width) for _ in range(3))
        self.query, self.key, self.value, self.mix = (nn.Linear(width, width) for _ in range(4))
        self.widen, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 1)
        age = torch.arange(WINDOW)[:, None] - torch.arange(WINDOW)
        slopes = torch.tensor([0.5 ** (2 * head + 1) for head in range(heads)])[:, None, None]
        mask = torch.where(age >= 0, -slopes * age, -math.inf)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, moves: Tensor, *, last: bool = False) -> Tensor:
        """Return log-odds (n, width) after every position, or (n, 1) after the last one alone, with less to compute."""
        x = self.embed(moves[:, :, None])
        read = self.before(x)
        first = WINDOW - 1 if last else 0
        x = x[:, first:] + self._attend(read[:, first:], read, self.get_buffer("mask")[:, first:])
        x = x + self.narrow(torch.relu(self.widen(self.between(x))))
        return self.head(self.after(x))[:, :, 0]

    def _attend(self, asking: Tensor, read: Tensor, mask: Tensor) -> Tensor:
        query, key, value = self._split(self.query(asking)), self._split(self.key(read)), self._split(self.value(read))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        mixed = torch.softmax(scores + mask, dim=-1) @ value
        return self.mix(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        """Return (n, ticks, width) as (n, heads, ticks, width / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _loss(net: nn.Module, moves: NDArray[np.float32], last: NDArray[np.float32]) -> Tensor:
    """Return the mean log-loss over all positions after which the price moved; zeros before a path's start too."""
    x = torch.from_numpy(np.ascontiguousarray(moves))
    up = torch.cat([(x[:, 1:] > 0).float(), torch.from_numpy(last)[:, None]], dim=1)
    counts = torch.cat([(x[:, 1:] != 0).float(), torch.ones(len(x), 1)], dim=1)
    losses = nn.functional.binary_cross_entropy_with_logits(net(x * CLIP_SD), up, reduction="none")
    return (losses * counts).sum() / counts.sum()
