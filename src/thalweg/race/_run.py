"""One run: a contender on a copy of a problem, from the start to the end of the budget."""

from __future__ import annotations

import torch

from thalweg._problem import Problem
from thalweg._reading import keeping_random_states
from thalweg._training import described, threads
from thalweg.race._course import Course, DivergedError, OverError, Terms
from thalweg.race._judge import Judge
from thalweg.race._trial import Setting, Trial
from thalweg.race._watch import Watch
from thalweg.race.contenders import Contender


def run(
    contender: Contender,
    setting: Setting,
    problem: Problem,
    judge: Judge,
    terms: Terms,
    seed: int,
    *,
    is_watched: bool = False,
) -> Trial:
    """Trains a copy of a problem. The caller's random state is put back.

    What goes wrong inside a contender is its result, and told in the trial.

    Args:
        contender: the method.
        setting: one of its settings.
        problem: where it starts; it stays as it is.
        judge: reads the model along the way.
        terms: what all runs have in common.
        seed: of the order of the data, dropout, and what the method draws.
        is_watched: whether the sharpness is read along the way, and the records are kept.
    """
    own = problem.copied()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        keeping_random_states(),
        threads(terms.num_threads),
    ):
        torch.manual_seed(seed)
        # The problem's mode may be evaluation, for readings; training is done in training mode.
        own.model.train()
        watch = Watch(own, seed) if is_watched else None
        course = Course(own, terms, judge, seed, watch)
        failure = ending = ""
        course.begin()
        try:
            contender.run(course, setting)
            ending = "ended by itself before the budget was spent: it found no step to take"
        except OverError:
            pass
        except DivergedError as error:
            failure = str(error)
        except Exception as error:
            failure = f"{described(error)} (step {course.num_steps})"
        if not failure:
            course.end()
    if not failure and course.final is not course.marks[-1] and course.num_steps <= 1:
        ending = "its first step alone costs more than the budget"
    if watch is not None and watch.omission:
        ending = "; ".join(filter(None, (ending, f"sharpness: {watch.omission}")))
    return Trial(
        seed=seed,
        setting=dict(setting),
        marks=tuple(course.marks),
        final=course.final,
        failure=failure,
        ending=ending,
        records=tuple(course.records) if is_watched else (),
        sharpness=tuple(watch.marks) if watch else (),
    )
