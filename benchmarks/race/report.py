"""RACE.md and race.json: every seed of everybody, medians, and our time over the best peer's."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from statistics import median

from benchmarks.race.laps import Lap
from benchmarks.race.tasks import TASKS
from thalweg.report import to_json

HERE = Path(__file__).parent.parent


def write(found: Sequence[Lap], machine: str, is_quick: bool, where: Path = HERE) -> None:
    """Writes both files anew."""
    json = to_json({"machine": machine, "is_quick": is_quick, "laps": list(found)})
    (where / "race.json").write_text(json + "\n", encoding="utf-8")
    (where / "RACE.md").write_text(markdown(found, machine, is_quick), encoding="utf-8")


def markdown(found: Sequence[Lap], machine: str, is_quick: bool) -> str:
    """The report."""
    lines = [
        "# The race",
        "",
        "Written by `python -m benchmarks.race`. Processor seconds of one thread until the",
        "training loss is at the target, each seed in brackets, the median of wall seconds behind.",
        "All data at each step; losses are read outside of the clock. Settings are tuned on a seed",
        "that does not count and then frozen: several for each peer, one for ours on all problems.",
        "",
        f"{machine}.{' A quick run: shorter, with two settings of each peer.' if is_quick else ''}",
        "",
        *summary(found),
    ]
    for name in dict.fromkeys(lap.task for lap in found):
        lines += task_lines(name, [lap for lap in found if lap.task == name])
    return "\n".join(lines) + "\n"


def summary(found: Sequence[Lap]) -> list[str]:
    """Ours over the best peer, by problem and target."""
    lines = [
        "| problem | target | ours | best peer | ours / best | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(lap.task for lap in found):
        mine = [lap for lap in found if lap.task == name and lap.is_ours]
        peers = [lap for lap in found if lap.task == name and not lap.is_ours]
        for index, target in enumerate(TASKS[name].targets):
            own = mine[0].median(index) if mine else float("inf")
            best = min(peers, key=lambda lap: lap.median(index), default=None)
            other = best.median(index) if best else float("inf")
            wanted = TASKS[name].wanted[index]
            asked = "that it arrives" if wanted is None else f"≤ {wanted:.3g}"
            peer = f"{shown(other)} ({best.name})" if best and isfinite(other) else "none arrives"
            lines.append(
                f"| {name} | {target:g} | {shown(own)} | {peer} | {ratio(own, other)} | {asked} |"
            )
    return [*lines, ""]


def ratio(own: float, other: float) -> str:
    """Our time over theirs, in words where one of them never arrives."""
    if isfinite(own) and isfinite(other):
        return f"**{own / other:.2g}**"
    if isfinite(own):
        return "**only ours arrives**"
    return "ours does not arrive" if isfinite(other) else "nobody arrives"


def task_lines(name: str, laps: Sequence[Lap]) -> list[str]:
    """The table of a problem."""
    targets = TASKS[name].targets
    heads = " | ".join(f"to {target:g}" for target in targets)
    lines = [
        f"## {name}",
        "",
        f"| entrant | settings tried | setting | {heads} | final losses |",
        "|---|---|---|" + "---|" * (len(targets) + 1),
    ]
    for lap in sorted(laps, key=lambda lap: [lap.median(i) for i in reversed(range(len(targets)))]):
        cells = " | ".join(arrivals(lap, index) for index in range(len(targets)))
        setting = ", ".join(f"{key} {value}" for key, value in lap.setting.items()) or "default"
        losses = ", ".join(f"{loss:.2g}" for loss in lap.final_losses)
        bold = "**" if lap.is_ours else ""
        lines.append(
            f"| {bold}{lap.name}{bold} | {lap.num_settings} | {setting} | {cells} | {losses} |"
        )
    failures = {(lap.name, each) for lap in laps for each in lap.failures if each}
    lines += ["", *(f"- {who}: {what}" for who, what in sorted(failures))]
    return [*lines, ""]


def arrivals(lap: Lap, index: int) -> str:
    """Median and every seed, and the wall seconds of the median."""
    found = lap.arrivals[index]
    each = ", ".join("–" if a is None else shown(a.processor_seconds) for a in found)
    arrived = [a.seconds for a in found if a is not None]
    wall = f", wall {shown(median(arrived))}" if len(arrived) == len(found) else ""
    return f"{shown(lap.median(index))} ({each}){wall}"


def shown(seconds: float) -> str:
    """Three digits, or a dash."""
    return f"{seconds:.3g}" if isfinite(seconds) else "–"
