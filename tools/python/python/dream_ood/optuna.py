"""Settings of a preset searched by Optuna, whose trials are runs of a store.

    import dream_ood, optuna
    from dream_ood.optuna import objective

    store = dream_ood.open("dream.redb", write=True)

    def suggest(trial):
        return {"sample.sampling.sigma": trial.suggest_float("sigma", 0.01, 0.3, log=True)}

    study = optuna.create_study(direction="maximize")
    study.optimize(objective(store, "my.toml", suggest, metric="auroc", score="energy"), n_trials=20)
    store.run(study.best_trial.user_attrs["evaluations"][0])

Optuna itself is needed only by what calls this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ._progress import Progress
from .errors import MissingError

if TYPE_CHECKING:
    from optuna import Trial

    from ._runs import Run
    from ._store import Store

__all__ = ["measured", "objective"]


def objective(
    store: Store,
    preset: str | os.PathLike[str],
    suggest: Callable[[Trial], Mapping[str, Any]],
    *,
    metric: str = "auroc",
    score: str = "energy",
    datasets: Sequence[str] | None = None,
    seeds: Sequence[int] = (0,),
    progress: Progress | None = False,
) -> Callable[[Trial], float]:
    """An objective: it runs the pipeline of a preset with the setting of a trial, and returns a metric of the
    classifier trained with outliers. What the store has is not made again, so a setting that comes twice, or
    a study that is begun anew, costs nothing.

    Args:
        store: The store, open for writing.
        preset: The preset, a .toml file.
        suggest: Gives a trial its setting: keys of the preset and their values.
        metric: The metric, a number from 0 to 1: `auroc`, `fpr95`, ...
        score: The detection score that it is of.
        datasets: The OOD sets that it is the mean over; all of them without.
        seeds: The seeds that it is the mean over.
        progress: As for `Store.embed`.

    A trial keeps the ids of its evaluations and its setting as the attributes `evaluations` and `setting`.
    """

    def value(trial: Trial) -> float:
        setting = dict(suggest(trial))
        trial.set_user_attr("setting", setting)
        evaluations = [
            store.run_preset(preset, seed=seed, setting=setting, progress=progress)["evaluate"]
            for seed in seeds
        ]
        trial.set_user_attr("evaluations", [run.id for run in evaluations])
        return fmean(measured(store, run, metric, score, datasets) for run in evaluations)

    return value


def measured(
    store: Store, run: Run | str, metric: str, score: str, datasets: Sequence[str] | None = None
) -> float:
    """A metric of an evaluation, by one score, as the mean over OOD sets."""
    rows = [row for row in store.metrics(run).to_list() if row["dataset"] is not None]
    values = {row["dataset"]: row["value"] for row in rows if (row["name"], row["score"]) == (metric, score)}
    wanted = list(values) if datasets is None else list(datasets)
    missing = [name for name in wanted if name not in values]
    if missing or not wanted:
        known = sorted({f"{row['name']} by {row['score']} on {row['dataset']}" for row in rows})
        sets = f" on {', '.join(missing)}" if missing else ""
        raise MissingError(f"the evaluation has no {metric} by {score}{sets}; it has {'; '.join(known)}")
    return fmean(values[name] for name in wanted)
