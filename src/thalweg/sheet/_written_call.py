"""How a call of torch is written: x[:, 0], cat(a, b), avg_pool2d(x; 2)."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten

from thalweg.symbolic import Label

_MAX_LETTERS = 40


def call_label(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    tensors: list[Tensor],
    part: int | None,
) -> Label:
    """Name(a, b; what else it takes)."""
    rest = [
        *(a for a in args if not _has_tensor(a)),
        *(v for v in kwargs.values() if not _has_tensor(v)),
    ]
    said = [text for value in rest if value is not None and (text := _said(value))]
    letters = _letters(len(tensors))
    text, latex = ", ".join(letters), r",\, ".join(letters)
    if said and len(", ".join(said)) <= _MAX_LETTERS:
        text, latex = f"{text}; {', '.join(said)}", f"{latex};\\, {_tex(', '.join(said))}"
    called = name.strip("_")
    label = Label(f"{called}({text})", f"\\operatorname{{{_tex(called)}}}\\left({latex}\\right)")
    if part is None:
        return label
    return Label(f"{label.text}, part {part + 1}", f"\\left[{label.latex}\\right]_{{{part + 1}}}")


def moved_label(
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    tensors: list[Tensor],
    part: int | None,
) -> Label:
    """As on paper: an index, a transpose, entries side by side."""
    if name == "__getitem__":
        index = _index(args[1])
        return Label(f"$a[{index}]", f"{{$a}}[{_tex(index)}]")
    is_matrix = tensors[0].ndim == 2
    if (name in ("T", "t", "mT") or name == "transpose") and is_matrix:
        return Label("$aᵀ", r"{$a}^{\top}")
    if name in ("mT", "transpose") and {a % tensors[0].ndim for a in args[1:]} == {
        tensors[0].ndim - 2, tensors[0].ndim - 1,
    }:  # fmt: skip
        return Label("$aᵀ", r"{$a}^{\top}")
    if (
        name in ("chunk", "split", "unbind", "tensor_split", "split_with_sizes")
        and part is not None
    ):
        return Label(f"part {part + 1} of $a", f"\\left[$a\\right]_{{{part + 1}}}")
    if name in ("clone", "copy_"):
        return Label("$a", "$a")
    if name == "flatten" and is_matrix is False and len(tensors) == 1:
        return Label("entries of $a", r"\operatorname{entries of} $a")
    if name in ("cat", "concat", "concatenate", "stack", "hstack", "vstack"):
        letters = _letters(len(tensors))
        bar = "; " if name == "stack" else ", "
        return Label(
            f"[{bar.join(letters)}]",
            f"\\left[{bar.replace(' ', chr(92) + ' ').join(letters)}\\right]",
        )
    return call_label(name, args, kwargs, tensors, part)


def _letters(count: int) -> list[str]:
    return ["$a", "$b"][:count] if count <= 2 else [f"$i{k}" for k in range(count)]


def _has_tensor(value: Any) -> bool:
    return any(isinstance(leaf, Tensor) for leaf in tree_flatten(value)[0])


def _index(index: Any) -> str:
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(_of_dimension(part) for part in parts)


def _of_dimension(part: Any) -> str:
    match part:
        case slice(start=start, stop=stop, step=step):
            said = f"{'' if start is None else start}:{'' if stop is None else stop}"
            return said if step is None else f"{said}:{step}"
        case EllipsisType():
            return "…"
        case None:
            return "new"
        case Tensor() if part.numel() <= 6:
            return str(part.tolist())
        case Tensor() | list() | tuple():
            return "chosen"
    return str(part)


def _said(value: Any) -> str:
    match value:
        case bool() | None:
            return ""
        case int() | float() | str():
            return f"{value:g}" if isinstance(value, float) else str(value)
        case list() | tuple() if all(isinstance(v, int | float) for v in value):
            return "×".join(map(str, value))
    return ""


def _tex(text: str) -> str:
    changes = {
        "_": r"\_", "×": r"\times ", "…": r"\dots", "[": "[", "%": r"\%", "#": r"\#", "&": r"\&",
        "^": "", "~": "", "{": "", "}": "", "$": "", "\\": "",
    }  # fmt: skip
    shown = "".join(changes.get(letter, letter) for letter in text)
    return "".join(c for c in shown if c.isascii())
