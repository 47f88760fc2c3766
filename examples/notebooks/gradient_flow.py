# %% [markdown]
# # Quadratics and gradient flow
#
# Every theory of training starts from two simple things: a quadratic, whose minimum and modes can be written
# down, and gradient flow $\dot\theta = -\nabla L$, which gradient descent follows as its step goes to zero.

# %%
import matplotlib.pyplot as plt
import torch

import thalweg
from thalweg.gradient_flow import SharpnessCrosses, gradient_descent, gram_certificate, momentum

# %% [markdown]
# ## When is $M = \sum_i x_i x_i^\top$ positive definite?
#
# $w^\top M w = \sum_i (x_i^\top w)^2 \ge 0$ always; it is zero only for a $w$ that all the $x_i$ miss. So $M$ is
# positive definite exactly when the $x_i$ span the space.

# %%
spanning = torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
flat = torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 1.0], [1.0, 2.0, 2.0]])  # third = first + second
for name, vectors in (("spanning", spanning), ("in a plane", flat)):
    found = gram_certificate(vectors)
    print(f"{name}: rank {found.rank}, positive definite: {found.is_positive_definite}")
    if found.witness is not None:
        print(
            f"  the witness {found.witness.tolist()} is missed by all: ‖Xw‖ = {found.residual:.1e}"
        )

# %% [markdown]
# ## One minimum, and every path leads there
#
# $f(x) = \tfrac12 x^\top M x + m^\top x + c$ with $M$ positive definite has the one minimum $-M^{-1}m$, and every
# solution of $\dot x = -Mx - m$ goes there, mode $i$ like $e^{-\lambda_i t}$.

# %%
certificate = gram_certificate(spanning)
m = torch.tensor([1.0, -1.0, 0.5])
minimum = certificate.minimum(m)
print("minimum at", minimum.place.tolist(), "value", round(minimum.value, 6))
print("rates λᵢ:", [round(float(rate), 4) for rate in minimum.rates])

# %%
times = torch.linspace(0, 4, 80, dtype=torch.float64)
M = certificate.matrix.double()
figure, axis = plt.subplots(figsize=(6.5, 3.4))
for start in torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2:
    away = start - minimum.place.double()
    distance = [float(torch.linalg.norm(torch.linalg.matrix_exp(-M * t) @ away)) for t in times]
    axis.semilogy(times, distance)
axis.semilogy(times, torch.exp(-minimum.rates[0].double() * times), "k--", label="e^(−λ_min t)")
axis.set(xlabel="time", ylabel="distance from the minimum")
axis.legend()
plt.show()

# %% [markdown]
# ## Flow against steps
#
# On a quadratic with curvatures 1 and 20 the flow is known exactly. Gradient descent with a small step follows
# it; at $\eta > 2/\lambda_1 = 0.1$ it leaves.

# %%
problem = thalweg.problems.quadratic((1.0, 20.0))
flow = thalweg.flow(
    problem, 2.0, discrete=[gradient_descent(0.02), gradient_descent(0.09), momentum(0.02)]
)
print(flow)

# %%
figure, axis = plt.subplots(figsize=(6.5, 3.6))
axis.plot(
    [r.time for r in flow.readings], [r.value for r in flow.readings], "k-", lw=2, label="flow"
)
for path in flow.discrete:
    axis.plot(path.times, path.values, ".-", label=path.said)
axis.set(xlabel="time [param²/loss]", ylabel="loss")
axis.legend()
plt.show()

# %% [markdown]
# ## The flow of a network
#
# The same call follows a network, with an integrator that knows the curvature: stiff modes are solved exactly,
# so that the step is not held down by the sharpest direction. Sharpness is read along the way; where it crosses
# $2/\eta$, gradient descent with that η would no longer follow.

# %%
network = thalweg.problems.one_variable_regression()
flow = thalweg.flow(network, 20.0, events=[SharpnessCrosses(1.0)])
print(flow)
print("energy identity L(0) − L(t) = ∫‖∇L‖²dt fails by", f"{flow.energy_defect:.1e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.4))
axes[0].semilogy([r.time for r in flow.readings], [r.value for r in flow.readings])
axes[0].set(xlabel="time [param²/loss]", ylabel="loss")
axes[1].plot([r.time for r in flow.sharpness], [r.value for r in flow.sharpness], "o-")
axes[1].set(xlabel="time [param²/loss]", ylabel="sharpness λ₁ [loss/param²]")
figure.tight_layout()
plt.show()
