"""Finds the factory named MODULE:FACTORY or path/file.py:factory, and calls it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from thalweg._errors import ProblemError, ThalwegError
from thalweg._problem import Problem


def problem_from(target: str) -> Problem:
    """The problem that a factory returns.

    Args:
        target: `package.module:factory` or `path/file.py:factory`; a Problem in the place of the
            factory is taken as it is.

    Raises:
        ProblemError: if it cannot be found, raises, needs arguments or returns something else.
    """
    return _checked(value_from(target), target)


def problems_from(target: str) -> Problem | Callable[[int], Problem]:
    """From a seed to the problem that a factory returns for it; a Problem is taken as it is.

    Args:
        target: as of `problem_from`. A factory that takes `seed` gets it.

    Raises:
        ProblemError: as of `problem_from`; also when it is called.
    """
    with _without_bytecode(), _current_folder_first():
        found = _found(target)
    if isinstance(found, Problem):
        return found

    def made(seed: int) -> Problem:
        with _without_bytecode(), _current_folder_first():
            return _checked(_called(found, target, seed), target)

    return made


def value_from(target: str) -> Any:
    """What a factory returns; a Problem, module, tuple or text in its place is taken as it is.

    Args:
        target: `package.module:factory` or `path/file.py:factory`.

    Raises:
        ProblemError: if it cannot be found, raises or needs arguments.
    """
    with _without_bytecode(), _current_folder_first():
        found = _found(target)
        return found if isinstance(found, Problem | tuple | str) else _called(found, target)


def _found(target: str) -> Any:
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise ProblemError(
            f"{target!r} names no factory; write MODULE:FACTORY or path/file.py:factory, for "
            f"instance thalweg.problems:deep_sigmoid_digits"
        )
    return _attribute(_module(where), where, name)


def _checked(value: Any, target: str) -> Problem:
    if not isinstance(value, Problem):
        raise ProblemError(
            f"{target} returned a value of type {type(value).__name__}; it must return "
            f"thalweg.Problem(model, loss, data)"
        )
    return value


def _module(where: str) -> ModuleType:
    try:
        if where.endswith(".py"):
            return _module_of_file(Path(where))
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name and (where == error.name or where.startswith(error.name + ".")):
            raise ProblemError(
                f"there is no module {where!r}; run thalweg where it can be imported from, or give "
                f"its file: path/file.py:factory"
            ) from error
        raise ProblemError(
            f"importing {where} failed, since it needs the module {error.name!r}, which is not "
            f"installed here; install it into the same environment as thalweg"
        ) from error
    except ProblemError:
        raise
    except (Exception, SystemExit) as error:
        raise ProblemError(
            f"importing {where} raised {_short(error)}; mend it there, or run with --debug to see "
            f"the traceback"
        ) from error


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ProblemError(f"there is no file {str(path)!r}; give the path of a Python file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up by name; its neighbours are imported from beside.
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))
    spec.loader.exec_module(module)
    return module


def _attribute(module: ModuleType, where: str, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            public = sorted(n for n, value in vars(module).items() if _is_own(module, n, value))
            listed = f"; it has {', '.join(public[:8])}" if public else ""
            raise ProblemError(f"{where} has no {name!r}{listed}; name a function of it")
        found = getattr(found, part)
    return found


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    return (
        not name.startswith("_")
        and inspect.isfunction(value)
        and (value.__module__ == module.__name__ or name in getattr(module, "__all__", ()))
    )


def _called(factory: Any, target: str, seed: int | None = None) -> Any:
    if not callable(factory):
        raise ProblemError(
            f"{target} is a value of type {type(factory).__name__}; name a function that returns a "
            f"Problem"
        )
    own: dict[str, Any] = {}
    try:
        signature = inspect.signature(factory)
        if seed is not None and "seed" in signature.parameters:
            own = {"seed": seed}
        signature.bind(**own)
    except TypeError as error:
        raise ProblemError(
            f"{target} cannot be called without arguments ({error}); give its parameters defaults, "
            f"or wrap it in a function of none"
        ) from error
    except ValueError:
        pass  # a callable written in C has no signature to ask
    try:
        return factory(**own)
    except ThalwegError as error:
        raise ProblemError(f"in {target}: {error}") from error
    except (Exception, SystemExit) as error:
        raise ProblemError(
            f"{target} raised {_short(error)}; mend it there, or run with --debug to see the "
            f"traceback"
        ) from error


def _short(error: BaseException) -> str:
    """The exception in a line, with the place in the user's own code."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "thalweg" not in Path(code.co_filename).parts and not code.co_filename.startswith("<"):
            place = f" at {Path(code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {first[0]}' if first else ''}{place}"


@contextmanager
def _without_bytecode() -> Iterator[None]:
    """Importing somebody's file leaves no __pycache__ beside it."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Modules of the current folder can be imported, as in `python -m`."""
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        yield
    finally:
        sys.path[:] = before
