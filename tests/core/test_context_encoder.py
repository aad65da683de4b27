import pytest
import torch

from rllib_sami.core.context_encoder import ContextEncoder

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


def test_unknown_type_is_an_error_naming_it_and_the_known_ones():
    with pytest.raises(ValueError, match=r"'transformer'.*'lstm', 'gru'"):
        ContextEncoder(5, encoder_type="transformer")
