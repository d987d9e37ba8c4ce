"""Reading a file's bytes: what is refused before it is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from volumes import load

from napari_tinc.errors import TincError
from napari_tinc.storage import stores


def test_load_refuses_sizes_before_reading(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.tinc")
    with pytest.raises(OSError, match=r"directory|denied"):
        load(tmp_path)
    path = tmp_path / "small.tinc"
    path.write_bytes(bytes(15))
    with pytest.raises(TincError, match="file size is 15, expected 16 to 2147483648"):
        load(path)
    path.write_bytes(b"hello\n")
    with pytest.raises(TincError, match=r"^not a .tinc file: file size is 6, expected 16 to 2147483648$"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(TincError, match="^is empty: file size is 0"):
        load(path)
    with open(path, "wb") as file:
        file.truncate(2**31 + 1)  # sparse
    with pytest.raises(TincError, match="^file size is 2147483649"):
        load(path)


def test_a_file_that_is_replaced_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size was that of the old file, and the bytes were those of the new one."""
    path, other = tmp_path / "v.tinc", tmp_path / "other"
    path.write_bytes(b"a" * 100)
    other.write_bytes(b"b" * 200)
    monkeypatch.setattr(stores, "check_size", lambda _: other.replace(path))
    store = stores.open_store(path)
    assert store.read(0, 200) == b"b" * 200
