"""Images of MuJoCo models: off screen, with or without a display, and in a window."""

import atexit
import functools
import importlib
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

import mujoco
import numpy as np
from gymnasium.error import DependencyNotInstalled

HEADLESS = (
    "Rendering without a display needs EGL or OSMesa; on Debian and Ubuntu: `apt-get install libegl1 libgl1` (EGL, "
    "which uses the GPU where there is one) or `apt-get install libosmesa6` (OSMesa)."
)
"""What headless rendering needs; the documentation has the same sentence."""

NO_DISPLAY = 'render_mode="human" opens a window, which needs a display; use "rgb_array" without one.'

# Tries a backend, in a process of its own: PyOpenGL keeps the first platform of a process until the process ends.
_PROBE = """
import importlib, os, sys, mujoco
context = importlib.import_module(f"mujoco.{sys.argv[1]}").GLContext(8, 8)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), mujoco.mjtFontScale.mjFONTSCALE_100)
os._exit(0)
"""


def has_display() -> bool:
    """Returns whether windows can be opened, judging by the environment variables."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def opengl_backend() -> str:
    """Returns the first backend that works: ``MUJOCO_GL`` if set, else GLFW with a display, EGL, OSMesa.

    Raises:
        DependencyNotInstalled: None works.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen in ("", "1", "enable", "enabled", "on", "true"):
        return _first_working(("glfw",) * has_display() + ("egl", "osmesa") * (sys.platform == "linux"))
    return _first_working((chosen,))


@functools.cache
def _first_working(names: tuple[str, ...]) -> str:
    for name in names:
        if _works(name):
            return name
    raise DependencyNotInstalled(f"No OpenGL: {' and '.join(names)} cannot be used here. {HEADLESS}")


def _works(name: str) -> bool:
    """Returns whether a fresh process can draw with this backend."""
    environment = {**os.environ, "MUJOCO_GL": name}
    probe = [sys.executable, "-c", _PROBE, name]
    try:
        return subprocess.run(probe, env=environment, capture_output=True, timeout=60, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class OffScreen:
    """Draws images of a model's state; one OpenGL context, freed by ``close`` or with the object."""

    _open: ClassVar["weakref.WeakSet[OffScreen]"] = weakref.WeakSet()

    def __init__(
        self, model: mujoco.MjModel, camera: Mapping[str, float] | str, width: int, height: int, *, plain: bool = False
    ):
        """Opens the context.

        Args:
            model: Any of the models that will be drawn; they all have its textures and meshes.
            camera: Attributes of a camera that follows the first body, or the name of one of the model's.
            width: Of the images, in pixels.
            height: Of the images, in pixels.
            plain: Draws without shadows, reflections and smooth edges, which hardly show in small images and take nine
                tenths of the time without a GPU.

        Raises:
            DependencyNotInstalled: OpenGL does not work here.
        """
        self._context = importlib.import_module(f"mujoco.{opengl_backend()}").GLContext(width, height)
        self._context.make_current()
        model.vis.global_.offwidth, model.vis.global_.offheight = width, height
        # Finer shadows are not visible at such sizes, and double the time without a GPU.
        model.vis.quality.shadowsize = min(model.vis.quality.shadowsize, 1024)
        samples = model.vis.quality.offsamples
        if plain:
            model.vis.quality.offsamples = 0
        self._buffers = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        model.vis.quality.offsamples = samples  # for other images of the same model
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._buffers)
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        for effect in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION) if plain else ():
            self._scene.flags[effect] = False
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        if isinstance(camera, str):
            self._camera.type, self._camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, model.camera(camera).id
        else:
            follow(self._camera, camera)
        self._viewport = mujoco.MjrRect(0, 0, width, height)
        # At exit, close contexts before the backend cleans up, which they must not outlive.
        OffScreen._open.add(self)
        atexit.unregister(_close_all)
        atexit.register(_close_all)

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        """Returns an image ``[height, width, 3]`` uint8 of ``data``, with the colours and shapes of ``model``."""
        self._context.make_current()  # other environments have contexts too
        mujoco.mjv_updateScene(model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        image = np.empty((self._viewport.height, self._viewport.width, 3), dtype=np.uint8)
        mujoco.mjr_render(self._viewport, self._scene, self._buffers)
        mujoco.mjr_readPixels(image, None, self._viewport, self._buffers)
        return image[::-1].copy()  # OpenGL's first row is the lowest

    def close(self) -> None:
        """Frees the context."""
        if getattr(self, "_buffers", None) is not None:
            self._context.make_current()
            self._buffers.free()
            self._buffers = None
            self._context.free()

    __del__ = close


def _close_all() -> None:
    for renderer in list(OffScreen._open):
        renderer.close()


class Window:
    """A window that shows a model's state, with Gymnasium's keys and menus."""

    def __init__(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: Mapping[str, float], width: int, height: int
    ):
        """Opens the window; the arguments are those of ``OffScreen``.

        Raises:
            DependencyNotInstalled: There is no display.
        """
        if not has_display():
            raise DependencyNotInstalled(f"{NO_DISPLAY} {HEADLESS}")
        from gymnasium.envs.mujoco.mujoco_rendering import WindowViewer  # late: it loads GLFW

        self._viewer: Any = WindowViewer(model, data, width, height)
        follow(self._viewer.cam, camera)

    def show(self, model: mujoco.MjModel, data: mujoco.MjData, lines: list[str]) -> None:
        """Shows ``data``, with lines of text in the upper right corner."""
        viewer = self._viewer
        viewer.model, viewer.data = model, data
        viewer.make_context_current()
        for line in lines:
            viewer.add_overlay(mujoco.mjtGridPos.mjGRID_TOPRIGHT, line, "")
        viewer.render()

    def close(self) -> None:
        """Closes the window."""
        self._viewer.free()


def follow(camera: Any, settings: Mapping[str, float]) -> Any:
    """Makes a camera follow the first body, with the ``settings`` distance, azimuth and elevation."""
    camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
    for name, value in settings.items():
        setattr(camera, name, value)
    return camera
