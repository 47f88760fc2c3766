"""Random worked solutions, right and with one slip: how many slips does `thalweg.check` find?

    python -m benchmarks.solutions [--pages 2000] [--seed 0]

Every page works a network of up to 3-4-2 units by hand, forward and backward, in one of several
hands and three languages. Its numbers come from torch: values by forward passes, gradients by
autograd in float64; nothing of the checker's arithmetic is used. A page with a slip carries the
wrong number on as a student would.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.solutions.page import SLIPS, pages_of
from benchmarks.solutions.score import scored
from thalweg.sheet import check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print pages that were misjudged")
    given = parser.parse_args()
    start = time.perf_counter()
    right = scored(pages_of(given.seed, given.pages, False))
    wrong = scored(pages_of(given.seed, given.pages, True))
    seconds = time.perf_counter() - start
    print(f"{right.right_pages} right pages: {right.alarms} accused")
    print(f"{wrong.pages} pages with a slip: {100 * wrong.found / wrong.pages:.2f} % found", end="")
    print(f", kind named right in {100 * wrong.named / wrong.pages:.2f} %")
    print(f"steps that were not read: {right.unread + wrong.unread} of {right.steps + wrong.steps}")
    print(f"{1000 * seconds / (right.right_pages + wrong.pages):.1f} ms a page")
    for slip in SLIPS:
        counts = {kind: n for (s, kind), n in wrong.by_slip.items() if s == slip}
        print(f"  {slip}: {dict(sorted(counts.items(), key=lambda item: -item[1]))}")
    if given.show:
        for page in [*right.accused[:2], *wrong.missed[:2]]:
            print(f"--- slip {page.slip} on line {page.line}")
            for number, line in enumerate(page.text.splitlines(), 1):
                print(f"{number:3} {line}")
            for step in check(page.text).steps:
                if step.verdict in ("wrong", "carried", "unread"):
                    print("   ", step)


if __name__ == "__main__":
    main()
