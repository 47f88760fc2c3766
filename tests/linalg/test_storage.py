"""A result that was saved and loaded is the same result, and a bad file is one sentence."""

import dataclasses
import json
import math
import os
import struct
import sys

import numpy as np
import pytest
import torch
from spectra import F64, generator, join, rotated_operator

import thalweg.linalg
from thalweg._errors import ThalwegError
from thalweg.linalg import (
    Count,
    Diagonal,
    EigenPairs,
    Estimate,
    Inertia,
    Solution,
    alignment,
    check_savable,
    conjugate_gradient,
    density,
    diagonal,
    eigenpairs,
    extremes,
    follow,
    from_products,
    inertia,
    lanczos,
    load,
    nearest,
    save,
    singular_values,
    trace,
)

EIGENVALUES = join([30.0, 20.0, -10.0], torch.linspace(0.5, 2.0, 97))
OP = rotated_operator(EIGENVALUES)
ONES = torch.ones(100, dtype=F64)
RECTANGLE = from_products(OP.__matmul__, OP.__matmul__, (100, 100), dtype=F64)
NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000123))[0]

RESULTS = {
    "EigenPairs": lambda: eigenpairs(OP, 2, generator=generator()),
    "EigenPairs nearest": lambda: nearest(OP, 1.0, 2, generator=generator()),
    "Extremes": lambda: extremes(OP, 2, generator=generator()),
    "Density": lambda: density(OP, generator=generator(), num_probes=1, num_steps=5),
    "Inertia": lambda: inertia(OP),
    "Inertia estimated": lambda: density(
        OP, generator=generator(), num_probes=2, num_steps=5
    ).inertia(1e-3),
    "Estimate": lambda: trace(OP, num_products=2, generator=generator()),
    "Count": lambda: Count(-0.0, math.inf, -math.inf, 0.1 + 0.2),
    "Solution": lambda: conjugate_gradient(OP, ONES),
    "Solution without": lambda: Solution(ONES[:0], 5e-324, None, None, False, 2**70),
    "Tridiagonal": lambda: lanczos(OP, ONES, 6),
    "Diagonal": lambda: diagonal(OP, generator=generator()),
    "Followed": lambda: follow(OP, ONES, 0.0),
    "SingularValues": lambda: singular_values(RECTANGLE, 2, generator=generator()),
    "SingularTriplets": lambda: singular_values(RECTANGLE, 2, generator=generator()).largest,
    "Alignment": lambda: alignment(ONES, eigenpairs(OP, 2, generator=generator())),
}
SUFFIXES = [".safetensors", ".npz"]


def same(a, b):
    """Equal in type and bit; NaN equals itself."""
    if type(a) is not type(b):
        return False
    if dataclasses.is_dataclass(a):
        names = [field.name for field in dataclasses.fields(a)]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, torch.Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return a.contiguous().numpy(force=True).tobytes() == b.contiguous().numpy().tobytes()
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    return a == b


@pytest.fixture(params=SUFFIXES)
def suffix(request):
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return request.param


def test_every_result_is_listed():
    kinds = {
        n for n in thalweg.linalg.__all__ if dataclasses.is_dataclass(getattr(thalweg.linalg, n))
    }
    assert kinds - {"BasisStorage"} == {name.split()[0] for name in RESULTS}


@pytest.mark.parametrize("name", RESULTS)
def test_round_trip_is_to_the_bit(name, suffix, tmp_path):
    result = RESULTS[name]()
    path = save(result, tmp_path / f"result{suffix}")
    assert path == tmp_path / f"result{suffix}"
    loaded = load(str(path))
    assert same(result, loaded)
    assert type(loaded).__name__ == name.split()[0]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_changed_bit_would_be_seen():
    a, b = trace(OP, generator=generator()), trace(OP, generator=generator(1))
    assert not same(a, b)
    assert not same(Count(0.0, 1.0, 1.0, 1.0), Count(-0.0, 1.0, 1.0, 1.0))
    assert not same(Diagonal(ONES, ONES, 1), Diagonal(ONES.float(), ONES, 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_dtype_keeps_its_bits(dtype, suffix, tmp_path):
    values = torch.randn(9, generator=generator()).to(dtype)
    values[0], values[1], values[2] = math.inf, math.nan, -0.0
    # Two fields of one memory, and one that is no block of it.
    wide = torch.randn(9, 6, generator=generator()).to(dtype)
    pairs = EigenPairs(values, wide[:, ::2].T, values, wide[:, 1:3], True, 3)
    loaded = load(save(pairs, tmp_path / f"pairs{suffix}"))
    for field in ("values", "vectors", "residuals", "bounds"):
        a, b = getattr(pairs, field), getattr(loaded, field)
        assert a.dtype == b.dtype == dtype
        assert a.contiguous().view(torch.uint8).tolist() == b.view(torch.uint8).tolist()


def test_methods_of_a_loaded_result_work(suffix, tmp_path):
    ends = extremes(OP, generator=generator())
    assert load(save(ends, tmp_path / f"a{suffix}")).spread_bound() == ends.spread_bound()
    found = density(OP, generator=generator(), num_probes=3, num_steps=5)
    assert load(save(found, tmp_path / f"b{suffix}")).moment(1) == found.moment(1)


def test_files_open_without_thalweg(tmp_path):
    ends = extremes(OP, generator=generator())
    with np.load(save(ends, tmp_path / "ends.npz"), allow_pickle=False) as stored:
        assert np.array_equal(stored["top.values"], ends.top.values.numpy())
    safetensors = pytest.importorskip("safetensors.torch")
    stored = safetensors.load_file(save(ends, tmp_path / "ends.safetensors"))
    assert torch.equal(stored["bottom.vectors"], ends.bottom.vectors)


def test_an_existing_file_survives_a_failure(suffix, tmp_path, monkeypatch):
    path = save(Estimate(1.0, 0.1, 2), tmp_path / f"kept{suffix}")
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ThalwegError, match=r"No space left on device; give a path"):
        save(Estimate(2.0, 0.1, 2), path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    save(Estimate(2.0, 0.1, 2), path)
    assert load(path).value == 2.0


def test_no_result_and_no_place_are_refused(suffix, tmp_path, unchecked):
    with pytest.raises(ThalwegError, match=r"a dict is no result.*Estimate"):
        save({"a": 1}, tmp_path / f"a{suffix}")
    nested = Inertia(1, 1, 1, (0, 1), 0.1, True, [1.0], 3)
    with pytest.raises(ThalwegError, match="a list is no result"):
        save(nested, tmp_path / f"a{suffix}")
    with pytest.raises(ThalwegError, match="directory that exists"):
        save(Estimate(1.0, 0.1, 2), tmp_path / "nowhere" / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ThalwegError, match=r"'a\.pt' ends neither in \.safetensors nor in \.npz"):
        save(Estimate(1.0, 0.1, 2), tmp_path / "a.pt")
    with pytest.raises(ThalwegError, match=r"ends neither"):
        load(tmp_path / "a")


def test_a_missing_file_is_named(suffix, tmp_path):
    with pytest.raises(ThalwegError, match=r"nothing.*there is no such file"):
        load(tmp_path / f"nothing{suffix}")


@pytest.mark.parametrize("cut", [0, 1, 8, 100, -1])
def test_a_damaged_file_is_one_sentence(cut, suffix, tmp_path):
    path = save(eigenpairs(OP, 2, generator=generator()), tmp_path / f"cut{suffix}")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ThalwegError, match=r"damaged or was not written by save") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_somebody_else_is_one_sentence(tmp_path):
    np.savez(tmp_path / "theirs.npz", values=np.ones(3))
    np.savez(tmp_path / "objects.npz", thalweg=np.array([{}, {}], dtype=object))
    for name in ("theirs.npz", "objects.npz"):
        with pytest.raises(ThalwegError, match="not written by save"):
            load(tmp_path / name)
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file({"values": torch.ones(3)}, tmp_path / "theirs.safetensors")
    with pytest.raises(ThalwegError, match="not written by save"):
        load(tmp_path / "theirs.safetensors")


def header_of(kind, version=1, **fields):
    return json.dumps({"version": version, "result": {"kind": kind, "fields": fields}})


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (header_of("Estimate", version=99), r"version 99.*reads up to 1.*install a later thalweg"),
        (header_of("Popen", args="true"), "not written by save"),
        (header_of("Estimate", value=1.0), "not written by save"),
        (header_of("Diagonal", values={"tensor": "values"}), "not written by save"),
        ("[]", "not written by save"),
    ],
)
def test_a_foreign_header_makes_nothing(header, words, tmp_path):
    np.savez(tmp_path / "made.npz", thalweg=np.array([header, "{}"]))
    with pytest.raises(ThalwegError, match=words):
        load(tmp_path / "made.npz")


def test_without_safetensors_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    with pytest.raises(ThalwegError, match=r"pip install safetensors, or give .*\.npz"):
        save(Estimate(1.0, 0.1, 2), tmp_path / "a.safetensors")
    with pytest.raises(ThalwegError, match="pip install safetensors"):
        load(tmp_path / "a.safetensors")
    assert load(save(Estimate(1.0, 0.1, 2), tmp_path / "a.npz")).value == 1.0


def test_nan_survives(suffix, tmp_path):
    path = save(Estimate(NAN, math.inf, 1), tmp_path / f"nan{suffix}")
    assert math.isnan(load(path).value)
    assert load(path).stderr == math.inf


def test_tensors_that_record_a_graph_are_kept_without_it(suffix, tmp_path):
    values = torch.ones(3, requires_grad=True) * 2
    loaded = load(save(Diagonal(values, values, 1), tmp_path / f"graph{suffix}"))
    assert loaded.values.tolist() == [2.0, 2.0, 2.0]
    assert not loaded.values.requires_grad


def test_a_place_is_checked_before_the_work(suffix, tmp_path):
    path = tmp_path / f"new{suffix}"
    assert check_savable(path) == path
    assert list(tmp_path.iterdir()) == []
    save(Estimate(1.0, 0.1, 2), path)
    before = path.read_bytes()
    assert check_savable(path) == path
    assert path.read_bytes() == before
    with pytest.raises(ThalwegError, match="a directory that exists"):
        check_savable(tmp_path / "nowhere" / f"new{suffix}")


def test_a_file_of_somebody_else_is_refused(suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    torch.save({"weight": torch.ones(2)}, path)
    before = path.read_bytes()
    with pytest.raises(ThalwegError, match="will not overwrite"):
        check_savable(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
