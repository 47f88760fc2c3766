# %% [markdown]
# # Adam for regression and classification
#
# Adam keeps two running means for each parameter: $m$ of the gradient and $v$ of its square. Both start
# at zero and are too small in the first steps, which the division by $1 - \beta^t$ corrects (Kingma and
# Ba 2015, algorithm 1). A step then has about the length $\varepsilon$ in every coordinate, whatever the
# gradient's scale.
#
# Here it is in a dozen readable lines; then we fit a function of one variable, one of two, and two
# spirals, beside gradient descent, momentum, and a method that looks at the curvature.

# %%
import copy

import matplotlib.pyplot as plt
import torch

import thalweg


class MyAdam:
    """Adam, line by line as in the paper."""

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        self.params, self.lr, self.betas, self.eps, self.t = list(params), lr, betas, eps, 0
        self.m = [torch.zeros_like(p) for p in self.params]
        self.v = [torch.zeros_like(p) for p in self.params]

    @torch.no_grad()
    def step(self):
        self.t += 1
        for p, m, v in zip(self.params, self.m, self.v, strict=True):
            m += (1 - self.betas[0]) * (p.grad - m)  # mean of g
            v += (1 - self.betas[1]) * (p.grad**2 - v)  # mean of g²
            m_hat = m / (1 - self.betas[0] ** self.t)
            v_hat = v / (1 - self.betas[1] ** self.t)
            p -= self.lr * m_hat / (v_hat.sqrt() + self.eps)


# %% [markdown]
# ## The same numbers as torch.optim.Adam
#
# Two copies of one network, the same gradients, 200 steps: the parameters agree to rounding.

# %%
problem = thalweg.problems.one_variable_regression()
x, y = problem.data
models = [copy.deepcopy(problem.model) for _ in range(3)]
optimizers = [
    MyAdam(models[0].parameters(), lr=0.01),
    torch.optim.Adam(models[1].parameters(), lr=0.01),
    thalweg.optim.Adam(models[2].parameters(), lr=0.01),
]
for _ in range(200):
    for model, optimizer in zip(models, optimizers, strict=True):
        model.zero_grad()
        problem.loss(model(x), y).backward()
        optimizer.step()

mine, torchs, thalwegs = (
    torch.nn.utils.parameters_to_vector(model.parameters()) for model in models
)
print(f"mine against torch:    {(mine - torchs).abs().max():.1e}")
print(f"thalweg against torch: {(thalwegs - torchs).abs().max():.1e}")
assert (mine - torchs).abs().max() < 1e-3  # float32, 200 steps, another order of operations
assert (thalwegs - torchs).abs().max() < 1e-3

# %% [markdown]
# ## Train and test, beside other methods
#
# Each method sees the whole data at every step, so that nothing but the method differs. Saddle-free
# Newton evaluates curvature along the way: its steps cost more than one gradient, and the horizontal
# axis counts what it spent. The learning rates are the best of a small grid for each method.


# %%
def descend(problem, make, gradients):
    """Train and test loss against gradients spent."""
    model = copy.deepcopy(problem.model)
    optimizer = make(model.parameters())
    spent, train, test, at = 0.0, [], [], []
    while spent < gradients:
        if isinstance(optimizer, thalweg.optim.SurfaceOptimizer):
            optimizer.bind(model, problem.loss, problem.data).step()
            spent += optimizer.record.gradient_equivalents
        else:
            model.zero_grad()
            problem.loss(model(problem.data[0]), problem.data[1]).backward()
            optimizer.step()
            spent += 1
        with torch.no_grad():
            train.append(float(problem.loss(model(problem.data[0]), problem.data[1])))
            test.append(float(problem.loss(model(problem.test[0]), problem.test[1])))
        at.append(spent)
    return model, at, train, test


GRID = {
    "gradient descent": [lambda p, lr=lr: torch.optim.SGD(p, lr) for lr in (0.03, 0.1, 0.3, 1.0)],
    "momentum": [
        lambda p, lr=lr: torch.optim.SGD(p, lr, momentum=0.9) for lr in (0.01, 0.03, 0.1, 0.3)
    ],
    "Adam": [lambda p, lr=lr: MyAdam(p, lr) for lr in (0.003, 0.01, 0.03)],
    "saddle-free Newton": [thalweg.optim.SaddleFreeNewton],
}


def race(problem, gradients):
    """The best setting of each method by its final training loss."""
    best = {}
    for name, makes in GRID.items():
        runs = [descend(problem, make, gradients) for make in makes]
        finite = [run for run in runs if run[2][-1] == run[2][-1]]
        best[name] = min(finite, key=lambda run: run[2][-1])
    return best


def show(best, title):
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    for name, (_, at, train, test) in best.items():
        axes[0].semilogy(at, train, label=name)
        axes[1].semilogy(at, test, label=name)
    for axis, what in zip(axes, ("train", "test"), strict=True):
        axis.set(title=f"{title}: {what}", xlabel="gradients spent")
    axes[0].set_ylabel("loss")
    axes[1].legend()
    figure.tight_layout()
    plt.show()
    print(f"{'':20} {'train':>9} {'test':>9}")
    for name, (_, _, train, test) in best.items():
        print(f"{name:20} {train[-1]:9.4f} {test[-1]:9.4f}")


# %% [markdown]
# ### A function of one variable
#
# $y = \sin x$ with noise of variance 0.01. Nothing that is known of $x$ brings the test loss below the
# noise; a training loss below it is overfitting, and the method that goes down fastest shows it first.

# %%
one = race(problem, 600)
show(one, "sin x")

# %%
grid = torch.linspace(-3.14, 3.14, 200)[:, None]
plt.figure(figsize=(7, 3.4))
plt.plot(x, y, ".", color="grey", alpha=0.6, label="data")
plt.plot(grid, torch.sin(grid), "k--", lw=1, label="sin x")
for name in ("gradient descent", "Adam"):
    plt.plot(grid, one[name][0](grid).detach(), label=name)
plt.legend()
plt.show()

# %% [markdown]
# ### A function of two variables

# %%
show(race(thalweg.problems.two_variable_regression(), 400), "sin x₁ cos x₂")

# %% [markdown]
# ### A classification: two spirals

# %%
spirals = thalweg.problems.two_spirals()
best = race(spirals, 600)
show(best, "two spirals")

# %%
points, labels = spirals.data
side = torch.linspace(-1.2, 1.2, 120) * points.abs().max()
mesh = torch.stack(torch.meshgrid(side, side, indexing="xy"), -1).view(-1, 2)
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2))
for axis, name in zip(axes, ("gradient descent", "Adam"), strict=True):
    out = best[name][0](mesh).detach()
    shown = out.softmax(1)[:, 1] if out.shape[-1] == 2 else out.squeeze(-1).sigmoid()
    axis.contourf(side, side, shown.view(120, 120), levels=20, cmap="RdBu", alpha=0.7)
    axis.scatter(*points.T, c=labels.squeeze(), cmap="RdBu", s=6, edgecolor="k", linewidth=0.2)
    axis.set_title(name)
plt.show()

# %% [markdown]
# Adam's steps are long where gradients are small, which is what helps it through the flat start of the
# spirals. Where did it end? `thalweg.critical_point` reads the surface there, and says beside the sharpness
# how long a step of plain gradient descent could be.

# %%
end = thalweg.Problem(best["Adam"][0], spirals.loss, spirals.data)
print(thalweg.critical_point(thalweg.Surface(end).here(), lr=1.0))
