"""What a study came to: the best recipe as a file for scripts/train.py, and a table of the best trials."""

import shlex
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from agents.run_folder import write_atomic
from hftgym.tables import number, terminal_table
from scripts.tuning.space import decoded
from scripts.tuning.study import Plan, StudyError, finished

_SHOWN = 5
_CONFIRMED_BY = 5  # seeds


def best_of(study: optuna.Study) -> FrozenTrial:
    """Return the best trial.

    Raises:
        StudyError: No trial was completed; the message says what became of them.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        why = next((trial.user_attrs["why"] for trial in finished(study) if "why" in trial.user_attrs), "")
        raise StudyError(
            f"no trial was completed; {len(finished(study))} were pruned{f', one because {why}' * bool(why)}"
        )
    return max(complete, key=lambda trial: (trial.value, -trial.number))


def write_best(path: Path, study: optuna.Study, plan: Plan) -> str:
    """Write the best trial's recipe, and return the command that confirms it on seeds that did not choose it."""
    best = best_of(study)
    first = max(plan.seeds) + 1
    seeds = " ".join(str(seed) for seed in range(first, first + _CONFIRMED_BY))
    config, name = shlex.quote(str(path)), shlex.quote(f"{path.parent.name}_confirmed")
    command = f"python scripts/train.py --config {config} --name {name} --seeds {seeds}"
    seen = f"mean over seeds {', '.join(map(str, plan.seeds))}; the best of {len(finished(study))} trials"
    said = (
        f"# Trial {best.number} of study {study.study_name}: {best.value:.4f} of the way from the best constant quote\n"
        f"# to the exact optimum ({seen}).\n"
        f"# It was chosen by these seeds and episodes: expect a little less elsewhere. To confirm:\n# {command}\n"
    )
    write_atomic(path, (said + plan.recipe_of(best).to_toml()).encode())
    return command


def print_best(study: optuna.Study, plan: Plan, *, console: Console) -> None:
    """Print the best trials, one column each."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))[:_SHOWN]
    fields = [decoded(trial.params, plan.space) for trial in best]
    rows = [
        ["fraction of the gap", *(f"{trial.value:.4f}" for trial in best)],
        ["CPU seconds", *(number(trial.user_attrs["cpu_s"], 1) for trial in best)],
        *([name, *(said(values[name]) for values in fields)] for name in plan.space),
    ]
    console.print(terminal_table(["trial", *(str(trial.number) for trial in best)], rows))


def said(value: Any) -> str:
    """Return a value of a recipe as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")
