"""Report: RESULTS.md, results.json and the printed table, from lines."""

from __future__ import annotations

import datetime
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import gpt2, memory, traces, tracking
from benchmarks.line import OURS, PEER, REFERENCE, Line
from benchmarks.targets import Target, judge
from thalweg.tape import library_of

HERE = Path(__file__).parent
ROLES = {OURS: "ours", REFERENCE: "by hand", PEER: "peer"}
# Quantities whose number is not a time in gradients, and what it is.
UNITS = {
    traces.QUANTITY: "products",
    tracking.QUANTITY: "× plain step",
    tracking.SPARSE: "× plain step",
    memory.QUANTITY: "vectors",
    memory.BY_HAND: "vectors",
}


def machine() -> dict[str, Any]:
    """What it ran on, in general words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def write(lines: list[Line], descriptions: dict[str, str], seconds: float, is_quick: bool) -> str:
    """Writes both files, and returns the text of RESULTS.md."""
    about = machine()
    targets = judge(lines)
    text = _markdown(lines, targets, descriptions, about, seconds, is_quick)
    (HERE / "RESULTS.md").write_text(text)
    record = {
        "machine": about,
        "is_quick": is_quick,
        "seconds": round(seconds),
        "networks": descriptions,
        "lines": [asdict(x) | {"is_right": x.is_right} for x in lines],
        "targets": [asdict(t) for t in targets],
    }
    (HERE / "results.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return text


def _markdown(
    lines: list[Line],
    targets: list[Target],
    descriptions: dict[str, str],
    about: dict[str, Any],
    seconds: float,
    is_quick: bool,
) -> str:
    met = sum(t.is_met is True for t in targets)
    parts = [
        "# Results",
        "",
        f"{about['processor']}, {about['cores']} cores, torch {about['torch']}, Python "
        f"{about['python']}, {about['system']}; {about['date']}; `make bench"
        f"{' QUICK=1' if is_quick else ''}` took {seconds / 60:.0f} minutes.",
        "",
        "A cost is the median time over the median time of one plain gradient "
        "(`model.zero_grad(); loss.backward()`), timed in alternation in the same process; one "
        "process a network, number of threads and dtype. A network is read at one seeded "
        "point, after a few steps of Adam. An error is against float64 autograd; an answer "
        "beyond the error allowed is "
        "struck through and does not count as the fastest peer. Ratio: our cost over theirs.",
        "",
        *_on_libraries(),
        *(f"- {name}: {text}" for name, text in descriptions.items()),
        "",
        f"## Targets: {met} of {len(targets)} met",
        "",
        "| target | where | found | met |",
        "|---|---|---|---|",
    ]
    words = {True: "yes", False: "**no**", None: "–"}
    order = list(dict.fromkeys(t.wish for t in targets))
    for t in sorted(targets, key=lambda t: order.index(t.wish)):
        parts.append(f"| {t.wish} | {t.where} | {_cell(t.found)} | {words[t.is_met]} |")
    for quantity in dict.fromkeys(x.quantity for x in lines):
        parts += ["", *_table(quantity, [x for x in lines if x.quantity == quantity])]
    if gpt2.RECORD.exists():
        parts += ["", *gpt2.table(json.loads(gpt2.RECORD.read_text()))]
    return "\n".join(parts) + "\n"


def _on_libraries() -> list[str]:
    """What one has to know of who multiplies matrices, to read the ratios."""
    if not (library := library_of(torch.zeros(1))):
        return []
    return [
        f"On this processor a tape takes {library}, which is measured when a process first needs "
        "it. The gradient that is the unit, and the products of the others, are by torch's own "
        "choice, MKL, which leaves half of the vector units of an AMD processor idle: of the large "
        "float32 products up to a factor of two is that. Where MKL is as fast, it is MKL's.",
        "",
    ]


def _table(quantity: str, lines: list[Line]) -> list[str]:
    unit = UNITS.get(quantity, "gradients")
    rows = [
        f"## {quantity}",
        "",
        f"| network | threads | dtype | who | | {unit} | ratio | error | products | remarks |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        ours = [
            x.cost for x in lines
            if x.role == OURS and x.is_right and x.cost and x.contender == "thalweg"
            and (x.network, x.threads, x.dtype) == (line.network, line.threads, line.dtype)
        ]  # fmt: skip
        cost = "" if line.cost is None else _number(line.cost)
        is_wrong = line.cost is not None and not line.is_right
        ratio = ""
        if ours and line.cost and line.cost > 0 and line.role != OURS and not is_wrong:
            ratio = f"{ours[0] / line.cost:.2f}"
        error = "" if line.error is None else f"{line.error:.1e}"
        remark = "; ".join(filter(None, (line.setting, line.note, "wrong" if is_wrong else "")))
        rows.append(
            f"| {line.network} | {line.threads} | {line.dtype} | {line.contender} "
            f"| {ROLES[line.role]} | {f'~~{cost}~~' if is_wrong else cost} | {ratio} | {error} "
            f"| {'' if line.products is None else line.products} | {_cell(remark)} |"
        )
    return rows


def _number(x: float) -> str:
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
