"""A shelf of built-in problems; each is a factory that returns a Problem.

Those of the optimizers' races have a label: P1 `tanh_digits`, P1s `tanh_digits_at_the_saddle`, P1n
`noisy_digits`, P2 `deep_tanh_digits`, P2h `vanishing_tanh_digits`, P3 `curves_autoencoder`, P4
`stiff_regression`. Every number of a problem comes from its seed; the global random state is
neither read nor moved.
"""

from thalweg.problems._curves import curves, entropy_floor, mean_image_loss, squared_error
from thalweg.problems._curves_autoencoder import curves_autoencoder, small_curves_autoencoder
from thalweg.problems._deep_tanh_digits import deep_tanh_digits, vanishing_tanh_digits
from thalweg.problems._digits import deep_sigmoid_digits, digits, relu_digits
from thalweg.problems._function import from_function, from_residuals
from thalweg.problems._linear_networks import (
    CriticalClass,
    linear_autoencoder,
    linear_classes,
    linear_critical_point,
    matrix_factorisation,
    two_layer_linear,
)
from thalweg.problems._pooled_digits import pooled_classifier, pooled_digits, swish_autoencoder
from thalweg.problems._quadratic import Quadratic, quadratic
from thalweg.problems._regression import one_variable_regression, two_variable_regression
from thalweg.problems._rosenbrock import rosenbrock
from thalweg.problems._saddles import monkey_saddle, phase_retrieval, quadratic_saddle
from thalweg.problems._stiff_regression import stiff_regression
from thalweg.problems._strict_saddle import strict_saddle
from thalweg.problems._tanh_digits import noisy_digits, tanh_digits, tanh_digits_at_the_saddle
from thalweg.problems._two_spirals import two_spirals

__all__ = [
    "CriticalClass",
    "Quadratic",
    "curves",
    "curves_autoencoder",
    "deep_sigmoid_digits",
    "deep_tanh_digits",
    "digits",
    "entropy_floor",
    "from_function",
    "from_residuals",
    "linear_autoencoder",
    "linear_classes",
    "linear_critical_point",
    "matrix_factorisation",
    "mean_image_loss",
    "monkey_saddle",
    "noisy_digits",
    "one_variable_regression",
    "phase_retrieval",
    "pooled_classifier",
    "pooled_digits",
    "quadratic",
    "quadratic_saddle",
    "relu_digits",
    "rosenbrock",
    "small_curves_autoencoder",
    "squared_error",
    "stiff_regression",
    "strict_saddle",
    "swish_autoencoder",
    "tanh_digits",
    "tanh_digits_at_the_saddle",
    "two_layer_linear",
    "two_spirals",
    "two_variable_regression",
    "vanishing_tanh_digits",
]
