"""Functions of torch as steps: which rule each has, and what is done where it has none."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from thalweg._errors import FormulaError
from thalweg.sheet._differentiated import differentiated
from thalweg.sheet._follower import Follower
from thalweg.sheet._layers import LAYERS
from thalweg.sheet._linear_map import MAX_BASIS, LinearMap
from thalweg.sheet._placed import Placed
from thalweg.sheet._tensor_functions import ACTIVATIONS, FUNCTIONS, UNARY
from thalweg.sheet._unrolled import UNROLLED
from thalweg.sheet._written_call import call_label, moved_label
from thalweg.symbolic import Label

_MOVES = frozenset(
    [
        "view",
        "reshape",
        "flatten",
        "unflatten",
        "transpose",
        "t",
        "T",
        "mT",
        "permute",
        "movedim",
        "moveaxis",
        "squeeze",
        "unsqueeze",
        "expand",
        "expand_as",
        "broadcast_to",
        "repeat",
        "repeat_interleave",
        "tile",
        "flip",
        "fliplr",
        "flipud",
        "roll",
        "rot90",
        "cat",
        "concat",
        "concatenate",
        "stack",
        "hstack",
        "vstack",
        "dstack",
        "column_stack",
        "split",
        "split_with_sizes",
        "chunk",
        "tensor_split",
        "unbind",
        "__getitem__",
        "select",
        "narrow",
        "index_select",
        "gather",
        "take",
        "take_along_dim",
        "take_along",
        "masked_select",
        "clone",
        "diagonal",
        "diag",
        "diag_embed",
        "tril",
        "triu",
        "pad",
        "unfold",
        "pixel_shuffle",
        "pixel_unshuffle",
        "channel_shuffle",
        "masked_fill",
        "view_as",
        "reshape_as",
        "swapaxes",
        "swapdims",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "ravel",
        "__setitem__",
        "index_copy",
        "scatter",
        "masked_scatter",
        "adjoint",
        "as_strided",
        "broadcast_tensors",
        "meshgrid",
        "unfold_copy",
        "view_copy",
        "block_diag",
        "where",
        "rnn_last",
        "__iter__",
        "index_put",
        "slice_scatter",
        "select_scatter",
        "diagonal_scatter",
        "rename",
        "H",
        "mH",
        "real",
    ]
)
"""Functions that put entries elsewhere, or constants among them."""

_SELECTIONS = frozenset(
    [
        "max_pool1d",
        "max_pool2d",
        "max_pool3d",
        "adaptive_max_pool1d",
        "adaptive_max_pool2d",
        "adaptive_max_pool3d",
    ]
)
"""Functions that take entries by the order of the values; of equal ones the first."""

_ORDERED = frozenset(
    [
        "max",
        "min",
        "amax",
        "amin",
        "sort",
        "msort",
        "topk",
        "kthvalue",
        "median",
        "nanmedian",
        "cummax",
        "cummin",
    ]
)
"""The same where no two values are equal; of equal ones each function has its own way."""

_LINEAR = frozenset(
    [
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "adaptive_avg_pool1d",
        "adaptive_avg_pool2d",
        "adaptive_avg_pool3d",
        "interpolate",
        "upsample",
        "cumsum",
        "diff",
        "fold",
        "trace",
        "conv1d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "kron",
        "cross",
        "fft_shift",
    ]
)
"""Functions that are linear in each of their tensors."""

_QUERIES = frozenset(
    [
        "shape",
        "size",
        "dim",
        "ndim",
        "ndimension",
        "numel",
        "nelement",
        "dtype",
        "device",
        "layout",
        "__len__",
        "is_cuda",
        "is_floating_point",
        "is_complex",
        "requires_grad",
        "grad_fn",
        "is_leaf",
        "is_nested",
        "is_sparse",
        "is_quantized",
        "is_contiguous",
        "stride",
        "storage_offset",
        "grad",
        "data_ptr",
        "element_size",
        "__hash__",
        "__repr__",
        "__format__",
        "is_meta",
        "is_mps",
        "is_mkldnn",
        "is_xpu",
        "is_same_size",
        "names",
        "get_device",
        "register_hook",
        "retain_grad",
        "_set_grad_enabled",
        "result_type",
        "is_tensor",
        "broadcast_shapes",
        "zeros_like",
        "ones_like",
        "full_like",
        "empty_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_tensor",
        "__contains__",
        "__dir__",
        "__class__",
    ]
)
"""Functions that do not look at values."""


def steps_of(
    follower: Follower, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Adds the steps of a call.

    Returns:
        What the call returns: tensors that are on record, or what is no function of them.

    Raises:
        FormulaError: if it cannot be written out.
    """
    if name in _QUERIES:
        return func(*args, **kwargs)
    tensors, of_them = follower.recorded(func, args, kwargs)
    if not tensors:
        return follower.in_float64(func, args, kwargs)
    for rules in (UNROLLED, LAYERS, FUNCTIONS):
        if name in rules and _takes(rules[name], follower, args, kwargs):
            found = rules[name](follower, *args, **kwargs)
            if found is not NotImplemented:
                return found
    if name in UNARY and len(args) == 1 and not kwargs.get("out"):
        letter = "h" if name in ACTIVATIONS else ""
        return follower.apply(UNARY[name], args[0], name=letter)
    return _general(follower, func, name, (args, kwargs), tensors, of_them)


def _takes(
    rule: Callable[..., Any], follower: Follower, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    try:
        inspect.signature(rule).bind(follower, *args, **kwargs)
    except TypeError:
        return False
    return True


def _general(
    follower: Follower,
    func: Any,
    name: str,
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    tensors: list[Tensor],
    of_them: Callable[..., Any],
) -> Any:
    """By a rule that serves many functions, each tensor of the result a step."""
    args, kwargs = arguments
    has_rule = name in _MOVES or name in _LINEAR or name in _SELECTIONS
    if not has_rule:
        # torch has no derivative towards weights of classes and other settings.
        tensors, of_them = follower.recorded(func, args, kwargs, is_data_kept=False)
        if not tensors:
            return follower.in_float64(func, args, kwargs)
    if name == "__setitem__":
        of_them = _set(follower, args)
    with torch.no_grad():
        results, spec = tree_flatten(of_them(*tensors))
    if any(isinstance(r, Tensor) and r.is_complex() for r in results):
        raise FormulaError(f"{follower.where(name)} gives complex numbers; write it with real ones")
    is_value = [isinstance(r, Tensor) and r.is_floating_point() for r in results]
    if not any(is_value):
        # Comparisons, places of a largest entry: other values could give others.
        follower.is_frozen = True
        return tree_unflatten(results, spec)
    if not all(is_value):
        follower.is_frozen = True
    found = []
    for k, (result, is_ours) in enumerate(zip(results, is_value, strict=True)):
        if not is_ours:
            found.append(result)
            continue

        def call(*inputs: Tensor, k: int = k) -> Tensor:
            value: Tensor = tree_flatten(of_them(*inputs))[0][k]
            return value

        part = k if len(results) > 1 else None
        found.append(_by_kind(follower, name, call, tensors, args, kwargs, part))
    return tree_unflatten(found, spec)


def _by_kind(
    follower: Follower,
    name: str,
    call: Callable[..., Tensor],
    tensors: list[Tensor],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    part: int | None,
) -> Tensor:
    said = name.strip("_")
    if name in _MOVES:
        label = moved_label(name, args, kwargs, tensors, part)
        moved = Placed(_TITLES.get(name, said), label, call)
        if len(tensors) == 1 and moved.is_nothing(tensors[0].detach()):
            return follower.tensor_of(follower.place_of(tensors[0]))
        return follower.apply(moved, *tensors)
    label = call_label(name, args, kwargs, tensors, part)
    if name in _SELECTIONS:
        return follower.apply(
            Placed("largest of each window", label, call, True), *tensors, name="m"
        )
    if name in _ORDERED and len(tensors) == 1 and tensors[0].unique().numel() == tensors[0].numel():
        return follower.apply(Placed("taken by size", label, call, True), *tensors)
    is_small = all(tensor.numel() <= MAX_BASIS for tensor in tensors)
    if name in _LINEAR and len(tensors) == 1 and is_small:
        title = "mean of each window" if "avg_pool" in name else said
        letter = "m" if "pool" in name else ""
        rule = (Label("Mᵀ $d", r"M^{\top} $d"),)
        return follower.apply(LinearMap(title, label, call, rule), *tensors, name=letter)
    return follower.apply(differentiated(said, label, call, tensors), *tensors)


_TITLES = {
    "__getitem__": "part", "__setitem__": "entries replaced", "view": "in another shape",
    "reshape": "in another shape", "flatten": "entries in a row", "T": "transpose",
    "t": "transpose", "mT": "transpose", "transpose": "dimensions exchanged",
    "permute": "dimensions exchanged", "cat": "one after another", "concat": "one after another",
    "stack": "stacked", "chunk": "part", "split": "part", "unbind": "part", "select": "part",
    "masked_fill": "masked", "where": "one or the other, entry by entry", "expand": "repeated",
    "repeat": "repeated", "squeeze": "in another shape", "unsqueeze": "in another shape",
    "pad": "padded",
}  # fmt: skip


def _set(follower: Follower, args: tuple[Any, ...]) -> Callable[..., Tensor]:
    """x[i] = y as a function of x and y."""
    base, index, value = args
    before = base.detach().clone().double()
    is_base, is_value = follower.is_followed(base), follower.is_followed(value)

    def call(*inputs: Tensor) -> Tensor:
        target = inputs[0].clone() if is_base else before.clone()
        target[index] = inputs[-1] if is_value else value
        return target

    return call
