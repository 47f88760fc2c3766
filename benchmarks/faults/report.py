"""FAULTS.md: what was found, mended, accused and spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar

from benchmarks.faults.cases import HEALTHY
from benchmarks.faults.kinds import KINDS

HERE = Path(__file__).parent.parent

Outcome = dict[str, Any]

FIRST = 2
"""The right kind must be among so many that are named first."""

T = TypeVar("T")


def is_found(each: Outcome) -> bool:
    """Whether the right kind is among the first that are named."""
    return bool(set(each["named"][:FIRST]) & set(KINDS[each["kind"]].names))


def markdown(found: Sequence[Outcome], half: str, machine: str) -> str:
    """The report."""
    broken = [each for each in found if each["kind"] != HEALTHY]
    sound = [each for each in found if each["kind"] == HEALTHY]
    return "\n".join([
        "# Seeded faults",
        "",
        "Written by `python -m benchmarks.faults`. Every case is a training that was checked to",
        "work, with one fault whose damage was checked: 5 points of a hundred at least, and more",
        "than nothing by a paired t test. Odd seeds are sealed: no rule was tuned on them.",
        "Named is what is found, or suspected before it can be confirmed; found, what the verdict",
        "says.",
        "",
        f"Half: {half}; {len(broken)} broken and {len(sound)} healthy trainings of the suite's "
        f"{len(KINDS)} × 30 and 200. {machine}.",
        "",
        *_summary(broken, sound),
        *_by_kind(broken),
        *_accused(sound),
        *_confusion(broken),
    ]) + "\n"  # fmt: skip


def _summary(broken: Sequence[Outcome], sound: Sequence[Outcome]) -> list[str]:
    mendable = [b for b in broken if KINDS[b["kind"]].is_repairable and "is_repaired" in b]
    everybody = [each for each in (*broken, *sound) if "cost" in each]
    confirmed = [kind in e["named"] for e in (*broken, *sound) for kind in e["suspected"]]
    right = [each for each in broken if is_found(each) and each["found_after"] is not None]
    rows = [
        ("right kind among the first two", _share(broken, is_found), "≥ 95 %"),
        ("anything found", _share(broken, lambda b: bool(b["named"])), ""),
        ("healthy ones accused", _share(sound, lambda s: bool(s["named"])), "≤ 2 %"),
        ("repaired", _share(mendable, lambda m: m["is_repaired"]), "≥ 95 %"),
        (
            "repaired by chance, equal budget",
            _share(mendable, lambda m: m["is_repaired_by_chance"]),
            "",
        ),
        (
            "named within the first epoch, as found or as suspected",
            _share(right, lambda r: r["named_after"] <= r["steps_in_epoch"]),
            "all",
        ),
        (
            "found within the first epoch",
            _share(right, lambda r: r["found_after"] <= r["steps_in_epoch"]),
            "",
        ),
        ("suspicions that were confirmed", _share(confirmed, bool), ""),
        ("healthy ones suspected after it", _share(sound, lambda s: bool(s["suspected"])), ""),
        ("could not be examined", _share([*broken, *sound], lambda e: bool(e["error"])), "0 %"),
    ]
    lines = ["| | measured | wanted |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {wanted} |" for name, value, wanted in rows]
    if everybody:
        costs = sorted(each["cost"] for each in everybody)
        lines.append(
            f"| cost, in trainings | median {median(costs):.2f}, highest {costs[-1]:.2f} | ≤ 1.3 |"
        )
    drawn = sum(each["faults_drawn"] for each in broken)
    if broken:
        lines += [
            "",
            f"Draws that did no harm and were drawn again: {drawn - len(broken)} faults of "
            f"{drawn}; twins that did not train: "
            f"{sum(each['twins_drawn'] - 1 for each in broken)}.",
        ]
    return [*lines, ""]


def _by_kind(broken: Sequence[Outcome]) -> list[str]:
    lines = [
        "## By kind", "",
        "| kind | cases | found | steps until named | until found | repaired | by chance | cost |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for kind in KINDS:
        own = [each for each in broken if each["kind"] == kind]
        if not own:
            continue
        named, steps = (
            [each[key] for each in own if each[key] is not None]
            for key in ("named_after", "found_after")
        )
        costs = [each["cost"] for each in own if "cost" in each]
        tried = [each for each in own if "is_repaired" in each]
        repaired = chance = "not to be repaired"
        if KINDS[kind].is_repairable:
            repaired = _share(tried, lambda t: t["is_repaired"])
            chance = _share(tried, lambda t: t["is_repaired_by_chance"])
        lines.append(
            f"| {kind} | {len(own)} | {_share(own, is_found)} | "
            f"{f'{median(named):g}' if named else '–'} | "
            f"{f'{median(steps):g}' if steps else '–'} | {repaired} | {chance} | "
            f"{f'{fmean(costs):.2f}' if costs else '–'} |"
        )
    return [*lines, ""]


def _accused(sound: Sequence[Outcome]) -> list[str]:
    lines = ["## Healthy", "", "| what | cases | accused | of |", "|---|---|---|---|"]
    for flavour in dict.fromkeys(each["flavour"] for each in sound):
        own = [each for each in sound if each["flavour"] == flavour]
        names = Counter(name for each in own for name in each["named"])
        of = ", ".join(f"{name} {count}" for name, count in names.most_common())
        lines.append(
            f"| {flavour} | {len(own)} | {_share(own, lambda o: bool(o['named']))} | {of} |"
        )
    return [*lines, ""]


def _confusion(broken: Sequence[Outcome]) -> list[str]:
    """What is named first, by kind."""
    first = {
        kind: Counter((each["named"] or ["nothing"])[0] for each in broken if each["kind"] == kind)
        for kind in KINDS
    }
    names = [n for n, _ in sum(first.values(), Counter()).most_common()]
    if not names:
        return []
    lines = [
        "## Named first", "",
        f"| kind | {' | '.join(name.lower().replace('_', ' ') for name in names)} |",
        f"|---|{'---|' * len(names)}",
    ]  # fmt: skip
    for kind, counts in first.items():
        if counts:
            cells = [
                f"**{counts[n]}**" if counts[n] and n in KINDS[kind].names else str(counts[n] or "")
                for n in names
            ]
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def _share(cases: Sequence[T], holds: Callable[[T], bool]) -> str:
    if not cases:
        return "–"
    count = sum(holds(each) for each in cases)
    return f"{count / len(cases):.1%} ({count} of {len(cases)})"
