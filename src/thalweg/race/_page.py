"""The page of a comparison: the recommendation first, then curves, tables, cost and doubt."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import median

from thalweg.race._comparison import Comparison, Entry
from thalweg.race._figures import (
    decrease_figure,
    held_out_figure,
    inner_figure,
    sharpness_figure,
    training_figure,
)
from thalweg.race._trial import Setting
from thalweg.report import Block, Page, Section, Table, Text, Tone


def page_of(comparison: Comparison) -> Page:
    """Describes the page."""
    found = comparison.recommendation
    tone = Tone.GOOD if found.is_proved else Tone.UNSURE if found.name else Tone.BAD
    sections = [
        _result_section(comparison),
        _curve_section(comparison),
        _held_out_section(comparison),
        _duel_section(comparison),
        _sharpness_section(comparison),
        *(_record_section(entry) for entry in comparison.entries),
        _failure_section(comparison),
        _tuning_section(comparison),
        _note_section(comparison),
    ]
    return Page(
        title=f"{comparison.title}: optimizers compared",
        verdict=_verdict(comparison),
        tone=tone,
        lead=_lead(comparison),
        sections=tuple(section for section in sections if section is not None),
        footer=f"tuned on seed {comparison.seed} · {comparison.num_seeds} seeds · budget "
        f"{comparison.budget} a run · {comparison.machine}",
    )


def _verdict(comparison: Comparison) -> str:
    found = comparison.recommendation
    partly = "Interrupted: " if comparison.is_partial else ""
    if not found.name:
        return f"{partly}no optimizer trains this"
    if found.is_proved and found.duels:
        return f"{partly}{found.name} is ahead"
    if not found.duels:
        return f"{partly}{found.name} ran alone"
    return f"{partly}{found.name} is ahead, but not of all by more than chance"


def _lead(comparison: Comparison) -> str:
    found = comparison.recommendation
    parts = [found.sentence, found.doubt]
    if comparison.is_partial:
        parts.append("The race was interrupted: this is what was finished by then.")
    held_out = _best_held_out(comparison)
    if held_out is not None and held_out.name != found.name and found.name:
        parts.append(
            f"On held-out data {held_out.name} ends lowest, at a loss of "
            f"{_middle(_held_out(held_out)):.3g}."
        )
    return " ".join(part for part in parts if part)


def _best_held_out(comparison: Comparison) -> Entry | None:
    known = [entry for entry in comparison.entries if _held_out(entry) and not entry.failures]
    return min(known, key=lambda entry: _middle(_held_out(entry)), default=None)


def _held_out(entry: Entry) -> list[float]:
    losses = [trial.final.held_out_loss for trial in entry.trials]
    return [loss for loss in losses if loss is not None and isfinite(loss)]


def _result_section(comparison: Comparison) -> Section:
    has_held_out = any(_held_out(entry) for entry in comparison.entries)
    has_accuracy = any(
        trial.final.accuracy is not None for entry in comparison.entries for trial in entry.trials
    )
    header = ["optimizer", "training loss"]
    header += ["held-out loss"] if has_held_out else []
    header += ["accuracy"] if has_accuracy else []
    header += ["steps", "ms a step", "gradients a step"]
    rows = []
    for entry in comparison.entries:
        row = [entry.name, _range([trial.final_loss for trial in entry.trials])]
        if has_held_out:
            row.append(_range(_held_out(entry)))
        if has_accuracy:
            shares = [trial.final.accuracy for trial in entry.trials]
            row.append(_range([100 * share for share in shares if share is not None], " %"))
        ends = [trial.marks[-1] for trial in entry.trials if trial.num_steps]
        row.append(f"{median([trial.num_steps for trial in entry.trials]):,.0f}" if ends else "–")
        row.append(_number(1e3 * median([m.seconds / m.step for m in ends])) if ends else "–")
        row.append(_number(median([m.gradients / m.step for m in ends])) if ends else "–")
        rows.append(tuple(row))
    measured = (
        f" The training loss is read on {comparison.num_measured:,} of them."
        if comparison.num_measured < comparison.num_samples
        else ""
    )
    batch = (
        "all data at each step"
        if comparison.batch_size is None
        else f"minibatches of {comparison.batch_size:,}"
    )
    tried = "1 setting" if comparison.num_trials == 1 else f"{comparison.num_trials} settings"
    sentence = (
        f"{comparison.num_parameters:,} parameters, {comparison.num_samples:,} training samples, "
        f"{batch}. Tried of each, on one seed at the full budget: {tried}; the best one ran "
        f"on {comparison.num_seeds} others.{measured}"
    )
    if comparison.target is not None:
        sentence += f" The target is a training loss of {comparison.target:g}."
    caption = f"After {comparison.budget}: median over the seeds, lowest, highest; ∞: broke down."
    blocks = [_setting_table(comparison), Table(tuple(header), tuple(rows), caption)]
    return Section("Results", sentence, tuple(blocks))


def _setting_table(comparison: Comparison) -> Table:
    """The chosen settings, and the cost to the target where there is one."""
    target = comparison.target
    header = ["optimizer", "best setting"]
    if target is None:
        rows = tuple((entry.name, _setting(entry.setting)) for entry in comparison.entries)
        return Table(tuple(header), rows, "Chosen on a seed that does not count.")
    reached = [(entry, entry.reached(target)) for entry in comparison.entries]
    return Table(
        (*header, "arrived", "seconds", "gradients"),
        tuple(
            (
                entry.name,
                _setting(entry.setting),
                f"{len(marks)} of {len(entry.trials)}",
                _range([mark.seconds for mark in marks]),
                _range([mark.gradients for mark in marks]),
            )
            for entry, marks in reached
        ),
        f"To a training loss of {target:g}: median of the seeds that arrived, lowest and highest.",
    )


def _curve_section(comparison: Comparison) -> Section | None:
    if not any(entry.trials for entry in comparison.entries):
        return None
    units = ["seconds", "gradients", "step"]
    if not comparison.budget.is_seconds:
        units = ["gradients", "seconds", "step"]
    figures = tuple(training_figure(comparison, unit) for unit in units)
    return Section(
        "Training loss",
        "A gradient is one pass over all training data, forward and backward; a forward pass is a "
        "third of one, a product with the Hessian two. What an optimizer computes besides is in "
        "the seconds alone.",
        figures,
    )


def _held_out_section(comparison: Comparison) -> Section | None:
    if not any(_held_out(entry) for entry in comparison.entries):
        return None
    blocks = [held_out_figure(comparison, is_accuracy=False)]
    if any(t.final.accuracy is not None for e in comparison.entries for t in e.trials):
        blocks.append(held_out_figure(comparison, is_accuracy=True))
    best = _best_held_out(comparison)
    sentence = f"{best.name} ends lowest." if best else ""
    return Section("Held-out data", sentence, tuple(blocks))


def _duel_section(comparison: Comparison) -> Section | None:
    found = comparison.recommendation
    if not found.duels:
        return None
    rows = tuple(
        (
            duel.rival,
            f"{'≥ ' if duel.is_bound else ''}{duel.factor:.3g}",
            f"{duel.low:.3g}",
            "more than chance" if duel.is_proved else "not told apart",
        )
        for duel in found.duels
    )
    return Section(
        f"{found.name} against the others",
        f"Compared: {found.criterion}, seed by seed. {found.doubt}",
        (
            Table(
                ("against", "factor", "at least", "verdict"),
                rows,
                "How many times more the other needs, or how many times higher it ends: geometric "
                "mean over the seeds, and the lower end of its one-sided interval at 95 % for all "
                "together. ≥: it broke down or did not arrive on some seeds.",
            ),
        ),
        Tone.GOOD if found.is_proved else Tone.UNSURE,
    )


def _sharpness_section(comparison: Comparison) -> Section | None:
    figures = [sharpness_figure(comparison, is_ratio=ratio) for ratio in (True, False)]
    blocks: list[Block] = [figure for figure in figures if figure is not None]
    if not blocks:
        return None
    rows = []
    for entry in comparison.entries:
        marks = [mark for trial in entry.trials[:1] for mark in trial.sharpness]
        if marks:
            last = marks[-1]
            ratio = "–" if last.ratio is None else f"{last.ratio:.2g}"
            limit = "–" if last.limit is None else f"{last.limit:.3g}"
            rule = last.rule or "no limit known"
            rows.append((entry.name, f"{last.sharpness:.3g}", limit, ratio, rule))
    blocks.append(Table(("optimizer", "λ_max", "limit", "ratio", "step"), rows, "At the end."))
    return Section(
        "Sharpness against the stability limit",
        "Read outside of the clock, at a few moments of the first seed's run.",
        tuple(blocks),
    )


def _record_section(entry: Entry) -> Section | None:
    records = [record for trial in entry.trials[:1] for record in trial.records]
    figures = [decrease_figure(entry, records), inner_figure(entry, records)] if records else []
    blocks = tuple(figure for figure in figures if figure is not None)
    if not blocks:
        return None
    return Section(f"Step by step: {entry.name}", "The records of the first seed's run.", blocks)


def _failure_section(comparison: Comparison) -> Section | None:
    rows = [
        (entry.name, str(trial.seed), _setting(trial.setting), trial.failure)
        for entry in comparison.entries
        for trial in entry.failures
    ]
    if not rows:
        return None
    table = Table(("optimizer", "seed", "setting", "what happened"), rows, "")
    return Section("Runs that broke off", "", (table,), Tone.BAD)


def _tuning_section(comparison: Comparison) -> Section:
    rows = []
    for entry in comparison.entries:
        for trial in entry.tuning:
            mark = None if comparison.target is None else trial.reached(comparison.target)
            outcome = trial.failure or trial.ending
            if mark is not None:
                unit = "s" if comparison.budget.is_seconds else "gradients"
                spent = mark.spent(comparison.budget.is_seconds)
                outcome = f"at the target in {spent:.3g} {unit}"
            chosen = "✓" if trial.setting == entry.setting else ""
            loss = _number(trial.final_loss)
            rows.append((entry.name, _setting(trial.setting), loss, outcome, chosen))
    table = Table(("optimizer", "setting", "training loss", "outcome", "chosen"), rows, "")
    sentence = f"Every setting tried, on seed {comparison.seed}, at the full budget."
    return Section("Settings tried", sentence, (table,), is_folded=True)


def _note_section(comparison: Comparison) -> Section:
    rows = [(omission.name, omission.reason) for omission in comparison.omissions]
    blocks: list[Block] = [Table(("not entered", "why"), rows, "")] if rows else []
    notes = [(entry.name, entry.said, entry.note or "–") for entry in comparison.entries]
    blocks.append(Table(("optimizer", "what it is", "to know"), notes, ""))
    blocks += [Text(sentence) for sentence in comparison.assumptions]
    endings = {
        (entry.name, trial.ending)
        for entry in comparison.entries
        for trial in entry.trials
        if trial.ending
    }
    if endings:
        blocks.append(Table(("optimizer", "how a run ended"), sorted(endings), ""))
    return Section("What ran, and what was taken for granted", "", tuple(blocks))


def _setting(setting: Setting) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in setting.items()
    )


def _range(values: Sequence[float], unit: str = "") -> str:
    """Median with the lowest and the highest."""
    if not values:
        return "–"
    finite = [value for value in values if isfinite(value)]
    if not finite:
        return "∞"
    broken = len(values) - len(finite)
    low, middle = min(finite), median(values)
    high = "∞" if broken else _number(max(finite))
    spread = f" ({_number(low)} to {high})" if len(values) > 1 else ""
    return f"{_number(middle)}{unit if isfinite(middle) else ''}{spread}"


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "∞"


def _middle(values: Sequence[float]) -> float:
    return median(values)
