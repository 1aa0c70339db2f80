"""Finding, fetching, verifying and unpacking a release."""

import gzip
import hashlib
import io
import random
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hardy.data import download
from hardy.data.download import Release, fetch, locate, places, refuse_web_page, unpack
from hardy.errors import FailedError, UsageError

CONTENT = {"letters/one": b"first " * 1000, "letters/two": random.Random(0).randbytes(5000)}


def archive_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return held.getvalue()


ARCHIVE = archive_of(CONTENT)


def release(url: str = "http://127.0.0.1:9/letters.tar.gz", data: bytes = ARCHIVE) -> Release:
    return Release("Letters", url, hashlib.md5(data).hexdigest(), "letters", ("one", "two"))


def write_folder(place: Path, members: dict[str, bytes] = CONTENT) -> Path:
    for name, data in members.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place / "letters"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test, no data folder, no proxy."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(download, "cache", lambda: folder)
    monkeypatch.delenv("HARDY_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)


class Server:
    """Serves `body` at every path; may say it is longer than it is, or answer with another status."""

    def __init__(self) -> None:
        self.body, self.promised, self.status, self.asked = ARCHIVE, len(ARCHIVE), 200, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(outer.promised))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/letters.tar.gz"

    def serve(self, body: bytes, promised: int | None = None, status: int = 200) -> None:
        self.body, self.promised, self.status = body, len(body) if promised is None else promised, status


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def everything_under(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# where it looks


def test_a_given_root_is_looked_in_before_the_cache_and_instead_of_the_variable(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HARDY_DATA", str(tmp_path / "nowhere"))
    assert places(tmp_path) == [tmp_path, cache]
    monkeypatch.setenv("HARDY_DATA", str(tmp_path))
    assert places() == [tmp_path, cache]
    monkeypatch.setenv("HARDY_DATA", "")
    assert places() == [cache]


def test_a_variable_that_names_no_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HARDY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"\$HARDY_DATA is '.*nowhere'; it must be a folder that exists"):
        locate(release(), offline=True)


def test_a_root_that_is_no_folder_is_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match=r"The data root is '.*nowhere'"):
        locate(release(), tmp_path / "nowhere")


@pytest.mark.parametrize("inside", ["", "letters"])
def test_a_folder_on_disk_is_used_as_it_lies(tmp_path: Path, cache: Path, no_network: None, inside: str):
    folder = write_folder(tmp_path / "mine")
    found = locate(release(), tmp_path / "mine" / inside)
    assert found.folder == folder
    assert found.origin == f"from {folder}; read as found on disk, checksum not compared"
    assert not cache.exists()


def test_files_that_the_user_put_into_the_cache_are_not_called_verified(cache: Path, no_network: None):
    write_folder(cache)
    assert "checksum not compared" in locate(release()).origin


def test_offline_says_what_is_wanted_and_every_place_looked_in(tmp_path: Path, cache: Path, no_network: None):
    mine = tmp_path / "mine"
    mine.mkdir()
    with pytest.raises(UsageError) as caught:
        locate(release(), mine, offline=True)
    for part in ("Letters", "folder letters", "one, two", "letters.tar.gz", str(mine), str(cache)):
        assert part in str(caught.value)


def test_offline_says_which_files_of_a_folder_are_missing(tmp_path: Path, no_network: None):
    folder = write_folder(tmp_path / "mine")
    (folder / "two").unlink()
    with pytest.raises(UsageError, match=f"{folder} lacks two\\)"):
        locate(release(), tmp_path / "mine", offline=True)


# archives on disk


def test_an_archive_on_disk_is_unpacked_into_the_cache_and_its_own_folder_is_left_alone(
    tmp_path: Path, cache: Path, no_network: None
):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letters.tar.gz").write_bytes(ARCHIVE)
    found = locate(release(), mine, offline=True)
    assert found.folder.is_relative_to(cache)
    assert {f"letters/{name}": (found.folder / name).read_bytes() for name in ("one", "two")} == CONTENT
    assert found.origin == f"from {mine / 'letters.tar.gz'}; archive found on disk, checksum verified"
    assert everything_under(mine) == ["letters.tar.gz"]
    assert len(list(cache.iterdir())) == 1  # no temporary folder stays


def test_an_archive_with_another_checksum_is_read_and_said_to_have_it(tmp_path: Path, no_network: None):
    (tmp_path / "letters.tar.gz").write_bytes(ARCHIVE)
    other = release(data=b"another")
    assert locate(other, tmp_path).origin.endswith("its checksum is not the release's")


def test_an_archive_is_unpacked_once_and_again_when_it_changes(tmp_path: Path, no_network: None):
    archive = tmp_path / "letters.tar.gz"
    archive.write_bytes(ARCHIVE)
    folder = locate(release(), tmp_path).folder
    before = (folder / "one").stat().st_ino
    assert (locate(release(), tmp_path).folder / "one").stat().st_ino == before
    archive.write_bytes(archive_of({"letters/one": b"new", "letters/two": b"2"}))
    assert (locate(release(), tmp_path).folder / "one").read_bytes() == b"new"


def test_an_unpacked_folder_that_lost_a_file_is_made_anew(tmp_path: Path, no_network: None):
    (tmp_path / "letters.tar.gz").write_bytes(ARCHIVE)
    folder = locate(release(), tmp_path).folder
    (folder / "two").unlink()
    assert locate(release(), tmp_path).folder == folder
    assert (folder / "two").read_bytes() == CONTENT["letters/two"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\n <!DOCTYPE html><html>404</html>", "is a web page, not a tar archive"),
        (b"\xef\xbb\xbf<html>", "is a web page"),
        (ARCHIVE[: len(ARCHIVE) // 2], "is truncated, damaged or not a tar archive"),
        (gzip.compress(gzip.decompress(ARCHIVE)[:8000]), "is truncated, damaged"),
        (ARCHIVE[:200] + b"\0\0\0\0" + ARCHIVE[204:], "is truncated, damaged"),
        (b"", "is truncated, damaged or not a tar archive"),
        (b"not an archive at all" * 100, "is truncated, damaged or not a tar archive"),
        (archive_of({"letters/one": b"1"}), "is not the Letters archive: it lacks letters/two"),
        (archive_of(CONTENT | {"../outside": b"x"}), "holds a member that must not be unpacked: .*outside"),
    ],
    ids=["html", "html-bom", "cut-gzip", "cut-tar", "flipped", "empty", "noise", "other", "outside"],
)
def test_a_bad_archive_is_named_and_nothing_stays(
    tmp_path: Path, cache: Path, no_network: None, data: bytes, said: str
):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letters.tar.gz").write_bytes(data)
    with pytest.raises(UsageError, match=said) as caught:
        locate(release(), mine)
    assert str(mine / "letters.tar.gz") in str(caught.value)
    assert not cache.exists() or everything_under(cache) == []
    assert everything_under(tmp_path) in (["mine", "mine/letters.tar.gz"], ["cache", "mine", "mine/letters.tar.gz"])


@pytest.mark.parametrize("prefix", ["", "./"])
def test_files_that_are_passed_over_are_not_unpacked(tmp_path: Path, no_network: None, prefix: str):
    members = {prefix + name: data for name, data in CONTENT.items()} | {f"{prefix}letters/huge": b"h" * 9000}
    (tmp_path / "letters.tar.gz").write_bytes(archive_of(members))
    folder = locate(replace(release(), passed_over=("huge",)), tmp_path).folder
    assert everything_under(folder) == ["one", "two"]


def test_a_member_that_leads_outside_is_refused_even_where_it_is_passed_over(tmp_path: Path):
    archive, to = tmp_path / "a.tar", tmp_path / "to"
    to.mkdir()
    archive.write_bytes(archive_of({"../outside": b"x"}, "w"))
    with pytest.raises(UsageError, match=r"must not be unpacked: .*outside"):
        unpack(archive, to, ["../outside"])


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_that_lead_outside_and_devices_are_refused(tmp_path: Path, kind: bytes):
    archive, to = tmp_path / "a.tar", tmp_path / "to"
    to.mkdir()
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("letters/link")
        info.type, info.linkname = kind, "../../outside"
        tar.addfile(info)
    with pytest.raises(UsageError, match="must not be unpacked"):
        unpack(archive, to)
    assert not (to / "letters" / "link").exists()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match="gone cannot be read"):
        refuse_web_page(tmp_path / "gone", "a tar archive")


# downloads


def test_a_release_found_nowhere_is_downloaded_verified_and_unpacked_once(
    server: Server, cache: Path, capsys: pytest.CaptureFixture[str]
):
    wanted = release(server.url)
    found = locate(wanted)
    assert {f"letters/{name}": (found.folder / name).read_bytes() for name in ("one", "two")} == CONTENT
    assert found.origin == f"from {found.folder}; downloaded, checksum verified"
    assert [path.name for path in cache.iterdir()] == [f"md5-{wanted.md5}"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "letters.tar.gz" in shown.err
    assert locate(wanted, offline=True) == found
    assert server.asked == 1


@pytest.mark.parametrize(
    ("body", "promised", "status", "said"),
    [
        (b"<html>log in first</html>", None, 200, "has not the release's checksum"),
        (archive_of({"letters/one": b"other"}), None, 200, "has not the release's checksum"),
        (ARCHIVE[:1000], len(ARCHIVE), 200, "could not be downloaded"),
        (b"gone", None, 404, "could not be downloaded: 404"),
    ],
    ids=["web-page", "other-content", "cut-off", "not-found"],
)
def test_a_download_that_goes_wrong_fails_and_nothing_stays(
    server: Server, cache: Path, body: bytes, promised: int | None, status: int, said: str
):
    server.serve(body, promised, status)
    with pytest.raises(FailedError, match=said) as caught:
        locate(release(server.url))
    assert server.url in str(caught.value)
    assert everything_under(cache) == []


def test_no_connection_is_a_failure_that_names_the_address(cache: Path):
    with socket.socket() as taken:  # bound and not listening: a connection to it is refused
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/letters.tar.gz"
        with pytest.raises(FailedError, match="could not be downloaded") as caught:
            locate(release(url))
    assert url in str(caught.value)
    assert everything_under(cache) == []


def test_fetching_replaces_nothing_with_a_wrong_file(server: Server, tmp_path: Path):
    to = tmp_path / "letters.tar.gz"
    with pytest.raises(FailedError, match="checksum"):
        fetch(server.url, "0" * 32, to)
    assert everything_under(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_a_failure_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_bytes(b"in the way")
    monkeypatch.setattr(download, "cache", lambda: tmp_path / "file" / "cache")
    with pytest.raises(FailedError, match=r"cache folder .*file/cache cannot be written"):
        locate(release())


# releases that are one file and no archive

PLAIN = random.Random(1).randbytes(3000)


def plain(url: str = "http://127.0.0.1:9/letters.bin") -> Release:
    return Release("Letters", url, hashlib.md5(PLAIN).hexdigest(), "letters", ("letters.bin",))


@pytest.mark.parametrize("inside", ["", "letters"])
def test_a_plain_file_on_disk_is_used_where_it_lies(tmp_path: Path, cache: Path, no_network: None, inside: str):
    folder = tmp_path / "mine" / inside
    folder.mkdir(parents=True)
    (folder / "letters.bin").write_bytes(PLAIN)
    found = locate(plain(), tmp_path / "mine", offline=True)
    assert found.folder == folder
    assert found.origin == f"from {folder}; read as found on disk, checksum not compared"
    assert not cache.exists()


def test_a_plain_file_found_nowhere_is_downloaded_and_verified_once(server: Server, cache: Path):
    server.serve(PLAIN)
    wanted = plain(server.url.replace(".tar.gz", ".bin"))
    found = locate(wanted)
    assert found.folder == cache / f"md5-{wanted.md5}" / "letters"
    assert everything_under(found.folder) == ["letters.bin"]
    assert (found.folder / "letters.bin").read_bytes() == PLAIN
    assert found.origin == f"from {found.folder}; downloaded, checksum verified"
    assert [path.name for path in cache.iterdir()] == [f"md5-{wanted.md5}"]
    assert locate(wanted, offline=True) == found
    assert server.asked == 1


def test_a_plain_file_with_another_checksum_is_not_kept(server: Server, cache: Path):
    server.serve(PLAIN[:-1])
    with pytest.raises(FailedError, match="has not the release's checksum"):
        locate(plain(server.url.replace(".tar.gz", ".bin")))
    assert everything_under(cache) == []


def test_offline_says_which_plain_file_is_wanted_and_every_place_looked_in(
    tmp_path: Path, cache: Path, no_network: None
):
    with pytest.raises(UsageError) as caught:
        locate(plain(), tmp_path, offline=True)
    wanted = "wanted is the file letters.bin, in a folder letters or not (http://127.0.0.1:9/letters.bin)"
    assert f"{wanted}; looked in {tmp_path}, {cache}." in str(caught.value)
