"""Files written whole or not at all."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hardy.errors import FailedError, UsageError
from hardy.files import WriteError, digest, locked, new_folder, write_bytes, write_text, write_whole


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_text_arrives_whole_in_folders_made_for_it(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "größe\nzwei\n")
    assert path.read_bytes() == "größe\nzwei\n".encode()
    assert names(path.parent) == ["c.txt"]
    write_text(path, "")
    assert path.read_bytes() == b""


def test_bytes_and_views_of_memory_arrive_whole(tmp_path):
    write_bytes(tmp_path / "b", b"\x00\xff\r\n")
    write_bytes(tmp_path / "m", memoryview(b"abcdef")[2:4])
    assert (tmp_path / "b").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "m").read_bytes() == b"cd"


def test_the_name_is_not_there_until_the_content_is(tmp_path):
    path = tmp_path / "c.txt"
    seen = []

    def write(partial: Path) -> None:
        partial.write_text("half")
        seen.append((path.exists(), partial.parent == tmp_path, partial.name.endswith(".partial")))

    write_whole(path, write)
    assert seen == [(False, True, True)]
    assert path.read_text() == "half"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_writer_that_breaks_off_leaves_what_was_there_and_nothing_else(tmp_path, error):
    path = tmp_path / "c.txt"
    write_text(path, "old")

    def write(partial: Path) -> None:
        partial.write_text("ne")
        raise error

    with pytest.raises(type(error)):
        write_whole(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]


def test_a_disk_that_fails_is_reported_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "c.txt"
    write_text(path, "old")

    def write(partial: Path) -> None:
        partial.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(FailedError, match=r"c\.txt could not be written: No space left on device\."):
        write_whole(path, write)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["c.txt"]


def test_a_place_where_no_file_can_be_is_reported(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for path in (tmp_path / "file" / "x", tmp_path / "folder", tmp_path / ("n" * 300)):
        with pytest.raises(FailedError, match="could not be written"):
            write_text(path, "x")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_files_have_the_rights_the_user_asks_for(tmp_path, mask):
    before = os.umask(mask)
    try:
        write_text(tmp_path / "c.txt", "x")
        assert os.umask(mask) == mask  # still as the user set it
    finally:
        os.umask(before)
    assert (tmp_path / "c.txt").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_folder_has_its_name_once_all_is_in_it_and_the_rights_of_any_other(tmp_path):
    with new_folder(tmp_path / "a" / "b") as folder:
        write_text(folder / "c.txt", "c")
        assert names(tmp_path / "a") == [folder.name]
    assert names(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "c"
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "a" / "b").stat().st_mode == (tmp_path / "usual").stat().st_mode


def fill(path: Path, then: Callable[[], object]) -> None:
    with new_folder(path) as folder:
        write_text(folder / "c.txt", "c")
        then()


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), UsageError("no")])
def test_of_a_folder_that_is_not_filled_to_the_end_nothing_is_left(tmp_path, error):
    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        fill(tmp_path / "b", fail)
    assert names(tmp_path) == []


def test_a_folder_replaces_nothing_that_came_meanwhile_not_even_an_empty_one(tmp_path):
    with pytest.raises(UsageError, match="b was made meanwhile"):
        fill(tmp_path / "b", (tmp_path / "b").mkdir)
    assert names(tmp_path) == ["b"]
    assert names(tmp_path / "b") == []


def test_a_folder_that_cannot_be_made_or_filled_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="could not be made: File exists"), new_folder(tmp_path / "file" / "b"):
        pass
    with pytest.raises(WriteError, match="b could not be made: No space left"), new_folder(tmp_path / "b"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == ["file"]


def test_a_digest_is_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(content)
    assert digest(tmp_path / "f") == hashlib.sha256(content).hexdigest()
    (tmp_path / "empty").touch()
    assert digest(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_link_stays_a_link_to_the_new_content(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere" / "file")
    write_text(tmp_path / "link", "one")
    write_text(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_text() == "two"
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["elsewhere", "file", "link"]


def test_a_lock_is_held_once_and_is_free_again_afterwards(tmp_path):
    with locked(tmp_path / "lock", "busy"), pytest.raises(UsageError, match="busy"), locked(tmp_path / "lock", "busy"):
        pass
    with locked(tmp_path / "lock", "busy"):
        pass


def test_a_lock_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="could not be written"), locked(tmp_path / "file" / "lock", "busy"):
        pass
