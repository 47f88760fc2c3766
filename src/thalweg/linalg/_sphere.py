"""Random directions, uniform on the unit sphere."""

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.linalg._operator import SymmetricOperator


def unit_vectors(
    op: SymmetricOperator, count: int, generator: torch.Generator
) -> Float[Tensor, "n k"]:
    """Return `count` independent columns, uniform on the unit sphere of the operator's space."""
    # Drawn where the generator lives, so that one seed means one vector on every device.
    gaussian = torch.randn(
        count, op.size, generator=generator, dtype=op.dtype, device=generator.device
    )
    lengths: Tensor = torch.linalg.vector_norm(gaussian, dim=1, keepdim=True)
    return (gaussian / lengths).T.to(op.device)
