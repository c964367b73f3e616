"""Fetching the official bundle, with a small manifest and sources made on the spot."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from vla_bench.envs.calvin import bundle as bundles
from vla_bench.envs.calvin.official import fetch, manifest, sources
from vla_bench.envs.calvin.official.fetch import fetch_official
from vla_bench.envs.calvin.official.manifest import CALVIN_ENV, BundleFile, cache_folder
from vla_bench.envs.calvin.official.sources import FolderSource, GitHubSource, sources_of
from vla_bench.envs.errors import AssetError

CONTENTS = {
    "LICENSE.calvin": b"MIT, twice\n",
    "LICENSE.calvin_env": b"MIT, twice\n",
    "annotations/new_playtable_validation.yaml": b"open_drawer: [open the drawer]\n",
    "data/blocks/block_red_middle.urdf": b"<robot name='block'/>\n",
    "data/calvin_table_D/urdf/calvin_table_D.urdf": b"<robot name='table'/>\n",
    "data/plane/plane.obj": bytes(range(256)) * 300,
}
FILES = tuple(
    BundleFile(path, len(content), hashlib.sha256(content).hexdigest(), needed="LICENSE" not in path)
    for path, content in CONTENTS.items()
)


@pytest.fixture(autouse=True)
def small_manifest(monkeypatch, tmp_path):
    for module in (manifest, fetch):
        monkeypatch.setattr(module, "bundle_files", lambda: FILES)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CALVIN_ASSETS", raising=False)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def checkouts(tmp_path: Path) -> tuple[Path, Path]:
    """Folders laid out like the two original repositories, with files nobody needs."""
    ours = {file.path: file for file in FILES}
    env, calvin = {"data/junk.sldprt": b"junk", "README.md": b"read"}, {"README.md": b"read"}
    for path, content in CONTENTS.items():
        (env if ours[path].repository is CALVIN_ENV else calvin)[ours[path].origin] = content
    return write(tmp_path / "calvin_env", env), write(tmp_path / "calvin", calvin)


def all_sources(*typed: Path | str) -> list:
    return [source for each in typed for source in sources_of(str(each))]


def assert_complete(root: Path) -> None:
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert found == set(CONTENTS)
    assert all((root / path).read_bytes() == content for path, content in CONTENTS.items())


def commit(folder: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "files")):
        subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


def archive(members: dict[str, bytes | tarfile.TarInfo], top: str = "calvin_env-797142c") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                content.name = f"{top}/{name}"
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(f"{top}/{name}" if top else name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def test_local_checkouts_give_a_complete_bundle_and_nothing_else(tmp_path):
    root = tmp_path / "bundle"
    fetched = fetch_official(root, all_sources(*checkouts(tmp_path)))
    assert (fetched.brought, fetched.resumed, fetched.kept) == (len(FILES), 0, 0)
    assert_complete(root)
    assert not (tmp_path / ".bundle.partial").exists()
    again = fetch_official(root, [])
    assert (again.brought, again.kept) == (0, len(FILES))


def test_a_bundle_folder_is_a_source_too(tmp_path):
    bundle = write(tmp_path / "theirs", CONTENTS)
    fetch_official(tmp_path / "ours", all_sources(bundle))
    assert_complete(tmp_path / "ours")


def test_calvin_with_its_submodule_is_enough(tmp_path):
    env, calvin = checkouts(tmp_path)
    env.rename(calvin / "calvin_env")
    fetch_official(tmp_path / "bundle", all_sources(calvin))
    assert_complete(tmp_path / "bundle")


@pytest.mark.parametrize("form", ["url", "bare", "checkout with other files"])
def test_git_repositories(tmp_path, form):
    typed = []
    for folder in checkouts(tmp_path):
        commit(folder)
        if form == "url":
            typed.append(f"file://{folder}")
        elif form == "bare":
            bare = tmp_path / f"{folder.name}.git"
            subprocess.run(["git", "clone", "-q", "--bare", str(folder), str(bare)], check=True)
            typed.append(bare)
        else:
            for path in folder.rglob("*"):
                if path.is_file() and ".git" not in path.parts:
                    path.write_bytes(b"changed in the work tree")
            typed.append(folder)
    fetch_official(tmp_path / "bundle", all_sources(*typed))
    assert_complete(tmp_path / "bundle")


def test_a_git_url_that_does_not_answer_is_told_with_what_git_said(tmp_path):
    with pytest.raises(AssetError, match=r"cannot fetch from file:///nowhere/at/all.*does not"):
        fetch_official(tmp_path / "bundle", all_sources("file:///nowhere/at/all"))


def test_a_source_that_lacks_files_is_named_and_what_came_is_kept(tmp_path):
    env, calvin = checkouts(tmp_path)
    root = tmp_path / "bundle"
    with pytest.raises(AssetError) as failure:
        fetch_official(root, all_sources(env))
    message = str(failure.value)
    assert "one file could not be had" in message and "--from" in message
    assert "annotations/new_playtable_validation.yaml, which mees/calvin has" in message
    assert not root.exists(), "nothing is visible before everything is there"
    fetched = fetch_official(root, all_sources(calvin))
    assert (fetched.brought, fetched.resumed) == (1, len(FILES) - 1)
    assert_complete(root)


def test_a_half_written_file_of_an_interrupted_fetch_is_brought_again(tmp_path):
    staging = write(tmp_path / ".bundle.partial", CONTENTS)
    (staging / "data/plane/plane.obj").write_bytes(CONTENTS["data/plane/plane.obj"][:1000])
    (staging / "data/plane/plane.obj.part").write_bytes(b"torn")
    fetched = fetch_official(tmp_path / "bundle", all_sources(*checkouts(tmp_path)))
    assert (fetched.brought, fetched.resumed) == (1, len(FILES) - 1)
    assert_complete(tmp_path / "bundle")


def test_other_content_of_the_same_size_is_never_taken(tmp_path):
    env, calvin = checkouts(tmp_path)
    altered = bytearray(CONTENTS["data/plane/plane.obj"])
    altered[7] ^= 1
    (env / "data/plane/plane.obj").write_bytes(bytes(altered))
    with pytest.raises(AssetError, match=r"data/plane/plane\.obj"):
        fetch_official(tmp_path / "bundle", all_sources(env, calvin))
    assert not (tmp_path / "bundle").exists()


def test_an_altered_file_is_named_with_the_command_that_mends_it(tmp_path, monkeypatch):
    root = write(tmp_path / "my bundle", CONTENTS)
    monkeypatch.setenv("CALVIN_ASSETS", str(root))
    good = bundles.find_bundle("official").checksum
    (root / "data/extra.txt").write_bytes(b"not of the bundle")
    assert bundles.find_bundle("official").checksum == good

    plane = root / "data/plane/plane.obj"
    plane.write_bytes(plane.read_bytes()[::-1])
    with pytest.raises(AssetError, match=r"plane\.obj is altered .* fetch calvin --to '.*my bundle'"):
        _ = bundles.find_bundle("official").checksum
    plane.unlink()
    with pytest.raises(AssetError, match=r"plane\.obj is missing"):
        bundles.find_bundle("official")
    fetched = fetch_official(root, all_sources(*checkouts(tmp_path)))
    assert (fetched.brought, fetched.kept) == (1, len(FILES) - 1)
    assert bundles.find_bundle("official").checksum == good
    assert (root / "data/extra.txt").exists(), "files that are not ours stay"


def test_the_cache_is_found_without_being_named(tmp_path):
    with pytest.raises(AssetError, match="vla-bench assets fetch calvin"):
        bundles.find_bundle("official")
    fetch_official(cache_folder(), all_sources(*checkouts(tmp_path)))
    assert bundles.find_bundle("official").root == cache_folder()
    (cache_folder() / "data/plane/plane.obj").unlink()
    with pytest.raises(AssetError, match=r"mend it with: vla-bench assets fetch calvin$"):
        bundles.find_bundle("official")


def test_a_malicious_archive_writes_nothing_anywhere_else(tmp_path):
    link = tarfile.TarInfo()
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    hard = tarfile.TarInfo()
    hard.type, hard.linkname = tarfile.LNKTYPE, "calvin_env-797142c/LICENSE"
    device = tarfile.TarInfo()
    device.type = tarfile.CHRTYPE
    tricks = {
        "../../evil.txt": b"out",
        "../data/blocks/block_red_middle.urdf": CONTENTS["data/blocks/block_red_middle.urdf"],
        "data/plane/plane.obj": link,
        "data/calvin_table_D/urdf/calvin_table_D.urdf": hard,
        "data/blocks/block_red_middle.urdf": device,
        "LICENSE": CONTENTS["LICENSE.calvin_env"],
    }
    file = tmp_path / "in" / "calvin_env.tar.gz"
    file.parent.mkdir()
    file.write_bytes(archive(tricks))
    with pytest.raises(AssetError, match="4 of 6 files could not be had"):
        fetch_official(tmp_path / "out" / "bundle", all_sources(file))
    written = {path.name for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()}
    assert written == {"calvin_env.tar.gz", ".bundle.lock", "LICENSE.calvin", "LICENSE.calvin_env"}


def test_absolute_names_in_an_archive_are_not_followed(tmp_path):
    file = tmp_path / "evil.tar.gz"
    file.write_bytes(archive({str(tmp_path / "evil.txt"): b"out"}, top=""))
    with pytest.raises(AssetError):
        fetch_official(tmp_path / "bundle", all_sources(file))
    assert not (tmp_path / "evil.txt").exists()


def test_a_link_out_of_a_source_folder_is_refused(tmp_path):
    env, calvin = checkouts(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENTS["data/plane/plane.obj"])
    (env / "data/plane/plane.obj").unlink()
    (env / "data/plane/plane.obj").symlink_to(secret)
    with pytest.raises(AssetError, match="link that leads out of"):
        fetch_official(tmp_path / "bundle", all_sources(env, calvin))


def test_a_link_planted_in_the_target_is_not_written_through(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "bundle"
    root.mkdir()
    (root / "data").symlink_to(outside)
    with pytest.raises(AssetError, match="link that leads out of"):
        fetch_official(root, all_sources(*checkouts(tmp_path)))
    assert not any(outside.iterdir())


class Site:
    """A web server that has an archive and single files, and breaks off when told to."""

    def __init__(self, files: dict[str, bytes], break_first: int = 0) -> None:
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                content = files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                broken = site.break_first > 0
                site.break_first -= 1
                self.wfile.write(content[: len(content) // 2] if broken else content)

            def log_message(self, *_: object) -> None:
                pass

        self.break_first = break_first
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def source(self) -> GitHubSource:
        return GitHubSource(CALVIN_ENV, f"{self.url}/{{repository}}/{{commit}}.tgz", f"{self.url}/{{commit}}/{{path}}")


def test_an_archive_that_breaks_off_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "FEW", 0)
    env, calvin = checkouts(tmp_path)
    # Bytes that do not compress, so that half an archive holds some files but not all.
    large = {"data/zzz": hashlib.shake_256(b"x").digest(200_000)}
    members = {file.relative_to(env).as_posix(): file.read_bytes() for file in env.rglob("*") if file.is_file()}
    path = f"/{CALVIN_ENV.name}/{CALVIN_ENV.commit}.tgz"
    with Site({path: archive({**dict(sorted(members.items())), **large})}, break_first=1) as site:
        fetched = fetch_official(tmp_path / "bundle", [FolderSource(calvin), site.source()])
        assert fetched.brought == len(FILES)
    assert_complete(tmp_path / "bundle")


def test_a_few_missing_files_are_asked_for_one_by_one(tmp_path):
    root = write(tmp_path / "bundle", CONTENTS)
    (root / "data/plane/plane.obj").write_bytes(b"altered")
    path = f"/{CALVIN_ENV.commit}/data/plane/plane.obj"
    with Site({path: CONTENTS["data/plane/plane.obj"]}) as site:
        fetch_official(root, [site.source()])
        assert site.asked == [path]
    assert_complete(root)


def test_a_server_without_the_file_is_told_with_its_answer(tmp_path):
    with Site({}) as site, pytest.raises(AssetError, match="the server answered 404"):
        fetch_official(tmp_path / "bundle", [site.source()])


def test_two_fetches_at_once_end_in_one_whole_bundle(tmp_path):
    folders = checkouts(tmp_path)
    done = []

    def work() -> None:
        done.append(fetch_official(tmp_path / "bundle", all_sources(*folders)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(fetched.brought for fetched in done) == [0, 0, 0, len(FILES)]
    assert_complete(tmp_path / "bundle")


def test_progress_counts_verified_bytes(tmp_path):
    seen = []
    fetch_official(
        tmp_path / "bundle",
        all_sources(*checkouts(tmp_path)),
        lambda source, done, total: seen.append((done, total)),
    )
    total = sum(map(len, CONTENTS.values()))
    assert seen[0] == (0, total) and seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("typed", ["nowhere", "-oProxyCommand=evil", "--upload-pack=evil:x"])
def test_what_is_no_source_is_refused(typed):
    with pytest.raises(AssetError, match="--from"):
        sources_of(typed)
