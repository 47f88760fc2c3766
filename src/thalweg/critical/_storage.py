"""A search on disk: every finished walk in one file, so that it can go on later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._writing import in_one_move
from thalweg.critical._certificate import Certificate
from thalweg.critical._found_point import FoundPoint, Status
from thalweg.critical._starts import Start
from thalweg.linalg import Inertia

_MARK = "thalweg critical 2"


def check_resumable(path: str | PathLike[str]) -> Path:
    """Refuses a place where a search cannot be kept, before the work.

    Args:
        path: NAME.npz, new or kept by an earlier search.

    Returns:
        The path.

    Raises:
        ThalwegError: if the suffix is another one, there is no such directory, or another file is
            there.

    Example:
        >>> check_resumable("walks.txt")
        Traceback (most recent call last):
        ...
        thalweg._errors.ThalwegError: cannot keep a search in walks.txt; give a path that ends in \
.npz
    """
    given = Path(path).expanduser()
    if given.suffix != ".npz":
        raise ThalwegError(f"cannot keep a search in {given}; give a path that ends in .npz")
    if not given.parent.is_dir():
        raise ThalwegError(
            f"cannot keep a search in {given}: there is no directory {given.parent}; create it"
        )
    if given.exists():
        _header(given)
    return given


class Kept:
    """The finished walks of one search, in memory and on disk.

    Args:
        path: the file.
        key: what tells this search from another.
        points: by number.
        seconds: spent so far.
    """

    def __init__(self, path: Path, key: str, points: dict[int, FoundPoint], seconds: float) -> None:
        self._path, self._key = path, key
        self.points, self.seconds = points, seconds

    @classmethod
    def at(cls, path: Path, setting: str, starts: Sequence[Start]) -> Kept:
        """What the file holds of this search.

        Raises:
            ThalwegError: if it holds another search.
        """
        digest = hashlib.sha256(setting.encode())
        for start in starts:
            digest.update(start.vector.cpu().numpy().tobytes())
        key = digest.hexdigest()
        if not path.exists():
            return cls(path, key, {}, 0.0)
        header = _header(path)
        if header["key"] != key:
            raise ThalwegError(
                f"{path} keeps another search: problem, seed, starts or settings differ; repeat "
                f"them as they were, or give another file"
            )
        with np.load(path, allow_pickle=False) as file:
            points = {
                told["number"]: _point(told, {name: file[f"{told['number']}.{name}"]
                                              for name in _TENSORS if told["has"][name]}, starts)
                for told in header["points"]
            }  # fmt: skip
        return cls(path, key, points, header["seconds"])

    def keep(self, points: dict[int, FoundPoint], seconds: float) -> None:
        """Writes all points in one move."""
        tensors: dict[str, Any] = {}
        told = []
        for number, point in sorted(points.items()):
            parts = _tensors(point)
            tensors |= {f"{number}.{name}": t.cpu().numpy() for name, t in parts.items()}
            told.append(_plain(point) | {"has": {name: name in parts for name in _TENSORS}})
        header = {"mark": _MARK, "key": self._key, "seconds": seconds, "points": told}
        try:
            with in_one_move(self._path) as beside, beside.open("wb") as file:
                np.savez(file, thalweg=np.array(json.dumps(header)), **tensors)
        except OSError as error:
            raise ThalwegError(
                f"cannot keep the search in {self._path}: {error.strerror}; give another file"
            ) from error


_TENSORS = ("params", "signature", "eigenvalues")


def _header(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as file:
            header: dict[str, Any] = json.loads(str(file["thalweg"]))
            if header.get("mark") == _MARK:
                return header
    except (OSError, ValueError, KeyError, EOFError):
        pass
    raise ThalwegError(f"{path} is no search that thalweg kept; give another file, or move it away")


def _tensors(point: FoundPoint) -> dict[str, Tensor]:
    parts = {"params": point.params, "signature": point.signature}
    if point.inertia.eigenvalues is not None:
        parts["eigenvalues"] = point.inertia.eigenvalues
    return parts


def _plain(point: FoundPoint) -> dict[str, Any]:
    inertia = point.inertia
    return {
        "number": point.number,
        "status": point.status.value,
        "reason": point.reason,
        "value": point.value,
        "data_loss": point.data_loss,
        "gradient_square": point.gradient_square,
        "flatness": point.flatness,
        "kernel_flatness": point.kernel_flatness,
        "num_steps": point.num_steps,
        "num_escapes": point.num_escapes,
        "num_kicks": point.num_kicks,
        "num_gradients": point.num_gradients,
        "num_hessians": point.num_hessians,
        "certificate": asdict(point.certificate),
        "inertia": {
            "negative": inertia.negative,
            "null": inertia.null,
            "positive": inertia.positive,
            "interval": list(inertia.interval),
            "null_tol": inertia.null_tol,
            "is_exact": inertia.is_exact,
            "num_products": inertia.num_products,
        },
    }


def _point(
    told: dict[str, Any], arrays: dict[str, np.ndarray], starts: Sequence[Start]
) -> FoundPoint:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    start = starts[told["number"]]
    own = {name: value for name, value in told.items() if name not in ("has", "inertia")}
    low, high = told["inertia"].pop("interval")
    return FoundPoint(
        **own
        | {
            "status": Status(told["status"]),
            "certificate": Certificate(**told["certificate"]),
            "inertia": Inertia(
                interval=(low, high), eigenvalues=tensors.get("eigenvalues"), **told["inertia"]
            ),
            "params": tensors["params"].to(start.vector.device),
            "signature": tensors["signature"].to(start.vector.device),
            "orbit": None,
            "start": start,
        }
    )
