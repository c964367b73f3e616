"""Where the official files can be had: GitHub, any git repository, an archive, a local folder.

A source only offers content. Whoever takes it checks it against the manifest, so it does not matter
which commit or mirror it came from. No source writes outside a temporary folder, follows a link out
of its folder, or unpacks anything under a name of the archive's choosing.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote

from vla_bench.envs.calvin.official.manifest import REPOSITORIES, BundleFile, Repository
from vla_bench.envs.errors import AssetError

ARCHIVE_URL = "https://codeload.github.com/{repository}/tar.gz/{commit}"
RAW_URL = "https://raw.githubusercontent.com/{repository}/{commit}/{path}"
FEW = 12
"""Up to this many missing files are asked for one by one; for more, a whole archive is quicker."""
TIMEOUT = 30.0
"""Seconds without an answer after which a connection is given up."""
MAX_ARCHIVE = 1 << 30
"""Bytes of files in an archive beyond which it is not the right one."""
ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")

Offer = tuple[BundleFile, bytes]


class Source(Protocol):
    """Offers files."""

    @property
    def name(self) -> str:
        """As it was typed, for messages."""
        ...

    def offers(self, wanted: Collection[BundleFile]) -> Iterator[Offer]:
        """Content for some of ``wanted``, perhaps several for one, perhaps not the right one.

        Raises:
            AssetError: the source cannot be read; says why.
        """
        ...


class FolderSource:
    """A checkout of calvin_env or calvin, or a folder laid out as a bundle."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self._root = root.resolve()

    def offers(self, wanted: Collection[BundleFile]) -> Iterator[Offer]:
        """See :class:`Source`."""
        for file in wanted:
            for place in file.places:
                path = self._root / place
                resolved = path.resolve()
                if not resolved.is_relative_to(self._root):
                    raise AssetError(f"{path} is a link that leads out of {self._root}; copy the file there instead")
                try:
                    if resolved.is_file() and resolved.stat().st_size == file.size:
                        yield file, resolved.read_bytes()
                except OSError as error:
                    raise AssetError(f"cannot read {path}: {error.strerror}") from error


class GitSource:
    """A git repository by URL or path; the pinned commit if it has it, else its HEAD."""

    def __init__(self, url: str) -> None:
        self.name = url

    def offers(self, wanted: Collection[BundleFile]) -> Iterator[Offer]:
        """See :class:`Source`."""
        with tempfile.TemporaryDirectory(prefix="vla-bench-git-") as folder:
            self._git(folder, "init", "--quiet", "--bare")
            reasons = []
            for revision in (*(repository.commit for repository in REPOSITORIES), "HEAD"):
                reasons.append(self._fetch(folder, revision))
                if reasons[-1] is None:
                    yield from self._blobs(folder, wanted)
                    return
            raise AssetError(f"cannot fetch from {self.name}: {reasons[-1]}")

    def _fetch(self, folder: str, revision: str) -> str | None:
        """Fetches one commit; what git said when it could not."""
        done = self._run(
            folder,
            "fetch",
            "--quiet",
            "--no-tags",
            "--depth",
            "1",
            "--",
            self.name,
            f"{revision}:refs/wanted",
        )
        return None if done.returncode == 0 else _complaint(done.stderr)

    def _blobs(self, folder: str, wanted: Collection[BundleFile]) -> Iterator[Offer]:
        listing = self._git(folder, "ls-tree", "-r", "-z", "--long", "refs/wanted").decode()
        objects = {}
        for row in filter(None, listing.split("\0")):
            mode, _, digest, size, path = row.split(None, 4)
            # Modes of plain files; a link or a submodule is nothing to read.
            if mode in ("100644", "100755"):
                objects[path] = (digest, size)
        for file in wanted:
            for place in file.places:
                digest, size = objects.get(place, ("", ""))
                if size == str(file.size):
                    yield file, self._git(folder, "cat-file", "blob", digest)

    def _git(self, folder: str, *arguments: str) -> bytes:
        done = self._run(folder, *arguments)
        if done.returncode != 0:
            raise AssetError(f"cannot read {self.name}: {_complaint(done.stderr)}")
        return done.stdout

    def _run(self, folder: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        environment = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "LC_ALL": "C",
        }
        # A hook or a checkout's environment may point git at another repository.
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
            environment.pop(name, None)
        try:
            return subprocess.run(["git", "-C", folder, *arguments], capture_output=True, env=environment)
        except FileNotFoundError:
            raise AssetError(
                f"git is needed to fetch from {self.name} and is not installed; "
                "install it (Debian: apt-get install git) or name a folder with --from"
            ) from None


class ArchiveSource:
    """A tar archive of a repository or of a bundle, read as a stream: nothing is unpacked."""

    def __init__(self, name: str, opened: Callable[[], AbstractContextManager[BinaryIO]]) -> None:
        self.name = name
        self._opened = opened

    def offers(self, wanted: Collection[BundleFile]) -> Iterator[Offer]:
        """See :class:`Source`."""
        by_place: dict[str, list[BundleFile]] = {}
        for file in wanted:
            for place in file.places:
                by_place.setdefault(place, []).append(file)
        total = 0
        try:
            with self._opened() as stream, tarfile.open(fileobj=stream, mode="r|*") as archive:
                for member in archive:
                    total += member.size
                    if total > MAX_ARCHIVE:
                        raise AssetError(f"{self.name} is far too large to be an archive of CALVIN's files")
                    # Archives of a repository have one folder around everything.
                    _, _, inner = member.name.partition("/")
                    files = [f for name in (member.name, inner) for f in by_place.get(name, ())]
                    files = [file for file in files if file.size == member.size]
                    if not files or not member.isreg():
                        continue
                    content = archive.extractfile(member).read()
                    for file in files:
                        yield file, content
        except (OSError, EOFError, tarfile.TarError, zlib.error, http.client.HTTPException) as error:
            raise AssetError(f"cannot read {self.name}: {_reason(error)}") from error


class GitHubSource:
    """A repository on GitHub at its pinned commit, without git: an archive, or single files."""

    def __init__(self, repository: Repository, archive_url: str = ARCHIVE_URL, raw_url: str = RAW_URL) -> None:
        self.name = f"github.com/{repository.name}"
        self._repository = repository
        self._archive_url = archive_url
        self._raw_url = raw_url

    def offers(self, wanted: Collection[BundleFile]) -> Iterator[Offer]:
        """See :class:`Source`."""
        ours = [file for file in wanted if file.repository is self._repository]
        if len(ours) > FEW:
            url = self._archive_url.format(repository=self._repository.name, commit=self._repository.commit)
            yield from ArchiveSource(self.name, lambda: opened_url(url)).offers(ours)
            return
        for file in ours:
            url = self._raw_url.format(
                repository=self._repository.name, commit=self._repository.commit, path=quote(file.origin)
            )
            try:
                with opened_url(url) as stream:
                    yield file, stream.read(file.size + 1)
            except (OSError, http.client.HTTPException) as error:
                raise AssetError(f"cannot read {url}: {_reason(error)}") from error


def opened_url(url: str) -> AbstractContextManager[BinaryIO]:
    """A stream of what an http(s) URL holds; proxies are taken from the environment."""
    request = urllib.request.Request(url, headers={"User-Agent": "vla-bench"})
    return urllib.request.urlopen(request, timeout=TIMEOUT)


def github() -> list[Source]:
    """Both original repositories."""
    return [GitHubSource(repository) for repository in REPOSITORIES]


def sources_of(typed: str) -> list[Source]:
    """What someone means by ``--from``: ``github``, a folder, an archive, or a git URL.

    Raises:
        AssetError: it is none of these.
    """
    if typed == "github":
        return github()
    path = Path(typed).expanduser()
    if path.is_dir():
        if (path / "objects").is_dir() and (path / "HEAD").is_file():
            return [GitSource(str(path.resolve()))]
        # A checkout may have another commit checked out; its repository may still have the right one.
        repository = [GitSource(str(path.resolve()))] if (path / ".git").exists() else []
        return [FolderSource(path), *repository]
    if path.is_file() and path.name.endswith(ARCHIVE_ENDINGS):
        return [ArchiveSource(str(path), lambda: path.open("rb"))]
    if typed.startswith(("http://", "https://")) and typed.endswith(ARCHIVE_ENDINGS):
        return [ArchiveSource(typed, lambda: opened_url(typed))]
    if not typed.startswith("-") and ("://" in typed or (":" in typed and not path.exists())):
        return [GitSource(typed)]
    raise AssetError(
        f"--from {typed}: there is no such folder, and it is no git URL; "
        "name a folder (a checkout of calvin_env or calvin, or one that holds data/ and annotations/), "
        "a .tar.gz, a git URL, or github"
    )


def _complaint(output: bytes) -> str:
    """What git said was wrong: its first fatal line, since advice follows it."""
    lines = output.decode(errors="replace").strip().splitlines() or ["git said nothing"]
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    return (fatal or lines[-1:])[0]


def _reason(error: BaseException) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
