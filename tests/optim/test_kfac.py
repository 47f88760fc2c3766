"""K-FAC against dense curvature: what it is exact for, and what it leaves out."""

import copy
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import draw
from thalweg import Problem, Surface
from thalweg.optim import KFAC, ClosureObjective, Identity, ProblemObjective, SaddleFreeNewton
from thalweg.optim._kronecker import Root


def read(model, loss, batch, *, damping=1e-12, **settings):
    """The metric at the model as it is, and its matrix L Lᵀ, L by its rows."""
    params = [p for p in model.parameters() if p.requires_grad]
    metric = KFAC(model, damping, **settings)
    metric.attach(params)
    objective = ProblemObjective(Problem(model, loss, batch), params, 1.0)
    metric.refresh(objective, torch.Generator().manual_seed(0))
    return metric, dense(metric, params)


def dense(metric, params):
    eye = torch.eye(sum(p.numel() for p in params), dtype=params[0].dtype)
    L = torch.stack([metric.measured(e) for e in eye])
    return L @ L.T


def ggn(model, loss, batch):
    return Surface(Problem(model, loss, batch)).here().ggn().to_dense()


def test_of_one_linear_layer_under_squares_it_is_the_ggn():
    model = nn.Linear(3, 2).double()
    batch = (draw(7, 3), draw(7, 2, seed=1))
    _, M = read(model, F.mse_loss, batch)
    torch.testing.assert_close(M, ggn(model, F.mse_loss, batch), rtol=1e-6, atol=1e-9)


def test_of_one_sample_every_layer_is_exact():
    """With a single sample E[aaᵀ ⊗ ggᵀ] is E[aaᵀ] ⊗ E[ggᵀ]; across layers M has no entries."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    batch = (draw(1, 3), torch.tensor([1]))
    _, M = read(model, F.cross_entropy, batch)
    G = ggn(model, F.cross_entropy, batch)
    torch.testing.assert_close(M[:16, :16], G[:16, :16], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(M[16:, 16:], G[16:, 16:], rtol=1e-6, atol=1e-8)
    assert not M[:16, 16:].abs().max() > 1e-12


def test_factors_of_a_hidden_layer_are_those_of_their_definition():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = draw(7, 3), torch.arange(7) % 3
    _, M = read(model, F.cross_entropy, (x, y))
    a = torch.cat([x, torch.ones(7, 1, dtype=torch.float64)], 1)
    A = a.T @ a / 7
    z = model[0](x).detach()
    p = model[2](z.tanh()).detach().softmax(1)
    back = model[2].weight.detach() * (1 - z.tanh() ** 2)[:, None, :]  # (7, 3, 4): ∂logits/∂z
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    G = torch.einsum("nci,ncd,ndj->ij", back, inner, back) / 7
    W = draw(4, 3, seed=2)
    v = torch.cat([W.reshape(-1), draw(4, seed=3), torch.zeros(15, dtype=torch.float64)])
    expected = G @ torch.cat([W, draw(4, seed=3)[:, None]], 1) @ A
    torch.testing.assert_close((M @ v)[:12].view(4, 3), expected[:, :3], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close((M @ v)[12:16], expected[:, 3], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 3, 3, stride=2, padding=1),
        nn.Conv2d(2, 3, (2, 3), padding=(1, 0), dilation=(2, 1), bias=False),
        nn.Conv2d(2, 3, 3, padding="same"),
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
        nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"),
    ],
    ids=["strided", "dilated", "same", "grouped", "reflected"],
)
def test_a_convolution_is_a_linear_layer_on_its_patches(layer):
    """A is E[patch patchᵀ]: the patches are those that, times the weight, give the output."""
    layer = layer.double()
    image = draw(2, 2, 6, 7)
    model = nn.Sequential(layer, nn.Flatten())
    out = layer(image)
    metric, M = read(model, F.mse_loss, (image, torch.zeros_like(out).flatten(1)))
    # One draw of signs: E over samples and positions of patches; G by the same seeds.
    positions = out.shape[0] * out[0, 0].numel()
    columns = []
    for i in range(layer.weight[0].numel()):
        probe = torch.zeros_like(layer.weight[:1]).reshape(-1)
        probe[i] = 1.0
        kernel = probe.view_as(layer.weight[:1]).expand_as(layer.weight).clone()
        only = copy.deepcopy(layer)
        only.weight.data.copy_(kernel)
        if only.bias is not None:
            only.bias.data.zero_()
        columns.append(only(image)[:, 0].reshape(-1).detach())
    patches = torch.stack(columns, 1)
    if layer.bias is not None:
        patches = torch.cat([patches, torch.ones(positions, 1, dtype=torch.float64)], 1)
    torch.testing.assert_close(metric.state_dict()["0.A"][0], patches.T @ patches / positions)
    assert torch.linalg.eigvalsh((M + M.T) / 2)[0] > 0


def test_three_turns_are_of_one_root():
    """L⁻ᵀ is the inverse of Lᵀ, and the transpose of L⁻¹."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    metric, M = read(model, F.cross_entropy, (draw(7, 3), torch.arange(7) % 3), damping=1e-3)
    u, v = draw(31, seed=4), draw(31, seed=5)
    torch.testing.assert_close(metric.lifted(metric.measured(v)), v)
    torch.testing.assert_close(metric.measured(metric.lifted(v)), v)
    torch.testing.assert_close(u @ metric.whitened(v), metric.lifted(u) @ v)
    torch.testing.assert_close(metric.measured(v).square().sum(), v @ M @ v)


def test_a_factor_that_rounding_made_indefinite_has_a_root():
    """A Cholesky factorisation breaks down there; the eigenvalue below zero is taken as zero."""
    q, _ = torch.linalg.qr(draw(4, 4))
    M = (q * torch.tensor([3.0, 2.0, 1.0, -1e-12])) @ q.T
    root = Root.of(M[None], 1e-20)
    torch.testing.assert_close(root.factor[0] @ root.factor[0].T, M, rtol=0, atol=1e-11)
    product = root.factor[0] @ root.inverse[0]
    torch.testing.assert_close(product, torch.eye(4, dtype=M.dtype), rtol=0, atol=1e-4)


def test_many_outputs_are_drawn_without_bias():
    model = nn.Linear(2, 20).double()
    batch = (draw(5, 2), draw(5, 20, seed=1))
    params = list(model.parameters())
    objective = ProblemObjective(Problem(model, F.mse_loss, batch), params, 1.0)
    seen = []
    for seed in range(400):
        metric = KFAC(model)
        metric.attach(params)
        metric.refresh(objective, torch.Generator().manual_seed(seed))
        seen.append(metric.state_dict()["0.G"][0])
    G = torch.stack(seen)
    exact = 2 / 20 * torch.eye(20, dtype=torch.float64)
    stderr = G.std(0) / 20
    assert ((G.mean(0) - exact).abs() <= 4.5 * stderr + 1e-12).all()


def test_layers_of_one_shape_and_layers_alone_are_whitened_alike(monkeypatch):
    """Small layers are gathered out of the flat vector; large ones go one by one."""
    model = nn.Sequential(
        nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 3)
    ).double()
    batch = (draw(7, 3), torch.arange(7) % 3)
    metric, M = read(model, F.cross_entropy, batch, damping=1e-3)
    assert len(metric._stacks) == 3
    monkeypatch.setattr("thalweg.optim._kfac_stack.SMALL", 0)
    metric, expected = read(model, F.cross_entropy, batch, damping=1e-3)
    assert not metric._stacks
    torch.testing.assert_close(M, expected)


def test_of_many_samples_one_random_column_each_is_near_the_exact_factor():
    """Of N samples the drawn factor is off by √(side/N) or so in every direction."""
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    x, y = draw(2000, 3), torch.arange(2000) % 4
    drawn, _ = read(model, F.cross_entropy, (x, y))
    assert drawn.gradients_per_refresh == pytest.approx(1.0)
    exact, _ = read(model, F.cross_entropy, (x[:100], y[:100]))
    assert exact.gradients_per_refresh == pytest.approx(1 / 3 + 4 * 2 / 3)
    found = drawn.state_dict()["0.G"][0]
    a, p = model[0](x).tanh().detach(), model(x).detach().softmax(1)
    back = model[2].weight.detach() * (1 - a**2)[:, None, :]
    inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    wanted = torch.einsum("nci,ncd,ndj->ij", back, inner, back) / 2000
    L = torch.linalg.cholesky(wanted + 1e-9 * torch.eye(5, dtype=torch.float64))
    within = torch.linalg.solve_triangular(L, found, upper=False)
    within = torch.linalg.solve_triangular(L, within.T, upper=False)
    values = torch.linalg.eigvalsh((within + within.T) / 2)[-3:]  # the rank is that of 4 classes
    torch.testing.assert_close(values, torch.ones(3, dtype=torch.float64), rtol=0.25, atol=0)


def test_what_it_does_not_know_is_the_identity_and_said():
    model = nn.Sequential(nn.Linear(3, 3), nn.PReLU(3), nn.Linear(3, 2)).double()
    metric, M = read(model, F.mse_loss, (draw(7, 3), draw(7, 2)))
    assert "identity for 1.weight" in metric.said
    scale = M[12, 12]
    torch.testing.assert_close(M[12:15, 12:15], scale * torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.LayerNorm(4), (6, 4)),
        (nn.LayerNorm(4), (6, 3, 4)),
        (nn.LayerNorm((3, 4)), (6, 3, 4)),
        (nn.RMSNorm(4), (6, 4)),
        (nn.GroupNorm(2, 4), (6, 4, 3)),
        (nn.BatchNorm1d(4).eval(), (6, 4)),
        (nn.BatchNorm2d(4).eval(), (6, 4, 2, 2)),
    ],
    ids=["layer", "positions", "two dimensions", "rms", "group", "batch", "images"],
)
def test_scale_and_shift_are_exact_channel_by_channel(norm, shape):
    """Against the dense GGN: M's two by two blocks are those of γ_c and β_c."""
    norm = copy.deepcopy(norm).double()
    with torch.no_grad():
        for number, p in enumerate(norm.parameters()):
            p.copy_(draw(*p.shape, seed=number))
        for buffer in norm.buffers():
            if buffer.dtype.is_floating_point:
                buffer.add_(0.5)
    x = draw(*shape, seed=4)
    model = nn.Sequential(norm, nn.Flatten(), nn.Linear(x[0].numel(), 3).double()).eval()
    model[2].requires_grad_(False)
    batch = (x, torch.arange(6) % 3)
    metric, M = read(model, F.cross_entropy, batch)
    G = ggn(model, F.cross_entropy, batch)
    assert metric.said == "K-FAC of 1 layers"
    n = norm.weight.numel()
    kept = torch.eye(n, dtype=torch.bool).repeat(len(G) // n, len(G) // n)
    torch.testing.assert_close(M, torch.where(kept, G, 0), rtol=1e-6, atol=1e-9)


def test_an_embedding_of_one_token_is_exact():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(3, 4)).double()
    model[2].requires_grad_(False)
    batch = (torch.tensor([[2]]), torch.tensor([1]))
    _, M = read(model, F.cross_entropy, batch)
    torch.testing.assert_close(M, ggn(model, F.cross_entropy, batch), rtol=1e-6, atol=1e-8)


def test_an_embedding_counts_its_tokens_and_leaves_the_padding_out():
    model = nn.Sequential(nn.Embedding(4, 2, padding_idx=0), nn.Flatten(), nn.Linear(6, 3)).double()
    tokens = torch.tensor([[1, 1, 0], [1, 2, 0]])
    metric, _ = read(model, F.cross_entropy, (tokens, torch.tensor([0, 1])))
    picked = metric.state_dict()["0.P"][0]
    torch.testing.assert_close(picked, torch.tensor([0, 3, 1, 0], dtype=torch.float64) / 6)


def test_a_weight_that_picks_and_multiplies_has_the_trace_of_both():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(5, 3)
            self.head = nn.Linear(3, 5)
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            return self.head(self.embedding(tokens).mean(1).tanh())

    torch.manual_seed(0)
    model = Tied().double()
    batch = (torch.tensor([[0, 1], [2, 2], [4, 1]]), torch.tensor([0, 3, 1]))
    metric, M = read(model, F.cross_entropy, batch)
    assert metric.said == "K-FAC of 1 layers"
    own = {key: metric.state_dict()[f"0.{key}"][0] for key in "AGPE"}
    expected = own["A"].trace() * own["G"].trace() + own["P"].sum() * own["E"].trace()
    torch.testing.assert_close(M.trace(), expected, rtol=1e-5, atol=0)
    assert torch.linalg.eigvalsh((M + M.T) / 2)[0] > 0


def test_a_long_side_has_a_diagonal_factor(monkeypatch):
    monkeypatch.setattr("thalweg.optim._kfac_weight.MAX_SIDE", 3)
    model = nn.Linear(2, 4).double()
    metric, M = read(model, F.cross_entropy, (draw(7, 2), torch.arange(7) % 4))
    assert metric.state_dict()["0.G"].shape == (1, 4)
    p = model(draw(7, 2)).softmax(1).detach()
    torch.testing.assert_close(metric.state_dict()["0.G"][0], (p * (1 - p)).mean(0))
    assert torch.linalg.eigvalsh((M + M.T) / 2)[0] > 0


def test_dead_and_frozen_layers_and_layers_that_never_run():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    model.spare = nn.Identity()
    with torch.no_grad():
        model[0].bias.fill_(-1e9)
    metric, M = read(model, F.mse_loss, (draw(7, 3), draw(7, 2)))
    assert torch.isfinite(M).all()
    assert "identity for 0" in metric.said
    model[0].requires_grad_(False)
    metric, M = read(model, F.mse_loss, (draw(7, 3), draw(7, 2)))
    assert M.shape == (8, 8)


def test_a_layer_that_runs_twice_adds_up():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3).double()

        def forward(self, x):
            return self.layer(self.layer(x))

    model = Twice()
    metric, M = read(model, F.mse_loss, (draw(7, 3), draw(7, 3, seed=1)))
    assert "K-FAC of 1 layers" in metric.said
    assert torch.linalg.eigvalsh((M + M.T) / 2)[0] > 0
    h = model.layer(draw(7, 3)).detach()
    a = torch.cat([torch.cat([draw(7, 3), h]), torch.ones(14, 1, dtype=torch.float64)], 1)
    torch.testing.assert_close(metric.state_dict()["0.A"][0], a.T @ a / 14)


def test_a_closure_gives_the_gradients_themselves():
    model = nn.Linear(3, 1).double()
    x, y = draw(7, 3), draw(7, 1, seed=1)
    params = list(model.parameters())
    metric = KFAC(model)
    metric.attach(params)
    objective = ClosureObjective(lambda: F.mse_loss(model(x), y), params, 1.0)
    metric.refresh(objective, torch.Generator())
    assert "from the gradients, the loss being unknown" in metric.said
    slopes = 2 * (model(x) - y).detach()
    torch.testing.assert_close(metric.state_dict()["0.G"][0], slopes.T @ slopes / 7)


def test_batches_do_not_matter():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    x, y = draw(7, 3), torch.arange(7) % 3
    _, whole = read(model, F.cross_entropy, (x, y))
    _, parts = read(model, F.cross_entropy, [(x[:5], y[:5]), (x[5:], y[5:])])
    torch.testing.assert_close(whole, parts)


def test_it_leaves_no_trace():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    read(model, F.cross_entropy, (draw(7, 3), torch.arange(7) % 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_an_average_over_readings():
    model = nn.Linear(2, 2).double()
    params = list(model.parameters())
    metric = KFAC(model, decay=0.75)
    metric.attach(params)
    batches = [(draw(5, 2, seed=s), draw(5, 2, seed=9)) for s in (1, 2)]
    for batch in batches:
        objective = ProblemObjective(Problem(model, F.mse_loss, batch), params, 1.0)
        metric.refresh(objective, torch.Generator())
    ones = torch.ones(5, 1, dtype=torch.float64)
    a, b = (torch.cat([x, ones], 1) for x, _ in batches)
    torch.testing.assert_close(
        metric.state_dict()["0.A"][0], 0.75 * a.T @ a / 5 + 0.25 * b.T @ b / 5
    )


def test_saddle_free_newton_takes_it_by_itself_and_repeats_itself_when_resumed():
    def fresh():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)).double()
        return model, SaddleFreeNewton(model.parameters())

    x, y = draw(9, 3), torch.arange(9) % 3
    whole, opt = fresh()
    for _ in range(40):
        opt.bind(whole, F.cross_entropy, (x, y)).step()
    assert isinstance(opt.metric, KFAC)
    assert not isinstance(opt.metric, Identity)
    model, first = fresh()
    for _ in range(20):
        first.bind(model, F.cross_entropy, (x, y)).step()
    state = copy.deepcopy(first.state_dict())
    resumed = SaddleFreeNewton(model.parameters())
    resumed.bind(model, F.cross_entropy, (x, y))
    resumed.load_state_dict(state)
    for _ in range(20):
        resumed.step()
    for a, b in zip(whole.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_metric_is_read_when_the_steps_since_have_cost_as_much():
    """Of 7 samples and sides of 40 units a reading, its roots counted, outweighs several steps."""
    model = nn.Sequential(nn.Linear(40, 40), nn.Tanh(), nn.Linear(40, 3)).double()
    with torch.no_grad():
        for number, p in enumerate(model.parameters()):
            p.copy_(0.1 * draw(*p.shape, seed=number))
    x, y = draw(7, 40), torch.arange(7) % 3
    optimizer = SaddleFreeNewton(model.parameters()).bind(model, F.cross_entropy, (x, y))
    readings, spent = [], []
    for _ in range(25):
        before = optimizer.memory.get("refreshed", -1) if optimizer.state else -1
        optimizer.step()
        spent.append(optimizer.record.gradient_equivalents)
        if optimizer.memory["refreshed"] != before:
            readings.append(len(spent) - 1)
    cost = optimizer.metric.gradients_per_refresh + optimizer.metric.gradients_per_root
    assert cost > 10
    assert len(readings) > 1
    for one, other in pairwise(readings):
        assert sum(spent[one:other]) >= 2 * cost * (1 - 1e-12)
