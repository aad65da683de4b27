"""Checkpoints on disk: written aside and moved into place when complete, with a list of files to check them by."""

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

MANIFEST = "manifest.json"
FORMAT = 1  # of the manifest and of the replay buffer's files; a change that older versions cannot read raises it
_BLOCK = 1 << 22


@contextlib.contextmanager
def atomic_checkpoint(path: str | Path, filesystem: fs.FileSystem | None, facts: dict[str, Any]) -> Iterator[Path]:
    """Gives a folder to write a checkpoint into, which takes the place of ``path`` once it is complete.

    Whatever happens before, also to this process, leaves at ``path`` what was there. Files there that are not of a
    checkpoint are kept.

    Args:
        path: A local folder or a URI.
        filesystem: Of ``path``; None: found by it. Elsewhere than here, the complete checkpoint is copied to it.
        facts: What the manifest tells of the checkpoint beside its files, as JSON can hold it.

    Raises:
        OSError: It could not be written, such as for a full disk.
    """
    local, place = _resolve(path, filesystem)
    if local is None:
        with tempfile.TemporaryDirectory() as temporary:
            aside = Path(temporary)
            yield aside
            write_manifest(aside, facts)
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
            f"The checkpoint {local} could not be written: {error.strerror or error}. {_size(written)} of it were, and "
            f"{_size(free)} are free there. Checkpoints from before are untouched. Make room, save elsewhere, or leave "
            "out the replay buffer (`store_buffer_in_checkpoints` False)",
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def as_local(path: str | Path, filesystem: fs.FileSystem | None = None) -> Iterator[Path]:
    """Gives the local folder of a checkpoint, fetched for the time being if it is elsewhere."""
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
    """A checkpoint's list of files and facts; None if it has none, as those of older versions and plain files."""
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
    return {**facts, "format": FORMAT, "files": {MANIFEST: [-1, 0]}}  # damaged itself: no file is of that size


def is_complete(folder: Path) -> bool:
    """Whether all files of a checkpoint are there in full length; does not read them."""
    manifest = manifest_of(folder)
    return manifest is None or all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, (size, _) in manifest["files"].items()
    )


def is_intact(folder: Path) -> bool:
    """Whether all files of a checkpoint are as they were written; reads them."""
    try:
        check_files(folder)
    except ValueError:
        return False
    return True


def check_files(folder: Path) -> None:
    """Checks every file of a checkpoint against its manifest, if it has one.

    Raises:
        ValueError: A file is missing, cut short or changed, or a newer version wrote the checkpoint.
    """
    if damage := damage_of(folder):
        others = [str(other) for other in _neighbours(folder) if is_complete(other)]
        advice = f"Complete ones beside it: {', '.join(others[-3:])}." if others else "Use an earlier one."
        raise ValueError(f"The checkpoint {folder} is damaged: {damage}. {advice}")


def damage_of(folder: Path, may_differ: Collection[str] = ()) -> str | None:
    """Returns what is wrong with the first file that is not as the manifest has it; None without one or a manifest.

    Args:
        folder: With the manifest.
        may_differ: Files that are not looked at.

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
    """The local folder, or None with the filesystem and the path in it."""
    if filesystem is None and "://" not in str(path):
        return _behind_links(path), None
    filesystem, name = (filesystem, str(path)) if filesystem is not None else fs.FileSystem.from_uri(str(path))
    if isinstance(filesystem, fs.LocalFileSystem):
        return _behind_links(name), None
    return None, (filesystem, name)


def _behind_links(path: str | Path) -> Path:
    """The folder itself: a link stays, and what it leads to is replaced."""
    return Path(path).resolve() if Path(path).is_symlink() else Path(path).absolute()


def _put_in_place(aside: Path, path: Path) -> None:
    if path.is_dir() and any(path.iterdir()):
        former = path.with_name(f".{path.name}.{uuid.uuid4().hex}.former")
        path.rename(former)  # killed here, `_bring_back` does so
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
    """Puts back the former checkpoint if a process was killed between the two moves that replace it."""
    for former in _beside(path, "former"):
        if not path.exists():
            former.rename(path)


def _clear_away(path: Path) -> None:
    """Deletes what killed processes of this machine left of writing ``path``."""
    for former in _beside(path, "former"):
        shutil.rmtree(former, ignore_errors=True)
    for aside in _beside(path, "writing"):
        host, _, process = aside.name.removesuffix(".writing").partition(".")[2].rpartition("-")
        if host.endswith(f".{platform.node()}") and process.isdigit() and not _is_alive(int(process)):
            shutil.rmtree(aside, ignore_errors=True)


def _beside(path: Path, kind: str) -> list[Path]:
    """Folders that writing ``path`` has made beside it."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}(\..+)?\.{kind}")
    return [entry for entry in path.parent.iterdir() if name.fullmatch(entry.name)] if path.parent.is_dir() else []


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Lists a folder's files in its manifest, with ``facts`` (those of a former manifest stay as they are)."""
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
    """Waits until all of a folder is on the disk, so that no power cut leaves a name without its content."""
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
