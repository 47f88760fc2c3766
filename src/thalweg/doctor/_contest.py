"""The contest of remedies: a short screening of all, then paired full runs of the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, sqrt
from statistics import fmean, stdev

import torch
from scipy import stats

from thalweg._batch import num_samples
from thalweg._loss import Kind, known_loss
from thalweg._problem import Problem
from thalweg._recipe import steps_in_epoch
from thalweg._score import Score
from thalweg._training import described
from thalweg.doctor._constant import best_constant
from thalweg.doctor._control import Control
from thalweg.doctor._examination import Gain, TriedRemedy
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import NOTHING
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Plan, Run, Trial
from thalweg.doctor.remedies import Remedy, slower

NUM_FINALISTS = 3
"""Remedies that get full runs after the screening."""

SCREENING = 4
"""A screening run is this many times shorter than a full one."""

MANY = 2 * NUM_FINALISTS
"""More remedies than these are halved once before the screening, in runs half as long."""

MOVED = 0.1
"""A screening run that does not lower the loss by this share is given a smaller step."""

ENOUGH = 25
"""In fewer steps a sound training need not have moved; a smaller one is tried if it goes up."""

RISK = 0.05
"""Of calling any remedy proved that does nothing, over all that are compared (Bonferroni)."""

LOOKS = ((2, 0.2), (4, 0.8))
"""Pairs after which a proof is looked at, and its share of the risk: together they keep the level,
whatever the looks have to do with one another (Bonferroni). A huge effect is seen in two pairs; a
large one that differs from seed to seed takes four, of which Student's t asks far less."""

CLEARLY = 0.05
"""Of its loss, that a rival of a proved remedy must end below it to be named before it."""

LONGER = 1.5
"""Runs are gone on with only where they become so many times longer."""

FAR = 2.0
"""How far above a blind answer's a control run that diverges may count."""

UP = "not proved: the time was up before its full runs"
"""What becomes of a remedy that the budget does not reach."""

STOPPED = "not proved: interrupted before its full runs"
"""What becomes of a remedy that Ctrl-C leaves behind."""

MIN_GAIN = 0.02
"""A remedy must lower the held-out loss by this share of the control's at least."""


def contest(
    remedies: Sequence[Remedy],
    training: Problem,
    readings: Readings,
    ledger: Ledger,
    shares: tuple[float, float],
    num_finalists: int = NUM_FINALISTS,
    more: Control | None = None,
) -> tuple[TriedRemedy, ...]:
    """Tries remedies; the best after the screening meet the control at full length.

    What takes away the very cause that was found is proved first, in the order given, and where
    that succeeds the others are not tried, but for its rivals. They are halved in short runs of
    one seed until so many are left as may be proved (successive halving: Jamieson, Talwalkar
    2016). A change to the network that does not train in the screening is screened again with a
    tenth of the learning rate: what suits a network that hardly answers is too large for one that
    does. Where neither the remedy nor the control has learned anything by the first look, both are
    gone on with instead of repeated.

    Args:
        remedies: what to try.
        training: what is trained in the trials.
        readings: the control runs, whose seeds are used again, and the plan of a full run.
        ledger: told of the progress.
        shares: of the whole examination behind at the begin and the end of the contest.
        num_finalists: how many may meet the control at full length.
        more: the control, where so far there are only its runs of the first look of `LOOKS`; None
            where all runs are there, and are looked at once.

    Returns:
        All of them, the proved first, by held-out loss. Where the time is up, fewer than
        `num_finalists` are proved, but one at least. On Ctrl-C those that were proved until then;
        the ledger notes it.
    """
    heat = _Heat(training, readings, ledger, shares, len(remedies), num_finalists, more)
    try:
        return _held(heat, remedies)
    except KeyboardInterrupt:
        ledger.is_interrupted = True
        settled = {tried.name for tried in heat.settled}
        rest = [_untried(r, None, STOPPED) for r in remedies if r.name not in settled]
        return (*_ranked(heat.settled), *rest)


def _held(heat: _Heat, remedies: Sequence[Remedy]) -> tuple[TriedRemedy, ...]:
    """The contest itself."""
    direct = [remedy for remedy in remedies if remedy.is_direct]
    others = [remedy for remedy in remedies if not remedy.is_direct]
    tried: list[TriedRemedy] = []
    late: list[TriedRemedy] = []
    for remedy in direct:
        if tried and not heat.has_time:
            late.append(_untried(remedy, None, UP))
            continue
        tried.append(heat.proved(remedy, None, len(direct)))
        if tried[-1].is_proved:
            proved = heat.rivalled(remedy, tried[-1], len(direct))
            tried = [*proved, *tried[:-1]]
            rest = [r for r in remedies if r.name not in {t.name for t in tried}]
            outcome = f"not tried: {remedy.name} is proved, and takes away what was found"
            return (*tried, *(_untried(r, None, outcome) for r in rest))
    if tried and not heat.has_time:
        late += [_untried(remedy, None, UP) for remedy in others]
        others = []
    finalists, dropped = heat.halved(others)
    own: list[TriedRemedy] = []
    for remedy, screening in finalists:
        if (own or tried) and not heat.has_time:
            late.append(_untried(remedy, screening, UP))
            continue
        own.append(heat.proved(remedy, screening, len(finalists)))
    ran = _ranked([t for t in (*tried, *own) if t.runs])
    failed = [t for t in (*tried, *own) if not t.runs]
    broken = [t for t in dropped if t.screening is None]
    return (*ran, *late, *(t for t in dropped if t.screening is not None), *failed, *broken)


def _ranked(tried: Sequence[TriedRemedy]) -> list[TriedRemedy]:
    """The proved first, then by held-out loss; what has no full run last."""
    mean = {t.name: fmean(run.final_loss for run in t.runs) if t.runs else inf for t in tried}
    return sorted(tried, key=lambda t: (not t.is_proved, mean[t.name]))


class _Heat:
    """The runs of a contest, and where they stand."""

    def __init__(
        self,
        training: Problem,
        readings: Readings,
        ledger: Ledger,
        shares: tuple[float, float],
        num_remedies: int,
        num_finalists: int,
        more: Control | None,
    ) -> None:
        self.training, self.readings, self.ledger, self.shares = training, readings, ledger, shares
        self.plan, self.control, self.more = readings.plan, list(readings.control), more
        # Chosen by a seed that the proof does not use, or the luck of the draw would be proved too.
        self.unseen = self.control[0].seed + max(len(self.control), LOOKS[-1][0])
        self.done = 0.0
        self.settled: list[TriedRemedy] = []
        # Mean held-out loss before and after, in units that control and remedied share.
        self.levels: dict[str, tuple[float, float]] = {}
        self.num_finalists = num_finalists
        finals = len(self.control) * min(num_finalists, num_remedies)
        self.total = num_remedies / SCREENING + finals

    @property
    def has_time(self) -> bool:
        """Whether the runs of one more finalist fit."""
        seconds = sum(each.seconds for each in self.control)
        return self.ledger.seconds_left >= seconds and self.affords(len(self.control))

    def looks(self) -> tuple[tuple[int, float], ...]:
        """Pairs that a finalist is looked at after, and shares of the risk, as the budget allows.

        What is left of the budget is known beforehand: the last look has all the risk that is left.
        """
        if self.more is None:
            return ((len(self.control), 1.0),)
        (first, share), (last, rest) = LOOKS
        most = next((n for n in range(last, first, -1) if self.affords(n)), first)
        return ((first, share), (most, rest)) if most > first else ((first, 1.0),)

    def affords(self, number: int) -> bool:
        """Whether so many pairs of a finalist fit, with what control runs they need beyond."""
        further = max(0, number - len(self.control))
        price = number * self.price + further * self.control[-1].cost
        return self.ledger.gradients_left >= price / self.readings.problem.num_samples

    def can_screen(self, length: Plan) -> bool:
        """Whether a short run fits beside the proof of one remedy."""
        share = LOOKS[-1][0] + length.num_steps / self.plan.num_steps
        price = share * self.price / self.readings.problem.num_samples
        return self.ledger.gradients_left >= price

    @property
    def price(self) -> float:
        """Gradients of a sample, of a full run that does not break off, scored at both ends."""
        held_out = self.training.test_batches or self.plan.held_out
        steps = self.plan.num_steps * self.plan.batch_size
        return steps + 2 * sum(map(num_samples, held_out)) / 3

    def run(self, what: str, remedy: Remedy, length: Plan, seed: int) -> tuple[Run, Trial]:
        """One training with a remedy, and the trial, to be gone on with."""
        first, last = self.shares
        share = first + (last - first) * min(self.done / self.total, 1.0)
        self.ledger.progress(f"{what} {remedy.name}", share)
        self.done += length.num_steps / self.plan.num_steps
        generator = torch.Generator().manual_seed(seed)
        problem = remedy.apply(self.training.copied(), generator)
        length = self.resized(length, problem)
        trial = Trial(problem, length, seed)
        run = trial.until(length.num_steps)
        self.spend(run.cost)
        return run, trial

    def spend(self, cost: float) -> None:
        """Counts gradients of a sample."""
        self.ledger.spend(cost / self.readings.problem.num_samples)

    def resized(self, length: Plan, problem: Problem) -> Plan:
        """The plan with a remedy's batch size: as many samples in all, in other minibatches."""
        size = problem.batch_size
        if size is None or size == self.training.batch_size:
            return length
        num_steps = max(1, round(length.num_steps * length.batch_size / size))
        return replace(length, batch_size=size, num_steps=num_steps)

    def halved(
        self, remedies: Sequence[Remedy]
    ) -> tuple[list[tuple[Remedy, Run]], list[TriedRemedy]]:
        """The finalists with their screening, and those that dropped out."""
        entered: list[tuple[Remedy, Run]] = []
        dropped: list[TriedRemedy] = []
        rounds = [(2 * SCREENING, len(remedies) // 2)] if len(remedies) > MANY else []
        remaining = list(remedies)
        for shorter, survivors in [*rounds, (SCREENING, self.num_finalists)]:
            length = replace(self.plan, num_steps=max(1, self.plan.num_steps // shorter))
            entered = []
            for remedy in remaining:
                if (entered or self.done) and not self.can_screen(length):
                    dropped.append(_untried(remedy, None, UP))
                    continue
                try:
                    entered.append(self.screened(remedy, length))
                except Exception as error:
                    dropped.append(_failed(remedy, None, error))
            entered.sort(key=lambda entry: entry[1].last_loss)
            outcome = f"dropped after {length.num_steps} steps: {survivors} others were ahead"
            dropped += [_untried(r, screening, outcome) for r, screening in entered[survivors:]]
            entered = entered[:survivors]
            remaining = [remedy for remedy, _ in entered]
        return entered, dropped

    def screened(self, remedy: Remedy, length: Plan) -> tuple[Remedy, Run]:
        """A short run; with a smaller step as well where it does not train."""
        run, _ = self.run("trying", remedy, length, self.unseen)
        if not remedy.changes_step and self._is_idle(run, length):
            remedy = slower(remedy, self.readings)
            run, _ = self.run("trying", remedy, length, self.unseen)
        return remedy, run

    def _is_idle(self, run: Run, length: Plan) -> bool:
        """Whether a smaller step may help: the loss rises, or does not fall in steps enough to."""
        start = self.readings.passed.value
        if length.num_steps >= ENOUGH and isfinite(start):
            return run.last_loss > (1 - MOVED) * start
        return not run.losses or run.last_loss > (1 + MOVED) * run.losses[0]

    def proved(
        self,
        remedy: Remedy,
        screening: Run | None,
        num_compared: int,
        num_pairs: int | None = None,
    ) -> TriedRemedy:
        """The full runs of a remedy against the control.

        They are looked at once, where there are to be `num_pairs`, or else as `LOOKS` says.
        """
        pairs: list[tuple[Run, Trial]] = []
        gain, runs = Gain(-inf, -inf, False), tuple[Run, ...]()
        try:
            for number, share in self.looks() if num_pairs is None else ((num_pairs, 1.0),):
                while len(self.control) < number and self.more is not None:
                    self.control.append(self.more.another())
                    self.spend(self.control[-1].cost)
                for each in self.control[len(pairs) : number]:
                    if len(pairs) >= LOOKS[0][0] and not self.affords(1):
                        # A control that ran to its end, unlike those before it, took what was left.
                        break
                    pairs.append(self.run("proving", remedy, self.plan, each.seed))
                runs = tuple(run for run, _ in pairs)
                trained = pairs[0][1].problem
                gain = self.gain(remedy, runs, trained, num_compared / share)
                has_risk = share < 1 and not gain.is_proved
                if has_risk and (longer := self.longer(remedy, runs)):
                    # Neither has begun to learn, whichever is ahead: they say nothing so far.
                    runs = self.lengthened([trial for _, trial in pairs], runs, longer)
                    gain = self.gain(remedy, runs, trained, num_compared / (1 - share))
                    break
                if gain.is_proved or gain.mean <= 0:
                    # A loss is no proof, and giving up early proves nothing.
                    break
        except Exception as error:
            return _failed(remedy, screening, error)
        outcome = "proved to help" if gain.is_proved else "not proved to help"
        if gain.is_proved and not remedy.changes_loss and _fits_less(runs, self.control):
            gain = replace(gain, is_proved=False)
            outcome = "lowers the held-out loss only by fitting the training data less: no remedy"
        tried = TriedRemedy(remedy.name, remedy.code, screening, runs, gain, outcome, remedy.apply)
        self.settled.append(tried)
        return tried

    def longer(self, remedy: Remedy, runs: Sequence[Run]) -> int:
        """Steps that all pairs of the first look can be gone on to, where none has learned yet.

        0 where one has, or where they would hardly become longer.
        """
        number = len(runs)
        if self.more is None or number != LOOKS[0][0] or number != len(self.control):
            return 0
        if remedy.name not in self.levels or not self.learned_nothing(remedy, runs):
            return 0
        size, total = self.plan.batch_size, self.readings.problem.num_samples
        scored = 2 * number * runs[0].num_scored / 3
        steps = (self.ledger.gradients_left * total - scored) / (2 * number * size)
        longest = self.plan.num_steps + int(max(steps, 0.0))
        if self.training.epochs is not None:
            whole = self.training.epochs * steps_in_epoch(self.training, size)
            longest = min(longest, whole)
        return longest if longest >= LONGER * self.plan.num_steps else 0

    def learned_nothing(self, remedy: Remedy, runs: Sequence[Run]) -> bool:
        """Whether neither side is better than a blind answer, nor the remedied thrown off."""
        observed, blind = self.readings.observed, self.readings.blind_loss
        if observed is None or blind is None or any(run.failure for run in runs):
            return False
        control = [run.final_loss for run in self.control[: len(runs)]]
        little = NOTHING * observed.levels.explained * (blind - observed.levels.floor)
        unit = blind if remedy.changes_loss else 1.0
        before, after = (unit * level for level in self.levels[remedy.name])
        rests = blind - little <= after <= max(before, blind) + little
        return rests and fmean(control) >= blind - little

    def lengthened(
        self, trials: Sequence[Trial], runs: Sequence[Run], num_steps: int
    ) -> tuple[Run, ...]:
        """A remedy's runs gone on with, and the control's, to so many steps in all."""
        assert self.more is not None
        before = sum(run.cost for run in (*runs, *self.control))
        factor = num_steps / self.plan.num_steps
        self.more.lengthen(num_steps)
        self.control, self.plan = list(self.more.runs), self.more.plan
        longer = tuple(trial.until(round(factor * trial.plan.num_steps)) for trial in trials)
        self.spend(sum(run.cost for run in (*longer, *self.control)) - before)
        return longer

    def rivalled(
        self, remedy: Remedy, proved: TriedRemedy, num_compared: int
    ) -> tuple[TriedRemedy, ...]:
        """A remedy that is proved and its rivals, the best first; as many as there is time for.

        They meet the control on the same seeds, in the order given, and each only where the one
        before it is proved: so each may be tested at the level of that one (fixed-sequence
        procedure, Maurer, Hothorn, Lehmacher 1995). What was proved first stays ahead of one that
        does not end clearly lower.
        """
        ranked = [proved]
        number = len(proved.runs)
        _, first = self.levels[remedy.name]
        for rival in remedy.rivals:
            if not (self.has_time and self.affords(number)):
                break
            tried = self.proved(rival, None, num_compared, number)
            if not tried.is_proved:
                return (*ranked, tried)
            _, mean = self.levels[rival.name]
            leads = mean < first - CLEARLY * abs(first)
            ranked.insert(0 if leads else len(ranked), tried)
            first = mean if leads else first
        return tuple(ranked)

    def gain(
        self, remedy: Remedy, runs: Sequence[Run], remedied: Problem, num_compared: float
    ) -> Gain:
        """What the remedy gains over the control's first runs, as many as there are of its own."""
        control: Sequence[Run] = self.control[: len(runs)]
        blind = self.readings.blind_loss
        if remedy.changes_loss or not all(isfinite(run.before.loss) for run in control):
            if (both := self.in_units(runs, remedied)) is None:
                return Gain(-inf, -inf, False)
            (control, runs), blind = both, 1.0
        befores = fmean(run.before.loss for run in runs)
        self.levels[remedy.name] = (befores, fmean(run.final_loss for run in runs))
        return paired_gain(control, runs, blind, num_compared)

    def in_units(
        self, runs: Sequence[Run], remedied: Problem
    ) -> tuple[Sequence[Run], Sequence[Run]] | None:
        """Control and remedied where losses are in different units: over a constant answer's.

        The best constant answer is meant; None where the remedied problem has none.
        """
        held_out, reduction = self.plan.held_out, self.plan.reduction
        unit = best_constant(remedied, remedied.test_batches or held_out, reduction)
        if unit is None:
            return None
        own = best_constant(self.training, held_out, reduction)
        known = known_loss(self.training.loss)
        is_likelihood = known is not None and known.kind is Kind.LOG_CLASSES
        # Where the control has no unit it could not be scored either, and counts as blind. So does
        # one below zero where a loss is a likelihood of classes: such outputs are none that it
        # takes, and it falls without end.
        control = [
            _in_units(run, None if is_likelihood and run.final_loss < 0 else own)
            for run in self.control[: len(runs)]
        ]
        return control, [_in_units(run, unit) for run in runs]


def _in_units(run: Run, unit: float | None) -> Run:
    after = run.final_loss / unit if unit else inf
    before = run.before.loss / unit if unit and isfinite(run.before.loss) else 1.0
    return replace(
        run,
        before=Score(before, run.before.accuracy),
        after=Score(after, run.after.accuracy),
        failure=run.failure if unit else run.failure or "it could not be scored",
    )


def _untried(remedy: Remedy, screening: Run | None, outcome: str) -> TriedRemedy:
    return TriedRemedy(remedy.name, remedy.code, screening, (), None, outcome, remedy.apply)


def _fits_less(runs: Sequence[Run], control: Sequence[Run]) -> bool:
    """Whether the training loss ends higher than without: less training is no better training."""
    return fmean(run.last_loss for run in runs) > fmean(run.last_loss for run in control)


def _failed(remedy: Remedy, screening: Run | None, error: Exception) -> TriedRemedy:
    """A remedy rebuilds somebody's network by rule; where that does not fit, it says so."""
    outcome = f"could not be run on this network: {described(error)}"
    return _untried(remedy, screening, outcome)


def paired_gain(
    control: Sequence[Run],
    remedied: Sequence[Run],
    blind_loss: float | None = None,
    num_compared: float = 1,
) -> Gain:
    """Control minus remedied held-out loss, seed by seed, with Student's one-sided t.

    The level is 5 % over all remedies that are compared with this control, divided evenly.

    How far a run diverges is chance, and would pass for doubt: a control run counts at most at the
    loss it began with, or that a blind answer gets where that is higher; and where it began far
    above, at twice a blind answer's. So one that breaks down among sound ones proves nothing. A
    remedy that breaks down once is not proved.
    """
    if any(not isfinite(after.final_loss) for after in remedied):
        return Gain(-inf, -inf, False)
    has_broken = any(not isfinite(before.final_loss) for before in control)
    without = [min(run.final_loss, _most(run.before.loss, blind_loss)) for run in control]
    differences = [w - after.final_loss for w, after in zip(without, remedied, strict=True)]
    mean = fmean(differences)
    if len(differences) < 2 or not isfinite(mean):
        return Gain(mean, -inf, False)
    error = stdev(differences) / sqrt(len(differences))
    low = mean - float(stats.t.ppf(1 - RISK / num_compared, len(differences) - 1)) * error
    is_proved = low > 0 and mean > MIN_GAIN * abs(fmean(without))
    return Gain(inf if has_broken and is_proved else mean, low, is_proved)


def _most(before: float, blind: float | None) -> float:
    """What a control run counts at most, which began at `before`."""
    if blind is None or not blind > 0:
        return max(before, blind or -inf)
    return max(blind, min(before, FAR * blind))
