"""Proving: full runs of a remedy against the control, looked at twice, and its rivals'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite
from statistics import fmean

from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from thalweg._batch import num_samples
from thalweg._errors import ThalwegError
from thalweg._loss import Kind, known_loss
from thalweg._problem import Problem
from thalweg._recipe import steps_in_epoch
from thalweg.doctor._constant import best_constant
from thalweg.doctor._examination import Gain, TriedRemedy
from thalweg.doctor._heat import LOOKS, Heat, Reached, failed
from thalweg.doctor._levels import HALF, NOTHING
from thalweg.doctor._paired import FAR, fits_less, in_units, paired_gain
from thalweg.doctor._planning import affordable_length, begun_by
from thalweg.doctor._trial import Run, Trial
from thalweg.doctor._watch import minibatch_losses, settling
from thalweg.doctor.remedies import Remedy

CLEARLY = 0.05
"""Of its loss, that a rival of a proved remedy must end below it to be named before it, or a remedy
above the control in the first pair to be given up."""

LONGER = 1.25
"""Runs are gone on with, or made anew, only where they become so many times longer."""


def prove(
    heat: Heat,
    remedy: Remedy,
    screening: Run | None,
    num_compared: float,
    num_pairs: int | None = None,
) -> TriedRemedy:
    """The full runs of a remedy against the control.

    They are looked at once, where there are to be `num_pairs`, or else as `LOOKS` says.
    """
    pairs: list[tuple[Run, Trial]] = []
    gain, runs = Gain(-inf, -inf, False), tuple[Run, ...]()
    try:
        for number, share in heat.looks() if num_pairs is None else ((num_pairs, 1.0),):
            while len(pairs) < number and _has_pair(heat, len(pairs)):
                seed = heat.control[len(pairs)].seed
                pairs.append(heat.run("proving", remedy, heat.plan, seed))
                if len(pairs) == 1 and (other := _instead(heat, remedy, pairs[0])) is not None:
                    remedy, pairs = other
                    num_compared += 1
                if len(pairs) == 1 and _is_hopeless(heat, remedy, pairs):
                    break
            runs = tuple(run for run, _ in pairs)
            trained = pairs[0][1].problem
            gain = _gain(heat, remedy, runs, trained, num_compared / share)
            if len(pairs) == 1:
                break
            has_risk = share < 1 and not gain.is_proved
            if has_risk and _gone_on(heat, remedy, pairs):
                runs = tuple(run for run, _ in pairs)
                gain = _gain(heat, remedy, runs, trained, num_compared / (1 - share))
                break
            if gain.is_proved or gain.mean <= 0:
                # A loss is no proof, and giving up early proves nothing.
                break
    except Exception as error:
        return failed(remedy, screening, error)
    outcome = "proved to help" if gain.is_proved else "not proved to help"
    if heat.plan.start is not None:
        outcome += f" from step {heat.plan.start.num_steps} of the watched training on"
    has_own_fit = remedy.changes_loss or remedy.changes_inputs
    is_less = gain.is_proved and not has_own_fit and fits_less(runs, heat.control)
    if is_less and _fits_less_in_use(heat, [trial for _, trial in pairs]):
        gain = replace(gain, is_proved=False)
        outcome = "lowers the held-out loss only by fitting the training data less: no remedy"
    tried = TriedRemedy(remedy.name, remedy.code, screening, runs, gain, outcome, remedy.apply)
    heat.settled.append(tried)
    return tried


def prove_longer(heat: Heat, remedy: Remedy, num_compared: int) -> TriedRemedy | None:
    """The first look again, in the longest pairs that are left; None where they are hardly longer.

    It takes the share of the risk that was kept for a second look.
    """
    (number, share), _ = LOOKS
    has_failed = any(run.failure for run in heat.control)
    if heat.more is None or heat.training.epochs is None or heat.plan.averaged or has_failed:
        return None
    size, total = heat.plan.batch_size, heat.readings.problem.num_samples
    taken = len(heat.control)
    held_out = heat.training.test_batches or heat.plan.held_out
    scored = (taken + 2 * number) * sum(map(num_samples, held_out)) / 3
    steps = max(heat.ledger.gradients_left * total - scored, 0.0) / size
    longest = int((steps + taken * heat.plan.num_steps) / (taken + number))
    longest = min(longest, heat.training.epochs * steps_in_epoch(heat.training, size))
    if longest < LONGER * heat.plan.num_steps:
        return None
    _lengthen(heat, [], longest)
    heat.settled = [each for each in heat.settled if each.name != remedy.name]
    return prove(heat, remedy, None, num_compared / (1 - share), number)


def _has_pair(heat: Heat, number: int) -> bool:
    """Whether one more pair than so many fits; its control run is made where it is not there."""
    if number >= LOOKS[0][0] and not heat.affords(number + 1, number):
        return False
    if number == len(heat.control):
        if heat.more is None:
            return False
        heat.control.append(heat.more.another())
        heat.spend(heat.control[-1].cost)
    # One that ran to its end, unlike those before it, takes what was left.
    return number < LOOKS[0][0] or heat.affords(number + 1, number)


def _instead(
    heat: Heat, remedy: Remedy, pair: tuple[Run, Trial]
) -> tuple[Remedy, list[tuple[Run, Trial]]] | None:
    """The more thorough remedy with a first pair of its own, where that ends clearly lower.

    It is tried only where the first run with this one breaks down, or does not train.
    """
    run, _ = pair
    other, observed = remedy.thorough, heat.readings.observed
    if other is None or observed is None or not heat.affords(LOOKS[0][0] + 1, 1):
        return None
    if run.level() <= replace(observed.levels, blind=heat.blind).at(HALF, run.before.loss):
        return None
    instead = heat.run("proving", other, heat.plan, run.seed)
    level = instead[0].level()
    if not level < run.level() - CLEARLY * abs(level):
        return None
    outcome = f"its first run did not train, and {other.name} ended lower"
    heat.passed_over.append(
        TriedRemedy(remedy.name, remedy.code, None, (run,), None, outcome, remedy.apply)
    )
    return other, [instead]


def _is_hopeless(heat: Heat, remedy: Remedy, pairs: Sequence[tuple[Run, Trial]]) -> bool:
    """Whether the first pair shows harm where something is learned: others wait for the budget."""
    if heat.more is None:
        return False
    runs = tuple(run for run, _ in pairs)
    gain = _gain(heat, remedy, runs, pairs[0][1].problem, 1)
    if gain.mean == -inf:
        # It breaks down, or cannot be scored in the units of the control.
        return True
    if _learned_nothing(heat, remedy, runs):
        return False
    return not gain.mean >= -CLEARLY * abs(heat.levels[remedy.name].after)


def _fits_less_in_use(heat: Heat, trials: Sequence[Trial]) -> bool:
    """The same by the loss on the training data in evaluation mode.

    Normalisation by a minibatch, or dropout, makes another network of it while it is trained.
    """
    own = [] if heat.more is None else heat.more.trials[: len(trials)]
    control = [trial for trial in own if trial is not None]
    if len(control) < len(trials) or not any(
        _changes_in_use(trial) for trial in (*control, *trials)
    ):
        return True
    try:
        before, after = (
            fmean(_loss_in_use(heat, trial) for trial in each) for each in (control, trials)
        )
    except ThalwegError:
        return True
    return not after < before


def _changes_in_use(trial: Trial) -> bool:
    return any(isinstance(m, _BatchNorm | _DropoutNd) for m in trial.problem.model.modules())


def _loss_in_use(heat: Heat, trial: Trial) -> float:
    size = trial.plan.batch_size
    heat.spend(settling(size) * size / 3)
    return fmean(minibatch_losses(trial.problem.in_eval_mode(), size))


def meet_rivals(
    heat: Heat, remedy: Remedy, proved: TriedRemedy, num_compared: int
) -> tuple[TriedRemedy, ...]:
    """A remedy that is proved and its rivals, the best first; as many as there is time for.

    They meet the control on the same seeds, in the order given, and each only where the one
    before it is proved: so each may be tested at the level of that one (fixed-sequence
    procedure, Maurer, Hothorn, Lehmacher 1995). What was proved first stays ahead of one that
    does not end clearly lower.
    """
    ranked = [proved]
    number = len(proved.runs)
    first = heat.levels[proved.name].after
    for rival in remedy.rivals:
        if not (heat.has_time and heat.affords(number)):
            break
        tried = prove(heat, rival, None, num_compared, number)
        if not tried.is_proved:
            return (*ranked, tried)
        mean = heat.levels[rival.name].after
        leads = mean < first - CLEARLY * abs(first)
        ranked.insert(0 if leads else len(ranked), tried)
        first = mean if leads else first
    return tuple(ranked)


def _gone_on(heat: Heat, remedy: Remedy, pairs: list[tuple[Run, Trial]]) -> bool:
    """Whether the pairs of the first look say nothing yet, and so were gone on with.

    Neither has begun to learn, whichever is ahead. They are gone on with as far as a third pair can
    be, which is added; or where they still say nothing, as far as the budget goes.
    """
    has_gone_on = False
    for number in (len(pairs) + 1, len(pairs)):
        longer = _longer(heat, remedy, pairs, number)
        if not longer:
            continue
        _lengthen(heat, pairs, longer)
        has_gone_on = True
        runs = tuple(run for run, _ in pairs)
        _gain(heat, remedy, runs, pairs[0][1].problem, 1)
        if number > len(pairs) and not _learned_nothing(heat, remedy, runs):
            if heat.affords_another():
                assert heat.more is not None
                heat.control.append(heat.more.another())
                heat.spend(heat.control[-1].cost)
                pairs.append(heat.run("proving", remedy, heat.plan, heat.control[-1].seed))
            break
    return has_gone_on


def _longer(heat: Heat, remedy: Remedy, pairs: Sequence[tuple[Run, Trial]], number: int) -> int:
    """Steps that so many pairs can be gone on to, or begun, where none has learned yet.

    0 where one has, or where they would hardly become longer.
    """
    runs = tuple(run for run, _ in pairs)
    if heat.more is None or len(runs) != LOOKS[0][0] or len(runs) != len(heat.control):
        return 0
    if remedy.name not in heat.levels or not _learned_nothing(heat, remedy, runs):
        return 0
    size, total = heat.plan.batch_size, heat.readings.problem.num_samples
    num_scores = 2 * len(runs) + 4 * (number - len(runs))
    scored = num_scores * sum(map(num_samples, pairs[0][1].held_out)) / 3
    steps = max(heat.ledger.gradients_left * total - scored, 0.0) / size
    marks = [*begun_by(remedy, heat.plan), *([heat.more.begun] if heat.more.begun else [])]
    # What lies behind where they stand now spares them nothing.
    marks = [each for each in marks if each.within(inf) > heat.plan.num_steps]
    taken = (2 * len(runs) - len(marks)) * heat.plan.num_steps
    longest = affordable_length(heat.plan, steps + taken, 2 * number, marks)
    if heat.training.epochs is not None:
        whole = heat.training.epochs * steps_in_epoch(heat.training, size)
        longest = min(longest, whole)
    return longest if longest >= LONGER * heat.plan.num_steps else 0


def _learned_nothing(heat: Heat, remedy: Remedy, runs: Sequence[Run]) -> bool:
    """Whether neither side is better than a blind answer, nor the remedied thrown off."""
    observed, blind = heat.readings.observed, heat.blind
    if observed is None or blind is None or any(run.failure for run in runs):
        return False
    little = blind - replace(observed.levels, blind=blind).at(NOTHING, blind)
    reached = heat.levels[remedy.name]
    # One that began far above a blind answer may be on its way, but not where the other is not.
    most = min(max(reached.before, blind), FAR * max(reached.control, blind))
    rests = blind - little <= reached.after <= most + little
    return rests and reached.control >= blind - little


def _lengthen(heat: Heat, pairs: list[tuple[Run, Trial]], num_steps: int) -> None:
    """A remedy's runs gone on with, and the control's, to so many steps in all."""
    assert heat.more is not None
    before = sum(run.cost for run in (*(run for run, _ in pairs), *heat.control))
    factor = num_steps / heat.plan.num_steps
    heat.more.lengthen(num_steps)
    heat.control, heat.plan = list(heat.more.runs), heat.more.plan
    pairs[:] = [(trial.until(round(factor * run.num_steps)), trial) for run, trial in pairs]
    heat.spend(sum(run.cost for run in (*(run for run, _ in pairs), *heat.control)) - before)


def _gain(
    heat: Heat, remedy: Remedy, runs: Sequence[Run], remedied: Problem, num_compared: float
) -> Gain:
    """What the remedy gains over the control's first runs, as many as there are of its own."""
    control: Sequence[Run] = heat.control[: len(runs)]
    blind, unit = heat.blind, 1.0
    if remedy.changes_loss or not all(isfinite(run.before.loss) for run in control):
        if (both := _in_units(heat, runs, remedied)) is None:
            return Gain(-inf, -inf, False)
        (control, runs), blind, unit = both, 1.0, blind or 1.0
    heat.levels[remedy.name] = Reached(
        unit * fmean(run.before.loss for run in runs),
        unit * fmean(run.level() for run in runs),
        unit * fmean(run.final_loss for run in control),
    )
    return paired_gain(control, runs, blind, num_compared)


def _in_units(
    heat: Heat, runs: Sequence[Run], remedied: Problem
) -> tuple[Sequence[Run], Sequence[Run]] | None:
    """Control and remedied where losses are in different units: over a constant answer's.

    The best constant answer is meant; None where the remedied problem has none.
    """
    held_out, reduction = heat.plan.held_out, heat.plan.reduction
    unit = best_constant(remedied, remedied.test_batches or held_out, reduction)
    if unit is None:
        return None
    own = best_constant(heat.training, held_out, reduction)
    known, observed = known_loss(heat.training.loss), heat.readings.observed
    is_likelihood = known is not None and known.kind is Kind.LOG_CLASSES
    if observed is not None and observed.head.missing == "softmax":
        # What no softmax has made probabilities of classes has no likelihood, whatever comes out.
        own = None
    # Where the control has no unit it could not be scored either, and counts as blind. So does
    # one below zero where a loss is a likelihood of classes: such outputs are none that it
    # takes, and it falls without end.
    control = [
        in_units(run, None if is_likelihood and run.final_loss < 0 else own)
        for run in heat.control[: len(runs)]
    ]
    return control, [in_units(run, unit) for run in runs]
