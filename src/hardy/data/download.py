"""Finding a release's files on disk; fetching, verifying and unpacking those that are nowhere."""

import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType

import platformdirs

from hardy.errors import FailedError, UsageError

_CHUNK = 1 << 16  # bytes asked for at once


@dataclass(frozen=True)
class Release:
    """A public release: one download, and the files of the folder that it becomes.

    The download is an archive that unpacks to the folder, or the folder's only file itself.

    url: the official address; its last part is the download's name. md5: the download's checksum, 32 hexadecimal digits.
    passed_over: files of the folder that the archive holds and that are not unpacked.
    """

    title: str
    url: str
    md5: str
    folder: str
    files: tuple[str, ...]
    passed_over: tuple[str, ...] = ()

    @property
    def archive(self) -> str:
        """The download's file name."""
        return self.url.rsplit("/", 1)[-1]

    @property
    def packed(self) -> bool:
        """Whether the download is an archive of the files, rather than the only one of them."""
        return self.files != (self.archive,)

    def missing(self, folder: Path) -> list[str]:
        """Those of the release's files that are not in this folder."""
        return [name for name in self.files if not (folder / name).is_file()]


@dataclass(frozen=True)
class Found:
    """The folder that holds a release's files, and where they came from and how far they were verified, in words."""

    folder: Path
    origin: str


def cache() -> Path:
    """The user's cache folder for this library; it need not exist yet."""
    return platformdirs.user_cache_path("hardy", appauthor=False) / "data"


def places(root: Path | None = None) -> list[Path]:
    """The folders to look in: the given one, or else $HARDY_DATA where it is set; then the user's cache.

    Raises: UsageError where the given folder, or the one $HARDY_DATA names, is not a folder.
    """
    variable = os.environ.get("HARDY_DATA", "")
    if root is not None:
        own, name = Path(root).expanduser(), "The data root"
    elif variable:
        own, name = Path(variable).expanduser(), "$HARDY_DATA"
    else:
        return [cache()]
    if not own.is_dir():
        raise UsageError(f"{name} is {str(own)!r}; it must be a folder that exists.")
    return [own, cache()]


def locate(release: Release, root: Path | None = None, *, offline: bool = False) -> Found:
    """The folder with all of a release's files: as they lie on disk, else unpacked or downloaded into the user's cache.

    A place may hold the release's folder, its files, or its archive. Nothing is written outside the cache, and nothing
    half-written stays there.

    Raises: UsageError for files found nowhere while offline, and for an archive on disk that is damaged or not one;
    FailedError for a download that does not arrive, arrives with another checksum, or cannot be stored.
    """
    looked = places(root)
    for place in looked:
        for folder in (place / release.folder, place):
            if not release.missing(folder):
                return Found(folder, f"from {folder}; read as found on disk, checksum not compared")
        archive = place / release.archive
        if archive.is_file():
            refuse_web_page(archive, "a tar archive")
            md5 = _md5(archive)
            known = "checksum verified" if md5 == release.md5 else "its checksum is not the release's"
            return Found(_unpacked(release, archive, md5), f"from {archive}; archive found on disk, {known}")
    kept = _folder(release, release.md5)
    if release.missing(kept):
        if offline:
            raise UsageError(_not_found(release, looked))
        _fetch_and_make(release)
    return Found(kept, f"from {kept}; downloaded, checksum verified")


def refuse_web_page(path: Path, wanted: str) -> None:
    """Raises UsageError naming the file if it holds HTML (an error page saved under its name), or cannot be read."""
    try:
        with path.open("rb") as file:
            beginning = file.read(1024)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if beginning.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        raise UsageError(f"{path} is a web page, not {wanted}; delete it and get the file again.")


def fetch(url: str, md5: str, to: Path) -> None:
    """Downloads a file, with progress on stderr; `to` appears only when it is whole and its checksum is right.

    Raises: FailedError naming the address.
    """
    import pooch  # it brings an HTTP library that only a download needs

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # its announcement would tear the progress bar
    try:
        with _Bar(to.name) as bar:
            downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=_CHUNK)
            pooch.retrieve(url, known_hash=f"md5:{md5}", fname=to.name, path=to.parent, downloader=downloader)
    except OSError as error:  # every error of the HTTP library is one, as is a full disk
        response = getattr(error, "response", None)
        if response is not None:
            response.close()  # after a refusal pooch leaves the connection open
        raise FailedError(f"{url} could not be downloaded: {error}.") from error
    except ValueError as error:
        raise FailedError(
            f"What arrived from {url} has not the release's checksum (md5 {md5}) and was deleted."
        ) from error
    finally:
        logger.setLevel(level)


def unpack(archive: Path, to: Path, passed_over: Collection[str] = ()) -> None:
    """Unpacks a tar archive into the existing folder `to`. Unpack into a temporary folder: what fails leaves a part.

    passed_over: names of members that are not unpacked.

    Raises: UsageError for an archive that is damaged, is none, or holds a path that leads outside; FailedError where
    the files cannot be stored.
    """

    def admitted(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
        safe = tarfile.data_filter(member, folder)
        return None if str(PurePosixPath(member.name)) in passed_over else safe

    refuse_web_page(archive, "a tar archive")
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(to, filter=admitted)
            while tar.fileobj is not None and tar.fileobj.read(_CHUNK):
                pass  # only at its very end does a compressed stream compare its own checksum
    except tarfile.FilterError as error:
        raise UsageError(f"{archive} holds a member that must not be unpacked: {error}.") from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UsageError(f"{archive} is truncated, damaged or not a tar archive: {error}.") from error
    except OSError as error:
        if error.errno is None:  # the decompressors' own errors are of this class, without a number
            raise UsageError(f"{archive} is truncated, damaged or not a tar archive: {error}.") from error
        raise FailedError(f"{archive} could not be unpacked into {to}: {error.strerror}.") from error


class _Bar:
    """A rich progress bar with the methods that pooch calls."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self.progress = Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True))
        self.task = self.progress.add_task(name, total=None)
        self.total = 0  # pooch sets it, to 0 where the server does not say

    def __enter__(self) -> "_Bar":
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def update(self, size: int) -> None:
        self.progress.update(self.task, advance=size, total=self.total or None)

    def reset(self) -> None:
        self.progress.update(self.task, completed=0)

    def close(self) -> None:
        self.progress.refresh()


def _folder(release: Release, md5: str) -> Path:
    # named by the archive's checksum: what is there cannot be stale, nor be taken for another archive's content
    return cache() / f"md5-{md5}" / release.folder


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _unpacked(release: Release, archive: Path, md5: str) -> Path:
    """The folder in the cache with this archive's content, unpacked now if it was not before."""
    final = _folder(release, md5)
    if release.missing(final):
        with _scratch() as scratch:
            _make_and_move(release, archive, final, Path(scratch))
    return final


def _fetch_and_make(release: Release) -> None:
    with _scratch() as scratch:
        archive = Path(scratch) / release.archive
        fetch(release.url, release.md5, archive)
        _make_and_move(release, archive, _folder(release, release.md5), Path(scratch))


def _make_and_move(release: Release, archive: Path, final: Path, scratch: Path) -> None:
    made = scratch / "made"
    made.mkdir()
    folder = made / release.folder
    if release.packed:
        unpack(archive, made, [f"{release.folder}/{name}" for name in release.passed_over])
    else:
        folder.mkdir()
        archive.rename(folder / release.archive)
    missing = release.missing(folder)
    if missing:
        raise UsageError(f"{archive} is not the {release.title} archive: it lacks {release.folder}/{missing[0]}.")
    shutil.rmtree(final.parent, ignore_errors=True)
    try:
        made.rename(final.parent)
    except OSError as error:
        if release.missing(final):  # where none is missing, another process was faster
            raise FailedError(f"{final.parent} could not be written: {error.strerror}.") from error


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder in the cache, so that what is made in it can be renamed to its place."""
    try:
        cache().mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=cache(), prefix="partial-", ignore_cleanup_errors=True)
    except OSError as error:
        raise FailedError(f"The cache folder {cache()} cannot be written: {error.strerror}.") from error


def _not_found(release: Release, looked: list[Path]) -> str:
    found = []
    for place in looked:
        folder = place / release.folder
        found.append(
            f"{place} (where {folder} lacks {', '.join(release.missing(folder))})" if folder.is_dir() else str(place)
        )
    if release.packed:
        files = ", ".join(release.files)
        wanted = f"a folder {release.folder} with the files {files}, or the archive {release.archive}"
    else:
        wanted = f"the file {release.archive}, in a folder {release.folder} or not"
    return (
        f"{release.title} was not found, and offline nothing is downloaded; wanted is {wanted} ({release.url}); "
        f"looked in {', '.join(found)}."
    )
