"""`python -m benchmarks.race.curves [--seconds 60 600 1800]`: minibatches on CURVES.

The training squared error of the CURVES autoencoder at equal seconds of the processor, one thread,
read outside of the clock; linear layers by the faster library for all. Writes CURVES.md and
curves.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from statistics import median

import torch

from benchmarks.race.kfac import NaturalGradient
from benchmarks.race.laps import TUNING_SEED
from benchmarks.race.nesterov import ScheduledNesterov
from benchmarks.race.report import HERE, shown
from thalweg import Problem
from thalweg._machine import machine_of
from thalweg._score import Score
from thalweg.problems import curves_autoencoder, small_curves_autoencoder, squared_error
from thalweg.race import SHELF, Budget, Contender, Mark, Trial
from thalweg.race._course import Terms
from thalweg.race._judge import Judge
from thalweg.race._run import run
from thalweg.race._trial import Setting
from thalweg.report import to_json
from thalweg.tape import FastLinear

BATCH = 200
"""Images a step, unless a setting says otherwise: that of the published runs."""

UPDATES = 750_000
"""Of 200 images: what the published errors took."""

RESOLUTION = 1.5
"""Curves need few points, and the error of 20,000 images takes seconds."""

CHUNK = 2_000

OTHERS: dict[str, Contender] = {
    "nag-0.99": ScheduledNesterov(0.99),
    "nag-0.999": ScheduledNesterov(0.999),
    "kfac": NaturalGradient(),
}
"""Who races here besides the shelf."""

OURS = [name for name in ("stochastic-newton", "saddle-free") if name in SHELF][:1]
"""That for minibatches, where it is on the shelf."""

OUR_BATCH = {"batch_size": 500}
"""Of ours at first; it grows by 0.3 % a step, up to a tenth of the data."""

METHODS = [*OURS, "muon", "soap", "adam", *OTHERS]


class ErrorJudge(Judge):
    """Reads the squared error of all training and test images."""

    def __call__(self, problem: Problem) -> tuple[float, Score | None]:
        """Training error, and test error as the loss of a score."""
        errors = [mean_error(problem, batch) for batch in (problem.data, problem.test)]
        return errors[0], Score(errors[1], None)


def mean_error(problem: Problem, images: torch.Tensor) -> float:
    """Of some images, a part at a time."""
    (whole,) = images if isinstance(images, tuple) else (images,)
    with torch.no_grad():
        parts = [squared_error(problem.model(x), x) * len(x) for x in whole.split(CHUNK)]
    return sum(parts) / len(whole)


@dataclass(frozen=True)
class Standing:
    """What a method did.

    Args:
        name: its name.
        num_settings: tried.
        setting: frozen.
        trials: one a seed that counts.
    """

    name: str
    num_settings: int
    setting: Setting
    trials: tuple[Trial, ...]


def main() -> None:
    """Tunes every method for the shortest time, then runs the best setting for the longest."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race.curves", description=__doc__)
    parser.add_argument("--seconds", nargs="*", type=float, default=[60, 600, 1800])
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=[*SHELF, *OTHERS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="that count")
    parser.add_argument("--settings", type=int, default=5, help="tried of each; ours: one")
    parser.add_argument("--tuning", type=float, default=None, help="seconds; the shortest time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true", help="2,000 images of 14×14")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of CURVES.md, curves.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.perf_counter()
    make = small_curves_autoencoder if arguments.small else curves_autoencoder
    seconds = sorted(arguments.seconds)
    found: list[Standing] = []
    for name in arguments.methods:
        contender = OTHERS.get(name) or SHELF[name]
        if contender.missing:
            print(f"{name} does not race: {contender.missing}", flush=True)
            continue
        held = [setting for setting in contender.settings if "schedule" not in setting]
        settings = held[: 1 if name in OURS else arguments.settings]
        if name in OURS:
            settings = [{**settings[0], **OUR_BATCH}]
        shortest = (arguments.tuning or seconds[0],)
        lap = Lap(name, contender, make, arguments.threads, start)
        tried = [lap.run(setting, TUNING_SEED, shortest) for setting in settings]
        best = min(tried, key=lambda trial: trial.final_loss).setting
        trials = tuple(lap.run(best, seed, seconds) for seed in arguments.seeds)
        found.append(Standing(name, len(settings), best, trials))
        write(found, seconds, shortest[0], arguments.small, arguments.out)


@dataclass(frozen=True)
class Lap:
    """The runs of a method.

    Args:
        name: its name.
        contender: how it runs.
        make: from a seed to the problem.
        threads: of torch's.
        start: of all, on the clock.
    """

    name: str
    contender: Contender
    make: Callable[[int], Problem]
    threads: int
    start: float

    def run(self, setting: Setting, seed: int, checkpoints: Sequence[float]) -> Trial:
        """One run to the last checkpoint."""
        problem = self.make(seed)
        own = {name: value for name, value in setting.items() if name != "batch_size"}
        terms = Terms(
            budget=Budget(checkpoints[-1], True),
            batch_size=int(setting.get("batch_size", BATCH)),
            num_threads=self.threads,
            resolution=RESOLUTION,
            checkpoints=tuple(checkpoints),
            is_processor_time=True,
        )
        judge = ErrorJudge(problem, (), seed)
        # Ours multiplies by the faster library of itself; the others are given it.
        with nullcontext() if self.name in OURS else FastLinear():
            trial = run(self.contender, own, problem, judge, terms, seed)
        said = trial.failure or f"{trial.final_loss:.4g} after {trial.final.seconds:.0f} s"
        now = time.perf_counter() - self.start
        print(f"{now:7.0f} s  {self.name} {dict(setting)}: {said}", flush=True)
        return replace(trial, setting=dict(setting))


def at(trial: Trial, seconds: float) -> Mark:
    """The reading at a checkpoint: the first one after it, which a step's length may delay."""
    return next((mark for mark in trial.marks if mark.seconds >= seconds), trial.marks[-1])


def write(
    found: Sequence[Standing], seconds: Sequence[float], tuning: float, is_small: bool, where: Path
) -> None:
    """Writes both files anew."""
    machine = machine_of(torch.zeros(1))
    json = to_json({"machine": machine, "is_small": is_small, "standings": list(found)})
    (where / "curves.json").write_text(json + "\n", encoding="utf-8")
    (where / "CURVES.md").write_text(
        markdown(found, seconds, tuning, machine, is_small), encoding="utf-8"
    )


def markdown(
    found: Sequence[Standing],
    seconds: Sequence[float],
    tuning: float,
    machine: str,
    is_small: bool,
) -> str:
    """The report."""
    what = "Small CURVES, 2,000 images of 14×14" if is_small else "Calibrated CURVES, 20,000 images"
    heads = " | ".join(f"{s:g} s" for s in seconds)
    lines = [
        "# CURVES",
        "",
        f"Written by `python -m benchmarks.race.curves`. {what}: training",
        "squared error, summed over pixels, mean over images, at equal processor seconds of one",
        "thread, read outside of the clock; median over the seeds that count, each in brackets.",
        "The linear layers of all run by the faster library of matrix products.",
        "The last column is all gradient work, in updates of 200 images: published errors took",
        f"{UPDATES:,} (.48 SGD, .10 momentum, .074 Nesterov, .058 Hessian-free, on another file).",
        f"Settings are tuned on another seed, for {tuning:g} s; ours has one.",
        "",
        f"{machine}.",
        "",
        f"| method | settings tried | setting | {heads} | updates of 200 |",
        "|---|---|---|" + "---|" * (len(seconds) + 1),
    ]

    def last(standing: Standing) -> float:
        return median([trial.final_loss for trial in standing.trials])

    for standing in sorted(found, key=last):
        cells = []
        for s in seconds:
            marks = [at(trial, s) for trial in standing.trials]
            errors = [
                inf if t.failure else m.loss for t, m in zip(standing.trials, marks, strict=True)
            ]
            cells.append(f"{shown(median(errors))} ({', '.join(map(shown, errors))})")
        ends = [
            trial.marks[-1].gradients * trial_size(is_small) / BATCH for trial in standing.trials
        ]
        setting = ", ".join(f"{key} {value}" for key, value in standing.setting.items())
        lines.append(
            f"| {standing.name} | {standing.num_settings} | {setting} | {' | '.join(cells)} | "
            f"{median(ends):,.0f} |"
        )
    failures = [(s.name, t.failure) for s in found for t in s.trials if t.failure]
    return "\n".join([*lines, "", *(f"- {who}: {why}" for who, why in failures), ""])


def trial_size(is_small: bool) -> int:
    """Training images."""
    return 2_000 if is_small else 20_000


if __name__ == "__main__":
    main()
