"""Nested dicts on disk without pickle: ``state.json``, and a separate ``.npy`` file for every array."""

import json
from pathlib import Path
from typing import Any

import numpy as np

STATE_FILE = "state.json"
_ARRAY = "array file"  # key that marks an array in the JSON


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes a state into a folder, which is created.

    Args:
        folder: The folder to write to.
        state: Nested dict of arrays (but not of objects) and JSON values. A list of arrays is written as one array,
            concatenated along the first axis, so that views need not be copied.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def plain(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: plain(item, f"{name}.{key}" if name else key) for key, item in value.items()}
        is_parts = isinstance(value, list) and bool(value) and all(isinstance(part, np.ndarray) for part in value)
        if not (is_parts or isinstance(value, np.ndarray)):
            return value
        _write_array(folder / f"{name}.npy", value if is_parts else [value])
        return {_ARRAY: f"{name}.npy"}

    content = plain(state, "")
    (folder / STATE_FILE).write_text(json.dumps(content, indent=1, default=_number) + "\n", encoding="utf-8")


def read_state(folder: Path) -> dict[str, Any]:
    """Reads the result of :func:`write_state`; arrays are memory-mapped, so they are read when they are used."""

    def restored(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if set(value) == {_ARRAY}:
            return np.load(folder / Path(value[_ARRAY]).name, mmap_mode="r", allow_pickle=False)
        return {key: restored(item) for key, item in value.items()}

    return restored(json.loads((folder / STATE_FILE).read_text(encoding="utf-8")))


def _write_array(path: Path, parts: list[np.ndarray]) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(parts[0].dtype),
        "fortran_order": False,
        "shape": (sum(len(part) for part in parts), *parts[0].shape[1:]),
    }
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)


def _number(value: Any) -> Any:
    """Converts NumPy's numbers to Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"A saved state may have numbers, text, lists, dicts and arrays, but not {value!r}.")
