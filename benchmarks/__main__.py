"""`python -m benchmarks [--quick]`: every process in turn, then RESULTS.md and results.json."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.line import Line
from benchmarks.networks import NETWORKS
from benchmarks.report import write

# Seconds for each network: a process that measures, and the search for settings. Processes run
# over by what one run of each contender takes, if that is more.
SECONDS = {"W1": 45, "W2": 75, "W3": 45, "W4": 75}
QUICK_SECONDS = {"W1": 15, "W2": 15, "W3": 12, "W4": 15}
SEARCH_SECONDS = 25
QUICK_SEARCH_SECONDS = 5


def main() -> None:
    """Runs them all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one thread, float32, few repeats")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument(
        "--only", nargs="*", metavar="THREADS:DTYPE", help="such as 1:float32 2:float64"
    )
    arguments = parser.parse_args()
    start = time.perf_counter()
    combinations = (
        [(1, "float32")]
        if arguments.quick
        else [(t, d) for t in (1, 2) for d in ("float32", "float64")]
    )
    if arguments.only:
        combinations = [(int(t), d) for t, d in (pair.split(":") for pair in arguments.only)]
    lines: list[Line] = []
    descriptions: dict[str, str] = {}
    text = ""
    with tempfile.TemporaryDirectory() as folder:
        for network in arguments.networks:
            order = {
                "network": network,
                "spectrum": str(Path(folder) / f"{network}.npz"),
                "is_quick": arguments.quick,
                "out": str(Path(folder) / "out.json"),
            }
            found = run(
                order
                | {
                    "task": "settings", "dtype": "float32", "threads": os.cpu_count(),
                    "seconds": QUICK_SEARCH_SECONDS if arguments.quick else SEARCH_SECONDS,
                }
            )  # fmt: skip
            if found is None:
                continue
            descriptions[network] = f"{found['description']}; {found['num_params']:,} parameters"
            seconds = (QUICK_SECONDS if arguments.quick else SECONDS)[network]
            for threads, dtype in combinations:
                measured = run(
                    order
                    | {
                        "task": "measure", "dtype": dtype, "threads": threads,
                        "seconds": seconds, "settings": found,
                    }
                )  # fmt: skip
                new = [Line(**x) for x in measured["lines"]] if measured else []
                lines += new
                show(new)
            # After every network, so that a run cut short leaves what it has.
            text = write(lines, descriptions, time.perf_counter() - start, arguments.quick)
    print(text[text.index("## Targets") : text.index("\n\n## ", text.index("## Targets"))])


def run(order: dict[str, Any]) -> dict[str, Any] | None:
    """One process; None if it failed as a whole."""
    start = time.perf_counter()
    threads = str(order["threads"])
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    out = Path(order["out"])
    out.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", json.dumps(order)],
        env=environment, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    where = f"{order['network']}, {threads} threads, {order['dtype']}, {order['task']}"
    print(f"# {where}: {time.perf_counter() - start:.0f} s", flush=True)
    if "Traceback" in done.stderr or done.returncode:
        print(done.stderr[-2000:], flush=True)
    return json.loads(out.read_text()) if out.exists() else None


def show(lines: list[Line]) -> None:
    """The lines of one process, as plain text."""
    for line in lines:
        cost = "" if line.cost is None else f"{line.cost:.2f}"
        error = "" if line.error is None else f"{line.error:.1e}"
        wrong = "WRONG " if line.cost is not None and not line.is_right else ""
        print(
            f"{line.network} {line.threads} {line.dtype} {line.quantity[:34]:34} "
            f"{line.contender[:36]:36} {cost:>9} {error:>8} {wrong}{line.note}",
            flush=True,
        )


if __name__ == "__main__":
    main()
