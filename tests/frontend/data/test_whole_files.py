"""Files and work folders are whole or absent, whatever becomes of who writes them."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from echoloom.frontend.data import files, locks
from echoloom.frontend.data.files import check_destination, write_together, write_whole
from echoloom.frontend.data.locks import alone_in, locked
from echoloom.frontend.data.work_folders import work_folder

# A child that only writes files and dies needs none of JAX's threads.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork")

FORK = multiprocessing.get_context("fork")
OLD, NEW = b"old", b"new" * 1000


def killed(work: Callable[[], Any]) -> None:
    """Do some work in a process that kills itself without warning before it ends it."""
    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_killed_writer_leaves_what_was_there(tmp_path: Path, at: str):
    path = tmp_path / "a[b] c.elp"
    path.write_bytes(OLD)

    def work() -> None:
        setattr(files.os if at == "fsync" else Path, at, die)
        write_whole(path, NEW)

    killed(work)
    assert path.read_bytes() == OLD
    assert len(names(tmp_path)) == 2
    write_whole(path, NEW)
    assert (path.read_bytes(), names(tmp_path)) == (NEW, {path.name})


def test_files_together_come_in_their_order(tmp_path: Path):
    """Killed between two, the last one is not there yet."""
    first, last = tmp_path / "report.json", tmp_path / "board.bit"
    replace = Path.replace

    def once(self: Path, target: Path) -> None:
        Path.replace = die  # type: ignore[method-assign]
        replace(self, target)

    def work() -> None:
        Path.replace = once  # type: ignore[method-assign, assignment]
        write_together({first: NEW, last: NEW})

    killed(work)
    assert first.read_bytes() == NEW and not last.exists()


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_changes_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, last = tmp_path / "report.json", tmp_path / "board.bit"
    first.write_bytes(OLD)
    filled, room = files._fill, [None]  # room for one file

    def fill(file: Any, data: bytes) -> None:
        filled(file, data)
        room.pop() if room else full()

    monkeypatch.setattr(files, "_fill", fill)
    with pytest.raises(OSError) as caught:
        write_together({first: NEW, last: NEW})
    assert caught.value.strerror == f"cannot write {last}: No space left on device"
    assert (first.read_bytes(), names(tmp_path)) == (OLD, {first.name})


@pytest.mark.parametrize("more", [1, 400_000])
def test_what_the_system_does_not_take_is_named(tmp_path: Path, small_files: int, more: int):
    """As much as a buffer holds, and more."""
    path = tmp_path / "report.json"
    with pytest.raises(OSError) as caught:
        files.write_whole(path, bytes(small_files + more))
    assert caught.value.strerror == f"cannot write {path}: File too large"
    assert not names(tmp_path)


def test_a_living_writer_keeps_its_file(tmp_path: Path):
    """Two processes write the same path: one does not take the other's work for abandoned."""
    path = tmp_path / "model.eqx"
    with files._partial(path, OLD) as partial:
        write_whole(path, NEW)
        assert partial.read_bytes() == OLD
    assert (path.read_bytes(), names(tmp_path)) == (NEW, {path.name})


def test_what_is_another_file_stays(tmp_path: Path):
    others = {
        "model.eqx.partial",
        "model.eqx.1234.partial",
        "my model.eqx.0123456789abcdef.partial",
    }
    for name in others:
        (tmp_path / name).write_bytes(OLD)
    write_whole(tmp_path / "model.eqx", NEW)
    assert names(tmp_path) == {*others, "model.eqx"}


@pytest.mark.parametrize("name", ["n" * 250, "é" * 120])
def test_names_as_long_as_the_disk_allows(tmp_path: Path, name: str):
    check_destination(tmp_path / name)
    write_whole(tmp_path / name, NEW)
    assert names(tmp_path) == {name}


def test_links_and_devices(tmp_path: Path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.eqx"
    link.symlink_to(tmp_path / "there" / "model.eqx")
    write_whole(link, NEW)
    assert link.is_symlink() and names(tmp_path / "there") == {"model.eqx"}
    os.mkfifo(tmp_path / "pipe")
    for write in (check_destination, lambda path: write_whole(path, NEW)):
        with pytest.raises(OSError, match="pipe: it is a device, and no file"):
            write(tmp_path / "pipe")
        with pytest.raises(OSError, match="there: it is a folder"):
            write(tmp_path / "there")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_work_folders_of_killed_processes_go(tmp_path: Path):
    def work() -> None:
        with work_folder("x", tmp_path) as folder:
            (folder / "half").write_bytes(OLD)
            die()

    (tmp_path / ".echoloom-work-x-something").mkdir()
    with work_folder("x", tmp_path) as living:
        killed(work)
        assert len(names(tmp_path)) == 3
        with work_folder("x", tmp_path) as folder:
            assert names(tmp_path) == {living.name, folder.name, ".echoloom-work-x-something"}
    assert names(tmp_path) == {".echoloom-work-x-something"}


def test_many_work_folders_at_once(tmp_path: Path):
    """None is taken for abandoned, also in the moment before it is locked."""

    def work(number: int) -> None:
        with work_folder("x", tmp_path) as folder:
            (folder / "own").write_bytes(NEW)
            assert names(folder) == {"own"}

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, number) for number in range(200)]:
            done.result()
    assert names(tmp_path) == set()


def test_one_at_a_time(tmp_path: Path):
    with alone_in(tmp_path, "build"):
        with pytest.raises(OSError, match=rf"another build is at work in {tmp_path}: wait for it"):
            with alone_in(tmp_path, "build"):
                pass
    killed(lambda: alone_in(tmp_path, "build").__enter__() or die())
    with alone_in(tmp_path, "build"):
        pass


def test_without_locks_all_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Some file systems have none: then nothing is taken for abandoned."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with (tmp_path / "file").open("wb") as file, locked(file) as mine:
        assert mine is None
    with work_folder("x", tmp_path) as living, alone_in(tmp_path, "build"):
        with work_folder("x", tmp_path):
            write_whole(tmp_path / "file", NEW)
            assert living.exists()
    assert names(tmp_path) == {"file"}
