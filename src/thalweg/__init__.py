"""thalweg reads the loss surface under a neural network and walks it."""

__version__ = "0.1.0"
