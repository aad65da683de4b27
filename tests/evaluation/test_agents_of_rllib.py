"""RLlib's own agents: their connectors, their noise, and environments that only this process knows by name."""

import gymnasium
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from ray import tune
from ray.rllib.algorithms.dqn import DQNConfig
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations, MeanStdFilter, PrevActionsPrevRewards

from rllib_sami.evaluation import evaluate
from rllib_sami.evaluation.plan import close, plan, play_packed
from rllib_sami.evaluation.play import _load_agent
from rllib_sami.exports.checkpoints import find


class Short(CartPoleEnv):
    """A CartPole of a class that no other process has registered."""

    max_steps = 10

    def __init__(self, config=None, **more):
        super().__init__()


@pytest.fixture(scope="module")
def trained(ray_cluster, tmp_path_factory):
    """Checkpoints of agents that were trained for a moment."""
    folder = tmp_path_factory.mktemp("rllib")

    def save(name, config):
        config.environment("CartPole-v1").debugging(seed=0, log_level="ERROR")
        algorithm = config.env_runners(num_env_runners=0).build_algo()
        algorithm.train()
        algorithm.save_to_path(folder / name / "checkpoint_000000")
        algorithm.stop()

    def ppo(*connectors):
        config = PPOConfig().training(train_batch_size_per_learner=500, minibatch_size=50, lr=0.01, num_epochs=5)
        return config.env_runners(env_to_module_connector=lambda *_, **__: [make() for make in connectors])

    save("filtering", ppo(MeanStdFilter))
    save("remembering", ppo(PrevActionsPrevRewards, FlattenObservations))
    save("dqn", DQNConfig().training(num_steps_sampled_before_learning_starts=10_000).reporting(
        min_sample_timesteps_per_iteration=50))  # fmt: skip
    return folder


def returns(folder, episodes=2, **more):
    return evaluate(folder, episodes=episodes, progress=False, **more).episodes["return"].tolist()


def test_statistics_of_connectors_stay_those_of_training(trained, monkeypatch):
    """What an agent saw in one chunk of episodes has no say in the next, which other processes may play."""

    def backwards(function, arguments, *_):
        return [function(*given) for given in arguments[::-1]][::-1]

    expected = returns(trained / "filtering", 48)
    monkeypatch.setattr("rllib_sami.evaluation.play.run_all", backwards)
    assert returns(trained / "filtering", 48) == expected


def test_connectors_may_change_the_size_of_observations(trained):
    assert len(returns(trained / "remembering")) == 2
    with pytest.raises(ValueError, match="trained on 4 observations and 2 actions, but this environment has 3 and 1"):
        returns(trained / "remembering", env="Pendulum-v1")


def test_noise_that_depends_on_how_long_was_trained(trained):
    assert returns(trained / "dqn", explore=True) != returns(trained / "dqn")


def test_environments_that_only_this_process_knows(trained):
    """Tune's registry and Gymnasium's: another process plays what was registered here, and so does one without it."""
    tune.register_env("test/Short", Short)
    results = evaluate(trained / "dqn", episodes=2, env="test/Short", workers=1, progress=False)
    assert results.episodes["environment"].unique().tolist() == ["test/Short"]
    gymnasium.register("test/Shorter-v0", lambda **given: Short(given), max_episode_steps=5)
    agent = _load_agent(find(trained / "dqn"), "test/Shorter-v0", {}, False, "learned", None)
    [on_split] = plan(agent, None, 2, 0)
    packed, specs = on_split.pack()
    del gymnasium.registry["test/Shorter-v0"]
    episodes = play_packed(packed, specs)
    close()
    assert on_split.grid.name == "test/Shorter-v0"
    assert [episode.length for episode in episodes] == [5, 5]
