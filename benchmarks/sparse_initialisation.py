"""Which sparse initialisation of CURVES trains, read before training.

`python -m benchmarks.sparse_initialisation` prints what is read from five initialisations of the
deep autoencoder beside the training errors that Sutskever et al. 2013 (table 2) reached with
momentum in 750,000 updates. The rule knows the network and some images, not these errors; it was
written down by somebody who did. `--train N` also trains each for N updates.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from statistics import fmean

import torch
from scipy.stats import kendalltau

from thalweg import Pass, Problem
from thalweg.problems import curves, curves_autoencoder, squared_error
from thalweg.signal import Signal, Trainability

PUBLISHED = {0.25: 16.0, 0.5: 16.0, 1.0: 0.074, 2.0: 0.083, 4.0: 0.35}
"""Squared error by factor of the initialisation; 16 is that of the mean image."""

STUCK = 15.0


def trained(problem: Problem, num_updates: int, lr: float) -> float:
    """The training error after some updates with momentum 0.9."""
    copied = problem.copied()
    optimizer = torch.optim.SGD(copied.model.parameters(), lr=lr, momentum=0.9)
    stream = copied.minibatches(200, torch.Generator().manual_seed(0))
    for _ in range(num_updates):
        optimizer.zero_grad()
        torch.autograd.backward(
            copied.forward(dict(copied.model.named_parameters()), next(stream)).loss
        )
        optimizer.step()
    with torch.no_grad():
        images = copied.batches[0][:2000]
        return squared_error(copied.model(images), images)


def main() -> None:
    """Prints one line for each factor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", type=int, default=0, metavar="N")
    parser.add_argument("--lr", type=float, default=1e-3)
    given = parser.parse_args()
    images, _ = curves(num_train=given.images, num_test=1)
    scores, errors = [], []
    print("factor  √χ measured  first/last gradient  slopes alive  score  predicted      published")
    right = 0
    for scale, published in PUBLISHED.items():
        found: list[Trainability] = []
        for seed in range(given.seeds):
            problem = curves_autoencoder(seed, scale)
            few = replace(problem, data=images, test=None)
            found.append(Trainability.of(Signal.of(Pass.of(few))))
        score = fmean(each.score for each in found)
        trains = fmean(each.can_train for each in found) > 0.5
        right += trains == (published < STUCK)
        line = (
            f"{scale:6g}  {fmean(each.factor or 0.0 for each in found):11.3f}  "
            f"{fmean(each.gradient_share for each in found):19.2e}  "
            f"{fmean(each.live_share for each in found):12.3f}  {score:5.3f}  "
            f"{'trains' if trains else 'stuck at the mean':13s}  {published:9g}"
        )
        if given.train:
            line += f"   after {given.train} updates {trained(problem, given.train, given.lr):.3f}"
        print(line, flush=True)
        scores.append(score)
        errors.append(published)
    tau = kendalltau(scores, [-error for error in errors])
    print(
        f"{right} of 5 rightly said to train or not; rank correlation (Kendall) {tau.statistic:.2f}"
    )
    print("(two published errors are equal, so that 0.95 is the most any ranking without ties has)")


if __name__ == "__main__":
    main()
