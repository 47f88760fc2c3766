"""The contest of remedies: a short screening of all, then paired full runs of the best."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from statistics import fmean

from thalweg._problem import Problem
from thalweg.doctor._control import Control
from thalweg.doctor._examination import TriedRemedy
from thalweg.doctor._heat import LOOKS, NUM_FINALISTS, UP, Heat, untried
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._proving import meet_rivals, prove, prove_longer
from thalweg.doctor._readings import Readings
from thalweg.doctor._screening import halved
from thalweg.doctor._trial import Run
from thalweg.doctor.remedies import Remedy

STOPPED = "not proved: interrupted before its full runs"
"""What becomes of a remedy that Ctrl-C leaves behind."""


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
    that succeeds the others are not tried, but for its rivals. Where it was given up early and
    nothing else is proved either, it is tried once more on all that is left. They are halved in
    short runs of one seed until so many are left as may be proved (successive halving: Jamieson,
    Talwalkar 2016). A change to the network that does not train in the screening is screened again
    with a tenth of the learning rate: what suits a network that hardly answers is too large for one
    that does. Where neither the remedy nor the control has learned anything by the first look, both
    are gone on with instead of repeated.

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
    heat = Heat(training, readings, ledger, shares, len(remedies), num_finalists, more)
    try:
        return _held(heat, remedies)
    except KeyboardInterrupt:
        ledger.is_interrupted = True
        settled = [*heat.settled, *heat.passed_over]
        names = {tried.name for tried in settled}
        rest = [untried(r, None, STOPPED) for r in remedies if r.name not in names]
        return (*_ranked(settled), *rest)


def _held(heat: Heat, remedies: Sequence[Remedy]) -> tuple[TriedRemedy, ...]:
    """The contest itself."""
    direct = [remedy for remedy in remedies if remedy.is_direct]
    others = [remedy for remedy in remedies if not remedy.is_direct]
    tried: list[TriedRemedy] = []
    late: list[TriedRemedy] = []
    for remedy in direct:
        if tried and not heat.has_time:
            late.append(untried(remedy, None, UP))
            continue
        tried.append(prove(heat, remedy, None, len(direct)))
        if tried[-1].is_proved:
            proof = tried.pop()
            proved = meet_rivals(heat, remedy, proof, len(direct))
            tried = [*proved, *tried, *heat.passed_over]
            rest = [r for r in remedies if r.name not in {t.name for t in tried}]
            outcome = f"not tried: {proof.name} is proved, and takes away what was found"
            return (*tried, *(untried(r, None, outcome) for r in rest))
    if tried and not heat.has_time:
        late += [untried(remedy, None, UP) for remedy in others]
        others = []
    screened, dropped = halved(heat, others)
    finalists: list[tuple[Remedy, Run | None]] = [*screened]
    waiting = {each.name for each in dropped if each.outcome == UP}
    if waiting and not finalists:
        # Too little is left to compare them first, but perhaps enough to prove what promises most.
        first = [r for r in others if r.name in waiting][: heat.num_affordable]
        finalists += [(remedy, None) for remedy in first]
        dropped = [each for each in dropped if each.name not in {r.name for r in first}]
    own: list[TriedRemedy] = []
    for remedy, screening in finalists:
        if (own or tried) and not heat.has_time:
            late.append(untried(remedy, screening, UP))
            continue
        own.append(prove(heat, remedy, screening, len(finalists)))
    if not any(each.is_proved for each in own):
        tried = _in_longer_pairs(heat, direct, tried)
    every = (*tried, *own, *heat.passed_over)
    ran = _ranked([t for t in every if t.runs])
    failed = [t for t in every if not t.runs]
    broken = [t for t in dropped if t.screening is None]
    return (*ran, *late, *(t for t in dropped if t.screening is not None), *failed, *broken)


def _in_longer_pairs(
    heat: Heat, direct: Sequence[Remedy], tried: list[TriedRemedy]
) -> list[TriedRemedy]:
    """With the first that was given up early tried again, in the longest pairs that are left.

    What a schedule has yet to warm up, or a plateau hides, does not show in short ones.
    """
    given_up = {each.name for each in tried if 0 < len(each.runs) <= LOOKS[0][0]}
    remedy = next((remedy for remedy in direct if remedy.name in given_up), None)
    longer = None if remedy is None else prove_longer(heat, remedy, len(direct))
    if longer is None:
        return tried
    return [longer, *(each for each in tried if each.name != longer.name)]


def _ranked(tried: Sequence[TriedRemedy]) -> list[TriedRemedy]:
    """The proved first, then by held-out loss; what has no full run last."""
    mean = {t.name: fmean(run.final_loss for run in t.runs) if t.runs else inf for t in tried}
    return sorted(tried, key=lambda t: (not t.is_proved, mean[t.name]))
