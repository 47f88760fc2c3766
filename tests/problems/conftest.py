"""What takes a while to make, made once."""

import pytest

from thalweg import problems


@pytest.fixture(scope="session")
def large():
    """CURVES, 30,000 images, and its autoencoder; not to be trained."""
    return problems.curves_autoencoder()
