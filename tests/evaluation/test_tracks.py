"""Tracks of episodes: what is recorded, how results keep it, what the report makes of it."""

import contextlib
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import torch
from hierarchy.test_transfer import Follower, Inference, striding

from rllib_sami import envs
from rllib_sami.algorithms.task_inference.networks import InferenceNetworkConfig, InferenceNetworks
from rllib_sami.env_runners.agents import ContextAgent
from rllib_sami.env_runners.episodes import EpisodeSpec, context_steps
from rllib_sami.env_runners.player import Player
from rllib_sami.evaluation import Results, track_tables
from rllib_sami.evaluation.results import join
from rllib_sami.evaluation.tracks import Tracks
from rllib_sami.hierarchy.transfer import StridingEnv
from rllib_sami_cli.evaluate import _say_gains


class Constant:
    """Always does the same and knows nothing of tasks."""

    spaces, explore, contexts = (None, None), False, None

    def __init__(self, *actions):
        self.actions = actions

    def reset(self, episodes, obs):
        pass

    def inferred_tasks(self):
        return None

    def act(self, episodes, live):
        return {index: np.full(1, self.actions[index]) for index in live}


class Learns(Inference):
    """Is wrong about the task before it has seen two strides, and its latent counts what it has seen."""

    @property
    def family(self):
        return "goal+" if len(self.calls) < 3 else "velocity+"

    @family.setter
    def family(self, name):
        pass

    @property
    def latent(self):
        self._latent[:] = len(self.calls)  # in place
        return self._latent

    @latent.setter
    def latent(self, values):
        self._latent = values.copy()


def spec(episode=0, task_id=0):
    return EpisodeSpec("own", task_id, episode, episode, episode)


def play(agent, make_env, number=1, on_step=None):
    with contextlib.closing(Player(lambda slot: make_env())) as player:
        return player.play(agent, [spec(episode) for episode in range(number)], on_step)


# --- What is recorded -----------------------------------------------------------------------------------------------


def test_a_track_of_strides_has_the_body_s_values_and_what_the_toy_s_agent_inferred():
    seen = {0: [], 1: []}

    def look(index, slot):
        seen[index].append(slot.env.unwrapped.quantity("velocity"))

    agent = Constant(-0.6, 0.9)  # strides of 5 and 20 steps
    episodes = play(agent, lambda: striding(Learns(), max_steps=50), 2, look)
    for index, stride in enumerate((5, 20)):
        track = episodes[index].track
        np.testing.assert_array_equal(track.values, seen[index])
        np.testing.assert_array_equal(track.steps, np.append(np.arange(0, 50, stride), 50))
        assert set(track.wanted) == {2.0}
        assert set(track.families) == {"velocity+"}
        assert track.inferred == ["goal+"] * 2 + ["velocity+"] * (len(track.steps) - 2)
        np.testing.assert_array_equal(track.latents, np.arange(1, len(track.steps) + 1)[:, None].repeat(4, axis=1))
        # They are also the contexts that the report draws.
        steps = context_steps(50)
        steps = steps[steps < len(track.steps) - 1]
        assert episodes[index].length == 50
        np.testing.assert_array_equal(episodes[index].contexts[: len(steps), 0], steps + 1)


def test_a_masked_agent_has_no_latents():
    class Masked(Inference):
        masked = True

    with contextlib.closing(Player(lambda slot: striding(Masked(), max_steps=50), single_env=True)) as player:
        episodes = player.play(Constant(0.0), [spec(0), spec(1)])  # one after the other
    for episode in episodes:
        number = len(episode.track.steps)  # of strides, and the start
        assert episode.track.latents.shape == (number, 0)
        assert episode.contexts is None
        assert episode.track.inferred == ["velocity+"] * number


def acting(families, obs_dim=2, **settings):
    sizes = {"actor_hidden": [8], "window": 4, "encoder_hidden_dim": 8, "latent_dim": 3}
    config = InferenceNetworkConfig(**sizes, families=families, **settings)
    torch.manual_seed(0)
    networks = InferenceNetworks(obs_dim, 1, config)
    space = envs.make("Reuse/Toy-v0").action_space
    scale = SimpleNamespace(of_array=lambda actions: actions)
    return SimpleNamespace(acting=networks, scale_actions=scale, observation_space=None, action_space=space)


@pytest.mark.parametrize("stride", [1, 4])
def test_what_a_task_got_to_is_kept_when_another_one_begins(tmp_path, stride):
    """The last step of a task, or the last stride, ends where the next task begins."""
    seen = []

    def make():
        body = envs.make("Reuse/PointMass-v0", tasks=[{"velocity": 2.0}, {"goal": -3.0}], task_steps=4, max_steps=16)
        parts = (body, Follower(), ("goal", "velocity"), envs.make("Reuse/Toy-v0"), Learns())
        return body if stride == 1 else StridingEnv(*parts, fixed_stride=stride)

    def look(index, slot):
        seen.append({name: slot.env.unwrapped.quantity(name) for name in ("goal", "velocity")})

    (episode,) = play(Constant(0.4), make, on_step=look)
    results_of("a", [episode.track]).save(tmp_path)
    found = track_tables.segments(Results.load(tmp_path))
    assert [one.begins for one in found] == [0, 4, 8, 12]
    for number, one in enumerate(found, 1):
        assert one.steps[-1] == 4
        assert one.values[-1] == pytest.approx(seen[4 * number // stride][one.quantity], rel=1e-5)


def test_an_agent_that_knows_families_infers_them_where_nobody_else_does():
    names = ("goal+", "velocity-", "goal-")
    module = acting(names)
    module.acting.family_logits = lambda obs, latent: -latent
    with_no_classifier = play(ContextAgent(acting(()), False), lambda: envs.make("Reuse/Toy-v0", max_steps=5))
    assert set(with_no_classifier[0].track.inferred) == {None}
    agent, told = ContextAgent(module, False), []

    def look(index, slot):
        if slot.length and index == 1:  # families of the observation that was acted on
            told.append((agent.inferred_tasks()[1].family, agent.contexts[1].copy()))

    episodes = play(agent, lambda: envs.make("Reuse/Toy-v0", goal=-3.0, max_steps=30), 2, look)
    track = episodes[1].track
    assert set(track.families) == {"goal-"}
    assert track.inferred[-1] is None  # nobody acted on the last observation
    expected = [names[latent.argmin()] for _, latent in told]
    assert track.inferred[:-1] == expected
    assert expected[0] != "goal+"  # as zeros would be
    np.testing.assert_array_equal(track.latents[:-1], [latent for _, latent in told])
    assert np.isnan(track.latents[-1]).all()
    np.testing.assert_array_equal(track.latents[context_steps(30)], episodes[1].contexts)
    (strides,) = play(ContextAgent(acting(("velocity-",), 3), False), lambda: striding(Learns(), max_steps=10))
    assert strides.track.inferred[0] == "goal+"  # that of the toy's agent


def test_latents_are_in_the_nearest_component_of_the_mixture_that_is_their_prior():
    module = acting(("goal+",), latent_prior="dpmm")
    mixture = module.acting.prior.mixture
    mixture.weights[:2], mixture.means[1], mixture.variances[:2] = 0.5, 2.0, 0.1
    agent = ContextAgent(module, False)
    (episode,) = play(agent, lambda: envs.make("Reuse/Toy-v0", max_steps=6))
    assert set(episode.track.clusters[:-1]) == {0.0}  # a new encoder's latents are near 0
    mixture.means[:2] = mixture.means[:2].flip(0)
    inferred = module.acting.infer_tasks(torch.zeros(2, 2), torch.tensor([[0.1] * 3, [1.9] * 3]))
    assert [one.cluster for one in inferred] == [1, 0]
    (fixed,) = play(ContextAgent(acting(("goal+",)), False), lambda: envs.make("Reuse/Toy-v0", max_steps=6))
    assert np.isnan(fixed.track.clusters).all()


def test_environments_without_families_have_no_track():
    (episode,) = play(Constant(0.1), lambda: envs.make("SaMI/Pendulum-v0", max_steps=3))
    assert episode.track is None


# --- Results --------------------------------------------------------------------------------------------------------


def results_of(run, tracks, environment="Reuse/Striding-v0", split="grid"):
    rows = [
        {"algorithm": "PlainSAC", "run": run, "seed": 0, "env_steps": 1, "context": "learned", "explore": False,
         "environment": environment, "split": split, "task_id": task, "episode": 0, "episode_seed": task,
         "return": -10.0 * task, "length": 4}
        for task in range(len(tracks))
    ]  # fmt: skip
    episodes = [SimpleNamespace(track=track) for track in tracks]
    provenance = {"checkpoints": [{"run": run, "algorithm": "PlainSAC", "path": "/x", "toy": "/toy"}]}
    return Results(pd.DataFrame(rows), None, provenance, tracks=Tracks.of(episodes))


def track_of(family, wanted, values, inferred, steps=None, latents=None, clusters=None, ends=None):
    """``family``, ``wanted`` and ``inferred`` are one for all rows, or one for each."""
    number = len(values)
    families, inferred = ([one] * number if isinstance(one, str | None) else one for one in (family, inferred))
    steps = np.arange(number) if steps is None else np.array(steps)
    return SimpleNamespace(
        values=np.array(values), wanted=np.full(number, wanted), steps=steps, families=families, inferred=inferred,
        clusters=np.full(number, np.nan) if clusters is None else np.array(clusters),
        ends=np.full(number, np.nan) if ends is None else np.array(ends),
        latents=np.zeros((number, 2)) + np.arange(number)[:, None] if latents is None else latents,
    )  # fmt: skip


STRIDES = [0, 4, 12, 13, 16]
SOME = results_of(
    "a",
    [
        track_of("goal+", 4.0, [0, 0, 1, 2, 3.0], [None, "velocity-", "goal+", "velocity-", "goal+"], STRIDES),
        track_of("velocity-", -1.0, [0, -1, -1, -1.1], "velocity-"),
        None,
    ],
)


def test_tracks_are_saved_joined_and_taken_with_their_episodes(tmp_path):
    other = results_of("b", [track_of("apart", 1.0, [0, 1.0, 1.0, 1.0, 1.0], "goal+")], "Reuse/HighLevel-v0")
    both = join([SOME, other])
    assert list(both.tracks.names) == ["apart", "goal+", "velocity-"]
    back = Results.load(both.save(tmp_path / "both"))
    for name, array in vars(both.tracks).items():
        np.testing.assert_array_equal(getattr(back.tracks, name), array)
    families = [one.family for one in track_tables.segments(back)]
    assert families == ["goal+", "velocity-", "apart"]
    assert [list(one.inferred) for one in track_tables.segments(back)][2] == ["goal+"] * 5
    taken = back.take(np.array([3, 1]))
    assert [one.family for one in track_tables.segments(taken)] == ["velocity-", "apart"]
    assert back.take(np.array([2])).tracks is None  # of no episode that is left
    Results(back.episodes).save(tmp_path / "both")  # as results were before there were tracks
    assert not (tmp_path / "both" / "tracks.npz").exists()
    assert Results.load(tmp_path / "both").tracks is None


# --- Numbers --------------------------------------------------------------------------------------------------------


def test_late_errors_are_weighted_by_steps_and_families_count_where_one_was_inferred():
    first, second = track_tables.segments(SOME)
    # The last quarter of 16 steps are a stride of 1, with an error of a half, and one of 3, with a quarter.
    assert first.late_error() == pytest.approx((0.5 + 3 * 0.25) / 4)
    assert track_tables.strides([first]).tolist() == [4, 8, 1, 3]
    assert second.late_error() == pytest.approx(0.1, abs=1e-6)
    table = track_tables.per_quantity(track_tables.by_task(SOME)).set_index("quantity")
    assert table.loc["goal", ["episodes", "success", "error"]].tolist() == [1, 0.0, 0.3125]
    assert table.loc["velocity", ["episodes", "success", "return"]].tolist() == [1, 1.0, -10.0]
    assert table["right"].tolist() == pytest.approx([2 / 4, 1.0])
    since = track_tables.since_change([first]).set_index("steps")["error"]
    assert since[[3, 4, 11, 12, 15, 16]].tolist() == [1.0, 1.0, 1.0, 0.75, 0.5, 0.25]
    confusion = track_tables.confusion([first, second])
    assert confusion.loc["goal+"].tolist() == [2 / 3, 1 / 3]  # after 8 of the 16 steps
    assert confusion.loc["velocity-"].tolist() == [0.0, 1.0]


def changing():
    """Two tasks of 3 and 4 steps; the second one begins where the first one ends."""
    values, wanted = [0, 1.0, 2.0, 2.0, 1.0, 0.0, -1.0, -1.0], np.array([2.0] * 3 + [-1.0] * 5)
    families = ["goal+"] * 3 + ["velocity-"] * 5
    return track_of(families, wanted, values, ["goal+"] * 5 + ["velocity-"] * 3)


def test_a_task_that_changes_is_two_tasks():
    results = results_of("a", [changing()])
    first, second = track_tables.segments(results)
    assert (first.begins, second.begins, list(second.steps)) == (0, 3, [0, 1, 2, 3, 4])
    assert second.late_error() == 0.0
    since = track_tables.since_change([first, second]).set_index("steps")
    assert since.loc[0, ["error", "right"]].tolist() == [(1.0 + 3.0) / 2, 0.5]
    assert since.loc[4, ["error", "right"]].tolist() == [0.0, 1.0]
    assert track_tables.per_quantity(track_tables.by_task(results))["episodes"].tolist() == [1, 1]


def test_shown_are_three_tasks_of_each_family_of_the_grid():
    tracks = [track_of("goal+", float(value), [0.0, 1.0], "goal+") for value in (5, 1, 2, 4, 3)]
    grid, test = results_of("a", tracks), results_of("a", tracks[:1], split="test")
    both = join([grid, test])
    found = track_tables.segments(both)
    assert [one.wanted for one in track_tables.chosen(both, found)] == [1.0, 3.0, 5.0]
    assert track_tables.shown_split(both, found) == "grid"


def test_zeros_do_not_take_the_place_of_another_agent_s_latents():
    results = results_of("a", [track_of("goal+", 1.0, [0.0, 1.0], "goal+")])
    results.contexts = SimpleNamespace(values=np.ones((1, 2, 4)))
    _say_gains(results, play=None)  # it cannot be played with zeros


# --- Pictures -------------------------------------------------------------------------------------------------------


def test_each_step_of_a_stride_is_filmed_with_what_is_inferred(tmp_path):
    from rllib_sami.evaluation import video

    lines = []

    class Grid:
        def player(self, **render):
            env = striding(Learns(), max_steps=20, fixed_stride=8)
            body = env.unwrapped
            body.render_mode = "rgb_array"
            body.render = lambda: (lines.append(list(body.notes)), np.zeros((32, 32, 3), np.uint8))[1]
            return Player(lambda slot: env, single_env=True)

    class OnSplit:
        grid = Grid()

        def agent(self):
            return Constant(0.0)

    files = {1: tmp_path / "film.mp4"}
    on_split = OnSplit()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video.cloudpickle, "loads", lambda packed: on_split)
        patch.setattr(video, "open_packed", lambda packed: (on_split.agent(), None))
        video._film(b"", [spec(0), spec(1), spec(2)], files, {})
    frames = imageio_ffmpeg.read_frames(str(files[1]))
    next(frames)
    assert sum(1 for _ in frames) == 21  # the start and 20 steps, in three strides, of one of the three episodes
    assert len(lines) == 21
    expected = [
        ["inferred: goal+"],
        *[["inferred: goal+", "stride: 8"]] * 16,
        *[["inferred: velocity+", "stride: 8"]] * 4,
    ]
    assert lines == expected


def test_sections_draw_what_tracks_have():
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    from rllib_sami.evaluation.sections import tracking as sections

    toy = results_of("toy", [track_of("goal+", 2.0, [0, 1, 2.0], "goal+")] * 3, "Reuse/Toy-v0")
    toy.provenance["checkpoints"] = [{"run": "toy", "algorithm": "TaskInference", "path": "/toy"}]
    both = join([SOME, toy])
    plots = {plot.name: plot for make in (sections.tracking, sections.inference) for plot in make(both).plots}
    assert set(plots) == {
        "trajectories_plainsac_striding", "trajectories_plainsac_toy", "since_change_striding", "since_change_toy",
        "errors_striding", "errors_toy", "strides", "families", "latents_pca", "latents_tsne",
    }  # fmt: skip
    axes = {name: plot.draw().axes for name, plot in plots.items()}
    assert [axis.get_ylabel() for axis in axes["trajectories_plainsac_striding"]] == ["place (m)", "velocity (m/s)"]
    path, wanted = axes["trajectories_plainsac_striding"][0].lines
    np.testing.assert_array_equal(path.get_xydata(), np.transpose([STRIDES, [0, 0, 1, 2, 3]]))
    assert set(wanted.get_ydata()) == {4.0}
    assert [axis.get_title() for axis in axes["latents_pca"]] == ["PlainSAC on Striding", "PlainSAC on Toy"]
    assert len({axis.get_xlim() for axis in axes["latents_pca"]}) == 1
    boxes = axes["errors_striding"]
    assert [axis.get_title() for axis in boxes] == ["goal", "velocity"]
    assert [boxes[0].lines[4].get_xdata()[0], boxes[1].lines[4].get_xdata()[0]] == pytest.approx([0.3125, 0.1])
    [strides] = axes["strides"]
    assert [bar.get_height() for bar in strides.patches][7] == pytest.approx(1 / 7)
    for plot in plots.values():
        plot.draw(style="dark")
    [table] = sections.tracking(both).tables
    assert table.columns[-4:] == ["within 25 %", "median error", "mean return", "right family"]

    for width in (2, 0):
        nothing = results_of("a", [track_of("goal+", 2.0, [0, 1, 2.0], None, latents=np.full((3, width), np.nan))])
        assert sections.inference(nothing).empty
        assert "right family" not in sections.tracking(nothing).tables[0].columns
        for plot in sections.tracking(nothing).plots:
            plot.draw()

    latents = np.random.default_rng(0).normal(size=(9, 2))
    families = ["goal+"] * 7 + ["goal-"] * 2
    both = [track_of(families, np.where(np.arange(9) < 7, 2.0, -2.0), np.zeros(9), "goal+", latents=latents,
                     clusters=[np.nan] * 4 + [3, 3, 5, 3, 3])]  # fmt: skip
    [first, second] = track_tables.segments(results_of("a", both))
    assert track_tables.clusters([first, second]) == (2, 0.75)
    assert np.isnan(track_tables.clusters(track_tables.segments(SOME))[1])
    plots = {plot.name: plot for plot in sections.inference(results_of("a", both)).plots}
    assert plots["clusters"].caption.endswith(
        "PlainSAC on Striding: 2 clusters, in which 75.0% are of their cluster's most frequent family."
    )
    shades = plots["clusters"].draw().axes[0].collections[0].get_facecolors()
    assert len({tuple(shade) for shade in shades}) == 2

    [_, changes, _] = sections.tracking(results_of("a", [changing()])).plots
    assert changes.name == "changes_plainsac_striding"
    latents, values = changes.draw(style="dark").axes
    assert len(latents.lines) == 2 + 2  # two latents, and where both tasks begin
    assert [line.get_xydata()[-1].tolist() for line in values.lines[::2]] == [[2.0, 2.0], [7.0, -1.0]]
