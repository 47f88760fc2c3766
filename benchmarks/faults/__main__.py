"""`python -m benchmarks.faults [--half sealed] [--cases 2] [--kinds vanishing healthy]`: FAULTS.md.

Runs the suite of seeded faults, as many cases at a time as there are processes, each on one thread.
What is done lies in a file of JSON lines, and is not done again; `--fresh` forgets it. The whole
takes some hours: 32 kinds × 30 and 200 healthy trainings, about ten short trainings each.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.faults.cases import HEALTHY, is_sealed, numbered
from benchmarks.faults.kinds import KINDS
from benchmarks.faults.outcome import BUDGET, done
from benchmarks.faults.report import HERE, markdown
from thalweg._machine import machine_of

CACHE = Path("build") / "faults.jsonl"

COLUMNS = {"named", "named_after", "found_after", "suspected"}
"""What the report needs of every outcome."""

HALVES = ("tuning", "sealed", "both")


def main() -> None:
    """Runs what is asked for and not done yet, and writes the report of all of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--half", default="tuning", choices=HALVES, help="seeds even, odd or both")
    parser.add_argument("--cases", type=int, default=None, help="of each kind at most")
    parser.add_argument("--healthy", type=int, default=None, help="healthy cases at most")
    parser.add_argument("--kinds", nargs="*", default=[*KINDS, HEALTHY])
    parser.add_argument("--budget", type=float, default=BUDGET, help="in trainings")
    parser.add_argument("--no-repair", action="store_true", help="only what is found")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--fresh", action="store_true", help="forgets what was done before")
    parser.add_argument("--out", type=Path, default=HERE / "FAULTS.md")
    given = parser.parse_args()
    if unknown := set(given.kinds) - {*KINDS, HEALTHY}:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if given.out.is_dir():
        parser.error(f"--out {given.out} is a folder; give a file, such as {given.out}/FAULTS.md")
    given.cache.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        given.cache.unlink(missing_ok=True)
    wanted = []
    for kind in given.kinds:
        most = given.cases if kind != HEALTHY or given.healthy is None else given.healthy
        wanted += [(kind, seed) for seed in numbered(kind, given.half)[:most]]
    known = _read(given.cache)
    tasks = [(*each, given.budget, not given.no_repair) for each in wanted if each not in known]
    start = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.processes) as pool, given.cache.open("a") as file:
        for number, found in enumerate(pool.imap_unordered(done, tasks), 1):
            print(json.dumps(found), file=file, flush=True)
            known[found["kind"], found["seed"]] = found
            print(f"{time.perf_counter() - start:6.0f} s  {number} of {len(tasks)}  "
                  f"{_in_words(found)}", flush=True)  # fmt: skip
    outcomes = [known[each] for each in wanted if "undrawn" not in known[each]]
    text = markdown(outcomes, given.half, machine_of(torch.zeros(1)))
    given.out.write_text(text, encoding="utf-8")
    print(text)


def _read(cache: Path) -> dict[tuple[str, int], dict[str, Any]]:
    if not cache.exists():
        return {}
    lines = [json.loads(line) for line in cache.read_text().splitlines()]
    # What was written before a column was there is done again.
    lines = [line for line in lines if "undrawn" in line or line.keys() >= COLUMNS]
    return {(line["kind"], line["seed"]): line for line in lines}


def _in_words(found: dict[str, Any]) -> str:
    """A line about a case; of a sealed one only that it is done."""
    name = f"{found['kind']} {found['seed']}"
    if is_sealed(found["seed"]):
        return name
    if "undrawn" in found:
        return f"{name}: {found['undrawn']}"
    repair = ""
    if "is_repaired" in found:
        repair = f"; {'repaired' if found['is_repaired'] else 'not repaired'}: {found['proved']}"
    return f"{name}: {', '.join(found['named'][:3]) or 'nothing'}{repair} {found['error'][:150]}"


if __name__ == "__main__":
    main()
