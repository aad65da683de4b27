"""The contrastive estimators: values by hand, limits, gradients and shapes."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from rllib_sami.core.losses import binary_nce_from_scores, sance_bound, sance_bound_from_scores, similarity_scores

# Two queries with plain angles, not normalised on purpose: 0 and 90 degrees; keys at 60, 90, 180 and 0 degrees.
QUERY = torch.tensor([[2.0, 0.0], [0.0, 0.5]])
POSITIVE = torch.tensor([[0.5, math.sqrt(0.75)], [0.0, 3.0]])
SHARED = torch.tensor([[-1.0, 0.0], [4.0, 0.0]])
# Cosines of query 1: positive 0.5, negatives -1 and 1. Of query 2: positive 1, negatives 0 and 0.
TEMPERATURE = 0.5


def by_hand(scores: list[list[float]], temperature: float) -> float:
    """The bound, written out in plain Python; the positive score comes first in each line."""
    total = 0.0
    for positive, *negatives in scores:
        others = [math.exp(score / temperature) for score in (positive, *negatives)]
        total += math.log(len(others)) + positive / temperature - math.log(sum(others))
    return total / len(scores)


def test_sance_bound_with_shared_negatives_is_the_hand_calculation():
    # log 3 + 1 - log(e + e^-2 + e^2) and log 3 + 2 - log(e^2 + 1 + 1), averaged.
    expected = by_hand([[0.5, -1.0, 1.0], [1.0, 0.0, 0.0]], TEMPERATURE)
    assert expected == pytest.approx((-0.227950 + 0.859067) / 2, abs=1e-6)
    assert sance_bound(QUERY, POSITIVE, SHARED, TEMPERATURE).item() == pytest.approx(expected, abs=1e-6)


def test_sance_bound_with_own_negatives_is_the_hand_calculation():
    own = torch.tensor([[[-1.0, 0.0], [0.0, 2.0]], [[0.0, -1.0], [1.0, 0.0]]])  # cosines -1, 0 and -1, 0
    expected = by_hand([[0.5, -1.0, 0.0], [1.0, -1.0, 0.0]], TEMPERATURE)
    assert sance_bound(QUERY, POSITIVE, own, TEMPERATURE).item() == pytest.approx(expected, abs=1e-6)


def test_sance_bound_with_groups_uses_each_groups_negatives_only():
    groups = torch.stack([SHARED, torch.tensor([[0.0, 1.0], [0.0, -1.0]])])
    query, positive = torch.stack([QUERY, QUERY]), torch.stack([POSITIVE, POSITIVE])
    scores = [[0.5, -1.0, 1.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.0], [1.0, 1.0, -1.0]]
    bound = sance_bound(query, positive, groups, TEMPERATURE).item()
    assert bound == pytest.approx(by_hand(scores, TEMPERATURE), abs=1e-6)
    swapped = sance_bound(query, positive, groups.flip(0), TEMPERATURE).item()
    assert swapped == pytest.approx(bound, abs=1e-6)  # here both groups have the same queries ...
    one_moved = torch.stack([query[0], query[1].flip(0)])
    assert sance_bound(one_moved, positive, groups, TEMPERATURE).item() != pytest.approx(bound, abs=1e-3)


def test_bilinear_similarity_is_query_times_map_times_key():
    # The map doubles the first coordinate and sends the second to the first as well: q' W = (2 q1 + q2, 0).
    similarity_map = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    scores = [[1.0, -2.0, 2.0], [0.0, -1.0, 1.0]]  # queries (1, 0) and (0, 1) become (2, 0) and (1, 0)
    bound = sance_bound(QUERY, POSITIVE, SHARED, TEMPERATURE, "bilinear", similarity_map).item()
    assert bound == pytest.approx(by_hand(scores, TEMPERATURE), abs=1e-6)
    own = torch.stack([SHARED, SHARED])
    assert sance_bound(QUERY, POSITIVE, own, TEMPERATURE, "bilinear", similarity_map).item() == pytest.approx(bound)
    identity = sance_bound(QUERY, POSITIVE, SHARED, TEMPERATURE, "bilinear", torch.eye(2)).item()
    assert identity == pytest.approx(sance_bound(QUERY, POSITIVE, SHARED, TEMPERATURE).item(), abs=1e-6)


def test_default_temperature_is_a_tenth():
    expected = sance_bound(QUERY, POSITIVE, SHARED, 0.1).item()
    assert sance_bound(QUERY, POSITIVE, SHARED).item() == expected


def test_sance_bound_is_never_above_log_k_and_gets_there():
    generator = torch.Generator().manual_seed(0)
    for draw in range(200):
        sizes = torch.randint(1, 9, (4,), generator=generator).tolist()
        n, d, negatives, groups = sizes[0], sizes[1], sizes[2] ** 2, sizes[3]
        scale = 10.0 ** torch.empty(()).uniform_(-3, 3, generator=generator)
        temperature = float(10.0 ** torch.empty(()).uniform_(-2.5, 1, generator=generator))
        shape = [(n, d), (n, d), (groups, n, d)][draw % 3]
        query = scale * torch.randn(shape, generator=generator)
        positive = query.clone() if draw % 2 else torch.randn(shape, generator=generator)
        leading = [(), (n,), (groups,)][draw % 3]
        negative = torch.randn((*leading, negatives, d), generator=generator)
        bound = sance_bound(query, positive, negative, temperature).item()
        assert math.isfinite(bound)
        assert bound <= math.log(negatives + 1) + 1e-5
    query = torch.tensor([[1.0, 0.0]])
    best = sance_bound(query, query, -query.expand(7, 2), temperature=0.05).item()
    assert best == pytest.approx(math.log(8), abs=1e-5)


def test_sance_bound_is_zero_where_nothing_can_be_told_apart():
    same = torch.ones(5, 3)
    assert sance_bound(same, same, torch.ones(9, 3)).item() == pytest.approx(0.0, abs=1e-6)


def gaussian_scores(mutual_information: float, num_queries: int, num_negatives: int) -> tuple[Tensor, Tensor]:
    """Optimal scores log p(y|x) / p(y) of pairs (x, y) with a known mutual information.

    x and y are standard normal with correlation rho, so I(x; y) = -1/2 log(1 - rho^2), and y given x is normal with
    mean rho x and variance 1 - rho^2. Positives are drawn from p(y|x), negatives from p(y).
    """
    generator = torch.Generator().manual_seed(num_negatives)
    variance = math.exp(-2 * mutual_information)
    rho = math.sqrt(1 - variance)
    x = torch.randn(num_queries, generator=generator)
    y = rho * x + math.sqrt(variance) * torch.randn(num_queries, generator=generator)
    others = torch.randn(num_queries, num_negatives, generator=generator)

    def score(x: Tensor, y: Tensor) -> Tensor:
        return -0.5 * ((y - rho * x) ** 2 / variance - y**2 + math.log(variance))

    return score(x, y), score(x[:, None], others)


@pytest.mark.parametrize("mutual_information", [2.0, 3.0, 4.0])
def test_bound_approaches_the_lesser_of_mutual_information_and_log_k(mutual_information):
    """With the optimal scores the K-sample bound lies below both limits and grows towards them.

    At K = 2 all three cases have far more than log 2 nats, at K = 512 log K is far above them; the tolerances are
    what the estimator lacks there in expectation (0.12, 0.05 and 0.02 nats; 0.02, 0.05 and 0.11), and some noise.
    """
    bounds = {}
    for k in (2, 8, 32, 128, 512):
        positive, negative = gaussian_scores(mutual_information, 6000, k - 1)
        bounds[k] = sance_bound_from_scores(positive, negative, temperature=1.0).item()
        assert bounds[k] <= math.log(k)
        assert bounds[k] <= mutual_information + 0.03
    values = list(bounds.values())
    assert all(later > earlier + 0.02 for earlier, later in pairwise(values)), bounds
    assert bounds[2] == pytest.approx(math.log(2), abs={2.0: 0.15, 3.0: 0.08, 4.0: 0.05}[mutual_information])
    assert bounds[512] == pytest.approx(mutual_information, abs={2.0: 0.06, 3.0: 0.09, 4.0: 0.15}[mutual_information])


def test_it_is_a_bound_with_independent_keys_and_none_with_keys_of_other_classes():
    classes = torch.randint(2, (4000, 64), generator=torch.Generator().manual_seed(0))
    query = torch.zeros(4000, dtype=torch.long)  # of class 0, as each positive key
    positive, sharp = torch.ones(4000), 0.01
    independent = (classes[:, 1:] == query[:, None]).float()
    others = torch.zeros_like(independent)
    bound = sance_bound_from_scores(positive, independent, sharp).item()
    assert math.log(2) - 0.05 < bound <= math.log(2)  # two equally likely classes
    assert sance_bound_from_scores(positive, others, sharp).item() == pytest.approx(math.log(64))


def test_wrong_scores_stay_below_the_bound_of_the_right_ones():
    positive, negative = gaussian_scores(3.0, 6000, 127)
    best = sance_bound_from_scores(positive, negative, temperature=1.0).item()
    for temperature in (0.4, 2.5):
        assert sance_bound_from_scores(positive, negative, temperature).item() < best - 0.05


def test_encoder_trained_through_the_bound_finds_the_mutual_information():
    """A query encoder trained by the bound alone, on Gaussian pairs with two nats in common.

    The keys put y on the circle at the angle c y. With the temperature c^2 (1 - rho^2) the cosine of an ideal query,
    at the angle c rho x, is nearly the optimal score; the encoder has to find that angle.
    """
    variance, c = math.exp(-4.0), 0.7
    rho = math.sqrt(1 - variance)
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    def keys(y: Tensor) -> Tensor:
        return torch.stack([(c * y).cos(), (c * y).sin()], dim=-1)

    def bound(num_queries: int, k: int) -> Tensor:
        x = torch.randn(num_queries)
        y = rho * x + math.sqrt(variance) * torch.randn(num_queries)
        negatives = keys(torch.randn(num_queries, k - 1))
        return sance_bound(net(x[:, None]), keys(y), negatives, temperature=c**2 * variance)

    assert bound(2000, 128).item() < 0.0
    for _ in range(400):
        optimizer.zero_grad()
        (-bound(128, 64)).backward()
        optimizer.step()
    with torch.no_grad():
        assert 1.4 < bound(5000, 128).item() < 2.0
        assert 0.45 < bound(5000, 2).item() < math.log(2)


def test_gradients_reach_the_query_and_the_map_only():
    generator = torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, requires_grad=True)

    for shape, negative_shape in [((5, 4), (7, 4)), ((5, 4), (5, 7, 4)), ((2, 5, 4), (2, 7, 4))]:
        query, positive, negative, similarity_map = leaf(*shape), leaf(*shape), leaf(*negative_shape), leaf(4, 4)
        sance_bound(query, positive, negative, 0.3, "bilinear", similarity_map).backward()
        for changed in (query, similarity_map):
            assert changed.grad is not None
            assert changed.grad.abs().max() > 1e-4
        assert positive.grad is None
        assert negative.grad is None


def test_gradient_is_that_of_the_bound():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    positive, negative = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
    assert torch.autograd.gradcheck(lambda q: sance_bound(q, positive, negative, 0.5), (query,))


def ones(*shape: int) -> Tensor:
    return torch.ones(shape)


@pytest.mark.parametrize(
    ("query", "positive", "negative", "named"),
    [
        (ones(5, 4), ones(4, 4), ones(7, 4), r"\(4, 4\)"),  # other number of positives
        (ones(5, 4), ones(5, 3), ones(7, 4), r"\(5, 3\)"),  # other width of positives
        (ones(5, 4), ones(5, 4), ones(7, 3), r"\(7, 3\)"),  # other width of shared negatives
        (ones(5, 4), ones(5, 4), ones(4), r"\(4,\)"),  # a single negative without its dimension
        (ones(5, 4), ones(5, 4), ones(6, 7, 4), r"\(6, 7, 4\)"),  # own negatives of other queries
        (ones(5, 4), ones(5, 4), ones(5, 7, 3), r"\(5, 7, 3\)"),
        (ones(5, 4), ones(5, 4), ones(1, 5, 7, 4), r"\(1, 5, 7, 4\)"),
        (ones(2, 5, 4), ones(2, 5, 4), ones(7, 4), r"\(7, 4\)"),  # groups need negatives of their own
        (ones(2, 5, 4), ones(2, 5, 4), ones(3, 7, 4), r"\(3, 7, 4\)"),
        (ones(4), ones(4), ones(7, 4), r"`query` has shape \(4,\)"),
        (ones(1, 2, 5, 4), ones(1, 2, 5, 4), ones(2, 7, 4), r"`query` has shape \(1, 2, 5, 4\)"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error_naming_them(query, positive, negative, named):
    with pytest.raises(ValueError, match=named):
        sance_bound(query, positive, negative)


def test_unknown_similarity_and_unfit_map_are_errors_naming_them():
    with pytest.raises(ValueError, match=r"'euclid'.*cosine.*bilinear"):
        sance_bound(QUERY, POSITIVE, SHARED, similarity="euclid")
    with pytest.raises(ValueError, match="similarity_map"):
        sance_bound(QUERY, POSITIVE, SHARED, similarity="bilinear")
    with pytest.raises(ValueError, match=r"similarity_map.*\(3, 2\)"):
        sance_bound(QUERY, POSITIVE, SHARED, similarity="bilinear", similarity_map=ones(3, 2))


def test_binary_nce_is_the_hand_calculation():
    positive, negative = torch.tensor([0.5, 1.0]), torch.tensor([[-1.0, 0.5], [0.0, -0.5]])

    def log_sigmoid(x: float) -> float:
        return -math.log(1 + math.exp(-x))

    for_positives = (log_sigmoid(1.0) + log_sigmoid(2.0)) / 2
    for_negatives = (log_sigmoid(2.0) + log_sigmoid(-1.0) + log_sigmoid(0.0) + log_sigmoid(1.0)) / 4
    expected = for_positives + for_negatives
    assert binary_nce_from_scores(positive, negative, 0.5).item() == pytest.approx(expected, abs=1e-6)
    assert expected < 0
    scores = similarity_scores(QUERY, POSITIVE, SHARED)
    torch.testing.assert_close(scores, (positive, torch.tensor([[-1.0, 1.0], [0.0, 0.0]])))
