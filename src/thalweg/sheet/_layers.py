"""Layers of torch as steps: normalisations, convolutions, pooling, embeddings, losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg.sheet._activations import STANDARDISED_BY
from thalweg.sheet._convolution import Channelwise, Convolution
from thalweg.sheet._elementwise import ADD, HADAMARD, MULTIPLY, SIGMOID
from thalweg.sheet._follower import Follower
from thalweg.sheet._linear_map import LinearMap
from thalweg.sheet._losses import (
    MEAN_SQUARED_ERROR,
    SQUARED_ERROR,
    BinaryCrossEntropy,
    SoftmaxCrossEntropy,
)
from thalweg.sheet._operation import Operation
from thalweg.sheet._placed import Placed
from thalweg.sheet._reductions import Sum
from thalweg.sheet._standardised import Standardised
from thalweg.symbolic import Label

_SCALE = Channelwise(HADAMARD)
_SHIFT = Channelwise(ADD)


def _normalised(
    follower: Follower,
    x: Tensor,
    operation: Operation,
    weight: Tensor | None,
    bias: Tensor | None,
    is_channelwise: bool,
    others: tuple[Any, ...] = (),
) -> Tensor:
    """x̂, then γ ⊙ x̂ + β."""
    y = follower.apply(operation, x, *others, name="x_hat_1")
    if weight is not None:
        follower.place_of(weight, "gamma")
        y = follower.apply(_SCALE if is_channelwise else HADAMARD, y, weight)
    if bias is not None:
        follower.place_of(bias, "beta")
        y = follower.apply(_SHIFT if is_channelwise else ADD, y, bias)
    return follower.call("n_1", y) if weight is not None or bias is not None else y


def _layer_norm(
    follower: Follower, x: Tensor, normalized_shape: Any, weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> Any:  # fmt: skip
    sizes = tuple(normalized_shape)
    dims = tuple(range(x.ndim - len(sizes), x.ndim))
    said = "of each sample" if len(sizes) < x.ndim else "of all entries"
    operation = Standardised(
        f"layer normalisation {said}", None, dims, eps, True,
        lambda a: F.layer_norm(a, sizes, None, None, eps),
    )  # fmt: skip
    return _normalised(follower, x, operation, weight, bias, False)


def _rms_norm(
    follower: Follower, x: Tensor, normalized_shape: Any, weight: Tensor | None = None,
    eps: float | None = None,
) -> Any:  # fmt: skip
    sizes = tuple(normalized_shape)
    eps = torch.finfo(torch.float64).eps if eps is None else eps
    dims = tuple(range(x.ndim - len(sizes), x.ndim))
    operation = Standardised(
        "normalisation by the root mean square", None, dims, eps, False,
        lambda a: F.rms_norm(a, sizes, None, eps),
    )  # fmt: skip
    return _normalised(follower, x, operation, weight, None, False)


def _group_norm(
    follower: Follower, x: Tensor, num_groups: int, weight: Tensor | None = None,
    bias: Tensor | None = None, eps: float = 1e-5,
) -> Any:  # fmt: skip
    shape = (x.shape[0], num_groups, -1)
    operation = Standardised(
        f"normalisation of {num_groups} group{'s' if num_groups != 1 else ''} of channels of each "
        f"sample", shape, (2,), eps, True, lambda a: F.group_norm(a, num_groups, None, None, eps),
    )  # fmt: skip
    return _normalised(follower, x, operation, weight, bias, True)


def _running(
    follower: Follower,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Any,
    bias: Any,
    eps: float,
) -> Tensor:
    """By the statistics that training kept."""
    follower.place_of(mean, "mu")
    follower.place_of(variance, "sigma2")
    operation = Channelwise(STANDARDISED_BY)
    return _normalised(follower, x, operation, weight, bias, True, (mean, variance, float(eps)))


def _batch_norm(
    follower: Follower, x: Tensor, running_mean: Tensor | None = None,
    running_var: Tensor | None = None, weight: Tensor | None = None, bias: Tensor | None = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not training and running_mean is not None and running_var is not None:
        return _running(follower, x, running_mean, running_var, weight, bias, eps)
    if x.numel() == x.shape[1]:
        raise FormulaError(
            f"{follower.where('batch_norm')} gets one value for each channel in training, and "
            f"their variance is 0; give more samples, or call model.eval() first"
        )
    dims = (0, *range(2, x.ndim))
    operation = Standardised(
        "normalisation of each channel over the batch", None, dims, eps, True,
        lambda a: F.batch_norm(a, None, None, None, None, True, 0.0, eps),
    )  # fmt: skip
    return _normalised(follower, x, operation, weight, bias, True)


def _instance_norm(
    follower: Follower, x: Tensor, running_mean: Tensor | None = None,
    running_var: Tensor | None = None, weight: Tensor | None = None, bias: Tensor | None = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not use_input_stats and running_mean is not None and running_var is not None:
        return _running(follower, x, running_mean, running_var, weight, bias, eps)
    operation = Standardised(
        "normalisation of each channel of each sample", None, tuple(range(2, x.ndim)), eps, True,
        lambda a: F.instance_norm(a, None, None, None, None, True, 0.0, eps),
    )  # fmt: skip
    return _normalised(follower, x, operation, weight, bias, True)


def _convolution(call: Callable[..., Tensor], is_plane: bool) -> Callable[..., Any]:
    def steps(
        follower: Follower, x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        n = follower.start_layer()
        is_weight = follower.path_of(weight).split(".")[-1] == "weight"
        follower.place_of(weight, f"W_{n}" if is_weight else "")
        operation: Operation | None = (
            _plane(call, *args, **kwargs) if is_plane and x.ndim == 4 else None
        )
        if operation is None:
            operation = LinearMap(
                "convolution, transposed" if "transpose" in call.__name__ else "convolution",
                Label("$a ∗ $b", "$a * $b"),
                lambda W, a: call(a, W, None, *args, **kwargs),
                (
                    Label("Σ patches $d · patches of $b", r"\textstyle\sum $d \cdot [$b]"),
                    Label("$aᵀ $d, put back and added", r"\left[{$a}^{\top} $d\right]"),
                ),
            )
        if bias is None:
            return follower.apply(operation, weight, x, name="z")
        follower.place_of(bias, f"b_{n}" if is_weight else "")
        flat = follower.apply(operation, weight, x)
        is_batch = x.ndim == weight.ndim
        return follower.apply(Channelwise(ADD, 1 if is_batch else 0), flat, bias, name="z")

    return steps


def _plane(
    call: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Convolution | None:
    """The convolution in the plane whose patches are written out."""
    if groups != 1 or isinstance(padding, str):
        return None
    return Convolution(_pair(stride), _pair(padding), _pair(dilation))


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return (value, value)
    return (int(value[0]), int(value[-1]))


def _embedding(
    follower: Follower, input: Tensor, weight: Tensor, padding_idx: Any = None,
    max_norm: Any = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
) -> Any:  # fmt: skip
    if max_norm is not None or scale_grad_by_freq:
        return NotImplemented
    follower.place_of(weight, "E")
    chosen = input.tolist() if input.numel() <= 12 else "chosen"
    rows = str(chosen)
    is_padding = torch.zeros_like(input, dtype=torch.bool)
    if padding_idx is not None:
        is_padding = input == padding_idx % weight.shape[0]
    held = weight.detach().clone()[input]

    def call(W: Tensor) -> Tensor:
        # Nothing is learnt of the row of the padding: what it holds is a constant.
        return torch.where(is_padding.unsqueeze(-1), held, F.embedding(input, W))

    taken = Placed("rows of a table", Label(f"$a[{rows}]", f"{{$a}}[{rows}]"), call)
    return follower.apply(taken, weight, name="e_1")


def _check_shapes(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise FormulaError(
            f"the target has shape {tuple(target.shape)} and the output {tuple(output.shape)}; "
            f"give them one shape"
        )


def _mse(
    follower: Follower,
    a: Tensor,
    b: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    _check_shapes(a, b)
    if weight is not None or reduction not in ("mean", "sum"):
        return NotImplemented
    return follower.apply(MEAN_SQUARED_ERROR if reduction == "mean" else SQUARED_ERROR, a, b)


def _one_hot(follower: Follower, output: Tensor, target: Tensor) -> Tensor | None:
    """The target as probabilities; None where only torch reads its shape."""
    if target.is_floating_point():
        _check_shapes(output, target)
        return target
    if output.ndim not in (1, 2):
        return None
    num = output.shape[-1]
    fits = target.shape == output.shape[:-1] and target.numel() > 0
    if not fits or int(target.min()) < 0 or int(target.max()) >= num:
        raise FormulaError(
            f"the target has shape {tuple(target.shape)} and classes up to "
            f"{int(target.max()) if target.numel() else '?'}; the output of shape "
            f"{tuple(output.shape)} wants {tuple(output.shape[:-1])}, from 0 to {num - 1}"
        )
    rows = F.one_hot(target, num).double()
    follower.announce(rows, "y")
    return rows


def _leaves_out(target: Tensor, index: int) -> bool:
    return not target.is_floating_point() and bool((target == index).any())


def _cross_entropy(
    follower: Follower, a: Tensor, b: Tensor, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    if (
        weight is not None
        or label_smoothing
        or reduction != "mean"
        or a.ndim > 2
        or _leaves_out(b, ignore_index)
    ):
        return NotImplemented
    y = _one_hot(follower, a, b)
    return NotImplemented if y is None else follower.apply(SoftmaxCrossEntropy(), a, y)


def _nll(
    follower: Follower, a: Tensor, b: Tensor, weight: Any = None, size_average: Any = None,
    ignore_index: int = -100, reduce: Any = None, reduction: str = "mean",
) -> Any:  # fmt: skip
    """−Σ y ⊙ a, the mean over rows."""
    is_odd = weight is not None or reduction != "mean" or a.ndim > 2 or _leaves_out(b, ignore_index)
    y = None if is_odd else _one_hot(follower, a, b)
    if y is None:
        return NotImplemented
    total = follower.apply(Sum(), follower.apply(HADAMARD, a, y))
    return follower.apply(MULTIPLY, total, -1 / (a.shape[0] if a.ndim == 2 else 1))


def _bce(
    follower: Follower,
    a: Tensor,
    b: Tensor,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Any:
    _check_shapes(a, b)
    if weight is not None or reduction != "mean":
        return NotImplemented
    return follower.apply(BinaryCrossEntropy(), a, b)


def _bce_of_logits(
    follower: Follower, a: Tensor, b: Tensor, weight: Any = None, size_average: Any = None,
    reduce: Any = None, reduction: str = "mean", pos_weight: Any = None,
) -> Any:  # fmt: skip
    _check_shapes(a, b)
    if weight is not None or pos_weight is not None or reduction != "mean":
        return NotImplemented
    if float(a.abs().max()) > 30:
        # Beyond it 1 − σ has no digits left.
        return NotImplemented
    return follower.apply(BinaryCrossEntropy(), follower.apply(SIGMOID, a, name="p"), b)


def _l1(
    follower: Follower,
    a: Tensor,
    b: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Any:
    _check_shapes(a, b)
    if weight is not None or reduction not in ("mean", "sum"):
        return NotImplemented
    with follower.unrolled():
        size = (a - b).abs()
        return size.mean() if reduction == "mean" else size.sum()


LAYERS: dict[str, Callable[..., Any]] = {
    "layer_norm": _layer_norm, "rms_norm": _rms_norm, "group_norm": _group_norm,
    "batch_norm": _batch_norm, "instance_norm": _instance_norm, "embedding": _embedding,
    "conv1d": _convolution(F.conv1d, False), "conv2d": _convolution(F.conv2d, True),
    "conv3d": _convolution(F.conv3d, False),
    "conv_transpose1d": _convolution(F.conv_transpose1d, False),
    "conv_transpose2d": _convolution(F.conv_transpose2d, False),
    "conv_transpose3d": _convolution(F.conv_transpose3d, False),
    "mse_loss": _mse, "cross_entropy": _cross_entropy, "nll_loss": _nll,
    "binary_cross_entropy": _bce, "binary_cross_entropy_with_logits": _bce_of_logits,
    "l1_loss": _l1,
}  # fmt: skip
"""By the name of torch's function; each takes what it takes."""
