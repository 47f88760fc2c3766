"""The index of critical points against the error: `python -m benchmarks.critical_figure`.

Networks of 5, 25 and 50 hidden units on digits pooled to 4×4; the page holds the figure with
certified, flat and unfinished points told apart, histograms of the Hessian's eigenvalues at low,
middle and high error, and the table of all walks. A search that is interrupted goes on where it
was, from the files beside the page.

Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in high-dimensional
non-convex optimization", figure 1; Frye et al. 2021 for what loose cut-offs of the gradient take
for critical points.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import torch

from thalweg import find_critical
from thalweg.critical import CriticalSearch, Trajectories, index_against_error
from thalweg.problems import pooled_classifier


def main() -> None:
    """Searches, writes the page and prints it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, nargs="+", default=[5, 25, 50])
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--samples", type=int, help="digits; all 1,437 by default")
    parser.add_argument("--steps", type=int, default=2000, help="of the trainings")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--max-gradients", type=float, default=300_000, help="a walk")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("critical_figure.html"))
    asked = parser.parse_args()
    searches: list[CriticalSearch] = []
    for hidden in asked.hidden:
        kept = asked.out.with_name(f"{asked.out.stem}-{hidden}.npz")
        search = find_critical(
            pooled_classifier(hidden, asked.samples),
            asked.starts,
            generator=torch.Generator().manual_seed(asked.seed),
            starts=Trajectories(max_steps=asked.steps),
            weight_decay=asked.weight_decay,
            max_gradients=asked.max_gradients,
            num_processes=asked.processes,
            resume=kept,
            progress=partial(_told, hidden),
        )
        print(file=sys.stderr)
        searches.append(search)
        if search.is_partial:
            break
    page = index_against_error(searches)
    written = page.save(asked.out)
    page.print()
    print(f"\n{written}")


def _told(hidden: int, stage: str, share: float) -> None:
    print(f"\r{hidden} hidden units, {stage}: {share:.0%}   ", end="", file=sys.stderr)


if __name__ == "__main__":
    main()
