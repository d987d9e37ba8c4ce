"""Saving: what is written where, and what was there. storage/test_faults.py makes its calls fail."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from strategies import SMALL
from volumes import load

from napari_tinc.errors import TincError
from napari_tinc.storage.atomic import save


def others(path: Path) -> list[str]:
    """Names in a file's folder besides its own."""
    return [name for name in os.listdir(path.parent) if name != path.name]


@pytest.fixture
def old(tmp_path: Path, both_ways: None) -> Path:
    path = tmp_path / "brain.tinc"
    path.write_bytes(b"the old file, whatever it was")
    return path


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "brain \N{MICRO SIGN}.tinc"
    save(path, SMALL)
    assert load(path) == SMALL
    save(str(path), SMALL)
    assert others(path) == []


def fail(number: int) -> object:
    def failing(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_the_old_file(
    old: Path, monkeypatch: pytest.MonkeyPatch, interrupt: type[BaseException]
) -> None:
    def interrupted(*args: object) -> None:
        raise interrupt

    monkeypatch.setattr(os, "replace", interrupted)
    before = old.read_bytes()
    with pytest.raises(interrupt):
        save(old, SMALL)
    assert old.read_bytes() == before
    assert others(old) == []


def test_what_a_bad_disk_wrote_is_not_put_in_place(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (os.truncate(file, len(SMALL) - 1), fsync(file)))
    with pytest.raises(TincError, match="what was written differs after byte 0"):
        save(old, SMALL)
    assert old.read_bytes() == before
    assert others(old) == []


@pytest.mark.parametrize("call", ["listdir", "chmod"])
def test_a_disk_without_modes_or_listing_is_no_failure(old: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail(errno.EPERM))
        save(old, SMALL)
    assert load(old) == SMALL
    assert others(old) == []


def test_a_folder_that_cannot_be_synced_is_no_failure(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", fail(errno.EACCES))
    save(old, SMALL)
    assert old.read_bytes() == SMALL


posix = pytest.mark.skipif(os.name != "posix", reason="POSIX permissions and signals")


@posix
@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664, 0o440])
def test_the_mode_of_the_old_file_is_kept(old: Path, mode: int) -> None:
    old.chmod(mode)
    save(old, SMALL)
    assert old.stat().st_mode & 0o777 == mode
    assert old.read_bytes() == SMALL


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_the_umask_allows(tmp_path: Path, both_ways: None, umask: int) -> None:
    before = os.umask(umask)
    try:
        save(tmp_path / "new.tinc", SMALL)
    finally:
        os.umask(before)
    assert (tmp_path / "new.tinc").stat().st_mode & 0o777 == 0o666 & ~umask


@posix
def test_links_are_followed(old: Path) -> None:
    link = old.with_name("link.tinc")
    link.symlink_to(old.name)
    save(link, SMALL)
    assert link.is_symlink()
    assert old.read_bytes() == SMALL


@posix
def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        save(tmp_path, SMALL)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        save(tmp_path / "pipe", SMALL)
    with pytest.raises(TincError, match="file size is 0"):
        load(tmp_path / "pipe")  # and does not wait for a writer
    assert others(tmp_path / "pipe") == []


def test_a_missing_folder_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="cannot save"):
        save(tmp_path / "none" / "brain.tinc", SMALL)


@posix
def test_an_unwritable_folder_is_an_os_error(old: Path) -> None:
    old.parent.chmod(0o555)
    try:
        if os.access(old.parent, os.W_OK):  # root
            pytest.skip("may write anywhere")
        with pytest.raises(PermissionError, match="cannot save"):
            save(old, SMALL)
    finally:
        old.parent.chmod(0o755)
    assert old.read_bytes() == b"the old file, whatever it was"


@posix
def test_long_names_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / ("\N{MICRO SIGN}" * 120 + ".tinc")
    save(path, SMALL)
    assert load(path) == SMALL


@posix
def test_temporary_files_of_dead_processes_are_swept(old: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    stale = old.with_name(f".brain.tinc.{process.pid}-0123abcd.tinc-tmp")
    kept = [
        f".brain.tinc.{os.getpid()}-0123abcd.tinc-tmp",  # alive
        ".brain.tinc.1-0123abcd.tinc-tmp",  # alive, perhaps not ours
        f".other.tinc.{process.pid}-0123abcd.tinc-tmp",  # another name
        f".brain.tinc.{process.pid}-0123abcd.tinc-tmp.bak",
        f"brain.tinc.{process.pid}-0123abcd.tinc-tmp",
        ".brain.tinc.0-0123abcd.tinc-tmp",  # would be our process group
        ".brain.tinc.99999999999999999999-0123abcd.tinc-tmp",
    ]
    for path in [stale, *map(old.with_name, kept)]:
        path.write_bytes(b"")
    save(old, SMALL)
    assert sorted(others(old)) == sorted(kept)


@posix
def test_a_killed_save_leaves_the_old_file_and_the_next_one_tidies_up(old: Path) -> None:
    code = """if True:
        import os, signal, sys
        from napari_tinc.storage.atomic import save
        os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        save(sys.argv[1], bytes.fromhex(sys.argv[2]))
    """
    before = old.read_bytes()
    subprocess.run([sys.executable, "-c", code, old, SMALL.hex()], check=False)
    assert old.read_bytes() == before
    assert len(others(old)) == 1
    save(old, SMALL)
    assert others(old) == []
    assert old.read_bytes() == SMALL


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name")
def test_a_new_file_never_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, link = [], os.link

    def told(source: Any, target: Any, **options: Any) -> None:
        named.append(Path(target).name)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", told)
    for data in (b"a" * 40, b"b" * 50):
        save(tmp_path / "v.tinc", data)
        assert (tmp_path / "v.tinc").read_bytes() == data
    if not named:
        pytest.skip("the disk has no files without a name")
    assert named[:2] == ["v.tinc"] * 2 and len(named) == 3 and [p.name for p in tmp_path.iterdir()] == ["v.tinc"]
