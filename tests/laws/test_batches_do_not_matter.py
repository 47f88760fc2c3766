"""Law 2: seven samples as 7, as 5 + 2, as 7 × 1, or from a shuffling loader are one number.

On 1, 2 and 3 processes too: `distributed/test_ranks.py` runs the same readings there.
"""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from problems import SHELF, cut
from readings import OF_OPERATORS, PER_BATCH, READINGS, pairs

# A batch of nothing but padding has no mean (0/0) and is refused: these have one single padded.
SINGLES = {"weighted": (2, 2, 2, 1), "padded": (2, 2, 2, 1)}
CUTS = {
    "5+2": lambda name, data: cut(data, 5, 2),
    "7×1": lambda name, data: cut(data, *SINGLES.get(name, (1,) * 7)),
    "a loader": lambda name, data: DataLoader(
        rows(data), batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(1)
    ),
}


def rows(data):
    """The samples of one batch, one by one, as a data set holds them."""
    if isinstance(data, dict):
        return [{key: value[i] for key, value in data.items()} for i in range(7)]
    return list(zip(*data, strict=True)) if isinstance(data, tuple) else list(data)


@pytest.mark.parametrize(("name", "reading"), pairs(leave_out=PER_BATCH | OF_OPERATORS))
def test_batches_do_not_matter(name, reading, unchecked):
    known = SHELF[name]()

    def read(problem):
        return READINGS[reading](problem, torch.Generator().manual_seed(0))

    whole = read(known.problem)
    for how, divide in CUTS.items():
        data = divide(name, known.problem.data)
        is_list = isinstance(data, list)  # two bare tensors in a list could be (x, y)
        problem = known.problem.with_data(data) if is_list else replace(known.problem, data=data)
        assert len(problem.batches) > 1
        # Sums in another order, by up to a hundred rounded steps.
        torch.testing.assert_close(
            read(problem), whole, rtol=1e-9, atol=1e-11, msg=lambda m, how=how: f"{how}: {m}"
        )
