"""Results kept in a file: every tensor to the bit, every number, infinities included."""

import dataclasses
import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._writing import in_one_move, try_writing
from thalweg.linalg._alignment import Alignment
from thalweg.linalg._count import Count
from thalweg.linalg._density import Density
from thalweg.linalg._diagonal import Diagonal
from thalweg.linalg._eigenpairs import EigenPairs
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._extremes import Extremes
from thalweg.linalg._follow import Followed
from thalweg.linalg._inertia import Inertia
from thalweg.linalg._lanczos import Tridiagonal
from thalweg.linalg._singular_values import SingularTriplets, SingularValues
from thalweg.linalg._solution import Solution

Result = (
    Alignment
    | Count
    | Density
    | Diagonal
    | EigenPairs
    | Estimate
    | Extremes
    | Followed
    | Inertia
    | Solution
    | Tridiagonal
    | SingularTriplets
    | SingularValues
)
"""What `save` takes and `load` returns."""

_KINDS: dict[str, type] = {kind.__name__: kind for kind in Result.__args__}
_HEADER = "thalweg"
_VERSION = 1
# NumPy has no bfloat16: in .npz its bits travel as integers.
_BITS = {torch.bfloat16: torch.int16}


def save(result: Result, path: str | PathLike[str]) -> Path:
    """Write a result of this room to a file, in one move: the old file stays or the new is whole.

    A suffix of `.safetensors` writes the format of Hugging Face, for which the package safetensors
    must be installed; `.npz` writes NumPy's, without pickle. Either can be opened without thalweg:
    the tensors bear the names of the fields.

    Args:
        result: Any result of `thalweg.linalg`, results within results included.
        path: The file, `NAME.safetensors` or `NAME.npz`; one that is there is replaced.

    Returns:
        The path written to.

    Raises:
        ThalwegError: The suffix is another one, safetensors is missing, the object is no result of
            this room, or the file cannot be written.

    Cost: one copy of the tensors on the CPU.

    Example:
        >>> import tempfile
        >>> from thalweg.linalg import Estimate, load, save
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = save(Estimate(2.0, 0.1, 30), f"{place}/trace.npz")
        ...     load(path)
        Estimate(value=2.0, stderr=0.1, num_products=30, route='')

    Source: the format `safetensors` (Hugging Face 2022), and `numpy.savez` without pickle. Floats
    are written in hexadecimal, in which no bit is lost.
    """
    target = Path(path).expanduser()
    write, _ = _format("save(result, path)", target)
    tensors: dict[str, Tensor] = {}
    header = {"version": _VERSION, "result": _pack(result, "", tensors)}
    try:
        with in_one_move(target) as beside:
            write(beside, tensors, json.dumps(header))
    except OSError as error:
        raise _cannot_write(path, error) from error
    return target


def check_savable(path: str | PathLike[str]) -> Path:
    """Refuse a place where a result cannot be saved, before the work that makes the result.

    Unlike `save`, which replaces what is there, this refuses a file that `save` did not write: a
    checkpoint, perhaps.

    Args:
        path: The file, `NAME.safetensors` or `NAME.npz`.

    Returns:
        The path, with its home directory expanded.

    Raises:
        ThalwegError: The suffix is another one, safetensors is missing, the directory is missing
            or cannot be written to, or something else is there.

    Cost: an empty file is made in the directory and removed; a file that is there is read.

    Example:
        >>> from thalweg.linalg import check_savable
        >>> check_savable("pairs.txt")
        Traceback (most recent call last):
        ...
        thalweg._errors.ThalwegError: save(result, path): 'pairs.txt' ends neither in .safetensors \
nor in .npz; give a path that does.

    Source: as `save`.
    """
    target = Path(path).expanduser()
    _format("save(result, path)", target)
    if target.exists():
        try:
            load(target)
        except ThalwegError as error:
            raise ThalwegError(
                f"will not overwrite {target}: thalweg did not write it; give another path, or "
                "move it away."
            ) from error
    try:
        try_writing(target)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return target


def load(path: str | PathLike[str]) -> Result:
    """Read a result that `save` wrote.

    Args:
        path: The file, `NAME.safetensors` or `NAME.npz`.

    Returns:
        The result, equal to the bit; its tensors on the CPU, in the dtype that they had.

    Raises:
        ThalwegError: The file is missing, is damaged, was not written by `save`, or was written by
            a later version; safetensors is needed and missing.

    Cost: the size of the file.

    Example:
        >>> import tempfile, torch
        >>> from thalweg.linalg import MatrixOperator, eigenpairs, load, save
        >>> op = MatrixOperator(torch.diag(torch.tensor([3.0, 2.0, 1.0])))
        >>> pairs = eigenpairs(op, k=2, generator=torch.Generator().manual_seed(0))
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = save(pairs, f"{place}/pairs.npz")
        ...     load(path).values
        tensor([3., 2.])

    Source: as `save`. Nothing in the file is executed: names of results are looked up in a list.
    """
    target = Path(path).expanduser()
    _, read = _format("load(path)", target)
    try:
        tensors, text = read(target)
        header = json.loads(text)
        version = int(header["version"])
        if version <= _VERSION:
            result: Result = _unpack(header["result"], tensors)
            return result
    except FileNotFoundError as error:
        raise ThalwegError(
            f"load({str(path)!r}): there is no such file; give the path that save(result, path) "
            "returned."
        ) from error
    except ThalwegError:
        raise
    # Whatever a damaged file makes of its readers: it is one thing to the caller.
    except Exception as error:
        raise ThalwegError(
            f"load({str(path)!r}): the file is damaged or was not written by save(result, path) "
            "of this version; save the result again."
        ) from error
    raise ThalwegError(
        f"load({str(path)!r}): the file has version {version}, this thalweg reads up to "
        f"{_VERSION}; install a later thalweg."
    )


def _cannot_write(path: str | PathLike[str], error: OSError) -> ThalwegError:
    return ThalwegError(
        f"save(result, {str(path)!r}): {error.strerror or type(error).__name__}; give a path "
        "in a directory that exists and can be written to."
    )


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON, its tensors put aside under the names of their fields."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, float):
        return {"float": value.hex()}
    if value is None or isinstance(value, bool | int):
        return value
    if name and isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return {"tuple": [_pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]}
    kind = type(value).__name__
    if not dataclasses.is_dataclass(value) or _KINDS.get(kind) is not type(value):
        raise ThalwegError(
            f"save(result, path): a {kind} is no result of thalweg.linalg; give one of "
            f"{', '.join(_KINDS)}."
        )
    prefix = f"{name}." if name else ""
    return {
        "kind": kind,
        "fields": {
            field.name: _pack(getattr(value, field.name), prefix + field.name, tensors)
            for field in dataclasses.fields(value)
        },
    }


def _unpack(packed: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value that `_pack` put into JSON."""
    if not isinstance(packed, dict):
        return packed
    if "tensor" in packed:
        return tensors[packed["tensor"]]
    if "float" in packed:
        return float.fromhex(packed["float"])
    if "tuple" in packed:
        return tuple(_unpack(item, tensors) for item in packed["tuple"])
    fields = {name: _unpack(value, tensors) for name, value in packed["fields"].items()}
    return _KINDS[packed["kind"]](**fields)


_Write = Callable[[Path, dict[str, Tensor], str], None]
_Read = Callable[[Path], tuple[dict[str, Tensor], str]]


def _format(call: str, target: Path) -> tuple[_Write, _Read]:
    """Return what writes and what reads the format of a suffix."""
    formats: dict[str, tuple[_Write, _Read]] = {
        ".safetensors": (_write_safetensors, _read_safetensors),
        ".npz": (_write_npz, _read_npz),
    }
    if target.suffix not in formats:
        raise ThalwegError(
            f"{call}: {target.name!r} ends neither in .safetensors nor in .npz; give a path that "
            "does."
        )
    if target.suffix == ".safetensors":
        _check_safetensors(call)
    return formats[target.suffix]


def _check_safetensors(call: str) -> None:
    try:
        import safetensors.torch  # noqa: F401
    except ImportError as error:
        raise ThalwegError(
            f"{call}: .safetensors needs the package safetensors; type pip install safetensors, or "
            "give a path that ends in .npz."
        ) from error


def _write_safetensors(path: Path, tensors: dict[str, Tensor], header: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path, metadata={_HEADER: header})
    except SafetensorError as error:
        raise OSError(None, str(error)) from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()[_HEADER]


def _write_npz(path: Path, tensors: dict[str, Tensor], header: str) -> None:
    arrays: dict[str, Any] = {
        name: tensor.view(_BITS.get(tensor.dtype, tensor.dtype)).numpy()
        for name, tensor in tensors.items()
    }
    bits = {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in tensors.items()
        if tensor.dtype in _BITS
    }
    # Through a file of our own: given a path, NumPy would add a suffix to it.
    with path.open("xb") as file:
        arrays[_HEADER] = np.array([header, json.dumps(bits)])
        np.savez(file, allow_pickle=False, **arrays)


def _read_npz(path: Path) -> tuple[dict[str, Tensor], str]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        header, bits = (str(text) for text in stored[_HEADER])
        tensors = {name: torch.from_numpy(stored[name]) for name in stored.files if name != _HEADER}
    for name, dtype in json.loads(bits).items():
        tensors[name] = tensors[name].view(getattr(torch, dtype))
    return tensors, header
