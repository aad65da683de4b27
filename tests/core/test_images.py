"""Images as observations: their layout, the network that reads them, and their place in the replay buffer."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from core_helpers import make_episode
from torch import nn

from rllib_sami.algorithms.skill_discovery.csf import CSFMethod
from rllib_sami.algorithms.skill_discovery.networks import SkillNetworkConfig, SkillNetworks, SkillTrainingNetworks
from rllib_sami.algorithms.skill_discovery.priors import SkillPrior
from rllib_sami.algorithms.skill_discovery.sampling import sample_skill_steps
from rllib_sami.algorithms.skill_discovery.update import SkillUpdateConfig, skill_steps
from rllib_sami.core.images import ImageEncoder, ImageShape, image_shape, row_dtype
from rllib_sami.replay_buffers import episode_store
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

SHAPE = ImageShape(3, 6, 5, 2)
FILTERS = [[4, 3, 1], [6, 2, 2]]
NUMBERS = np.random.default_rng(0).integers(256, size=(500, 40, SHAPE.frame_size), dtype=np.uint8)  # by episode, step


def images_of(number, length):
    """Images of an episode, ``[length + 1, H W C]``."""
    return NUMBERS[number, : length + 1]


def stacks_of(number, length, shape=SHAPE):
    """Observations of an episode, as an environment gives them: ``[length + 1, stack H W C]``."""
    images = images_of(number, length)
    padded = np.concatenate([images[:1]] * (shape.stack - 1) + [images])
    return np.stack([padded[step : step + shape.stack].reshape(-1) for step in range(length + 1)])


def piece(number, length, slot=0, begin=0, end=None, shape=SHAPE):
    end = length if end is None else end
    other = make_episode(number, length).piece(slot, begin, end)
    obs = stacks_of(number, length, shape)[begin : end + 1]
    return EpisodePiece(slot, other.task_id, begin, obs, other.actions, other.rewards, done=end == length)


def assert_holds_stacks(store, line, number):
    """Each step of a stored episode has the images of its observation and its next observation."""
    length = int(line["length"])
    stacks = stacks_of(number, length).reshape(length + 1, SHAPE.stack, -1)
    found = store.gather_images(np.repeat(line, length), np.arange(length))
    np.testing.assert_array_equal(found[:, :-1], stacks[:-1])
    np.testing.assert_array_equal(found[:, 1:], stacks[1:])


# --- Layout and network ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "shape"),
    [
        (gym.spaces.Box(0, 255, (8, 9, 3), np.uint8), ImageShape(1, 8, 9, 3)),
        (gym.spaces.Box(0, 255, (4, 8, 9, 1), np.uint8), ImageShape(4, 8, 9, 1)),
        (gym.spaces.Box(0, 255, (3, 8, 9), np.uint8), None),  # channels must be last
        (gym.spaces.Box(0, 1, (8, 9, 3), np.float32), None),
        (gym.spaces.Box(0, 255, (8,), np.uint8), None),
        (gym.spaces.Box(0, 255, (8, 9), np.uint8), None),
        (gym.spaces.Discrete(3), None),
        (gym.spaces.Dict({"a": gym.spaces.Box(0, 255, (8, 9, 3), np.uint8)}), None),
    ],
)
def test_images_are_told_by_type_and_axes(space, shape):
    assert image_shape(space) == shape
    assert row_dtype(space) == (np.float32 if shape is None else np.uint8)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_the_encoder_reads_colours_of_all_images_as_channels(as_bytes):
    torch.manual_seed(0)
    encoder = ImageEncoder(SHAPE, FILTERS)
    rows = torch.from_numpy(stacks_of(0, 7))
    read = encoder(rows if as_bytes else rows.float())
    stacks = rows.view(8, 3, 6, 5, 2)
    channels = torch.cat([stacks[:, image].permute(0, 3, 1, 2) for image in range(3)], dim=1).contiguous()
    units = channels.float() / 255
    for layer in encoder.net:
        if isinstance(layer, nn.Conv2d):
            units = nn.functional.elu(nn.functional.conv2d(units, layer.weight, layer.bias, layer.stride))
    torch.testing.assert_close(read, units.flatten(1))
    assert read.shape == (8, encoder.output_dim) == (8, 6 * 2 * 1)


def test_64_pixels_and_the_usual_filters_give_1536_numbers():
    default = SkillNetworkConfig().conv_filters
    assert ImageEncoder(ImageShape(3, 64, 64, 3), default).output_dim == 1536
    with pytest.raises(ValueError, match="32 x 32 pixels, which are too small for `conv_filters`"):
        ImageEncoder(ImageShape(3, 32, 32, 3), default)


def test_actor_representation_and_each_critic_have_convolutions_of_their_own():
    config = SkillNetworkConfig(
        skill_dim=2, actor_hidden=[8], critic_hidden=[8], representation_hidden=[8], conv_filters=FILTERS
    )
    acting = SkillNetworks(SHAPE.size, 2, config, CSFMethod(), SHAPE)
    training = SkillTrainingNetworks(acting, 0.1)
    encoders = [one for part in (acting, training) for one in part.modules() if isinstance(one, ImageEncoder)]
    assert len(encoders) == 2 + 2 + 2  # with those of the target critics
    weights = [encoder.net[0].weight for encoder in encoders]
    assert len({weight.data_ptr() for weight in weights}) == len(weights)
    torch.testing.assert_close(weights[4], weights[2])  # target critics begin as the critics
    assert not torch.equal(weights[2], weights[3])
    obs = torch.from_numpy(stacks_of(1, 3))
    action, skill = torch.zeros(4, 2), torch.ones(4, 2)
    one, two = training.critics(obs, action, skill)
    assert one.shape == (4, 2)
    assert not torch.equal(one, two)


# --- The replay buffer ----------------------------------------------------------------------------------------------


def test_each_image_is_stored_once_as_a_byte():
    store = EpisodeStore(SHAPE.size, 1, 1_000, images=SHAPE)
    assert store.images.ring.nbytes == 1_000 * SHAPE.frame_size
    assert store.rows.nbytes == 1_000 * 4 * 2  # action and reward


@pytest.mark.parametrize("seed", range(6))
def test_stacks_are_those_of_the_environment_whatever_the_ring_does(seed, monkeypatch):
    monkeypatch.setattr(episode_store, "INITIAL_ROOM", 4)  # so that open episodes are moved often
    rng = np.random.default_rng(seed)
    store, running = EpisodeStore(SHAPE.size, 1, int(rng.integers(40, 120)), {"number": 1}, SHAPE), {}
    for number in range(200):
        slot = int(rng.integers(4))
        if slot not in running or rng.random() < 0.05:
            running[slot] = (number, int(rng.integers(1, 30)), 0)
        mine, length, begin = running[slot]
        end = min(length, begin + int(rng.integers(1, 9)))
        of_slot = piece(mine, length, slot, begin, end)
        object.__setattr__(of_slot, "fields", {"number": np.float32([mine])})
        assert store.add(of_slot)
        running[slot] = (mine, length, end)
        if end == length:
            del running[slot]
    assert len(store.episodes) > len(store.finished) > 2
    for line in store.episodes:
        assert_holds_stacks(store, line, int(line["number"][0]))


@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("capacity", [40, 25])
def test_a_restored_store_has_the_same_images(copy, capacity):
    store = EpisodeStore(SHAPE.size, 1, 40, images=SHAPE)
    for number in range(9):
        store.add(piece(number, 7))
    store.add(piece(9, 7, slot=1, end=3))  # open, and so not saved
    state = store.get_state(copy=copy)
    if not copy:
        state = state | {name: np.concatenate(state[name]) for name in ("rows", "images")}
    assert len(state["images"]) == len(state["rows"]) == 8 * len(store.finished)
    restored = EpisodeStore(SHAPE.size, 1, capacity, images=SHAPE)
    restored.set_state(state)
    kept = len(restored.finished)
    assert kept == min(len(store.finished), capacity // 8)
    for line, number in zip(restored.finished, range(9 - kept, 9), strict=True):
        assert_holds_stacks(restored, line, number)
    restored.add(piece(20, 7))
    assert_holds_stacks(restored, restored.finished[-1], 20)


def test_another_kind_of_images_is_not_restored():
    store = EpisodeStore(SHAPE.size, 1, 40, images=SHAPE)
    store.add(piece(0, 7))
    other = ImageShape(3, 6, 5, 1)
    with pytest.raises(ValueError, match="other images"):
        EpisodeStore(other.size, 1, 40, images=other).set_state(store.get_state())


@pytest.mark.parametrize("broken", ["order", "start"])
def test_what_is_no_stack_of_the_last_images_is_refused(broken):
    store, given = EpisodeStore(SHAPE.size, 1, 40, images=SHAPE), piece(0, 7)
    stacks = given.obs.reshape(8, 3, -1)
    obs = np.concatenate([stacks[:1], stacks[1:, ::-1]]) if broken == "order" else stacks.copy()
    if broken == "start":  # as with padding_type="zero"
        obs[0, :2] = obs[1, :1] = 0
    object.__setattr__(given, "obs", obs.reshape(8, -1))
    with pytest.raises(ValueError, match=r"FrameStackObservation\(env, 3, padding_type='reset'\)"):
        store.add(given)
    assert not len(store.episodes)


def test_single_images_need_no_stack():
    shape = SHAPE._replace(stack=1)
    store = EpisodeStore(shape.size, 1, 40, images=shape)
    store.add(piece(0, 7, shape=shape))
    images = images_of(0, 7)
    found = store.gather_images(np.repeat(store.finished, 7), np.arange(7))
    np.testing.assert_array_equal(found, np.stack([images[:-1], images[1:]], axis=1))


def test_batches_have_the_observations_of_their_steps():
    store = EpisodeStore(SHAPE.size, 1, 100, {"skill": 2}, SHAPE)
    for number in range(4):
        store.add(piece(number, 9))
    store.add(piece(4, 9, slot=1, end=5))
    rng = np.random.default_rng(0)
    batch = sample_skill_steps(store, 32, SkillPrior("sphere", 2), 5, 3, rng)
    assert batch["images"].shape == (3, 32, 4, SHAPE.frame_size)
    assert batch["images"].dtype == np.uint8
    acting = SkillNetworks(SHAPE.size, 1, SkillNetworkConfig(conv_filters=FILTERS), CSFMethod(), SHAPE)
    one = {name: torch.from_numpy(values[0]) for name, values in batch.items()}
    steps = skill_steps(acting, one, SkillUpdateConfig(gamma=0.99, target_entropy=-0.5))
    pairs = {}
    for number in range(5):
        stacks = stacks_of(number, 9)
        actions = make_episode(number, 9).actions
        pairs |= {(stacks[t].tobytes(), stacks[t + 1].tobytes()): actions[t] for t in range(9 if number < 4 else 5)}
    seen = set()
    for obs, next_obs, action in zip(steps.obs.numpy(), steps.next_obs.numpy(), steps.action.numpy(), strict=True):
        key = (obs.tobytes(), next_obs.tobytes())
        np.testing.assert_array_equal(action, pairs[key])
        seen.add(key)
    assert len(seen) > 15
