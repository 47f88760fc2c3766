"""One spelling for every name: θ₁, theta1 and theta_1 are the same quantity."""

from __future__ import annotations

import re
import unicodedata

GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ϵ": "epsilon",
    "ζ": "zeta", "η": "eta", "θ": "theta", "ϑ": "theta", "ι": "iota", "κ": "kappa",
    "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "σ": "sigma",
    "τ": "tau", "υ": "upsilon", "φ": "phi", "ϕ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega",
    "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi",
    "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega",
}  # fmt: skip
"""Letters by their names."""

_ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0307": "dot"}
_LETTER_AND_DIGITS = re.compile(r"(.*?[^\W\d_])(\d+)")

FUNCTIONS: dict[str, tuple[int, ...]] = {
    "sigmoid": (1,), "tanh": (1,), "relu": (1,), "leaky_relu": (1, 2), "softplus": (1,),
    "softmax": (1,), "log_softmax": (1,), "exp": (1,), "log": (1,), "sqrt": (1,), "abs": (1,),
    "sin": (1,), "cos": (1,), "tan": (1,), "sinh": (1,), "cosh": (1,), "silu": (1,),
    "gelu": (1,), "elu": (1, 2), "norm": (1,), "sum": (1,), "mean": (1,), "max": (2,),
    "min": (2,), "squared_error": (2,), "half_squared_error": (2,), "mse": (2,),
    "cross_entropy": (2,), "softmax_cross_entropy": (2,), "binary_cross_entropy": (2,),
    "transpose": (1,), "dot": (2,), "outer": (2,),
}  # fmt: skip
"""Every function with the numbers of arguments that it takes."""

_ALIASES = {
    "sigma": "sigmoid", "logistic": "sigmoid", "sig": "sigmoid", "σ": "sigmoid",
    "leakyrelu": "leaky_relu", "lrelu": "leaky_relu", "ln": "log",
    "swish": "silu", "square_error": "squared_error", "squared": "squared_error",
    "sse": "squared_error", "squared_loss": "half_squared_error",
    "half_squared": "half_squared_error", "half_mse": "half_squared_error",
    "half_squared_loss": "half_squared_error", "mse_loss": "mse",
    "mean_squared_error": "mse", "crossentropy": "cross_entropy", "ce": "cross_entropy",
    "cross_entropy_loss": "cross_entropy", "cross_entropy_with_logits": "softmax_cross_entropy",
    "bce": "binary_cross_entropy", "bce_loss": "binary_cross_entropy", "absolute": "abs",
    "logsoftmax": "log_softmax", "average": "mean", "maximum": "max",
    "minimum": "min",
}  # fmt: skip


def normalised(text: str) -> str:
    """The one spelling of a name.

    Args:
        text: as typed: Greek letters or their names, digits lowered or not, braces or none.

    Returns:
        Letters of ASCII where there is a spelling, an underscore before what stands lower.

    Example:
        >>> [normalised(name) for name in ("θ₁", "theta1", "theta_{1}", "ŷ", "y_pred", "W11")]
        ['theta_1', 'theta_1', 'theta_1', 'y_hat', 'y_pred', 'W_11']
    """
    text = unicodedata.normalize("NFD", text.replace("\\", ""))
    # NFKC makes ordinary digits of lowered ones; accents have been taken apart before.
    plain = [f"_{_ACCENTS[c]}" if c in _ACCENTS else GREEK.get(c, c) for c in text]
    text = unicodedata.normalize("NFKC", "".join(plain)).replace("{", "").replace("}", "")
    text = "".join(GREEK.get(c, c) for c in text)
    stem, *rest = [part for part in text.split("_") if part] or [text]
    if found := _LETTER_AND_DIGITS.fullmatch(stem):
        stem, rest = found[1], [found[2], *rest]
    for hat in ("hat", "bar", "tilde"):
        if len(stem) == len(hat) + 1 and stem.endswith(hat):
            stem, rest = stem[0], [hat, *rest]
    return "_".join((stem, *rest))


def function_named(text: str) -> str:
    """The one spelling of a function; a name that is no known function is normalised.

    Args:
        text: as typed: ReLU, σ, ln, LeakyReLU; a ' for each derivative.

    Returns:
        A name of `FUNCTIONS`, or another.

    Example:
        >>> [function_named(name) for name in ("ReLU", "σ", "ln", "g'")]
        ['relu', 'sigmoid', 'log', "g'"]
    """
    stem = text.rstrip("'’′")
    primes = "'" * (len(text) - len(stem))
    lowered = normalised(stem).lower()
    for name in (lowered, lowered.replace("_", "")):
        if name in FUNCTIONS:
            return name + primes
        if name in _ALIASES:
            return _ALIASES[name] + primes
    return normalised(stem) + primes
