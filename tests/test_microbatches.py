"""Smaller batches that make the same surface, and random parts of the data."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import dense
from problems import SHELF, cut, draw, draw_classes, initialised, mlp_model
from thalweg import Problem, ProblemError, RandomModelError, Surface
from thalweg._batch import num_samples


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("name", SHELF)
def test_microbatches_are_the_same_surface(name, size):
    """Against the loss written by hand over all data at once, padding and class weights too."""
    known = SHELF[name]()
    small = known.problem.in_microbatches(size)
    # "weighted" and "padded" have single samples of nothing but padding: joined to a neighbour.
    extra = 1 if name in ("weighted", "padded") and size == 1 else 0
    assert max(map(num_samples, small.batches)) <= size + extra
    assert small.num_samples == 7
    point = Surface(small).here()
    tensors = {**dense.held(known.problem), **dense.leaves(known.problem)}
    assert point.value == pytest.approx(known.plain(tensors).item(), rel=1e-12)
    slope = dense.gradient(known.plain, known.problem)
    torch.testing.assert_close(point.gradient_vector, slope, rtol=1e-10, atol=1e-12)
    if size == 2:
        for operator in ("hessian", "ggn"):
            matrix = getattr(point, operator)().to_dense()
            whole = getattr(Surface(known.problem).here(), operator)().to_dense()
            torch.testing.assert_close(matrix, whole, rtol=1e-10, atol=1e-12)


def test_batches_of_uneven_size_are_divided_one_by_one():
    known = SHELF["next_token"]()
    ragged = known.problem.with_data(cut(known.problem.data, 5, 2))
    small = ragged.in_microbatches(2)
    assert [num_samples(batch) for batch in small.batches] == [2, 2, 1, 2]
    whole = Surface(known.problem).here().value
    assert Surface(small).here().value == pytest.approx(whole, rel=1e-12)


def test_padding_at_the_end_and_all_over_a_part_is_joined():
    x, y = draw(7, 3), draw_classes(2, 7)
    for padded in ([0, 1, 2], [4, 5, 6], [2, 3, 4]):
        y_padded = y.clone()
        y_padded[padded] = -100
        problem = Problem(initialised(mlp_model()), F.cross_entropy, (x, y_padded))
        small = problem.in_microbatches(1)
        assert small.num_samples == 7
        assert len(small.batches) == 4
        value = Surface(problem).here().value
        assert Surface(small).here().value == pytest.approx(value, rel=1e-12)


class Centred(nn.Module):
    """Every sample's output depends on all others."""

    def __init__(self, by) -> None:
        super().__init__()
        self.inner, self.by = nn.Linear(3, 2), by

    def forward(self, x):
        z = self.inner(x)
        return z - self.by * z.mean(0)


INTERACTING = {
    "model": lambda x, y: Problem(initialised(Centred(1e-3)), F.mse_loss, (x, y)),
    "loss": lambda x, y: Problem(
        initialised(nn.Linear(3, 2)), lambda z, t: torch.cdist(z, t).logsumexp((0, 1)), (x, y)
    ),
    "given counts": lambda x, y: Problem(
        initialised(nn.Linear(3, 2)), F.mse_loss, (x, y), num_terms=lambda batch: 1.0
    ),
}


@pytest.mark.parametrize("reason", INTERACTING)
def test_samples_that_interact_are_refused(reason):
    problem = INTERACTING[reason](draw(7, 3), draw(7, 2, seed=1))
    with pytest.raises(ProblemError, match=r"num_terms=") as caught:
        problem.in_microbatches(2)
    assert "interact" in str(caught.value) or "cannot tell" in str(caught.value)


def test_float32_rounding_is_no_interaction():
    x, y = draw(600, 3).float(), draw(600, 2, seed=1).float()
    model = initialised(mlp_model()).float()
    assert len(Problem(model, F.mse_loss, (x, y)).in_microbatches(7).batches) == 86


def test_batch_statistics_are_refused():
    model = initialised(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)))
    with pytest.raises(RandomModelError, match="BatchNorm1d"):
        Problem(model, F.mse_loss, (draw(7, 3), draw(7, 2))).in_microbatches(2)


class Packed(nn.LSTM):
    def forward(self, sequences):
        return super().forward(sequences)[1][0][0]


def test_packed_sequences_and_no_size_are_refused():
    packed = pack_padded_sequence(draw(2, 4, 3), torch.tensor([4, 2]), batch_first=True)
    with pytest.raises(ProblemError, match="packed sequences cannot be divided"):
        Problem(Packed(3, 2).double(), F.mse_loss, (packed, draw(2, 2))).in_microbatches(1)
    with pytest.raises(ProblemError, match=r"in_microbatches\(0\).*1 or more"):
        SHELF["mlp"]().problem.in_microbatches(0)


# -- a random part --------------------------------------------------------------------------


def rows(problem):
    return {tuple(row.tolist()) for x, _ in problem.batches for row in x}


@pytest.mark.parametrize("sizes", [(7,), (5, 2)])
def test_a_part_is_drawn_by_the_generator_without_replacement(sizes):
    known = SHELF["mlp"]()
    whole = known.problem.with_data(cut(known.problem.data, *sizes))

    def drawn(seed, size=4):
        part = whole.subsampled(size, torch.Generator().manual_seed(seed))
        assert part.num_samples == len(rows(part)) == size
        assert rows(part) <= rows(whole)
        return rows(part)

    assert drawn(0) == drawn(0) != drawn(1)
    assert drawn(3, size=7) == rows(whole)


def test_the_mean_over_parts_is_the_whole():
    """All C(7, 3) parts are equally likely: 4 standard errors over 300 draws."""
    problem = SHELF["mlp"]().problem
    generator = torch.Generator().manual_seed(0)
    values = torch.tensor(
        [Surface(problem.subsampled(3, generator)).here().value for _ in range(300)]
    )
    stderr = values.std() / 300**0.5
    assert abs(values.mean() - Surface(problem).here().value) < 4 * stderr


@pytest.mark.parametrize("size", [0, 8])
def test_a_part_larger_than_the_whole_is_refused(size, generator):
    with pytest.raises(ProblemError, match=rf"subsampled\({size}\).*from 1 to 7"):
        SHELF["mlp"]().problem.subsampled(size, generator)
