"""Files of weights are known by what they hold; damage shows while they are read."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pickle
import zipfile

import numpy
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402

from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.identity import digests  # noqa: E402
from vla_bench.policies.vla.checkpoints import plain_name, read_checkpoint, read_tensors  # noqa: E402
from vla_bench.policies.vla.weight_files import check_archive, read_weights  # noqa: E402

WEIGHTS = {"model.a.weight": torch.arange(600.0), "model.b": torch.ones(2, 3)}
AVERAGED = {name: value + 1 for name, value in WEIGHTS.items()}
NAMES = {"a.weight", "b"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty, 0 bytes"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 6812345678\n",
            "6.8 GB itself.*git lfs pull",
        ),
        (b"\n<!DOCTYPE html><html><title>Sign In</title>", "web page .'Sign In'.*log in"),
        (b'{"error": "Repository not found"}', "JSON text.*Repository not found"),
        (gzip.compress(b"x" * 100, mtime=0), "compressed .gzip.*gunzip"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"GGUF....", "GGUF"),
        (b"\0" * 257 + b"ustar" + b"\0" * 300, "tar archive"),
        (b"Access denied", "starts with b'Access denied'"),
    ],
)
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors", "pytorch_model.bin"])
def test_what_is_no_file_of_weights_is_told_with_its_remedy(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    if content == b"Access denied" and name == "model.safetensors":
        message = "no safetensors file"
    with pytest.raises(PolicyError, match=message):
        read_tensors(tmp_path / name)


def test_a_link_to_nothing_is_called_one(tmp_path):
    (tmp_path / "model.pt").symlink_to("gone.pt")
    with pytest.raises(PolicyError, match=r"is a link to gone\.pt"):
        read_tensors(tmp_path / "model.pt")


def test_the_suffix_does_not_decide(tmp_path):
    torch.save(WEIGHTS, tmp_path / "torch.safetensors")
    save_file(WEIGHTS, tmp_path / "safe.pt")
    for path in tmp_path.iterdir():
        tensors = read_tensors(path)
        assert tensors.keys() == NAMES and torch.equal(tensors["a.weight"], WEIGHTS["model.a.weight"])


def test_zeroed_bytes_anywhere_in_an_archive_are_noticed(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(WEIGHTS, path)
    whole = path.read_bytes()
    check_archive(path)
    part = next(each for each in zipfile.ZipFile(path).infolist() if each.filename.endswith("data/0"))
    for offset in (part.header_offset + 400, part.header_offset + 2000):
        damaged = bytearray(whole)
        damaged[offset : offset + 64] = bytes(64) if any(damaged[offset : offset + 64]) else b"\1" * 64
        path.write_bytes(damaged)
        with pytest.raises(PolicyError, match=r"damaged: its part .*data/0"):
            read_weights(path)


def test_an_archive_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, tmp_path / "model.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert read_tensors(tmp_path / "model.pt").keys() == NAMES


@pytest.mark.parametrize("how", ["cache", "download", "beside"])
def test_a_digest_that_is_known_is_compared(how, tmp_path):
    save_file(WEIGHTS, tmp_path / "made.safetensors")
    content = (tmp_path / "made.safetensors").read_bytes()
    stated = hashlib.sha256(content).hexdigest()
    path = tmp_path / "model.safetensors"
    if how == "cache":
        blob = tmp_path / "blobs" / stated
        blob.parent.mkdir()
        path.symlink_to(blob)
    elif how == "download":
        note = tmp_path / ".cache/huggingface/download/model.safetensors.metadata"
        note.parent.mkdir(parents=True)
        note.write_text(f"commit\n{stated}\n1.0\n")
    else:
        (tmp_path / "model.safetensors.sha256").write_text(f"{stated}  model.safetensors\n")
    target = path.resolve()
    target.write_bytes(content)
    assert read_tensors(path).keys() == NAMES
    target.write_bytes(content[:-64] + bytes(63) + b"\1")
    with pytest.raises(PolicyError, match="is damaged: its SHA-256"):
        read_tensors(path)


def test_a_large_archive_is_checked_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "REMEMBERED", 1)
    monkeypatch.setattr(digests, "_FRESH_NS", -1)
    path = tmp_path / "model.pt"
    torch.save(WEIGHTS, path)
    check_archive(path)
    from vla_bench.policies.vla import weight_files

    monkeypatch.setattr(weight_files, "_damaged_part", lambda path: pytest.fail("read again"))
    check_archive(path)


def _index(folder, names, prefix="model.safetensors"):
    (folder / f"{prefix}.index.json").write_text(json.dumps({"weight_map": names}))


def test_layouts_one_step_from_ours(tmp_path):
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    names = dict(zip(WEIGHTS, ("model-1.safetensors", "model-2.safetensors"), strict=True))
    for name, file in names.items():
        save_file({name: WEIGHTS[name]}, sharded / file)
    _index(sharded, names)
    binary = tmp_path / "binary"
    binary.mkdir()
    torch.save(WEIGHTS, binary / "pytorch_model.bin")
    torch.save({"lr": 1}, binary / "training_args.bin")
    torch.save({"model": WEIGHTS, "optimizer": {"state": {"x": {"y": torch.ones(1)}}}}, tmp_path / "under.pt")
    torch.save({"state_dict": {f"_orig_mod.{n}": v for n, v in WEIGHTS.items()}}, tmp_path / "compiled.pt")
    for path in (
        sharded,
        sharded / "model.safetensors.index.json",
        binary,
        tmp_path / "under.pt",
        tmp_path / "compiled.pt",
    ):
        tensors, said = read_checkpoint(path)
        assert (tensors.keys(), said) == (NAMES, ""), path
    (sharded / "model-2.safetensors").unlink()
    with pytest.raises(PolicyError, match=r"2 files of which 1 are not there: model-2\.safetensors"):
        read_tensors(sharded)
    save_file({"other": torch.ones(1)}, sharded / "model-2.safetensors")
    with pytest.raises(PolicyError, match=r"lack 1 of the tensors that it lists: model\.b"):
        read_tensors(sharded)


def test_wrappers_in_names():
    assert plain_name("module._orig_mod.model.x.w") == "x.w"
    assert plain_name("model._orig_mod.x._fsdp_wrapped_module.w") == "x.w"
    assert plain_name("model.my_orig_mod.w") == "my_orig_mod.w"


@pytest.mark.parametrize(
    ("content", "usual", "other"),
    [
        ({"state_dict": WEIGHTS, "ema_state_dict": AVERAGED}, "state_dict", "ema_state_dict"),
        ({"ema": {"state_dict": AVERAGED, "decay": 0.9}, "model": WEIGHTS}, "model", "ema"),
        ({**WEIGHTS, **{f"ema.{n.removeprefix('model.')}": v for n, v in AVERAGED.items()}}, "model", "ema"),
    ],
)
def test_of_several_sets_the_usual_is_taken_and_said_and_another_can_be_chosen(content, usual, other, tmp_path):
    path = tmp_path / "both.pt"
    torch.save(content, path)
    tensors, said = read_checkpoint(path)
    assert torch.equal(tensors["b"], WEIGHTS["model.b"]) and tensors.keys() == NAMES
    assert f"the weights {usual} are taken" in said and f"policy.weights={other}" in said
    tensors, said = read_checkpoint(path, weights=other)
    assert torch.equal(tensors["b"], AVERAGED["model.b"]) and tensors.keys() == NAMES
    with pytest.raises(PolicyError, match=r"has no weights 'emma'; it has"):
        read_checkpoint(path, weights="emma")


def test_several_sets_without_a_usual_name_have_to_be_chosen_from(tmp_path):
    torch.save({"one": WEIGHTS, "two": AVERAGED}, tmp_path / "both.pt")
    with pytest.raises(PolicyError, match=r"choose one with policy\.weights=one\|two"):
        read_checkpoint(tmp_path / "both.pt")


def _pipe(path):
    os.mkfifo(path)


def _script(path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


def _zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/readme.txt", "hello")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_pipe, "is a pipe, not a file of weights"),
        (lambda path: path.symlink_to(path.name), "is a link that leads back to itself"),
        (lambda path: path.write_bytes(bytes(4096)), "begins with zeros, .*download or copy that broke off"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "is a pickle of Python's own.*torch.save"),
        (_script, r"is a TorchScript program.*torch\.jit\.load\('model\.pt'\)\.state_dict\(\)"),
        (_zip, r"is a zip archive without weights of torch \(weights/readme\.txt\)"),
        (lambda path: numpy.savez(path.open("wb"), a=numpy.ones(3)), "is a NumPy archive"),
        (
            lambda path: path.write_text(f"version https://git-lfs.github.com/spec/v1\nsize {2**20}\n"),
            "of 1.0 MB itself",
        ),
        (lambda path: path.with_name("model.ptt").touch(), r"there is no checkpoint .* Did you mean 'model\.ptt'\?"),
    ],
)
def test_what_only_looks_like_a_checkpoint(make, message, tmp_path):
    make(tmp_path / "model.pt")
    with pytest.raises(PolicyError, match=message):
        read_checkpoint(tmp_path / "model.pt")


def test_an_archive_that_was_packed_anew_is_checked_part_by_part(tmp_path):
    torch.save(WEIGHTS, tmp_path / "stored.pt")
    with zipfile.ZipFile(tmp_path / "stored.pt") as stored, zipfile.ZipFile(tmp_path / "model.pt", "w") as packed:
        for part in stored.infolist():
            packed.writestr(part.filename, stored.read(part), compress_type=zipfile.ZIP_DEFLATED)
    check_archive(tmp_path / "model.pt")
    content = bytearray((tmp_path / "model.pt").read_bytes())
    content[content.rfind(b"data/0", 0, content.find(b"PK\x01\x02")) + 60] ^= 255
    (tmp_path / "model.pt").write_bytes(content)
    with pytest.raises(PolicyError, match="is damaged"):
        check_archive(tmp_path / "model.pt")


@pytest.mark.skipif(os.geteuid() != 0, reason="another user has to be looked through the eyes of")
@pytest.mark.parametrize(("locked", "mode"), [("folder/model.pt", 0o600), ("folder", 0o600), ("folder", 0o000)])
def test_what_one_may_not_read_is_a_sentence(locked, mode, tmp_path):
    path = tmp_path / "folder" / "model.pt"
    path.parent.mkdir()
    torch.save(WEIGHTS, path)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder.name.startswith(("pytest", "test")):
            folder.chmod(0o755)
    (tmp_path / locked).chmod(mode)
    os.seteuid(65534)
    try:
        for asked in (path, path.parent) if locked == "folder" else (path,):
            with pytest.raises(PolicyError, match=r"you may not read it or a folder that it lies in|holds 0 check"):
                read_checkpoint(asked)
    finally:
        os.seteuid(0)


def test_what_is_no_weights_is_told_before_a_structure_is_asked_for(tmp_path):
    from vla_bench.policies.vla.options import _structure

    (tmp_path / "w.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    (tmp_path / "z.pt").touch()
    for name, said in (("w.pt", "Git-LFS pointer"), ("z.pt", "empty|0 bytes|no bytes")):
        with pytest.raises(PolicyError, match=said):
            _structure(None, None, str(tmp_path / name))
    with pytest.raises(PolicyError, match="told no structure"):
        _structure(None, None, None)
