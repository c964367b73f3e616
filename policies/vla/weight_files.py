"""Reads files of weights by what they hold, whatever they are called, and notices damage while it reads.

A ``torch.save`` archive carries a checksum of each of its parts, and a file of a hub has a digest that the hub
states; either is compared before the tensors are used, once for each state of a file (the result is remembered
as :mod:`vla_bench.policies.identity.digests` remembers digests).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import stat
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vla_bench.envs.damaged import DAMAGED_ARCHIVE
from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.identity.digests import once

_START = 512
_PIECE = 1 << 22
_PACKED = {
    b"\x1f\x8b": ("gzip", "gunzip"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"\xfd7zXZ": ("xz", "unxz"),
    b"BZh": ("bzip2", "bunzip2"),
    b"7z\xbc\xaf": ("7-Zip", "7z x"),
}
_FOREIGN = {
    b"\x89HDF": "an HDF5 file (Keras)",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file (llama.cpp)",
    b"\x89PNG": "a picture",
}
_TORCH = bytes.fromhex("6cfc9c46f9206aa85019")
"""The number with which files of torch.save begin that are no archives (before version 1.6)."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_weights(path: Path, *, trust: bool = False) -> Mapping[str, Any]:
    """What the file holds: names and tensors, or the containers of a ``torch.save`` file.

    Tensors are memory-mapped where the file allows it. PolicyError: it is not there, not of weights, cut short
    or damaged; says which, and what to do.

    Args:
        trust: allow a file that holds more than tensors, and can run code when it is read.
    """
    refuse_other_files(path)
    check_stated_digest(path)
    if _is_safetensors(path):
        return _read_safetensors(path)
    return _read_torch(path, trust)


def refuse_other_files(path: Path) -> None:
    """PolicyError: the file is not there, or it is something else than weights."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            kind = next(word for test, word in _NO_FILES if test(about.st_mode))
            raise PolicyError(f"vla: {path} is {kind}, not a file of weights; give the path of a file")
        start, size = _start(path), about.st_size
    except OSError as error:
        raise PolicyError(f"vla: {unreadable(path, error)}") from None
    if what := _something_else(start, size, path):
        raise PolicyError(f"vla: {path} {what}")


_NO_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (lambda mode: True, "a device"),
)


def unreadable(path: Path, error: OSError) -> str:
    """A sentence on a path that cannot be looked at."""
    if error.errno == errno.ELOOP:
        return f"{path} is a link that leads back to itself; link it anew, or give the file itself"
    if isinstance(error, PermissionError):
        return (
            f"{path} cannot be read ({error.strerror}): you may not read it or a folder that it lies in; ask its "
            "owner, or copy it"
        )
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{path} cannot be read ({error.strerror or error})"
    if path.is_symlink():
        return f"{path} is a link to {os.readlink(path)}, which is not there; link it anew, or give the file itself"
    return f"there is no checkpoint {path}; give its path as checkpoint=...{near(path)}"


def is_absent(path: Path) -> bool:
    """Whether nothing lies there, not even a link; not where one may not look."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def near(path: Path) -> str:
    """The name beside a path that is not there that was perhaps meant, as a question."""
    try:
        return suggestion(path.name, [each.name for each in path.parent.iterdir()])
    except OSError:
        return ""


def _in_units(size: int) -> str:
    unit, name = next((pair for pair in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")) if size >= pair[0]), (1, "bytes"))
    return f"{size / unit:.1f} {name}" if unit > 1 else f"{size} {name}"


def _something_else(start: bytes, size: int, path: Path) -> str:
    if not size:
        return "cannot be read (it is empty, 0 bytes); it is truncated or no checkpoint. Fetch it again."
    if start.startswith(b"version https://git-lfs"):
        stated = re.search(rb"size (\d+)", start)
        large = f" of {_in_units(int(stated.group(1)))}" if stated else ""
        return (
            f"is a Git-LFS pointer, not the file{large} itself; type `git lfs install && git lfs pull` in its "
            "repository, or download the file"
        )
    if not any(start):
        return (
            "begins with zeros, as a file for which room was made but which was never written: a download or copy that "
            "broke off. Fetch it again."
        )
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        title = re.search(rb"<title>\s*(.*?)\s*</title>", start, re.IGNORECASE | re.DOTALL)
        said = f" ({title.group(1).decode(errors='replace')!r})" if title else ""
        return (
            f"is a web page{said}, which a server sent in place of the file; log in or accept the terms there, and "
            "download it by its direct link"
        )
    if text.startswith((b"{", b"[")) and _is_json(path):
        return (
            "is JSON text, as a server sends with an error, or a configuration; give the file that holds the weights"
            f" ({start[:80].decode(errors='replace').strip()!r})"
        )
    for mark, (kind, command) in _PACKED.items():
        if start.startswith(mark):
            return f"is compressed ({kind}); type `{command} {path.name}` and give what comes out"
    if start[257:262] == b"ustar":
        return f"is a tar archive; type `tar xf {path.name}` and give the file of weights in it"
    for mark, kind in _FOREIGN.items():
        if start.startswith(mark):
            return f"is {kind}, not weights of torch or safetensors"
    return ""


def _is_json(path: Path) -> bool:
    if path.stat().st_size > 1 << 26:
        return False
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True


def _start(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_START)


def _is_safetensors(path: Path) -> bool:
    """A length (8 bytes, little-endian) and a JSON object; the name decides only for what is neither."""
    start, size = _start(path), path.stat().st_size
    if len(start) > 8 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size:
        return True
    return path.suffix == ".safetensors" and not start.startswith((b"PK", b"\x80"))


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise PolicyError(
            f"vla: {path} cannot be read ({error}); it is truncated or no safetensors file. Fetch it again."
        ) from None


def _read_torch(path: Path, trust: bool) -> Mapping[str, Any]:
    # Only zip archives can be mapped; torch wrote them from version 1.6 on, and pickles before.
    import torch

    mapped = zipfile.is_zipfile(path)
    if not mapped and _start(path).startswith(b"\x80") and _TORCH not in _start(path)[:64]:
        raise PolicyError(
            f"vla: {path} is a pickle of Python's own, not a file that torch.save wrote; read it in Python and save "
            "the tensors in it with torch.save"
        )
    if not mapped and not _start(path).startswith(b"\x80"):
        raise PolicyError(_truncated(path))
    if mapped:
        if what := _another_archive(path):
            raise PolicyError(f"vla: {path} is {what}")
        check_archive(path)
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning), open(path, "rb") as file:
            # torch itself goes by the name, and would take what is called .safetensors for one.
            alias = Path(f"/proc/self/fd/{file.fileno()}")
            mapped = mapped and (alias.exists() or path.suffix != ".safetensors")
            source: Any = file if not mapped else str(alias) if path.suffix == ".safetensors" else str(path)
            return torch.load(source, map_location="cpu", mmap=mapped, weights_only=not trust)
    except pickle.UnpicklingError as error:
        if "weights_only" in str(error) or "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise PolicyError(
                f"vla: {path} holds more than tensors, and reading it can run code "
                f"({_culprit(error)}). If you trust its maker, type policy.trust_checkpoint=true, "
                "or --trust to have it described"
            ) from None
        raise PolicyError(_truncated(path, error)) from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AssertionError) as error:
        raise PolicyError(_truncated(path, error)) from None


def _culprit(error: Exception) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"it names {named.group(1)}" if named else "it names classes"


def _truncated(path: Path, error: Exception | None = None) -> str:
    start = _start(path)[:24]
    if error is None and start.startswith(b"PK"):
        reason = "its end, which lists what it holds, is missing"
    elif error is None:
        reason = f"it starts with {start!r}"
    else:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"vla: {path} cannot be read ({reason}); it is truncated or no checkpoint. Fetch it again."


def _another_archive(path: Path) -> str:
    """What a zip archive is that torch.save did not write; empty for one that it did, or whose list is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except DAMAGED_ARCHIVE:
        return ""
    if any("/code/" in name for name in names):
        return (
            "a TorchScript program, not weights; save those with "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), 'weights.pt')"
        )
    if any(name.endswith("data.pkl") for name in names):
        return ""
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (npz), not weights of torch or safetensors"
    held = ", ".join(names[:3]) or "empty"
    return f"a zip archive without weights of torch ({held}); unpack it, and give the file in it"


def check_archive(path: Path) -> None:
    """Compares every part of a ``torch.save`` archive with its checksum; PolicyError names one that differs.

    An archive that was written without checksums (``torch.serialization.set_crc32_options(False)``) has zeros
    in their place and passes.
    """
    if bad := once(path, "archive", lambda: _damaged_part(path)):
        raise PolicyError(
            f"vla: {path} is damaged: its part {bad} does not have the checksum that it was written with. Fetch "
            "or copy it again."
        )


def _damaged_part(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = [part for part in archive.infolist() if not part.is_dir()]
    except DAMAGED_ARCHIVE:
        return "list"
    if not any(part.filename.endswith("data.pkl") for part in parts):
        return ""  # no archive of torch's; what it is will be said by whoever reads it
    if not any(part.CRC for part in parts):
        return ""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            stored = [part for part in parts if part.compress_type == zipfile.ZIP_STORED]
            wrong = threads.map(lambda part: None if _sound(descriptor, part) else part.filename, stored)
            if found := next((name for name in wrong if name), ""):
                return found
    finally:
        os.close(descriptor)
    try:  # what somebody has packed anew, compressed
        with zipfile.ZipFile(path) as archive:
            return next((part.filename for part in parts if part not in stored and not _unpacks(archive, part)), "")
    except DAMAGED_ARCHIVE:
        return "list"


def _unpacks(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(part) as opened:
            while opened.read(_PIECE):
                pass
    except DAMAGED_ARCHIVE:
        return False
    return True


def _sound(descriptor: int, part: zipfile.ZipInfo) -> bool:
    header = os.pread(descriptor, 30, part.header_offset)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        return False
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    position, checksum = part.header_offset + 30 + lengths, 0
    end = position + part.file_size
    while position < end:
        piece = os.pread(descriptor, min(_PIECE, end - position), position)
        if not piece:
            return False
        checksum = zlib.crc32(piece, checksum)
        position += len(piece)
    return checksum == part.CRC


def check_stated_digest(path: Path) -> None:
    """Compares a file that came from a hub with the SHA-256 that the hub states; PolicyError: another one."""
    stated = stated_sha256(path)
    if stated is None:
        return
    found = once(path, "sha256", lambda: _sha256(path))
    if found != stated[0]:
        raise PolicyError(
            f"vla: {path} is damaged: its SHA-256 is {found[:16]}…, {stated[1]} says {stated[0][:16]}…. Fetch it again."
        )


def stated_sha256(path: Path) -> tuple[str, str] | None:
    """The digest that a file should have and who says so: its name in the hub's cache, the hub's note beside a
    download, or ``<file>.sha256``; None where nobody does."""
    real = Path(os.path.realpath(path))
    if real.parent.name == "blobs" and _SHA256.fullmatch(real.name):
        return real.name, "the hub's cache"
    for folder in list(path.absolute().parents)[:6]:
        note = folder / ".cache" / "huggingface" / "download" / f"{path.absolute().relative_to(folder)}.metadata"
        try:
            lines = note.read_text().splitlines()
        except (OSError, ValueError):
            continue
        if len(lines) > 1 and _SHA256.fullmatch(lines[1].strip('"')):
            return lines[1].strip('"'), f"the hub ({note})"
    beside = path.with_name(f"{path.name}.sha256")
    try:
        word = beside.read_text().split()[0].lower()
    except (OSError, ValueError, IndexError):
        return None
    return (word, beside.name) if _SHA256.fullmatch(word) else None


def _sha256(path: Path) -> str:
    seen = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            seen.update(piece)
    return seen.hexdigest()
