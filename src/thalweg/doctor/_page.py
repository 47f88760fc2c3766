"""The page of an examination: verdict first, then evidence, remedies, cost and doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from statistics import fmean, stdev

from thalweg.curvature import CriticalPoint
from thalweg.doctor._examination import Examination, TriedRemedy
from thalweg.doctor._figures import curves_figure
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._trial import Run
from thalweg.report import Block, Code, Fact, Facts, Page, Section, Table, Text, Tone
from thalweg.signal import Signal
from thalweg.signal._figures import gradient_figure, scale_figure, time_figure, units_figure


def page_of(examination: Examination) -> Page:
    """Describes the page."""
    sections = [
        *(_finding_section(finding, examination) for finding in examination.findings),
        _remedy_section(examination),
        _cleared_section(examination),
        _signal_section(examination),
        _surface_section(examination),
        _cost_section(examination),
        _omission_section(examination),
    ]
    return Page(
        title=examination.title,
        verdict=_verdict(examination),
        tone=_tone(examination),
        lead=_lead(examination),
        sections=tuple(section for section in sections if section is not None),
        footer=f"seed {examination.seed} · budget {examination.budget} · {examination.machine}",
    )


def _tone(examination: Examination) -> Tone:
    if not examination.is_healthy:
        return Tone.BAD
    return Tone.GOOD if examination.is_learning else Tone.UNSURE


def _verdict(examination: Examination) -> str:
    partly = "Interrupted: " if examination.is_partial else ""
    if examination.is_healthy and not examination.is_learning:
        return f"{partly}{'t' if partly else 'T'}his training learns little, and no rule says why"
    if examination.is_healthy:
        return f"{partly}{'n' if partly else 'N'}othing ails this training"
    named = [finding.ailment.value for finding in examination.findings]
    return f"{partly}{'s' if partly else 'S'}omething ails this training: {', '.join(named)}"


def _lead(examination: Examination) -> str:
    after = _spread([run.after.loss for run in examination.control])
    if examination.is_healthy:
        return (
            f"{_learned_little(examination)}Trained as it is for {examination.stretch}, "
            f"its held-out loss goes from {examination.control[0].before.loss:.4g} to {after}"
            f"{_accuracy_clause(examination.control)}; no rule found anything wrong."
        )
    first = examination.findings[0].sentence
    if not examination.proved and examination.is_partial:
        return f"{first} The trials of remedies were interrupted before any was proved."
    if not examination.remedies:
        return f"{first} There is no remedy to try."
    if not examination.proved:
        tried = _counted(len(examination.remedies), "remedy was", "remedies were")
        return f"{first} {tried} tried; none is proved to help."
    best = examination.proved[0]
    return (
        f"{first} Proved remedy: {best.name}. With it the held-out loss after "
        f"{examination.stretch} is {_spread([r.after.loss for r in best.runs])} instead "
        f"of {after}{_accuracy_clause(best.runs, examination.control)}."
    )


def _learned_little(examination: Examination) -> str:
    """What is told first of a training that nothing ails and that hardly learns."""
    if examination.is_learning or examination.learned is None:
        return ""
    return (
        f"In {examination.num_watched} steps it learned {max(examination.learned, 0.0):.0%} of "
        f"what simple learners find in the data; a larger budget watches it longer. "
    )


def _accuracy_clause(runs: Sequence[Run], control: Sequence[Run] | None = None) -> str:
    if runs[0].after.accuracy is None:
        return ""
    # A control that broke down could not be scored.
    is_scored = any(run.after.accuracy is not None for run in control or ())
    instead = f" instead of {_accuracies(control)}" if control and is_scored else ""
    return f", and the accuracy {_accuracies(runs)}{instead}"


def _finding_section(finding: Finding, examination: Examination) -> Section:
    pictures: dict[Ailment, Callable[[], Block]] = {
        Ailment.VANISHING: lambda: gradient_figure(examination.signal),
        Ailment.EXPLODING: lambda: gradient_figure(examination.signal),
        Ailment.SATURATED: lambda: units_figure(examination.signal),
        Ailment.DEAD: lambda: units_figure(examination.signal),
    }
    blocks: list[Block] = []
    if finding.in_time is not None:
        blocks.append(time_figure(finding.in_time))
    elif finding.ailment in pictures:
        blocks.append(pictures[finding.ailment]())
    elif any(run.losses for run in examination.control):
        blocks.append(curves_figure(examination, ()))
    blocks.append(_evidence_facts(finding))
    named = ""
    if finding.suspected_after is not None:
        named = f" Suspected after {finding.suspected_after} steps, found after "
        named += f"{finding.found_after}."
    rule = Text(f"Rule: {finding.rule}. Here it is met {finding.margin:.3g} times over.{named}")
    title = finding.ailment.value.capitalize()
    return Section(title, finding.sentence, (*blocks, rule), Tone.BAD)


def _evidence_facts(finding: Finding) -> Facts:
    """The evidence, with "…, low" and "…, high" as the doubt of the number before them."""
    evidence = finding.evidence
    rows = []
    for name, value in evidence.items():
        low, high = evidence.get(f"{name}, low"), evidence.get(f"{name}, high")
        if low is not None and high is not None:
            rows.append(Fact(name, f"{value:.4g}", f"{low:.4g} to {high:.4g}"))
        elif not name.endswith((", low", ", high")):
            rows.append(Fact(name, f"{value:.4g}"))
    return Facts(tuple(rows))


def _remedy_section(examination: Examination) -> Section | None:
    shown = [remedy for remedy in examination.remedies if remedy.runs]
    if examination.is_healthy:
        runs = (
            f"{len(examination.control)} runs on copies, with {examination.optimizer}, minibatches "
            f"of {examination.batch_size}."
        )
        curves = curves_figure(examination, shown)
        if not examination.remedies:
            return Section("Trained as it is", runs, (curves,), _tone(examination))
        sentence = f"{runs} None of what was tried against what was suspected is proved to help."
        blocks: list[Block] = [_remedy_table(examination), curves]
        return Section("Trained as it is", sentence, tuple(blocks), _tone(examination))
    proved = examination.proved
    if proved:
        sentence = (
            f"{_counted(len(proved), 'remedy', 'remedies')} of {len(examination.remedies)} tried "
            f"proved to help: the held-out loss is lower than without by a test over pairs "
            f"of up to {len(examination.control)} seeds with the same data order and steps, at "
            f"95 % for all finalists together."
        )
    elif not examination.remedies:
        sentence = "There is none to try; what the training does as it is:"
    else:
        tried = _counted(len(examination.remedies), "remedy", "remedies")
        sentence = (
            f"Nothing that was tried helped: of {tried} none is proved to lower the held-out loss."
        )
    blocks = [_remedy_table(examination)]
    if shown:
        blocks.append(curves_figure(examination, shown))
    blocks += [Code(remedy.code, f"{remedy.name}: the change") for remedy in proved[:3]]
    tone = Tone.GOOD if proved else Tone.UNSURE
    return Section("Remedies, tried", sentence, tuple(blocks), tone)


def _remedy_table(examination: Examination) -> Table:
    control = examination.control
    has_accuracy = bool(control) and control[0].after.accuracy is not None
    header = ["what", "held-out loss", *(["accuracy"] if has_accuracy else []), "gain", "outcome"]

    def row(name: str, runs: Sequence[Run], gain: str, outcome: str) -> tuple[str, ...]:
        loss = _spread([run.after.loss for run in runs]) if runs else "–"
        accuracy = [_accuracies(runs) if runs else "–"] if has_accuracy else []
        return (name, loss, *accuracy, gain, outcome)

    rows = [row("as it is", examination.control, "", "control")]
    for remedy in examination.remedies:
        gain = _gain(remedy)
        rows.append(row(remedy.name, remedy.runs, gain, remedy.outcome))
    return Table(
        tuple(header),
        tuple(rows),
        f"After {examination.stretch}: mean ± standard deviation over "
        f"{len(examination.control)} seeds at most. Gain: held-out loss without minus with, and "
        f"the lower end of its one-sided interval.",
    )


def _gain(remedy: TriedRemedy) -> str:
    if remedy.gain is None:
        return "–"
    if not isfinite(remedy.gain.mean):
        return "trains where it broke down" if remedy.is_proved else "breaks down"
    return f"{remedy.gain.mean:.3g} (≥ {remedy.gain.low:.3g})"


def _cleared_section(examination: Examination) -> Section | None:
    """What was suspected, and is none of the findings."""
    cleared = [each for each in examination.suspicions if not each.is_confirmed]
    if not cleared:
        return None
    rows = [
        (each.ailment.value, f"{each.named_after}", f"{each.probability:.0%}", each.sentence)
        for each in cleared
    ]
    return Section(
        "Suspected, and cleared",
        "What the first epoch made one suspect and the rest of the training did not confirm, or "
        "what is odd in a training that learns, and of which no remedy is proved to help.",
        (Table(("what", "after steps", "likely then", "why"), tuple(rows), ""),),
    )


def _signal_section(examination: Examination) -> Section | None:
    signal = examination.signal
    if len(signal.rows) < 2:
        return None
    told = {finding.ailment for finding in examination.findings if finding.in_time is None}
    blocks: list[Block] = [scale_figure(signal)]
    if not told & {Ailment.VANISHING, Ailment.EXPLODING}:
        blocks.insert(0, gradient_figure(signal))
    blocks.append(_signal_table(signal))
    return Section("Signal through depth", _signal_sentence(signal), tuple(blocks))


def _signal_sentence(signal: Signal) -> str:
    if signal.predicted_factor is None:
        return (
            "Measured only: mean-field theory speaks of plain chains of layers and activations, "
            "and this network pools, adds, normalises or recurs between them."
        )
    theory = signal.theory
    if theory is None:
        return (
            f"Layer by layer mean-field theory predicts that the gradient's norm changes by a "
            f"factor of {signal.predicted_factor:.3g} towards the input."
        )
    return (
        f"Mean-field theory of a wide network with these variances: the squared gradient changes "
        f"by χ = {theory.chi:.3g} a layer, a depth scale of {theory.depth_scale:.3g} layers; "
        f"layer by layer it predicts a gradient factor of {signal.predicted_factor:.3g}."
    )


def _signal_table(signal: Signal) -> Table:
    return Table(
        ("layer", "kind", "units", "scale", "‖∂L/∂z‖", "‖∂L/∂W‖", "activation", "flat", "dead"),
        tuple(
            (
                row.name,
                row.kind,
                f"{row.num_units:,}",
                f"{row.scale:.3g}",
                f"{row.gradient_norm:.3g}",
                f"{row.weight_gradient_norm:.3g}",
                row.activation or "–",
                f"{row.saturated:.0%}" if row.activation else "–",
                f"{row.dead:.0%}" if row.activation else "–",
            )
            for row in signal.rows
        ),
        "Flat: slopes under 1 % of the activation's steepest. Dead: units so on every sample.",
    )


def _surface_section(examination: Examination) -> Section | None:
    card = examination.card
    if card is None:
        return None
    return Section(
        f"The place on the loss surface: {card.headline}",
        f"{card.reason[0].upper()}{card.reason[1:]}.",
        (_surface_facts(card), card.figure()),
    )


def _surface_facts(card: CriticalPoint) -> Facts:
    top, bottom = card.extremes.top, card.extremes.bottom
    negative = _number(*card.index_interval)
    null = f"{_number(*card.null_interval)} within {card.inertia.null_tol:.1g} of zero"
    facts = [
        Fact("loss", f"{card.value:.6g}"),
        Fact(
            "gradient norm",
            f"{card.gradient_norm:.3g}",
            f"zero below {card.gradient_tol:.2g}",
            "loss/param",
        ),
        Fact(
            "λ_max, sharpness",
            f"{card.sharpness:.4g}",
            _bounds(top.bounds[0].tolist()),
            "loss/param²",
        ),
        Fact("λ_min", f"{card.lowest:.4g}", _bounds(bottom.bounds[0].tolist()), "loss/param²"),
        Fact("negative eigenvalues", negative, f"of {card.num_parameters:,}", null),
        Fact("gradient-flatness r", f"{card.flatness:.3f}", "", "near 1: no critical point near"),
    ]
    if card.stability:
        rule = card.stability.rule
        facts.append(
            Fact(
                "sharpness / stability limit",
                f"{card.stability.ratio:.3g}",
                "stable below 1",
                f"{rule.name}, lr {rule.lr:g}: {card.stability.sharpness:.4g} against "
                f"{rule.limit:.4g}",
            )
        )
    return Facts(tuple(facts))


def _cost_section(examination: Examination) -> Section:
    rows = [(m.name, f"{m.gradients:,.1f}", f"{m.seconds:.2f}") for m in examination.measurements]
    gradients = sum(m.gradients for m in examination.measurements)
    seconds = sum(m.seconds for m in examination.measurements)
    return Section(
        "What it cost",
        f"{gradients:,.0f} gradients and {seconds:.1f} s. A gradient is one pass over all "
        f"{examination.num_samples:,} samples, forward and backward.",
        (Table(("measured", "gradients", "seconds"), tuple(rows), ""),),
    )


def _omission_section(examination: Examination) -> Section | None:
    rows = tuple((omission.name, omission.reason) for omission in examination.omissions)
    blocks: list[Block] = [Text(sentence) for sentence in examination.assumptions]
    if rows:
        blocks.insert(0, Table(("not measured", "why"), rows, ""))
    if not blocks:
        return None
    return Section("What was not measured, and what was assumed", "", tuple(blocks))


def _number(low: float, high: float) -> str:
    """A count of eigenvalues: itself where it is exact, its interval where it is estimated."""
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _bounds(bounds: Sequence[float]) -> str:
    low, high = (f"{bound:.4g}" for bound in bounds)
    return "to all digits shown" if low == high else f"{low} to {high}"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, or what broke."""
    if not values:
        return "–"
    finite = [value for value in values if isfinite(value)]
    if len(finite) < len(values):
        return f"not finite in {len(values) - len(finite)} of {len(values)} runs"
    return f"{fmean(finite):.4g}" + (f" ± {stdev(finite):.2g}" if len(finite) > 1 else "")


def _accuracies(runs: Sequence[Run]) -> str:
    shares = [100 * run.after.accuracy for run in runs if run.after.accuracy is not None]
    spread = f" ± {stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{fmean(shares):.1f}{spread} %"
