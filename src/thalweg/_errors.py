"""Every error thalweg raises on purpose, as one tree.

    ThalwegError
    ├── ProblemError            the model, the loss or the data cannot be read as a Problem
    │   ├── RandomModelError    the same parameters give different values
    │   ├── NonFiniteError      a value is NaN or infinite; names the layer where it was born
    │   └── DetachedLossError   the loss does not depend on the parameters
    ├── SecondDerivativeError   an operation of the network has no second derivative
    ├── UntapedError            a forward pass cannot be followed operation by operation
    ├── LayoutError             names, shapes, dtypes or devices of parameters do not fit
    ├── FormulaError            a text is no formula, or none that can be worked out
    ├── OperatorError           an operator was given something it cannot multiply
    ├── RanksError              the processes that share a problem do not agree, or one failed
    ├── BudgetError             the work asked for does not fit the budget given
    └── OptimizerError          a step cannot be taken as it was asked for

Each message says what is wrong, where, and what to type instead.
"""


class ThalwegError(Exception):
    """Root of all errors that thalweg raises on purpose."""


class ProblemError(ThalwegError):
    """The model, the loss or the data cannot be read as a Problem."""


class RandomModelError(ProblemError):
    """The same parameters give different values: dropout, batch statistics, noise."""


class NonFiniteError(ProblemError):
    """A value is NaN or infinite."""


class DetachedLossError(ProblemError):
    """The loss does not depend on the parameters."""


class SecondDerivativeError(ThalwegError):
    """An operation of the network has no second derivative."""


class UntapedError(ThalwegError):
    """A forward pass cannot be followed operation by operation."""


class LayoutError(ThalwegError, ValueError):
    """Names, shapes, dtypes or devices of parameters do not fit together."""


class FormulaError(ThalwegError, ValueError):
    """A text is no formula, or none that can be worked out."""


class OperatorError(ThalwegError, ValueError):
    """An operator was given something that it cannot multiply, or an argument out of range."""


class RanksError(ThalwegError):
    """The processes that share a problem do not agree, or one of them failed."""


class BudgetError(ThalwegError, ValueError):
    """The work asked for does not fit the budget given."""


class OptimizerError(ThalwegError):
    """A step cannot be taken as it was asked for."""
