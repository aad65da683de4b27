"""Pictures: the right task's colours and shapes, the task in words, and what is missing said in one sentence."""

import copy
import os
import pickle
import shutil
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled

from rllib_sami import envs
from rllib_sami.envs import rendering
from rllib_sami.envs.factors import Factor, PartsFactor, VectorFactor
from rllib_sami.envs.tasks import parse_task
from rllib_sami.envs.text import describe, describe_task, write_lines

PARTS = PartsFactor(parts=("hip", "knee", "ankle"))


def vector(size):
    return VectorFactor("scales", components=tuple(f"body_{index}" for index in range(size)))


@pytest.fixture
def cheetah(opengl):
    env = envs.make("SaMI/CrippledHalfCheetah-v0", render_mode="rgb_array", width=200, height=160)
    yield env
    env.close()


def red(image):
    """Mask of the pixels that only a crippled part has."""
    return (image[..., 0] > 50) & (image[..., 1:].max(axis=2) < 0.35 * image[..., 0])


def picture(env, **task):
    env.reset(seed=0, options={"task": task})
    return env.render()


def run_python(code, **variables):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    return subprocess.run(
        [sys.executable, "-c", code], env={**environment, **variables}, capture_output=True, text=True, timeout=300
    )


def test_pictures_follow_the_task(cheetah):
    plain = picture(cheetah)
    assert plain.shape == (160, 200, 3)
    assert plain.dtype == np.uint8
    assert plain.flags.c_contiguous
    assert plain.flags.writeable
    assert not red(plain).any()
    front, back = picture(cheetah, cripple=3), picture(cheetah, cripple=0)
    assert red(front).sum() > 30
    # The front leg is on the right of the picture, the back leg on the left.
    assert np.nonzero(red(front))[1].min() > np.nonzero(red(back))[1].max()
    np.testing.assert_array_equal(picture(cheetah), plain)


def test_pictures_follow_edits_and_another_model(cheetah):
    plain = picture(cheetah)
    cheetah.model.geom_size[1:] *= 1.5
    thick = cheetah.render()
    assert (thick != plain).any(axis=2).mean() > 0.01

    model, data = copy.copy(cheetah.model), copy.copy(cheetah.data)
    model.geom_rgba[1:] = (0.8, 0.1, 0.1, 1.0)
    cheetah.model, cheetah.data = model, data
    assert red(cheetah.render()).sum() > 200


def test_the_camera_follows_the_robot(cheetah):
    picture(cheetah, cripple=(0, 3))
    cheetah.model.mat_reflectance[:] = 0.0  # which depends on the square of the floor
    near = red(cheetah.render())
    cheetah.data.qpos[0] += 500.0
    mujoco.mj_forward(cheetah.model, cheetah.data)
    far = red(cheetah.render())
    assert near.sum() == pytest.approx(far.sum(), rel=0.1)
    np.testing.assert_allclose(np.mean(np.nonzero(near), axis=1), np.mean(np.nonzero(far), axis=1), atol=2.0)


def test_several_renderers_closing_and_copies(opengl):
    one = envs.make("SaMI/HalfCheetah-v0", render_mode="rgb_array", width=64, height=64)
    other = envs.make("SaMI/Ant-v0", render_mode="rgb_array", width=900, height=700)  # beyond MuJoCo's default buffer
    first = picture(one)
    assert picture(other).shape == (700, 900, 3)
    assert picture(other)[-1].std() > 5.0  # the floor, down to the last row
    np.testing.assert_array_equal(one.render(), first)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.render(), first)
    again.close()  # the context that was the present one
    np.testing.assert_array_equal(one.render(), first)
    one.close()
    one.close()
    np.testing.assert_array_equal(picture(one), first)
    for env in (one, other):
        env.close()


@pytest.mark.parametrize("env_id", ["SaMI/CartPole-v0", "SaMI/Pendulum-v0", "SaMI/HalfCheetah-v0"])
def test_the_task_is_written_into_the_picture_on_request(env_id, request):
    if env_id == "SaMI/HalfCheetah-v0":
        request.getfixturevalue("opengl")
    plain, labelled = (envs.make(env_id, render_mode="rgb_array", render_task=flag) for flag in (False, True))
    changed = []
    for value in (0.5, 1.5):
        task = {plain.factors[1].name: value}
        before, after = picture(plain, **task), picture(labelled, **task)
        different = (before != after).any(axis=2)
        rows, columns = np.nonzero(different)
        assert 0.01 < different.mean() < 0.3
        assert rows.max() < 0.5 * len(before)
        assert columns.max() < 0.75 * before.shape[1]
        assert (after[different] > 200).any()  # letters
        changed.append(after[: rows.max()])
    assert changed[0].shape != changed[1].shape or (changed[0] != changed[1]).any()
    for env in (plain, labelled):
        env.close()


@pytest.mark.parametrize(
    ("factor", "value", "words"),
    [
        (Factor("mass_scale"), 0.85, "0.85"),
        (Factor("mass_scale"), 1.0, "1"),
        (Factor("mass_scale"), 1.23456789, "1.235"),
        (PARTS, (), "none"),
        (PARTS, (1,), "1 knee"),
        (PARTS, (0, 2), "0 hip + 2 ankle"),
        (vector(2), (0.0, -1.5), "(0, -1.5)"),
        (vector(7), (0.31, 1.0, 2.0, 3.2, 1.0, 1.0, 1.0), "7 numbers 0.31…3.2"),
        (vector(7), (1.0,) * 7, "7 × 1"),
        (vector(2), (1.0, 1.0), "(1, 1)"),
    ],
)
def test_values_in_words(factor, value, words):
    assert describe(factor, value) == words


def test_tasks_in_words():
    task = parse_task((Factor("mass_scale"), PARTS), {"mass_scale": 1.75, "cripple": 2})
    assert describe_task(task) == ["mass scale: 1.75", "cripple: 2 ankle"]


def test_long_lines_shrink_to_fit():
    image = np.full((100, 120, 3), 255, dtype=np.uint8)
    written = write_lines(image, ["a line that would be much longer than the picture is wide"])
    assert (image == 255).all()
    different = np.nonzero((written != 255).any(axis=2))[1]
    assert 100 < different.max() < 119
    np.testing.assert_array_equal(write_lines(image, []), image)


@pytest.mark.parametrize(
    ("variables", "tried"),
    [
        ({}, ["egl", "osmesa"]),
        ({"DISPLAY": ":0"}, ["glfw", "egl", "osmesa"]),
        ({"MUJOCO_GL": "osmesa", "DISPLAY": ":0"}, ["osmesa"]),
        ({"MUJOCO_GL": "EGL"}, ["egl"]),
        ({"MUJOCO_GL": "on"}, ["egl", "osmesa"]),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is GLFW alone")
def test_backends_are_tried_in_order_and_the_users_wins(variables, tried, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    seen = []
    monkeypatch.setattr(rendering, "_works", lambda name: seen.append(name))
    rendering._first_working.cache_clear()
    with pytest.raises(DependencyNotInstalled) as error:
        rendering.opengl_backend()
    assert seen == tried
    assert str(error.value) == f"No OpenGL: {' and '.join(tried)} cannot be used here. {rendering.HEADLESS}"
    for best in tried:
        monkeypatch.setattr(rendering, "_works", lambda name, best=best: name == best)
        assert rendering.opengl_backend() == best
        rendering._first_working.cache_clear()


RENDER = """
import sys
sys.modules["ray"] = None  # the environments alone load much faster
from rllib_sami import envs
env = envs.make("SaMI/Hopper-v0", render_mode="rgb_array", width=64, height=64)
env.reset(seed=0)
print(env.render().std() > 5)
"""


def test_a_missing_library_is_reported_in_one_sentence():
    # As if nothing but GLX were there: MuJoCo's EGL and OSMesa then refuse.
    finished = run_python(RENDER, PYOPENGL_PLATFORM="glx")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].endswith(rendering.HEADLESS)
    assert "During handling" not in finished.stderr


def test_an_egl_without_driver_falls_back_to_osmesa():
    finished = run_python(RENDER, __EGL_VENDOR_LIBRARY_DIRS="/nowhere")
    if finished.returncode:
        assert finished.stderr.splitlines()[-1].endswith(rendering.HEADLESS)
        pytest.skip(f"no OSMesa here: {finished.stderr}")
    assert finished.stdout == "True\n"


def test_a_renderer_left_open_ends_quietly(opengl):
    finished = run_python(RENDER)
    assert (finished.stdout, finished.stderr) == ("True\n", "")


def test_a_window_needs_a_display(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if rendering.has_display():
        pytest.skip("windows need no variable here")
    with pytest.raises(DependencyNotInstalled, match="rgb_array") as error:
        envs.make("SaMI/Ant-v0", render_mode="human").reset(seed=0)
    assert rendering.HEADLESS in str(error.value)


WINDOW = """
import sys
sys.modules["ray"] = None
import glfw, numpy as np, mujoco
from rllib_sami import envs
env = envs.make("SaMI/CrippledHalfCheetah-v0", render_mode="human", render_task=True, width=320, height=240)
shown = []
for cripple in (0, 3):
    env.reset(seed=0, options={"task": {"cripple": cripple}})
    env.step(env.action_space.high)
    assert env.render() is None
    viewer = env._renderer._viewer
    image = np.empty((240, 320, 3), dtype=np.uint8)
    mujoco.mjr_readPixels(image, None, viewer.viewport, viewer.con)
    shown.append(image)
assert shown[0].std() > 5 and (shown[0] != shown[1]).any()
env.close()
print("shown")
"""


@pytest.mark.skipif(not shutil.which("xvfb-run"), reason="needs xvfb-run")
def test_a_window_shows_the_robot(opengl):
    finished = subprocess.run(
        ["xvfb-run", "-a", "-s", "-screen 0 800x600x24", sys.executable, "-c", WINDOW],
        env={name: value for name, value in os.environ.items() if name != "MUJOCO_GL"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.stdout.endswith("shown\n"), finished.stderr
