"""What every test stands on: shapes and types checked at run time, one thread, a generator."""

import os
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch

# Test modules everywhere import the shelf: `from problems import SHELF`.
sys.path.insert(0, str(Path(__file__).parent))

from typed import check_annotations

# Before anything imports thalweg: annotations such as Float[Tensor, "n k"] are checked from here.
check_annotations()

torch.set_num_threads(1)
# Commands and notebooks that tests run are given one, too: threads that wait for one another on
# processors where other tests run take ten times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def unchecked():
    """A call as a user makes it.

    No type checker stands before thalweg's own refusal, or draws from Python's random generator,
    as beartype does to pick an item of a list.
    """
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
