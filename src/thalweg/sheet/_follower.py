"""Follower: the forward of a module as it runs, function by function, as steps of a draft."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from thalweg._errors import FormulaError
from thalweg.sheet._activations import STOPPED
from thalweg.sheet._draft import Draft
from thalweg.sheet._numbers import shown
from thalweg.sheet._operation import Operation
from thalweg.sheet._placed import Placed
from thalweg.symbolic import Label

P = ParamSpec("P")
R = TypeVar("R")

RANDOM = frozenset(
    [
        "rand",
        "randn",
        "randint",
        "randperm",
        "rand_like",
        "randn_like",
        "randint_like",
        "bernoulli",
        "bernoulli_",
        "multinomial",
        "normal",
        "normal_",
        "uniform_",
        "random_",
        "exponential_",
        "poisson",
        "cauchy_",
        "geometric_",
        "log_normal_",
    ]
)
"""Functions that draw numbers."""

READERS = frozenset(
    [
        "item",
        "tolist",
        "numpy",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
        "equal",
        "allclose",
        "is_nonzero",
    ]
)
"""Functions that hand a value on as a number of Python."""

CONVERSIONS = frozenset(
    ["to", "double", "float", "half", "bfloat16", "type", "type_as", "cpu", "requires_grad_"]
)
"""What leaves a value as it is, in float64."""

UNCHANGED = frozenset(["contiguous", "positive"])
"""What leaves a value as it is."""


def _off_the_record(method: Callable[P, R]) -> Callable[P, R]:
    """A method of the follower, which may be called while it follows."""

    @wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch._C.DisableTorchFunction():
            return method(*args, **kwargs)

    return run


StepsOf = Callable[["Follower", Any, str, tuple[Any, ...], dict[str, Any]], Any]
"""From a call, with its function and that one's name, to what it returns."""


class InFloat64(TorchFunctionMode):
    """Runs a program in float64, whatever kind of real number it asks for."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """The function's result, in float64."""
        return self.in_float64(func, args, kwargs or {})

    def in_float64(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same; what only changes the kind of real number hands its argument on."""
        if name_of(func) in CONVERSIONS and args and _is_real(args[0]):
            wanted = [a for a in (*args[1:], *kwargs.values()) if isinstance(a, torch.dtype)]
            if not any(not dtype.is_floating_point for dtype in wanted):
                return args[0]
        result = func(*args, **kwargs)
        if name_of(func).endswith("_"):
            return result
        return tree_map(lambda t: t.double() if _is_low(t) else t, result)


class Follower(InFloat64):
    """Runs a module, and adds a step or two for each function of torch that it calls.

    Args:
        model: in float64; its own hooks run, ours are taken off afterwards.
        steps_of: adds the steps of one function.
    """

    def __init__(self, model: nn.Module, steps_of: StepsOf) -> None:
        super().__init__()
        self._steps_of = steps_of
        self.draft = Draft(max_nodes=MAX_NODES)
        self.model = model
        self.parameters: dict[str, int] = {}
        self.is_frozen = False
        """Whether the program read a value, so that other values could have led it elsewhere."""
        self._paths: dict[int, str] = {}
        self._kept: list[Tensor] = []
        self._places: dict[int, int] = {}
        self._outside: dict[int, str] = {}
        self._layers: list[tuple[str, nn.Module]] = []
        self._num_layers = 0
        self._depth = 0
        self._counts: dict[str, int] = {}
        self._own = {id(p) for p in model.parameters()}
        self.know(model, "")

    def know(self, model: nn.Module, before: str) -> None:
        """Parameters and buffers of a module are given where they are first used.

        Args:
            model: it.
            before: of their paths.
        """
        for path, buffer in model.named_buffers(remove_duplicate=False):
            self._paths.setdefault(id(buffer), before + path)
        for path, parameter in model.named_parameters(remove_duplicate=False):
            self._paths.setdefault(id(parameter), before + path)

    # -- running ----------------------------------------------------------------------------

    @contextmanager
    def following(self) -> Iterator[None]:
        """Within it what is called is followed."""
        handles = []
        for path, module in self.model.named_modules():

            def enter(module: nn.Module, args: Any, path: str = path) -> None:
                self._layers.append((path, module))

            def leave(module: nn.Module, args: Any, output: Any) -> None:
                self._layers.pop()

            handles.append(module.register_forward_pre_hook(enter, prepend=True))
            handles.append(module.register_forward_hook(leave))
        try:
            with self:
                yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def unrolled(self) -> Iterator[None]:
        """Within it what stands for one function is followed; names are given by `call` alone."""
        self._depth += 1
        try:
            with self:
                yield
        finally:
            self._depth -= 1

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Adds the steps of a function, and returns what it gives."""
        kwargs = kwargs or {}
        name = name_of(func)
        leaves = tree_flatten((args, kwargs))[0]
        if name in RANDOM:
            raise FormulaError(
                f"{self.where(name)} draws random numbers; what is written out has to be the same "
                f"at every call, so give them as an input"
            )
        if not any(self._is_followed(leaf) for leaf in leaves):
            return self.in_float64(func, args, kwargs)
        if name in CONVERSIONS:
            return self.in_float64(func, args, kwargs)
        if name in UNCHANGED:
            return args[0]
        if name in READERS:
            self.is_frozen = True
            return func(*args, **kwargs)
        return self._followed(func, name, args, kwargs)

    def _followed(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name.endswith("_") and not name.endswith("__"):
            return self._in_place(func, name, args, kwargs)
        args, kwargs, is_in_place = _out_of_place(func, args, kwargs)
        result = self._steps_of(self, func, name, args, kwargs)
        if not torch.is_grad_enabled():
            result = tree_map(lambda t: self._stopped(t), result)
        if name == "__setitem__" or is_in_place:
            return self._overwrite(args[0], result, name)
        return result

    def _stopped(self, tensor: Any) -> Any:
        if not (isinstance(tensor, Tensor) and id(tensor) in self._places):
            return tensor
        return self.apply(STOPPED, tensor)

    def _in_place(self, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """x.add_(y) as x = x.add(y)."""
        target = args[0]
        twin = getattr(torch.Tensor, name.removesuffix("_"), None)
        if name == "copy_":
            source = args[1].expand(target.shape)
            taken = Placed("copy", Label("$a", "$a"), lambda a: a.expand(target.shape))
            return self._overwrite(target, self.apply(taken, source), name)
        if twin is None:
            if not self._is_followed(target):
                return func(*args, **kwargs)
            raise FormulaError(
                f"{self.where(name)} writes into a value; write x = f(x) instead of f_(x)"
            )
        return self._overwrite(target, self._steps_of(self, twin, name[:-1], args, kwargs), name)

    def _overwrite(self, target: Tensor, result: Tensor, name: str) -> Tensor:
        """The target is what was worked out from here on."""
        if id(target) in self._paths or result.shape != target.shape:
            raise FormulaError(
                f"{self.where(name)} writes into a parameter or buffer; give it as a value of its "
                f"own, x = x.clone()"
            )
        with torch.no_grad():
            target.copy_(result)
        if id(result) in self._places:
            self._register(target, self._places[id(result)])
        return target

    # -- what is on record ------------------------------------------------------------------

    def _is_followed(self, leaf: Any) -> bool:
        return isinstance(leaf, Tensor) and (
            id(leaf) in self._places or id(leaf) in self._outside
            or (id(leaf) in self._paths and leaf.is_floating_point())
        )  # fmt: skip

    is_followed = _is_followed

    def _is_buffer(self, tensor: Tensor) -> bool:
        return id(tensor) in self._paths and id(tensor) not in self._own

    def announce(self, tensor: Tensor, name: str) -> None:
        """What comes from outside, given where it is first used."""
        self._kept.append(tensor)
        self._outside[id(tensor)] = name

    @_off_the_record
    def give(self, tensor: Tensor, name: str, origin: str = "", is_data: bool = True) -> int:
        """What comes from outside, given here."""
        value = tensor.detach().clone().double()
        place = self.draft.give(self._free(name), value, shown(value, 6))
        step = self.draft.steps[place]
        step.origin, step.is_data = origin, is_data
        step.is_whole = not tensor.is_floating_point()
        self._register(tensor, place)
        return place

    def _register(self, tensor: Tensor, place: int) -> None:
        self._kept.append(tensor)
        self._places[id(tensor)] = place

    @_off_the_record
    def place_of(self, value: Any, name: str = "") -> int:
        """The step of a tensor, or of a number.

        Args:
            value: what a function got.
            name: what a parameter is called where it is given.
        """
        if isinstance(value, bool | int | float):
            return constant(self.draft, float(value))
        if not isinstance(value, Tensor):
            raise FormulaError(
                f"{self.where('an operation')} takes {type(value).__name__} where a number is read"
            )
        key = id(value)
        if key in self._places:
            return self._places[key]
        if key in self._outside:
            return self.give(value, self._outside[key])
        if key in self._paths:
            path = self._paths[key]
            is_own = key in self._own
            place = self.give(value, name or _letter(path), path, is_data=not is_own)
            if is_own:
                self.parameters[path] = place
            return place
        if value.ndim == 0:
            return constant(self.draft, float(value))
        return self.give(value, name or "c")

    def place_if_known(self, tensor: Tensor) -> int | None:
        """The step of a tensor, None where it is none of the record's."""
        return self.place_of(tensor) if self._is_followed(tensor) else None

    @_off_the_record
    def tensor_of(self, place: int) -> Tensor:
        """A tensor that stands for a step in the program."""
        value = self.draft.steps[place].value.contiguous().clone()
        self._register(value, place)
        return value

    # -- adding steps -----------------------------------------------------------------------

    @_off_the_record
    def apply(self, operation: Operation, *inputs: Any, name: str = "") -> Tensor:
        """A step.

        Args:
            operation: of it.
            inputs: tensors of the program, or numbers.
            name: a letter, which gets the layer's number; a whole name; none, and it gets one.
        """
        places = tuple(self.place_of(value) for value in inputs)
        named = name if "_" in name else "" if not name or self._depth else self._numbered(name)
        place = self.draft.apply(operation, places, self._free(named) if named else None)
        self.draft.steps[place].origin = self.said
        return self.tensor_of(place)

    @_off_the_record
    def call(self, name: str, tensor: Tensor) -> Tensor:
        """Gives a step a name, or what is no step yet the name to be given with."""
        place = self._places.get(id(tensor))
        if place is None:
            self.announce(tensor, name)
        elif self.draft.steps[place].operation is not None:
            self.draft.rename(place, self._free(name))
        return tensor

    def start_layer(self) -> int:
        """Counts a layer with weights; its number."""
        self._num_layers += 1
        return self._num_layers

    def _numbered(self, letter: str) -> str:
        return f"{letter}_{max(self._num_layers, 1)}"

    def _free(self, name: str) -> str:
        """With a number after it, where it is taken."""
        taken = {step.name for step in self.draft.steps}
        if name not in taken and not name.startswith("v_"):
            return name
        k = self._counts.get(name, 1)
        while f"{name}_{k + 1}" in taken:
            k += 1
        self._counts[name] = k + 1
        return f"{name}_{k + 1}"

    def path_of(self, tensor: Tensor) -> str:
        """Where a parameter or buffer stands in the model; "" of other tensors."""
        return self._paths.get(id(tensor), "")

    def count(self, what: str) -> int:
        """How often it was asked for this, this time included."""
        key = f"{self.said} {what}"
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key]

    # -- what is said -----------------------------------------------------------------------

    @property
    def layer(self) -> nn.Module | None:
        """The innermost module that is running."""
        return self._layers[-1][1] if self._layers else None

    @property
    def said(self) -> str:
        """Which module of the model is running."""
        if not self._layers or not self._layers[-1][0]:
            return ""
        path, module = self._layers[-1]
        return f"{path}, {type(module).__name__}"

    def where(self, name: str) -> str:
        """A function, and the module that it is called in."""
        if not self._layers or not self._layers[-1][0]:
            return name
        path, module = self._layers[-1]
        return f"module {path!r} ({type(module).__name__}), {name},"

    def recorded(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], is_data_kept: bool = True
    ) -> tuple[list[Tensor], Callable[..., Any]]:
        """The followed tensors among the arguments, and the function of them alone.

        Args:
            func: of torch.
            args: its arguments by place.
            kwargs: and by name.
            is_data_kept: whether buffers are among them; otherwise they stay inside the function.
        """
        leaves, spec = tree_flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if self._is_followed(leaf)]
        places = [i for i in places if leaves[i].is_floating_point()]
        if not is_data_kept:
            places = [i for i in places if not self._is_buffer(leaves[i])]
        # What is no input is kept as it is now: it may be written into later.
        held = [
            t.clone() if isinstance(t, Tensor) and i not in places else t
            for i, t in enumerate(leaves)
        ]

        def of_them(*tensors: Tensor) -> Any:
            filled = list(held)
            for i, tensor in zip(places, tensors, strict=True):
                filled[i] = tensor.contiguous()
            positional, named = tree_unflatten(filled, spec)
            return func(*positional, **named)

        return [leaves[i] for i in places], of_them


MAX_NODES = 2_000
"""Operations of a module: a recurrent layer has about twenty for each step in time."""


def constant(draft: Draft, value: float) -> int:
    """A number that stands in a program, as a step of a draft."""
    text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
    label = Label(text, text) if value >= 0 else Label(f"({text})", f"({text})")
    return draft.constant(torch.tensor(value, dtype=torch.float64), label)


def name_of(func: Any) -> str:
    """A function's own name; of an attribute the attribute's."""
    name = str(getattr(func, "__name__", func))
    if name in ("__get__", "__set__"):
        return str(getattr(getattr(func, "__self__", None), "__name__", name))
    return name


def _letter(path: str) -> str:
    """What a parameter is called: W and b, or the last two parts of its path."""
    last = path.split(".")[-1]
    return {"weight": "W", "bias": "b"}.get(last, last)


def _is_real(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _is_low(value: Any) -> bool:
    return (
        _is_real(value) and value.dtype is not torch.float64 and not isinstance(value, nn.Parameter)
    )


def _out_of_place(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], bool]:
    """Arguments with inplace=False, and whether it was True."""
    try:
        bound = inspect.signature(func).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return args, kwargs, False
    if not bound.arguments.get("inplace"):
        return args, kwargs, False
    bound.arguments["inplace"] = False
    return bound.args, bound.kwargs, True
