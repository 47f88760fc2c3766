"""The shelf: every contender that can be named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from thalweg._errors import ThalwegError
from thalweg.race.contenders._contender import Contender
from thalweg.race.contenders._own import OWN
from thalweg.race.contenders._pytorch_minimize import PYTORCH_MINIMIZE
from thalweg.race.contenders._pytorch_optimizer import PYTORCH_OPTIMIZER
from thalweg.race.contenders._scipy import SCIPY
from thalweg.race.contenders._torch_optim import TORCH

SHELF: Mapping[str, Contender] = {**OWN, **TORCH, **PYTORCH_OPTIMIZER, **SCIPY, **PYTORCH_MINIMIZE}
"""By the names that are typed."""


def contender(name: str) -> Contender:
    """The contender of that name.

    Args:
        name: as listed in `SHELF`; case, spaces and underscores do not matter.

    Raises:
        ThalwegError: if there is none; lists the names.

    Example:
        >>> contender("adam").said
        'torch.optim.Adam'
    """
    known = name.strip().lower().replace("_", "-").replace(" ", "-")
    if known not in SHELF:
        raise ThalwegError(
            f"there is no optimizer {name!r}; the names are {', '.join(SHELF)}; give one of your "
            f"own as thalweg.compare(problem, {{name: thalweg.race.GradientContender(...)}})"
        )
    return SHELF[known]


def contenders(given: Iterable[str] | Mapping[str, Contender]) -> dict[str, Contender]:
    """Contenders by name.

    Args:
        given: names of the shelf, or contenders by any name.

    Raises:
        ThalwegError: if there are fewer than one, a name twice, or none of that name.

    Example:
        >>> list(contenders(["adam", "sgd"]))
        ['adam', 'sgd']
    """
    if isinstance(given, str):
        given = given.split(",")
    if isinstance(given, Mapping):
        for name, each in given.items():
            if not isinstance(each, Contender):
                raise ThalwegError(
                    f"optimizer {name!r} is a {type(each).__name__}; give a contender, for "
                    f"instance thalweg.race.GradientContender('mine', lambda params, lr: ..., "
                    f"[{{'lr': 0.1}}])"
                )
        found = dict(given)
    else:
        names = [name.strip() for name in given if name.strip()]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ThalwegError(f"optimizer {twice!r} is named twice; name each once")
        found = {name: contender(name) for name in names}
    if not found:
        raise ThalwegError(f"no optimizer is named; name some of {', '.join(SHELF)}")
    return found
