"""A shelf of built-in problems; each is a factory that returns a Problem."""

from thalweg.problems._digits import deep_sigmoid_digits, digits, relu_digits

__all__ = ["deep_sigmoid_digits", "digits", "relu_digits"]
