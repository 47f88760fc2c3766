# %% [markdown]
# # Linear networks
#
# A network without activations, $y = W_k \cdots W_1 x$, is a single matrix, and what it can tell apart is a
# question of rank: it is injective only if no layer loses a direction that reaches it, and with square layers
# it is invertible exactly when each factor is. A null vector of $W_1$ is a witness: a step that nothing behind
# the first layer can see.

# %%
import torch
from torch import nn

import thalweg


def network(*matrices):
    layers = []
    for M in matrices:
        layer = nn.Linear(M.shape[1], M.shape[0], bias=False).double()
        layer.weight.data = M
        layers.append(layer)
    model = nn.Sequential(*layers)
    x = torch.randn(20, matrices[0].shape[1], dtype=torch.float64)
    return thalweg.Problem(
        model,
        nn.functional.mse_loss,
        (x, torch.zeros(20, matrices[-1].shape[0], dtype=torch.float64)),
    )


# %% [markdown]
# ## Invertible, factor by factor

# %%
A = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
B = torch.tensor([[2.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
print(thalweg.signal.rank(network(A, B)))
inverse = torch.linalg.inv(A) @ torch.linalg.inv(B)
x = torch.tensor([1.0, -2.0], dtype=torch.float64)
print("back from the output:", inverse @ (B @ (A @ x)))

# %% [markdown]
# ## One singular factor, and two inputs that the network cannot tell apart

# %%
S = torch.tensor([[1.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
found = thalweg.signal.rank(network(S, B))
print(found)
witness = found.witness
print("the inputs", witness.first.flatten().tolist(), "and", witness.second.flatten().tolist())
assert witness.is_confirmed

# %% [markdown]
# ## A bottleneck
#
# Four inputs through two units: whatever the weights, two directions are lost.

# %%
torch.manual_seed(0)
narrow = torch.randn(2, 4, dtype=torch.float64)
wide = torch.randn(4, 2, dtype=torch.float64)
print(thalweg.signal.rank(network(narrow, wide)))

# %% [markdown]
# ## Gradients through a linear network
#
# Its Jacobian is the product of the factors, and a gradient runs back through their transposes: singular
# values below one make it vanish, above one explode.

# %%
for scale in (0.5, 1.0, 1.5):
    torch.manual_seed(0)
    layers = [scale * torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0] for _ in range(10)]
    problem = network(*layers)
    signal = thalweg.signal.Signal.of(thalweg.Pass.of(problem))
    print(f"orthogonal × {scale}: gradient changes by {signal.gradient.factor:.3f} in a layer")
