# %% [markdown]
# # Saddles
#
# Where the gradient vanishes a surface has a minimum, a maximum, or a saddle: up in some directions, down in
# others. The *index* is how many eigenvalues of the Hessian are negative. For networks it is saddles, not bad
# minima, that hold training up; and at critical points the index falls with the error.

# %%
import itertools

import matplotlib.pyplot as plt
import torch

import thalweg

# %% [markdown]
# ## Index against error, where everything is known
#
# A linear autoencoder with inputs of variances 6, 5, 4, 3, 2, 1 and three hidden units has 42 classes of
# critical points, one for each way to choose at most three of the six directions. Loss and index are known
# in closed form (Baldi and Hornik 1989). Walks that do not descend find them; each point gets a certificate
# that a true critical point is near.

# %%
problem = thalweg.problems.linear_autoencoder((6.0, 5.0, 4.0, 3.0, 2.0, 1.0), 3)
search = thalweg.find_critical(problem, 20, generator=torch.Generator().manual_seed(0))
print(search)

# %%
found = [point for point in search.points if point.certificate is not None]
plt.figure(figsize=(6.5, 3.8))
for size in range(4):
    for subset in itertools.combinations(range(6), size):
        variances = [6 - i for i in range(6)]
        loss = sum(variances[j] for j in range(6) if j not in subset) / 2
        worse = sum(
            variances[j] > variances[i] for i in subset for j in range(6) if j not in subset
        )
        index = worse + (3 - size) * (6 - size)
        plt.plot(loss, index, "o", color="lightgrey", ms=9)
plt.plot([p.value for p in found], [p.index for p in found], "x", color="C3", ms=8, mew=2)
plt.xlabel("loss at the critical point")
plt.ylabel("index")
plt.title("grey: all 42 classes in closed form; crosses: found and certified")
plt.show()

# %% [markdown]
# The higher the loss, the higher the index. The minimum is the one point of index 0.
#
# ## Four methods at a saddle
#
# Each starts at a distance d from a saddle and walks until it is out. Gradient descent multiplies its
# distance along an eigendirection by $1 - \eta\lambda$ in each step, so that it needs about
# $\ln(r/d)/\ln(1 + \eta|\lambda|)$ steps; Newton goes to the saddle; a trust region leaves at its radius;
# saddle-free Newton doubles its distance.

# %%
escape = thalweg.escape(
    thalweg.Surface(thalweg.problems.strict_saddle()).here(),
    distances=(1e-2, 1e-5, 1e-8),
    generator=torch.Generator().manual_seed(0),
)
print(escape)

# %%
plt.figure(figsize=(6.5, 3.6))
for method in escape.methods:
    runs = [run for run in escape.of(method) if run.escaped_at is not None]
    if runs:
        plt.semilogx(
            [run.distance for run in runs], [run.escaped_at for run in runs], "o-", label=method
        )
    else:
        print(f"{method} never leaves")
plt.xlabel("distance from the saddle")
plt.ylabel("steps until it is out")
plt.legend()
plt.show()

# %% [markdown]
# The first step of each, against theory:

# %%
for run in escape.runs:
    if run.distance == 1e-5:
        measured = [round(float(f), 3) for f in run.factors]
        theory = (
            None
            if run.predicted_factors is None
            else [round(float(f), 3) for f in run.predicted_factors]
        )
        print(f"{run.method:20} factor along each direction {measured}, theory {theory}")
