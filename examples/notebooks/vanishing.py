# %% [markdown]
# # Vanishing and exploding gradients
#
# In a network of $L$ layers $z^{(l)} = W^{(l)} h^{(l-1)} + b^{(l)},\ h^{(l)} = \varphi(z^{(l)})$, the
# gradient of layer $k$ carries the product of all Jacobians above it,
# $$\frac{\partial E}{\partial W^{(k)}} \ \propto\ \prod_{l > k} W^{(l)\top}\,\mathrm{diag}\,\varphi'(z^{(l)}) .$$
# A product of many factors vanishes or explodes unless each is about one.

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn

import thalweg

# %% [markdown]
# ## Four activations and their slopes
#
# The slope of the sigmoid is at most ¼, and nearly nothing where it saturates; that of tanh is at most 1,
# at 0 alone; ReLU's is 1 or 0; leaky ReLU $\max(\alpha x, x)$ keeps a slope of α (α = 0 is ReLU, α = 1 the
# identity).

# %%
x = torch.linspace(-5, 5, 400, requires_grad=True)
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2))
for name, phi in {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ReLU": torch.relu,
    "leaky ReLU, α = 0.1": lambda x: nn.functional.leaky_relu(x, 0.1),
}.items():
    y = phi(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    axes[0].plot(x.detach(), y.detach(), label=name)
    axes[1].plot(x.detach(), slope, label=name)
axes[0].set(title="φ(x)", ylim=(-1.5, 2.5))
axes[1].set(title="φ'(x)")
axes[1].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The smallest network that shows it, by hand
#
# One input, one hidden unit, one output: $z = \theta_1 x,\ h = \varphi(z),\ o = \theta_2 h,\ \hat y =
# \varphi(o),\ L = \tfrac12(\hat y - y)^2$, with $\theta_1 = 4,\ \theta_2 = 1.5,\ x = 1.5,\ y = 1$. The whole
# pass, node by node, each number compared with autograd:

# %%
NETWORK = """x = 1.5; y = 1; theta1 = 4; theta2 = 1.5
z = theta1 * x
h = {phi}(z)
o = theta2 * h
y_hat = {phi}(o)
L = 1/2 (y_hat - y)^2"""
sheet = thalweg.worked(NETWORK.format(phi="sigmoid"))
print(sheet)

# %%
for phi in ("sigmoid", "tanh", "relu"):
    graph = thalweg.worked(NETWORK.format(phi=phi)).graph
    print(f"{phi:8} ∂L/∂θ₁ = {float(graph['theta1'].gradient):.6g}")

# %% [markdown]
# The sigmoid's ∂L/∂θ₁ is a hundred thousand times smaller than ReLU's, because σ'(6) = 0.0025 stands
# in the product.

# %% [markdown]
# ## Depth against gradient: measured, and predicted
#
# Ten layers of each, 128 units wide, on the digits. `Pass` reads what each layer received and got back;
# mean-field theory says from weights and activation alone by what factor a gradient should shrink in each
# layer.

# %%
digits = thalweg.problems.deep_sigmoid_digits(depth=10)


def deep(activation, depth=10, width=128, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Linear(64, width), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


ACTIVATIONS = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "ReLU": nn.ReLU,
    "leaky ReLU": lambda: nn.LeakyReLU(0.1),
}
plt.figure(figsize=(7.5, 3.8))
print(f"{'':11} {'measured':>9} {'95 %':>15} {'predicted':>10}   change of the gradient in a layer")
for name, activation in ACTIVATIONS.items():
    problem = thalweg.Problem(deep(activation), digits.loss, digits.data)
    signal = thalweg.signal.Signal.of(thalweg.Pass.of(problem))
    plt.semilogy([row.gradient_norm for row in signal.rows], "o-", label=name)
    plt.semilogy([row.predicted_gradient_norm for row in signal.rows], "k:", lw=1)
    trend = signal.gradient
    interval = f"[{trend.low:.3f}, {trend.high:.3f}]"
    print(f"{name:11} {trend.factor:9.3f} {interval:>15} {signal.predicted_factor:10.3f}")
plt.xlabel("layer")
plt.ylabel("‖∂L/∂z‖ of the layer")
plt.legend(title="dotted: predicted")
plt.show()

# %% [markdown]
# PyTorch's own initialisation lets every one of them shrink; the sigmoid loses a factor of seven in each
# layer, so that over ten layers nothing is left.
#
# ## The cure, tried
#
# For tanh the same theory says which weights keep the gradient's length: $\sigma_w^2 = 1$ without bias and
# a little more with it, the edge of chaos. For the sigmoid it would take weights a hundred times as large, far into saturation:
# the theory's advice is another activation.

# %%
tanh = thalweg.Problem(
    deep(nn.Tanh), digits.loss, digits.data, test=digits.test,
    optimizer=lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9), batch_size=64,
)  # fmt: skip
edge = thalweg.signal.edge_initialisation(tanh)
print(edge)
print(
    "sigmoid: critical at σ_w² =", round(thalweg.signal.critical_weight_variance(torch.sigmoid), 1)
)


# %%
def train(problem, epochs=4, seed=0):
    """Loss after each epoch, held-out accuracy at the end, on a copy."""
    model = copy.deepcopy(problem.model)
    optimizer = problem.optimizer(model.parameters())
    generator = torch.Generator().manual_seed(seed)
    x, y = digits.data
    losses = []
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            problem.loss(model(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            losses.append(float(problem.loss(model(x), y)))
    with torch.no_grad():
        accuracy = float((model(digits.test[0]).argmax(1) == digits.test[1]).double().mean())
    return losses, accuracy


SGD = {"optimizer": tanh.optimizer, "batch_size": 64, "test": digits.test}
cases = {
    "sigmoid": thalweg.Problem(deep(nn.Sigmoid), digits.loss, digits.data, **SGD),
    "tanh": tanh,
    "tanh at the edge": edge.applied(tanh, torch.Generator().manual_seed(0)),
    "ReLU": thalweg.Problem(deep(nn.ReLU), digits.loss, digits.data, **SGD),
}
plt.figure(figsize=(7, 3.4))
for name, problem in cases.items():
    losses, accuracy = train(problem)
    plt.semilogy(range(1, len(losses) + 1), losses, "o-", label=name)
    print(f"{name:18} loss {losses[-1]:.3f}   held-out accuracy {accuracy:.1%}")
plt.xlabel("epoch")
plt.ylabel("training loss")
plt.legend()
plt.show()
