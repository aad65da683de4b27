"""What skills are worth: how much of space they cover, and whether they reach goals that they were not trained for."""

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array
from gymnasium.wrappers import AddRenderObservation, FrameStackObservation
from ray.util.debug import log_once

from rllib_sami import compat
from rllib_sami.algorithms.base.split_episodes import evaluation_seed, no_episodes
from rllib_sami.core.env_values import flat_observation, name_of, reset_of
from rllib_sami.core.faults import closing
from rllib_sami.core.images import row_dtype
from rllib_sami.core.metric_names import RETURN_MEAN, SUCCESS_RATE
from rllib_sami.env_runners.episodes import Episode, EpisodeSpec, Goal, coordinates_of, episode_seed, max_episode_steps
from rllib_sami.env_runners.splits import SplitGrid

logger = logging.getLogger(__name__)
SKILLS, GOALS = "skills", "goals"  # what evaluation plays, in place of an environment's splits
CELL_SIZE, GOAL_RADIUS = 1.0, 3.0  # where an environment has no other
CLOSE = 1 / 3  # of the goal's radius

COVERAGE, END_DISTANCE, RETURN_MAX = "state_coverage", "end_distance", "return_max"
STAYING_TIME, STAYING_CLOSE, FINAL_DISTANCE = "staying_time", "staying_time_close", "final_distance"
METRICS = {
    SKILLS: (COVERAGE, END_DISTANCE, RETURN_MEAN, RETURN_MAX),
    GOALS: (STAYING_TIME, STAYING_CLOSE, SUCCESS_RATE, FINAL_DISTANCE),
}


@dataclasses.dataclass(frozen=True)
class SkillGrid(SplitGrid):
    """The episodes of one part of an evaluation of skills."""

    cell_size: float = CELL_SIZE
    goal_radius: float = GOAL_RADIUS


def skill_grids(
    config: Any, wanted: Sequence[str] | None, num_skills: int, num_goals: int, seed: int
) -> list[SplitGrid]:
    """Returns the episodes that an evaluation plays.

    Args:
        config: Of a skill discovery algorithm, with the environment.
        wanted: ``"skills"``, ``"goals"`` or both; None for what environment and method have.
        num_skills: Skills to play, one episode each.
        num_goals: Goals to reach.
        seed: Seed of the evaluation.

    Raises:
        ValueError: A part of the evaluation that was asked for is impossible.
    """
    grid, prior, method = SkillGrid(name_of(config.env), config), config.prior, config.method
    with closing(grid.make_env(), grid.name) as env:
        space = env.observation_space
        _, info = reset_of(env.reset(seed=seed))
        has_coordinates = coordinates_of(env, info) is not None
        if not has_coordinates and log_once(f"{grid.name} without coordinates"):
            logger.warning(
                "%r tells no coordinates, so evaluation cannot say what skills cover. Give it an attribute "
                "`coordinates`, or put them into its infos: info['coordinates'] = [x, y].",
                grid.name,
            )
        parts = _parts(env, method, wanted, has_coordinates, grid.name)
        grid = dataclasses.replace(
            grid,
            max_episode_steps=max_episode_steps(env),
            cell_size=float(_attribute(env, "cell_size", CELL_SIZE)),
            goal_radius=float(_attribute(env, "goal_radius", GOAL_RADIUS)),
        )
        grids: list[SplitGrid] = []
        if SKILLS in parts:
            skills = prior.spread(np.random.default_rng([seed, 0]), num_skills)
            specs = [_spec(SKILLS, number, seed, skill=skill) for number, skill in enumerate(skills)]
            grids.append(dataclasses.replace(grid, split=SKILLS, episodes=specs))
        if GOALS in parts and num_goals:
            rng, shape = np.random.default_rng([seed, 1]), (gymnasium.spaces.flatdim(space),)
            sample = _goal_sampler(env)
            specs = []
            for number in range(num_goals):
                obs, coordinates = sample(rng)
                flat = flat_observation(obs, space, shape, row_dtype(space)).copy()
                goal = Goal(flat, np.array(coordinates, np.float64).reshape(-1))
                specs.append(_spec(GOALS, number, seed, goal=goal))
            grids.append(dataclasses.replace(grid, split=GOALS, episodes=specs))
    return grids


def _parts(
    env: gymnasium.Env, method: Any, wanted: Sequence[str] | None, has_coordinates: bool, name: Any
) -> list[str]:
    """Returns the parts of an evaluation that are possible; those that were asked for must be."""
    if wanted and (unknown := set(wanted) - METRICS.keys()):
        raise ValueError(
            f"{min(unknown)!r} is no part of an evaluation of skills: it plays {SKILLS!r} and {GOALS!r} "
            "(`evaluation_splits`, --split)."
        )
    reasons = {}
    if not method.finds_skills_for_goals:
        reasons[GOALS] = f"{type(method).__name__.removesuffix('Method')} finds no skill for a goal"
    elif not env.has_wrapper_attr("sample_goal"):
        reasons[GOALS] = (
            f"{name!r} has no method `sample_goal(rng)`, which returns the observation and coordinates of one"
        )
    elif not has_coordinates:
        reasons[GOALS] = f"{name!r} tells no coordinates"
    elif (between := _opaque_wrapper(env)) is not None:
        reasons[GOALS] = f"{type(between).__name__} changes observations in a way that goals cannot be changed in"
    elif not _draws_goals(env):
        reasons[GOALS] = (
            "AddRenderObservation draws the body where it is, but `sample_goal` leaves it elsewhere than at the goal"
        )
    for part in wanted or ():
        if part in reasons:
            raise ValueError(
                f"{part!r} cannot be played: {reasons[part]}. Leave it out (`evaluation_splits`, --split)."
            )
    return [part for part in wanted or METRICS if part not in reasons]


def _wrappers_around_goals(env: gymnasium.Env) -> list[gymnasium.Wrapper]:
    """The wrappers around the environment that samples goals, from the inside out."""
    found: list[gymnasium.Wrapper] = []
    while "sample_goal" not in dir(type(env)) and isinstance(env, gymnasium.Wrapper):
        found.insert(0, env)
        env = env.env
    return found


def _opaque_wrapper(env: gymnasium.Env) -> gymnasium.Wrapper | None:
    """Returns a wrapper that changes observations in an unknown way; None if there is none."""
    for wrapper in _wrappers_around_goals(env):
        changes = wrapper.observation_space != wrapper.env.observation_space
        if changes and not isinstance(wrapper, gymnasium.ObservationWrapper | FrameStackObservation):
            return wrapper
    return None


def _draws_goals(env: gymnasium.Env) -> bool:
    """Whether wrappers that draw pictures draw a goal's: they do if sampling a goal moves the body there."""
    if not any(isinstance(wrapper, AddRenderObservation) for wrapper in _wrappers_around_goals(env)):
        return True
    _, goal = env.get_wrapper_attr("sample_goal")(np.random.default_rng(0))
    here = coordinates_of(env, {})
    return here is not None and np.allclose(here, np.reshape(goal, -1), atol=1e-3)


def _goal_sampler(env: gymnasium.Env) -> Callable[[np.random.Generator], tuple[Any, Any]]:
    """Returns ``sample_goal``, whose observations go through the wrappers as those of the policy do."""
    sample = env.get_wrapper_attr("sample_goal")
    wrappers = _wrappers_around_goals(env)

    def sample_goal(rng: np.random.Generator) -> tuple[Any, Any]:
        obs, coordinates = sample(rng)
        for wrapper in wrappers:
            if isinstance(wrapper, gymnasium.ObservationWrapper):
                obs = wrapper.observation(obs)
            elif isinstance(wrapper, FrameStackObservation):  # a goal does not move
                space, size = wrapper.env.observation_space, wrapper.stack_size
                obs = concatenate(space, [obs] * size, create_empty_array(space, size))
        return obs, coordinates

    return sample_goal


def _attribute(env: gymnasium.Env, name: str, default: float) -> Any:
    return env.get_wrapper_attr(name) if env.has_wrapper_attr(name) else default


def _spec(part: str, number: int, seed: int, **more: Any) -> EpisodeSpec:
    own_seed = episode_seed(seed, part, 0, number)
    return EpisodeSpec(part, None, number, own_seed, own_seed, **more)


def grids_in_training(config: Any) -> list[SplitGrid]:
    """The episodes of evaluation during training; an empty list where RLlib's own evaluation takes place.

    Raises:
        ValueError: They are impossible.
    """
    if not config.can_evaluate_splits or config.evaluation_splits == []:
        return []
    evaluation, number = config.get_evaluation_config_object(), config.evaluation_duration
    if config.evaluation_duration_unit != "episodes" or not isinstance(number, int):
        raise ValueError(
            f"`evaluation_duration` is {number!r} {config.evaluation_duration_unit}, but must be the number of skills "
            "to play. Set `evaluation_duration_unit` to 'episodes' and `evaluation_duration` to an integer such as 48, "
            "or `evaluation_splits` to [] for RLlib's own evaluation."
        )
    seed = evaluation_seed(config)
    return skill_grids(evaluation, config.evaluation_splits, number, config.evaluation_goals, seed)


# --- Metrics --------------------------------------------------------------------------------------------------------


def coverage(paths: Iterable[np.ndarray], cell_size: float) -> int:
    """Number of different cells of space that paths ``[T + 1, k]`` visit."""
    return len(np.unique(np.floor(np.concatenate([*paths]) / cell_size), axis=0))


def distances(episode: Episode) -> np.ndarray:
    """Distances ``[T]`` to the episode's goal after each step."""
    path, goal = episode.path, episode.spec.goal
    assert path is not None
    assert goal is not None
    return np.linalg.norm(path[1:] - goal.coordinates, axis=-1)


def reached(grid: Any, episode: Episode) -> bool:
    """Whether an episode came near its goal at any time."""
    return episode.path is not None and bool((distances(episode) < grid.goal_radius).any())


def summarise(grids: Sequence[Any], episodes: Iterable[Episode], before: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is reported under ``evaluation/``; without episodes, NaN for each number.

    Args:
        grids: What was played.
        episodes: All episodes.
        before: Results of the evaluation before it, or those without episodes.
    """
    played, results = [*episodes], {}
    for grid in grids:
        results[grid.split] = dict.fromkeys(METRICS[grid.split], math.nan)
        if of_part := [episode for episode in played if episode.spec.split == grid.split]:
            results[grid.split] |= (of_skills if grid.split == SKILLS else of_goals)(grid, of_part)
    env_runners = compat.evaluated_episodes(
        [episode.total for episode in played],
        [episode.length for episode in played],
        before.get(compat.ENV_RUNNER_RESULTS, {}),
    )
    results[compat.ENV_RUNNER_RESULTS] = {**no_episodes(), **env_runners}
    return results


def of_skills(grid: SkillGrid, episodes: Sequence[Episode]) -> dict[str, float]:
    """Coverage, mean distance between start and end, and returns."""
    paths = [episode.path for episode in episodes if episode.path is not None]
    returns = [episode.total for episode in episodes]
    found = {RETURN_MEAN: float(np.mean(returns)), RETURN_MAX: float(np.max(returns))}
    if paths:
        ends = [np.linalg.norm(path[-1] - path[0]) for path in paths]
        found |= {COVERAGE: float(coverage(paths, grid.cell_size)), END_DISTANCE: float(np.mean(ends))}
    return found


def of_goals(grid: SkillGrid, episodes: Sequence[Episode]) -> dict[str, float]:
    """Share of steps near the goal, share of goals that were reached at any time, and mean distance at the end."""
    away = [distances(episode) for episode in episodes if episode.path is not None]
    if not away:
        return {}
    return {
        STAYING_TIME: float(np.mean([(one < grid.goal_radius).mean() for one in away])),
        STAYING_CLOSE: float(np.mean([(one < CLOSE * grid.goal_radius).mean() for one in away])),
        SUCCESS_RATE: float(np.mean([(one < grid.goal_radius).any() for one in away])),
        FINAL_DISTANCE: float(np.mean([one[-1] for one in away])),
    }
