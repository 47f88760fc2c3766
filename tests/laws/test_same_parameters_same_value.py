"""Law 3: the same parameters give the same value, or a refusal that names the module.

That every problem of the shelf gives the same to the bit twice is part of test_no_trace.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import draw, initialised
from readings import MENDING, OF_OPERATORS, READINGS
from thalweg import Problem, RandomModelError


class Noisy(nn.Module):
    def forward(self, x):
        return x + 0.1 * torch.randn(x.shape, dtype=x.dtype) * self.training


RANDOM = {
    "Dropout": lambda: nn.Dropout(0.5),
    "AlphaDropout": lambda: nn.AlphaDropout(0.5),
    "BatchNorm1d": lambda: nn.BatchNorm1d(4),
    "RReLU": lambda: nn.RReLU(),
    "Noisy": Noisy,
}
READ = [name for name in READINGS if name not in {"minibatches", *MENDING, *OF_OPERATORS}]


@pytest.mark.parametrize("reading", READ)
@pytest.mark.parametrize("kind", RANDOM)
def test_what_is_random_is_refused_by_name_or_made_deterministic_when_asked(kind, reading):
    model = initialised(nn.Sequential(nn.Linear(3, 4), RANDOM[kind](), nn.Linear(4, 2)))
    problem = Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2, seed=1)))
    with pytest.raises(RandomModelError, match=rf"'1' \({kind}\).*in_eval_mode"):
        READINGS[reading](problem, torch.Generator())
    fixed = problem.in_eval_mode()
    once, again = (READINGS[reading](fixed, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(once, again)
    assert model.training
