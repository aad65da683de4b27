"""Checkpoints on disk: moved into place when they are complete, with a manifest to check them."""

import contextlib
import json
import os
import platform
import re
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pyarrow import fs

from rllib_sami.core.faults import is_alive

MANIFEST = "manifest.json"
FORMAT = 1  # of the manifest and the replay buffer's files; raised by changes that older versions cannot read
_BLOCK = 1 << 22


@contextlib.contextmanager
def atomic_checkpoint(path: str | Path, filesystem: fs.FileSystem | None, facts: dict[str, Any]) -> Iterator[Path]:
    """Yields a temporary folder to write a checkpoint into, which replaces ``path`` once it is complete.

    Until then, ``path`` does not change, even if this process is killed. Files at ``path`` that do not belong to a
    checkpoint are kept.

    Args:
        path: A local folder or a URI.
        filesystem: Filesystem of ``path``; None to infer it. If it is remote, the complete checkpoint is copied to it.
        facts: Further entries of the manifest, as JSON values.

    Raises:
        OSError: The checkpoint could not be written; the disk is full, for example.
    """
    local, place = _resolve(path, filesystem)
    if local is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
            write_manifest(Path(temporary), facts)
            target, name = place
            target.create_dir(name, recursive=True)
            fs.copy_files(temporary, name, destination_filesystem=target)
        return
    local.parent.mkdir(parents=True, exist_ok=True)
    _bring_back(local)
    _clear_away(local)
    aside = local.with_name(f".{local.name}.{uuid.uuid4().hex}.{platform.node()}-{os.getpid()}.writing")
    try:
        aside.mkdir()
        yield aside
        write_manifest(aside, facts)
        _flush(aside)
        _put_in_place(aside, local)
    except OSError as error:
        written = sum(file.stat().st_size for file in _files(aside).values())
        free = shutil.disk_usage(local.parent).free
        raise OSError(
            error.errno,
            f"The checkpoint {local} could not be written: {error.strerror or error}. {_size(written)} of it were "
            f"written, and {_size(free)} are free there. Earlier checkpoints are intact. Free some space, save "
            "elsewhere, or leave out the replay buffer (`store_buffer_in_checkpoints` False)",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def as_local(path: str | Path, filesystem: fs.FileSystem | None = None) -> Iterator[Path]:
    """Yields the local folder of a checkpoint, or a temporary copy if it is remote."""
    local, place = _resolve(path, filesystem)
    if local is not None:
        _bring_back(local)
        yield local
        return
    with tempfile.TemporaryDirectory() as temporary:
        source, name = place
        fs.copy_files(name, temporary, source_filesystem=source)
        yield Path(temporary)


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """Returns a checkpoint's manifest; None if it has none, as in older versions."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        manifest = None
    files = manifest.get("files") if isinstance(manifest, dict) else None
    listed = isinstance(files, dict) and all(isinstance(file, list) and len(file) == 2 for file in files.values())
    if listed and isinstance(manifest.get("format"), int):
        return manifest
    facts = manifest if isinstance(manifest, dict) else {}
    return {**facts, "format": FORMAT, "files": {MANIFEST: [-1, 0]}}  # damaged itself: no file has that size


def is_complete(folder: Path) -> bool:
    """Whether all files of a checkpoint exist and have the right size; does not read them."""
    manifest = manifest_of(folder)
    return manifest is None or all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, (size, _) in manifest["files"].items()
    )


def is_intact(folder: Path) -> bool:
    """Whether all files of a checkpoint are unchanged; reads them."""
    try:
        check_files(folder)
    except ValueError:
        return False
    return True


def check_files(folder: Path) -> None:
    """Checks every file of a checkpoint against its manifest, if it has one.

    Raises:
        ValueError: A file is missing, truncated or changed, or a newer version wrote the checkpoint.
    """
    if damage := damage_of(folder):
        others = [str(other) for other in _neighbours(folder) if is_complete(other)]
        advice = f"Complete ones next to it: {', '.join(others[-3:])}." if others else "Use an earlier one."
        raise ValueError(f"The checkpoint {folder} is damaged: {damage}. {advice}")


def damage_of(folder: Path, may_differ: Collection[str] = ()) -> str | None:
    """Returns what is wrong with the first file that does not match the manifest; None if all match.

    Args:
        folder: The checkpoint; one without a manifest always matches.
        may_differ: Files that are not checked.

    Raises:
        ValueError: A newer version wrote the folder.
    """
    manifest = manifest_of(folder)
    if manifest is None:
        return None
    if manifest["format"] > FORMAT:
        writer = manifest.get("versions", {}).get("rllib-sami", "of a newer version")
        raise ValueError(
            f"{folder} was written by rllib-sami {writer}, in a format that this version "
            f"({_version('rllib-sami')}) cannot read. Install that version or a newer one."
        )
    for name, (size, checksum) in manifest["files"].items():
        file = folder / name
        there = file.stat().st_size if file.is_file() else None
        if name in may_differ or (there == size and _checksum(file) == checksum):
            continue
        what = "is missing" if there is None else f"has {there} bytes instead of {size}"
        return f"{name} {'has changed since it was written' if there == size else 'is cut short' if size < 0 else what}"
    return None


def _neighbours(folder: Path) -> list[Path]:
    return sorted(
        other for other in folder.parent.iterdir() if other != folder and other.name[0] != "." and manifest_of(other)
    )


def _resolve(path: str | Path, filesystem: fs.FileSystem | None) -> tuple[Path | None, Any]:
    """Returns the local folder, or else None and a pair of filesystem and path."""
    name = str(path)
    if filesystem is None and "://" in name:
        filesystem, name = fs.FileSystem.from_uri(name)
    if filesystem is not None and not isinstance(filesystem, fs.LocalFileSystem):
        return None, (filesystem, name)
    local = Path(name)  # of a link, the target is replaced
    return (local.resolve() if local.is_symlink() else local.absolute()), None


def _put_in_place(aside: Path, path: Path) -> None:
    if path.is_dir() and any(path.iterdir()):
        former = path.with_name(f".{path.name}.{uuid.uuid4().hex}.former")
        path.rename(former)  # if this process is killed now, `_bring_back` undoes it
        aside.rename(path)
        ours = {Path(name).parts[0] for name in (manifest_of(former) or {"files": {}})["files"]} | {MANIFEST}
        for entry in former.iterdir():
            if entry.name not in ours and not (path / entry.name).exists():
                entry.rename(path / entry.name)
        shutil.rmtree(former)
    else:
        if path.exists():
            path.rmdir()
        aside.rename(path)


def _bring_back(path: Path) -> None:
    """Restores the former checkpoint if a process was killed between the two moves that replace it."""
    for former in _beside(path, "former"):
        if not path.exists():
            former.rename(path)


def _clear_away(path: Path) -> None:
    """Deletes what killed processes of this machine left behind when they wrote ``path``."""
    for former in _beside(path, "former"):
        shutil.rmtree(former, ignore_errors=True)
    for aside in _beside(path, "writing"):
        host, _, process = aside.name.removesuffix(".writing").partition(".")[2].rpartition("-")
        if host.endswith(f".{platform.node()}") and process.isdigit() and not is_alive(int(process)):
            shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Path, kind: str) -> list[Path]:
    """Temporary folders of a kind that were made next to ``path`` to write it."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}(\..+)?\.{kind}")
    return [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)] if path.parent.is_dir() else []


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Lists a folder's files in its manifest, together with ``facts``."""
    content = {
        "format": FORMAT,
        "versions": {name: _version(name) for name in ("rllib-sami", "ray", "torch", "numpy")},
        **facts,
        "files": {
            name: [file.stat().st_size, _checksum(file)] for name, file in _files(folder).items() if name != MANIFEST
        },
    }
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _files(folder: Path) -> dict[str, Path]:
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}


def _checksum(file: Path) -> int:
    checksum = 0
    with open(file, "rb") as stream:
        while block := stream.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _flush(folder: Path) -> None:
    """Waits until a folder is on the disk, so that a power cut cannot leave files without content."""
    for file in _files(folder).values():
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _size(number: float) -> str:
    return f"{number / 2**20:,.1f} MiB"
