import pytest
import torch

from rllib_sami.core.context_encoder import NORM_LIMIT, ContextEncoder, RunningNorm

KINDS = [(kind, normalize) for kind in ("lstm", "gru") for normalize in (True, False)]


def chain(encoder: ContextEncoder, inputs: torch.Tensor) -> torch.Tensor:
    """Contexts of one step after the other, from a zero state."""
    state, contexts = torch.zeros(len(inputs), encoder.state_dim), []
    for t in range(inputs.shape[1]):
        context, state = encoder.step(inputs[:, t], state)
        contexts.append(context)
    return torch.stack(contexts, dim=1)


@pytest.mark.parametrize(("kind", "normalize"), KINDS)
def test_steps_one_by_one_equal_the_whole_sequence(kind, normalize):
    encoder = ContextEncoder(5, hidden_dim=16, context_dim=3, encoder_type=kind, normalize_context=normalize)
    inputs = 3 * torch.randn(4, 60, 5)
    with torch.no_grad():
        whole, stepped = encoder(inputs), chain(encoder, inputs)
    assert whole.shape == (4, 60, 3)
    torch.testing.assert_close(stepped, whole, atol=1e-5, rtol=0)
    assert (whole[:, 1:] - whole[:, :-1]).abs().max() > 1e-2  # they do move


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_contexts_depend_on_the_carried_state(kind):
    encoder = ContextEncoder(5, hidden_dim=16, encoder_type=kind)
    inputs = torch.randn(4, 10, 5)
    with torch.no_grad():
        whole = encoder(inputs)
        fresh = encoder.step(inputs[:, 9], torch.zeros(4, encoder.state_dim))[0]
    assert (whole[:, 9] - fresh).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_no_step_sees_a_later_one(kind):
    encoder = ContextEncoder(5, hidden_dim=16, encoder_type=kind)
    inputs = torch.randn(4, 10, 5)
    changed = inputs.clone()
    changed[:, 6:] = 1e6
    with torch.no_grad():
        before, after = encoder(inputs), encoder(changed)
    torch.testing.assert_close(before[:, :6], after[:, :6], atol=0, rtol=0)
    assert (before[:, 6] - after[:, 6]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_step_leaves_the_state_it_is_given_alone(kind):
    encoder = ContextEncoder(5, hidden_dim=16, encoder_type=kind)
    state = torch.randn(4, encoder.state_dim)
    kept = state.clone()
    encoder.step(torch.randn(4, 5), state)
    torch.testing.assert_close(state, kept, atol=0, rtol=0)


@pytest.mark.parametrize(("kind", "normalize"), KINDS)
def test_contexts_lie_on_the_sphere_only_if_normalised(kind, normalize):
    encoder = ContextEncoder(5, hidden_dim=16, encoder_type=kind, normalize_context=normalize)
    with torch.no_grad():
        lengths = encoder(torch.randn(4, 10, 5)).norm(dim=-1)
    on_sphere = (lengths - 1).abs().max().item() < 1e-5
    assert on_sphere == normalize


def test_state_is_twice_as_wide_for_an_lstm():
    assert ContextEncoder(5, hidden_dim=16, encoder_type="lstm").state_dim == 32
    assert ContextEncoder(5, hidden_dim=16, encoder_type="gru").state_dim == 16


# --- Change of observations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_change_of_observations_is_the_same_in_steps_in_parts_and_in_whole(kind):
    encoder = ContextEncoder(5, hidden_dim=16, encoder_type=kind, normalize_inputs=True, delta_dim=3)
    inputs = 3 * torch.randn(4, 20, 5)
    encoder.norm.update(torch.randn(8), torch.rand(8) + 0.5)
    with torch.no_grad():
        whole, state = encoder(inputs), torch.zeros(4, encoder.state_dim)
        from_zeros = encoder(inputs[:, :8], state)
        for t in range(8):
            context, state = encoder.step(inputs[:, t], state)
            torch.testing.assert_close(context, whole[:, t], atol=1e-5, rtol=0)
        rest = encoder(inputs[:, 8:], state)
    torch.testing.assert_close(from_zeros, whole[:, :8], atol=1e-5, rtol=0)
    torch.testing.assert_close(rest, whole[:, 8:], atol=1e-5, rtol=0)


def test_change_of_observations_is_that_from_the_step_before_and_none_at_the_first():
    encoder = ContextEncoder(3, delta_dim=2)
    inputs = torch.tensor([[[1.0, 2.0, 9.0], [4.0, 0.0, 8.0], [4.5, 1.0, 7.0]]])
    expected = torch.tensor([[[0.0, 0.0], [3.0, -2.0], [0.5, 1.0]]])
    torch.testing.assert_close(encoder.features(inputs), torch.cat([inputs, expected], dim=-1))


def test_unknown_type_is_an_error_naming_it_and_the_known_ones():
    with pytest.raises(ValueError, match=r"'transformer'.*'lstm', 'gru'"):
        ContextEncoder(5, encoder_type="transformer")


# --- Standardised inputs --------------------------------------------------------------------------------------------


def show(norm: RunningNorm, inputs: torch.Tensor) -> None:
    variance, mean = torch.var_mean(inputs, dim=0, correction=0)
    norm.update(mean, variance)


def test_moments_are_those_of_all_batches_together():
    torch.manual_seed(0)
    norm = RunningNorm(3)
    batches = [torch.randn(50, 3) * torch.tensor([1.0, 5.0, 0.1]) + shift for shift in (0.0, 3.0, -2.0, 10.0)]
    for number in range(len(batches)):
        show(norm, batches[number])
        seen = torch.cat(batches[: number + 1])
        torch.testing.assert_close(norm.mean, seen.mean(dim=0))
        torch.testing.assert_close(norm.variance, seen.var(dim=0, correction=0))
    standardized = norm(torch.cat(batches))
    torch.testing.assert_close(standardized.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(standardized.std(dim=0, correction=0), torch.ones(3))


def test_before_any_batch_inputs_stay_as_they_are():
    inputs = torch.randn(4, 10, 5)
    torch.testing.assert_close(RunningNorm(5)(inputs), inputs)


def test_what_never_varied_cannot_drown_the_rest():
    norm = RunningNorm(2)
    show(norm, torch.stack([torch.randn(100), torch.full((100,), 7.0)], dim=1))
    found = norm(torch.tensor([[0.5, 7.0], [0.5, 7.1], [0.5, -7.0]]))
    assert found[:, 1].tolist() == [0.0, NORM_LIMIT, -NORM_LIMIT]


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_both_paths_standardise_and_scales_of_inputs_do_not_matter(kind):
    torch.manual_seed(0)
    first = ContextEncoder(5, hidden_dim=16, encoder_type=kind, normalize_inputs=True)
    second = ContextEncoder(5, hidden_dim=16, encoder_type=kind, normalize_inputs=True)
    second.load_state_dict(first.state_dict())
    inputs, scale = torch.randn(4, 60, 5), torch.tensor([1.0, 100.0, 0.01, 3.0, 1e-2])
    show(first.norm, inputs.flatten(0, 1))
    show(second.norm, (inputs * scale + 3.0).flatten(0, 1))
    with torch.no_grad():
        whole, scaled = first(inputs), second(inputs * scale + 3.0)
        torch.testing.assert_close(chain(first, inputs), whole, atol=1e-5, rtol=0)
        torch.testing.assert_close(scaled, whole, atol=1e-3, rtol=0)
