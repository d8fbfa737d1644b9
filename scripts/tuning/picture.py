"""The picture of a study: how good its trials were as it went on, and which fields made the difference."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from optuna.trial import FrozenTrial, TrialState

import hftgym
from hftgym.plots import canvas, save
from hftgym.theme import DARK, Theme, font, style_axes, style_legend
from scripts.tuning.study import finished

_FEWEST = 4  # completed trials that an importance can be told from


def draw(path: Path, study: optuna.Study, *, theme: Theme = DARK) -> Path:
    """Write a PNG of a study with at least one completed trial and return its path.

    Args:
        path: Where to.
        study: What is drawn.
        theme: `hftgym.theme.DARK` or `LIGHT`.
    """
    figure = canvas(12.0, 5.6, theme)
    trials = finished(study)
    _history(figure.add_axes((0.070, 0.165, 0.43, 0.60)), trials, theme)
    importances = importances_of(study)
    _importances(figure.add_axes((0.690, 0.165, 0.275, 0.60)), importances, theme)
    for x, name, explained in (
        (0.022, "Trials", "gap left to the exact optimum"),
        (0.545, "What made the difference", "share of the completed trials' variance (fANOVA)"),
    ):
        figure.text(x, 0.845, name, color=theme.ink, va="center", **font(12, bold=True))
        figure.text(x, 0.803, explained, color=theme.muted, va="center", **font(9))
    figure.text(0.022, 0.940, f"Study {study.study_name}", color=theme.ink, va="center", **font(16, bold=True))
    best = f"best: {study.best_value:.4f} of the way (trial {study.best_trial.number})"
    figure.text(0.985, 0.940, best, color=theme.ink, va="center", ha="right", **font(10))
    caption = (
        "the best trial was chosen on these episodes: confirm it on other seeds   ·   pruned trials are shown where "
        f"they stopped   ·   hftgym {hftgym.__version__}"
    )
    figure.text(0.022, 0.030, caption, color=theme.muted, va="center", **font(8.5))
    return save(figure, path)


def importances_of(study: optuna.Study) -> Mapping[str, float]:
    """Return the share of every field in what made the difference, none where there are too few trials."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _FEWEST or len({trial.value for trial in complete}) == 1:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _history(axes: Axes, trials: list[FrozenTrial], theme: Theme) -> None:
    """Draw every trial's gap, and the least so far."""
    style_axes(axes, theme, unit_x="trial")
    axes.set_yscale("log")
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED and trial.intermediate_values]
    axes.plot(
        [trial.number for trial in pruned],
        [_gap(trial.intermediate_values[max(trial.intermediate_values)]) for trial in pruned],
        "x",
        color=theme.muted,
        label="pruned",
    )
    numbers, gaps = [trial.number for trial in complete], [_gap(trial.value or 0.0) for trial in complete]
    axes.plot(numbers, gaps, "o", color=theme.price, markersize=5, label="completed")
    least = np.minimum.accumulate(gaps)
    axes.step(numbers, least, where="post", color=theme.equity, linewidth=2.0, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    axes.yaxis.set_major_formatter(percent)
    narrow = max(gaps) / min(gaps) < 10.0  # then powers of ten alone would be no scale
    axes.yaxis.set_minor_formatter(percent if narrow else NullFormatter())
    axes.tick_params(which="minor", colors=theme.muted, length=0, labelsize=9, pad=5)
    legend = axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=3, prop=font(9)["fontproperties"])
    style_legend(legend, theme.ink)


def _gap(fraction: float) -> float:
    return max(1.0 - fraction, 1e-4)


def _importances(axes: Axes, importances: Mapping[str, float], theme: Theme) -> None:
    """Draw one bar per field, the most important on top."""
    style_axes(axes, theme)
    axes.grid(visible=False, axis="y")
    if not importances:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "too few completed trials", color=theme.muted, ha="center", transform=axes.transAxes)
        return
    places = range(len(importances))
    axes.barh(places, list(importances.values()), height=0.62, color=theme.price)
    axes.set_yticks(places, list(importances), color=theme.ink, **font(9))
    axes.set_ylim(len(importances) - 0.5, -0.5)
    for place, value in zip(places, importances.values(), strict=True):
        axes.annotate(
            f"{value:.0%}", (value, place), (4, 0), textcoords="offset points", color=theme.ink, va="center", **font(9)
        )
    axes.set_xlim(0.0, 1.15 * max(importances.values()))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
