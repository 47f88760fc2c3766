"""Linear networks: each class of critical points built in closed form and read, and found."""

import pytest
import torch

from thalweg import Surface, find_critical, problems
from thalweg.critical import GradientTrustRegion, Start, Starts, Status, Trajectories

NETWORKS = {
    "autoencoder": lambda: problems.linear_autoencoder(range(1, 7), 3),
    "two layers": problems.two_layer_linear,
    "factorisation": problems.matrix_factorisation,
    "factorisation of a singular matrix": lambda: problems.matrix_factorisation((3, 2, 1, 0)),
}
CLASSES = [
    (name, known) for name, make in NETWORKS.items() for known in problems.linear_classes(make())
]


class From(Starts):
    """Starts at given places."""

    def __init__(self, vectors):
        self.vectors = vectors

    def __repr__(self):
        return f"From({[v.sum().item() for v in self.vectors]})"

    def draw(self, ground, num_starts, generator, progress):
        return tuple(Start(v, ground.at(v).value, "given") for v in self.vectors[:num_starts])


def test_there_are_42_classes():
    assert len(problems.linear_classes(NETWORKS["autoencoder"]())) == 42


@pytest.mark.parametrize(("name", "known"), CLASSES)
def test_a_class_has_the_loss_index_and_nullity_of_its_formulas(name, known):
    problem = NETWORKS[name]()
    point = Surface(problem).at(problems.linear_critical_point(problem, known.subset, seed=3))
    assert point.value == pytest.approx(known.value, rel=1e-12, abs=1e-12)
    assert point.gradient_vector.norm() < 1e-11
    values = torch.linalg.eigvalsh(point.hessian().to_dense())
    tol = 1e-10 * float(values.abs().max())
    assert int((values < -tol).sum()) == known.index
    assert int((values.abs() <= tol).sum()) == known.null_dimension


def test_all_42_classes_are_found_from_near_by_and_proved():
    """Each from a point of the class moved off it; the index and loss are those of the class."""
    problem = NETWORKS["autoencoder"]()
    classes = problems.linear_classes(problem)
    generator = torch.Generator().manual_seed(1)
    vectors = []
    for known in classes:
        params = problems.linear_critical_point(problem, known.subset, seed=2)
        vector = torch.cat([tensor.reshape(-1) for tensor in params.values()])
        noise = torch.randn(len(vector), generator=generator, dtype=torch.float64)
        vectors.append(vector + 1e-3 * noise)
    found = find_critical(problem, len(classes), starts=From(vectors), is_deflated=False)
    assert len(found.orbits) == 42
    for known, point in zip(classes, found.points, strict=True):
        assert point.certificate.kind == "proved", point.reason
        assert point.gradient_square < 1e-20
        assert (point.index, point.inertia.null) == (known.index, known.null_dimension)
        assert point.value == pytest.approx(known.value, rel=1e-12)
        # Where the critical point of the class lies is known to be within the proved distance of
        # the class: what the network computes there is the projection on the subset.
        W1, W2 = point.params[:18].reshape(3, 6), point.params[18:].reshape(6, 3)
        chosen = torch.zeros(6, dtype=torch.float64)
        # Eigenvalues ascend along the axes; subsets count from the largest.
        chosen[[5 - i for i in known.subset]] = 1
        torch.testing.assert_close(W2 @ W1, torch.diag(chosen), rtol=0, atol=1e-9)


def test_every_walk_along_a_training_ends_at_a_class():
    problem = NETWORKS["autoencoder"]()
    known = {(round(c.value, 9), c.index) for c in problems.linear_classes(problem)}
    found = find_critical(problem, 5, starts=Trajectories(max_steps=200))
    assert [point.status for point in found.points] == [Status.CERTIFIED] * 5
    assert all((round(point.value, 9), point.index) in known for point in found.points)
    assert max(point.gradient_square for point in found.points) < 1e-20


def test_deflation_finds_more_points():
    problem = problems.matrix_factorisation((3.0, 2.0, 1.0), 1)
    few = Trajectories(max_steps=60)
    plain = find_critical(problem, 14, starts=few, is_deflated=False)
    deflated = find_critical(problem, 14, starts=few)
    assert len(deflated.orbits) > len(plain.orbits)
    assert not any(point.num_kicks for point in plain.points)
    assert any(point.num_kicks for point in deflated.points)


def test_quadratic_convergence_where_critical_points_form_manifolds():
    """‖∇L‖ falls like its square at the end, in spite of nine or more null eigenvalues."""
    from thalweg.critical._ground import Ground

    problem = NETWORKS["autoencoder"]()
    params = problems.linear_critical_point(problem, (0, 2, 3), seed=2)
    vector = torch.cat([tensor.reshape(-1) for tensor in params.values()])
    noise = torch.randn(len(vector), generator=torch.Generator().manual_seed(0)).double()
    ground = Ground(problem)
    place = ground.at(vector + 1e-3 * noise)
    walk = GradientTrustRegion(is_curved=False).walk(ground, place)
    slopes = [place.slope, *(next(walk).place.slope for _ in range(3))]
    assert slopes[1] < 50 * slopes[0] ** 2
    assert slopes[2] < 50 * slopes[1] ** 2
