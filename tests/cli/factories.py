"""Factories that people write by mistake, and a sound one; named on the command line by tests."""

import torch
import torch.nn.functional as F
from torch import nn

from thalweg import Problem

_g = torch.Generator().manual_seed(0)
x = torch.randn(60, 4, generator=_g)
y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def problem(model=None, loss=F.cross_entropy, data=None, **settings):
    return Problem(model or net(), loss, (x, y) if data is None else data, **settings)


def healthy():
    return problem(optimizer=lambda params: torch.optim.Adam(params, lr=0.03), batch_size=20)


ready_made = healthy()


def sick():
    return problem(optimizer=lambda params: torch.optim.SGD(params, lr=1e-7), batch_size=20)


def raises():
    return {}["no such key"]


def needs_argument(width):
    return problem(nn.Linear(4, width))


def returns_tuple():
    return net(), F.cross_entropy, (x, y)


def nothing_to_train():
    return problem(nn.Sequential(nn.ReLU()), F.mse_loss, (x, x))


def not_scalar():
    return problem(loss=nn.CrossEntropyLoss(reduction="none"))


class Logarithm(nn.Module):
    def forward(self, inputs):
        return (inputs - 100).log()


def not_finite():
    return problem(nn.Sequential(nn.Linear(4, 8), Logarithm(), nn.Linear(8, 3)))


def detached():
    return problem(loss=lambda output, target: F.cross_entropy(output.detach(), target))


def no_batches():
    dataset = torch.utils.data.TensorDataset(x[:0], y[:0])
    return problem(data=torch.utils.data.DataLoader(dataset))


def target_out_of_range():
    return problem(data=[(x[:30], y[:30]), (x[30:], y[30:] + 1)])


def dropout():
    return problem(nn.Sequential(net(), nn.Dropout(0.5)))


def batch_statistics():
    return problem(nn.Sequential(nn.BatchNorm1d(4), net()))


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.forgotten = net(), nn.Linear(3, 3)

    def forward(self, inputs):
        return self.used(inputs)


def unused():
    return problem(Unused())


def mixed_dtypes():
    model = net()
    model[0].double()
    return problem(model)


def mixed_devices():
    model = net()
    model[2].to("meta")
    return problem(model)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * ctx.saved_tensors[0] * gradient


class Squares(nn.Module):
    def forward(self, inputs):
        return Once.apply(inputs)


def no_second_derivative():
    return problem(nn.Sequential(nn.Linear(4, 8), Squares(), nn.Linear(8, 3)))


def greedy_optimizer():
    other = net()
    return problem(optimizer=lambda params: torch.optim.SGD(other.parameters(), lr=0.1))


def talkative():
    print("building the network")
    return healthy()
