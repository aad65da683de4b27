"""The last good checkpoint survives whatever happens to the next one. No Ray here."""

import json
import multiprocessing
import os
import resource
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from rllib_sami.checkpoints import arrays as array_files
from rllib_sami.checkpoints.files import MANIFEST, as_local, atomic_checkpoint, check_files, is_complete, manifest_of

FILES = {"state.bin": b"s" * 1000, "part/weights.bin": b"w" * 2000}


@contextmanager
def file_size_limit(size):
    """Lets every write beyond ``size`` bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def save(path, number, **facts):
    """A checkpoint whose files begin with a number."""
    with atomic_checkpoint(path, None, {"number": number, **facts}) as folder:
        fill(folder, number)


def fill(folder, number):
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(bytes([number]) + content)


def number_of(path):
    """The number of a complete checkpoint."""
    check_files(path)
    assert is_complete(path)
    numbers = {(path / name).read_bytes()[0] for name in FILES} | {manifest_of(path)["number"]}
    (number,) = numbers
    return number


def test_it_takes_the_place_of_the_former_one_and_leaves_other_files(tmp_path):
    path = tmp_path / "deep" / "checkpoint"
    save(path, 1)
    (path / "notes.txt").write_text("mine")
    (path / "folder").mkdir()
    save(path, 2)
    assert number_of(path) == 2
    assert (path / "notes.txt").read_text() == "mine"
    assert {entry.name for entry in path.iterdir()} == {"notes.txt", "folder", "state.bin", "part", MANIFEST}
    assert [entry.name for entry in path.parent.iterdir()] == ["checkpoint"]


def test_a_folder_that_is_there_already_is_taken(tmp_path):
    save(tmp_path, 3)  # Tune gives an empty one
    assert number_of(tmp_path) == 3


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
def test_an_error_while_writing_leaves_the_former_one(tmp_path, error):
    path = tmp_path / "checkpoint"
    save(path, 1)

    def fail():
        with atomic_checkpoint(path, None, {}) as folder:
            (folder / "state.bin").write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert number_of(path) == 1
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_a_full_disk_leaves_the_former_one_and_says_so(tmp_path):
    path = tmp_path / "checkpoint"
    save(path, 1)
    with file_size_limit(1500), pytest.raises(OSError, match=r"could not be written.*MiB.*Earlier.* are intact"):
        save(path, 2)
    assert number_of(path) == 1
    assert os.listdir(tmp_path) == ["checkpoint"]
    save(path, 3)
    assert number_of(path) == 3


def save_for_ever(path, sender):
    for number in range(10**9):
        save(path, number % 200 + 1)
        sender.send(number)


@pytest.mark.parametrize("wait", np.linspace(0, 0.004, 9))
def test_a_kill_at_any_moment_leaves_a_complete_one(tmp_path, wait):
    path = tmp_path / "checkpoint"
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=save_for_ever, args=(path, sender))
    process.start()
    while receiver.recv() < 3:
        pass
    time.sleep(wait)
    process.kill()
    process.join()
    with as_local(path) as folder:  # brings back what was just being replaced
        assert 1 <= number_of(folder) <= 200
    save(path, 1)
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_a_kill_between_the_two_moves_is_mended(tmp_path):
    path = tmp_path / "checkpoint"
    save(path, 1)
    former = f".checkpoint.{'0' * 32}.former"
    path.rename(tmp_path / former)
    (tmp_path / f".checkpoint.v2.{'0' * 32}.former").mkdir()  # another's
    with as_local(path) as folder:
        assert number_of(folder) == 1
    assert not (tmp_path / former).exists()
    save(path, 2)
    assert sorted(os.listdir(tmp_path)) == [f".checkpoint.v2.{'0' * 32}.former", "checkpoint"]


def test_reading_and_writing_the_same_place_at_once(tmp_path):
    """Two writers too: the last one's stands, and nothing is left over."""
    path = tmp_path / "latest"
    with atomic_checkpoint(path, None, {"number": 1}) as first:
        fill(first, 1)
        with as_local(path):
            save(path, 2)
    with as_local(path) as folder:
        assert number_of(folder) == 1
    assert os.listdir(tmp_path) == ["latest"]


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    link, folder = tmp_path / "link", tmp_path / "folder"
    link.symlink_to(folder)
    for number in (1, 2):
        save(link, number)
        assert link.is_symlink()
        assert number_of(folder) == number


def cut(file):
    file.write_bytes(file.read_bytes()[:-2])


def change(file):
    file.write_bytes(file.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("harm", "name", "message"),
    [
        (cut, "part/weights.bin", r"damaged: part/weights.bin has 1999 bytes instead of 2001"),
        (Path.unlink, "state.bin", "state.bin is missing"),
        (change, "state.bin", "state.bin has changed since"),
        (cut, MANIFEST, "manifest.json is cut short"),
        (lambda file: file.write_text('{"format": 1, "files": {"a": 1}}'), MANIFEST, "manifest.json is cut short"),
    ],
)
def test_a_damaged_one_is_refused_and_complete_ones_are_named(tmp_path, harm, name, message):
    for number in (1, 2, 3):
        save(tmp_path / f"checkpoint_{number}", number)
    (tmp_path / "progress.csv").write_text("")  # as in a trial's folder
    harm(tmp_path / "checkpoint_3" / name)
    cut(tmp_path / "checkpoint_2" / "state.bin")
    with pytest.raises(ValueError, match=f"{message}.*Complete ones next to it: [^,]*checkpoint_1\\.$"):
        check_files(tmp_path / "checkpoint_3")
    assert is_complete(tmp_path / "checkpoint_1")
    assert is_complete(tmp_path / "checkpoint_3") == (harm == change)  # lengths only


def test_one_of_a_newer_version_is_refused(tmp_path):
    save(tmp_path / "it", 1)
    manifest = json.loads((tmp_path / "it" / MANIFEST).read_text())
    manifest |= {"format": 99, "versions": {"rllib-sami": "7.0"}}
    (tmp_path / "it" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"written by rllib-sami 7.0, in a format that this version .* cannot read"):
        check_files(tmp_path / "it")


def test_elsewhere_than_on_this_disk(tmp_path):
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())  # not local to us
    with atomic_checkpoint("checkpoint", elsewhere, {"number": 1}) as folder:
        (folder / "state.bin").write_bytes(b"\1")
    with as_local("checkpoint", elsewhere) as folder:
        check_files(folder)
        assert (folder / "state.bin").read_bytes() == b"\1"
        assert tmp_path not in folder.parents


def test_arrays_are_mapped_and_nothing_is_unpickled(tmp_path):
    lines = np.zeros(3, [("start", "i8"), ("terminated", "?")])
    parts = [np.arange(6.0).reshape(3, 2), np.arange(4.0).reshape(2, 2)]
    state = {
        "a": {"lines": lines, "rows": parts},
        "rng": np.random.default_rng(0).bit_generator.state,
        "n": np.int64(5),
    }
    array_files.write_state(tmp_path / "it", state)
    back = array_files.read_state(tmp_path / "it")
    np.testing.assert_array_equal(back["a"]["rows"], np.concatenate(parts))
    np.testing.assert_array_equal(back["a"]["lines"], lines)
    assert isinstance(back["a"]["rows"], np.memmap)
    assert (back["rng"], back["n"]) == (state["rng"], 5)
    with pytest.raises(TypeError, match="numbers, text"):
        array_files.write_state(tmp_path / "it", {"a": object()})
    np.save(tmp_path / "it" / "a.rows.npy", np.array([{"evil": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        array_files.read_state(tmp_path / "it")
