"""`python -m benchmarks.gpt2`: W4 at GPT-2's size on an accelerator: top 3, density and trace.

Without an accelerator it reads a network of the same form that fits a processor. The readings are
appended to RESULTS.md by the next `make bench`, from gpt2.json.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import thalweg
from benchmarks.line import complaint
from benchmarks.networks import Network, Transformer, tokens
from benchmarks.peers import point_of

RECORD = Path(__file__).parent / "gpt2.json"


@dataclass(frozen=True)
class Size:
    """A transformer, its tokens, and the budgets of its readings.

    Args:
        name: for the report.
        layers, width, heads, vocabulary, context, batch: its shape.
        steps: of Adam before the reading.
        most_steps: of the Lanczos run for eigenpairs; its basis is the memory.
        probes, probe_steps: of the density.
        products: of the trace.
    """

    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    batch: int
    steps: int
    most_steps: int
    probes: int
    probe_steps: int
    products: int


GPT2_SMALL = Size("GPT-2 small", 12, 768, 12, 50_257, 1024, 2, 20, 60, 3, 20, 20)
SMALL = Size("a small one of the same form", 2, 32, 2, 128, 32, 4, 20, 40, 3, 15, 10)


def build(size: Size, dtype: torch.dtype, device: torch.device) -> Network:
    """The network after its steps of training in float32, then cast; its head is its embedding."""
    torch.manual_seed(5)
    rows = tokens(size.batch, size.context, size.vocabulary, torch.Generator().manual_seed(5))
    rows = rows.to(device)
    model: nn.Module = Transformer(
        size.layers, size.width, size.heads, size.vocabulary, size.context, is_tied=True
    ).to(device)
    inputs, targets = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    network = Network("GPT", size.name, model, nn.CrossEntropyLoss(), inputs, targets)
    optimizer = torch.optim.Adam(network.params, lr=3e-4)
    for _ in range(size.steps):
        network.gradient_step()
        optimizer.step()
    model.zero_grad()
    model.to(dtype)
    return network


def main() -> None:
    """Reads in both dtypes, prints, and records."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpt2", description=__doc__)
    parser.add_argument("--small", action="store_true", help="the small size, whatever the machine")
    arguments = parser.parse_args()
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = accelerator or torch.device("cpu")
    size = SMALL if arguments.small or accelerator is None else GPT2_SMALL
    record = {"machine": named(device), "torch": torch.__version__, "size": size.name, "runs": []}
    for dtype in (torch.float32, torch.bfloat16):
        found = readings(size, dtype, device)
        record["runs"].append(found)
        for reading in found["readings"]:
            print(found["dtype"], *(f"{k}={v}" for k, v in reading.items()), flush=True)
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def readings(size: Size, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """The three readings in one dtype, each with its seconds, memory, products and result."""
    network = build(size, dtype, device)
    generator = torch.Generator(device).manual_seed(0)
    gradient = timed(network.gradient_step, device)
    network.model.zero_grad()
    found: dict[str, Any] = {
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": network.num_params,
        "tokens": network.inputs.numel(),
        "loss": float(network.value().detach()),
        "gradient_seconds": round(gradient["seconds"], 4),
        "readings": [],
    }

    def top() -> str:
        pairs = thalweg.eigenpairs(
            point_of(network).hessian(), k=3, max_steps=size.most_steps, generator=generator
        )
        values = ", ".join(f"{float(x):.4g}" for x in pairs.values)
        worst = float((pairs.residuals / pairs.values.abs().max()).max())
        return f"{values}; residual {worst:.1e}; {pairs.num_products} products"

    def spectrum() -> str:
        found = thalweg.density(
            point_of(network).hessian(),
            num_probes=size.probes, num_steps=size.probe_steps, generator=generator,
        )  # fmt: skip
        low, high = float(found.nodes.min()), float(found.nodes.max())
        return f"from {low:.4g} to {high:.4g}; {found.num_products} products"

    def trace() -> str:
        found = thalweg.trace(
            point_of(network).hessian(), num_products=size.products, generator=generator
        )
        return f"{found.value:.4g} ± {found.stderr:.2g}; {found.num_products} products"

    for name, read in (("top-3 eigenpairs", top), ("density", spectrum), ("trace", trace)):
        found["readings"].append({"reading": name, **timed(read, device)})
    return found


def timed(read: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Seconds, peak memory in GiB, and what was returned or raised."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    start = time.perf_counter()
    try:
        result = read()
    except Exception as error:
        result = complaint(error)
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    if on_gpu:
        held = torch.cuda.max_memory_allocated()
    else:
        # Of the whole process so far: a processor keeps no account of a call.
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": round(seconds, 3), "GiB": round(held / 2**30, 2), "result": result}


def named(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {platform.machine()}"


def table(record: dict[str, Any]) -> list[str]:
    """What RESULTS.md shows of a record."""
    lines = [
        f"## At size: {record['size']}, on {record['machine']}, torch {record['torch']}",
        "",
        "| dtype | parameters | tokens | reading | seconds | gradients | GiB | result |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in record["runs"]:
        for r in run["readings"]:
            gradients = r["seconds"] / max(run["gradient_seconds"], 1e-9)
            lines.append(
                f"| {run['dtype']} | {run['parameters']:,} | {run['tokens']:,} | {r['reading']} "
                f"| {r['seconds']} | {gradients:.0f} | {r['GiB']} | {r['result']} |"
            )
    return lines


if __name__ == "__main__":
    main()
