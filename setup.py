"""Package metadata: the one place where name, version, dependencies and entry points are kept."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

EXTRAS = {
    # Panda arm environments (PyBullet has no wheel for every Python version, hence optional).
    "panda": ["panda-gym>=3.0.7"],
    # Models of environments for skill discovery: Quadruped and Humanoid; Kitchen; BinPicking.
    "dm-control": ["dm_control>=1.0.43; python_version<'3.13'"],  # its labmaze has no wheel for later versions
    "robotics": ["gymnasium-robotics>=1.4.2"],
    "metaworld": ["metaworld>=3.0.0"],
    # The model of Manipulation/Scene, and the oracles that play in it. It needs dm_control.
    "ogbench": ["ogbench>=1.2.2; python_version<'3.13'"],
    # Formats of other packages that `rllib data convert` reads.
    "data": ["h5py>=3.10", "minari>=0.5"],
    # Figures and tables of the zero-shot report.
    "report": ["matplotlib>=3.8", "scikit-learn>=1.4", "imageio-ffmpeg>=0.5", "Jinja2>=3.1"],
    # Tests of the report's page; they take the Chromium that is installed.
    "browser": ["playwright>=1.45"],
    # Searches whose settings Optuna proposes.
    "search": ["optuna>=4"],
    # Modules as ONNX; their test runs where these are installed.
    "onnx": [f"{name}; python_version>='3.11'" for name in ("onnx>=1.17", "onnxscript>=0.2", "onnxruntime>=1.20")],
    "docs": ["mkdocs-material>=9.5"],
    "dev": [
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.6",
        "mypy>=1.11",
        "import-linter>=2.5",
        "types-PyYAML",
        "msgpack-numpy>=0.4.8",
    ],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})

setup(
    name="rllib-sami",
    version="0.1.0",
    description="Skill-aware Mutual Information (SaMI) for Ray RLlib: one policy, many tasks, different skills.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=[
        *find_packages(include=["rllib_sami", "rllib_sami.*", "rllib_sami_cli"]),
        *(f"rllib_sami.{name}" for name in find_packages(include=["envs", "envs.*"])),
    ],
    # The environments know nothing of learning, so they live beside the package and are installed into it.
    package_dir={"rllib_sami": "rllib_sami", "rllib_sami.envs": "envs"},
    package_data={
        "rllib_sami": ["py.typed"],
        "rllib_sami_cli": ["py.typed"],
        "rllib_sami.evaluation": ["templates/*", "baselines.csv"],
        "rllib_sami.evaluation.paper": ["*.csv", "*.md"],
    },
    install_requires=[
        "ray[rllib,tune]>=2.60,<2.61",
        "torch>=2.6",
        "gymnasium>=1.2.2",
        "mujoco>=3.10,<5",
        "imageio>=2.34",  # gymnasium's MuJoCo base classes import it
        "pillow>=10.1",  # writes tasks into pictures
        "numpy>=1.26",
        "scipy>=1.11",
        "pandas>=2.1",
        "pyarrow>=14",
        "safetensors>=0.4",  # exported agents
        "threadpoolctl>=3.1",
        "click>=8.1",
        "rich>=13",
        "PyYAML>=6",
        "tensorboardX>=2.6",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "rllib = rllib_sami_cli:main",
            "rllib-sami = rllib_sami_cli:main",
        ]
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
