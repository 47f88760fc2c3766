# %% [markdown]
# # Newton's method, and why networks resist it
#
# Near a point $\theta$ the loss is its Taylor polynomial
# $$f(\theta + s) \approx f + \nabla f^\top s + \tfrac12 s^\top H s .$$
# Its gradient in $s$ vanishes at $s = -H^{-1}\nabla f$: Newton's step. Where $f$ is a quadratic the
# polynomial is the function, and one step lands where the gradient is zero.

# %%
import time

import matplotlib.pyplot as plt
import torch
from torch import nn

import thalweg

# %% [markdown]
# ## One step is enough on a parabola
#
# $f(x) = (x-1)(x-3)$ from $x = 4$, by symbols, with every rule, each result compared with autograd:

# %%
print(thalweg.derive("(x-1)(x-3)", at={"x": 4}))

# %% [markdown]
# And as an optimizer, which knows nothing of symbols:

# %%
x = nn.Parameter(torch.tensor([4.0], dtype=torch.float64))
newton = thalweg.optim.Newton([x])
newton.step(lambda: ((x - 1) * (x - 3)).sum())
print(f"x = {x.item()}")
print(newton.record)
assert x.item() == 2.0

# %% [markdown]
# For $\lVert w \rVert^2$ the gradient is $2w$ and the Hessian $2I$: the step is $-w$, from anywhere.

# %%
print(thalweg.derive("norm(w)^2"))
w = nn.Parameter(torch.randn(5, dtype=torch.float64))
thalweg.optim.Newton([w]).step(lambda: (w**2).sum())
print("‖w‖ after one step:", float(w.detach().norm()))
assert w.detach().norm() < 1e-12

# %% [markdown]
# ## Not where it is not a parabola
#
# On $f(x) = \log(\cosh x)$ the second derivative dies away from 0, and the step $-f'/f'' =
# -\tfrac12\sinh 2x$ overshoots: beyond $|x| \approx 1.09$ Newton runs away. Damping by the ratio of the
# decrease that was predicted to the one that came is what keeps Levenberg–Marquardt on the ground.

# %%
for name, optimizer in (
    ("Newton", thalweg.optim.Newton),
    ("Levenberg-Marquardt", thalweg.optim.LevenbergMarquardt),
):
    for start in (1.0, 1.2):
        x = nn.Parameter(torch.tensor([start], dtype=torch.float64))
        method, path = optimizer([x]), [start]
        for _ in range(5):
            method.step(lambda x=x: torch.log(torch.cosh(x)).sum())
            path.append(float(x.detach()[0]))
        print(f"{name:20} from {start}: " + ", ".join(f"{value:.3g}" for value in path))

# %% [markdown]
# ## Memory and time as networks grow
#
# A network of $n$ parameters has a Hessian of $n^2$ numbers. Multiplying by it needs no matrix: a product
# $Hv$ costs about two gradients, whatever $n$ is. We write the Hessian out while it fits.

# %%
sizes, dense_seconds, product_seconds = [], [], []
for width in (4, 8, 16, 32):
    torch.manual_seed(0)
    layers = [nn.Linear(20, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(width, 4))
    data = (torch.randn(64, 20), torch.randint(4, (64,)))
    point = thalweg.Surface(thalweg.Problem(model, nn.functional.cross_entropy, data)).here()
    H = point.hessian()
    v = torch.randn(H.shape[0])
    H @ v  # the first product builds the graph
    start = time.perf_counter()
    for _ in range(5):
        H @ v
    product_seconds.append((time.perf_counter() - start) / 5)
    start = time.perf_counter()
    H.to_dense()
    dense_seconds.append(time.perf_counter() - start)
    sizes.append(H.shape[0])

print(f"{'n':>12} {'dense [MB]':>12} {'dense [s]':>10} {'Hv [ms]':>8}")
for n, dense, product in zip(sizes, dense_seconds, product_seconds, strict=True):
    print(f"{n:12,} {n * n * 4 / 1e6:12.3f} {dense:10.3f} {product * 1e3:8.2f}")
for n in (842_340, 124_000_000):
    print(f"{n:12,} {n * n * 4 / 1e6:12,.0f}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
axes[0].loglog(sizes, [n * n * 4 / 1e6 for n in sizes], "o-", label="dense Hessian")
axes[0].loglog(sizes, [n * 4 / 1e6 for n in sizes], "o-", label="one vector")
axes[0].set(xlabel="parameters", ylabel="memory [MB]")
axes[1].loglog(sizes, dense_seconds, "o-", label="dense Hessian")
axes[1].loglog(sizes, product_seconds, "o-", label="a product Hv")
axes[1].set(xlabel="parameters", ylabel="time [s]")
for axis in axes:
    axis.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# `thalweg.optim.Newton` says what it would take where that is too much, and what to use instead:

# %%
big = nn.Linear(2000, 2000)
try:
    thalweg.optim.Newton(big.parameters()).step(lambda: (big(torch.ones(1, 2000)) ** 2).sum())
except thalweg.BudgetError as error:
    print(error)

# %% [markdown]
# ## And it goes to saddles
#
# Newton's step goes to where the gradient vanishes: a minimum, a maximum, a saddle, whichever is near. At
# its start a network is at none of them, but the surface there curves down in many directions. How many
# of the Hessian's eigenvalues are negative?

# %%
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 4)).double()
data = (torch.randn(64, 20, dtype=torch.float64), torch.randint(4, (64,)))
point = thalweg.Surface(thalweg.Problem(model, nn.functional.cross_entropy, data)).here()
eigenvalues = torch.linalg.eigvalsh(point.hessian().to_dense())
count = thalweg.linalg.inertia(point.hessian())
print(count)
plt.figure(figsize=(7, 3))
plt.hist(eigenvalues, bins=60, log=True)
plt.axvline(0, color="k", lw=1)
plt.xlabel("eigenvalue [loss/param²]")
plt.ylabel("how many")
plt.show()
print(f"{int((eigenvalues < -1e-10).sum())} of {len(eigenvalues)} are negative")

# %% [markdown]
# On each of these directions Newton divides the gradient by a negative number and climbs. Dividing by
# $|\lambda|$ instead is saddle-free Newton; the notebook on saddles compares them step by step.
