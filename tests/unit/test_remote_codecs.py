"""Broken and hostile messages: one sentence, nothing built of them, nothing unpickled."""

from __future__ import annotations

import json
import pickle
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bench.policies.remote.codecs import bounds, groot, openpi, rest, vla_eval
from vla_bench.policies.remote.errors import MessageFault

DECODERS = {
    "openpi": openpi.decode,
    "vla_eval": vla_eval.decode,
    "groot": groot.decode,
    "rest": rest.decode_reply,
    "rest_request": rest.decode_request,
}
ENVELOPE = {"type": "action", "payload": {}, "seq": 1, "timestamp": 0.5}


def envelope(payload) -> bytes:
    return msgpack.packb({**ENVELOPE, "payload": payload})


def array(dtype, data=b"\0" * 8, shape=(1,)):
    return {"__ndarray__": True, "data": data, "dtype": dtype, "shape": list(shape)}


def bytes_keys(plain):
    return {key.encode(): value for key, value in plain.items()}


HOSTILE = {
    "nothing": b"",
    "reserved": b"\xc1",
    "cut short": b"\x81\xa1a",
    "more behind": b"\x80\x80",
    "list of four thousand million": b"\xdd\xff\xff\xff\xff",
    "nested lists that promise": b"\xdd\x00\x00\xff\xff" * 1000,
    "deep": b"\x91" * 5000 + b"\x80",
    "million maps": b"\xdd" + (1 << 20).to_bytes(4, "big") + b"\x80" * (1 << 20),
    "extension": b"\xd4\x01\x00",
    "map with map as key": b"\x81\x80\xc0",
    "text that is no text": b"\xa2\xff\xfe",
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", DECODERS)
def test_hostile_bytes(protocol, name):
    with pytest.raises(MessageFault) as caught:
        DECODERS[protocol](HOSTILE[name])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.parametrize("dtype", ["|O", "|V8", "<c16", "<M8[s]", "<f16", "O", "f8,f8", ["<f8"], 3, "<i3", "nonsense"])
def test_arrays_of_other_kinds(dtype):
    for decode, data in (
        (openpi.decode, msgpack.packb(bytes_keys(array(dtype)))),
        (vla_eval.decode, envelope({"actions": array(dtype)})),
        (rest.decode, json.dumps({"__numpy__": "AAAAAAAAAAA=", "dtype": dtype, "shape": [1]}).encode()),
    ):
        with pytest.raises(MessageFault, match="array of dtype"):
            decode(data)


@pytest.mark.parametrize("shape", [(2,), (-1, -1), (1 << 50,), (1,) * 40, "ab", (1.0,), None])
def test_arrays_of_other_sizes(shape):
    plain = {**array("<f8"), "shape": shape}
    for decode, data in (
        (openpi.decode, msgpack.packb(bytes_keys(plain))),
        (vla_eval.decode, envelope({"actions": plain})),
        (rest.decode, json.dumps({"__numpy__": "AAAAAAAAAAA=", "dtype": "<f8", "shape": shape}).encode()),
    ):
        with pytest.raises(MessageFault, match=r"array of"):
            decode(data)


def test_npy_of_objects():
    for descr in ("'|O'", "[('a', '<f8')]"):
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".ljust(117) + "\n"
        npy = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 8
        message = msgpack.packb({"__ndarray_class__": True, "as_npy": npy})
        with pytest.raises(MessageFault, match="dtype"):
            groot.decode(message)


def test_fortran_and_byte_order_survive_npy():
    for original in (
        np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)),
        np.float32(3)[None][0:1].reshape(()),
        np.array(["ab", "c"]),
    ):
        decoded = groot.decode(groot.encode(original))
        assert decoded.dtype == original.dtype and np.array_equal(decoded, original)
        assert decoded.flags.f_contiguous == original.flags.f_contiguous and decoded.flags.writeable


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("decode", [openpi.decode, openpi.Decoder(), vla_eval.decode, groot.decode])
def test_no_pickle_passes(decode, protocol):
    for value in (None, {"actions": [1.0] * 7}, {"actions": np.zeros((10, 7))}):
        with pytest.raises(MessageFault, match="pickle"):
            decode(pickle.dumps(value, protocol=protocol))


def test_pickles_are_named():
    for data in (b"PK\x03\x04" + b"\0" * 100, pickle.dumps({"a": 1})):
        with pytest.raises(MessageFault, match="pickle"):
            groot.decode(data)


def test_what_cannot_be_sent():
    for encode in (openpi.encode, groot.encode, rest.encode):
        for value in (np.array([None]), np.array([1j]), np.zeros(1, dtype="f4,f4"), object()):
            with pytest.raises(ValueError):
                encode({"a": value})


def test_image_larger_than_it_says():
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    sent = msgpack.unpackb(vla_eval.encode(vla_eval.Message("observation", {"a": pixels}), "png"))
    for shape in ([8, 8, 3], [64, 64], [0, 64, 3], [1 << 20, 1 << 20, 3]):
        sent["payload"]["a"]["shape"] = shape
        with pytest.raises(MessageFault, match="image"):
            vla_eval.decode(msgpack.packb(sent))
    sent["payload"]["a"] |= {"shape": [64, 64, 3], "data": b"\x89PNG\r\n\x1a\n" + b"\0" * 50}
    with pytest.raises(MessageFault, match="image"):
        vla_eval.decode(msgpack.packb(sent))


@pytest.mark.parametrize("change", [{"type": "kill"}, {"type": 3}, {"payload": []}, {"seq": "1"}, {"timestamp": None}])
def test_envelopes_that_are_none(change):
    with pytest.raises(MessageFault):
        vla_eval.decode(msgpack.packb({**ENVELOPE, **change}))
    without = {name: value for name, value in ENVELOPE.items() if name not in change}
    with pytest.raises(MessageFault, match="without"):
        vla_eval.decode(msgpack.packb(without))


def test_memory_stays_within_the_limit(monkeypatch):
    monkeypatch.setattr(bounds, "MOST_VALUES", 20_000)  # tracing makes the counting slow
    tracemalloc.start()
    try:
        for data in HOSTILE.values():
            for decode in DECODERS.values():
                with pytest.raises(MessageFault):
                    decode(data)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    with pytest.raises(MessageFault, match="at most"):
        openpi.decode(bytes(bounds.LARGEST_MESSAGE + 1))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(max_size=8), inner, max_size=20),
    max_leaves=30,
)


@settings(max_examples=150, deadline=None)
@given(plain, st.integers(0, 10_000), st.integers(0, 255))
def test_any_value_and_any_damage(value, where, byte):
    data = msgpack.packb(value)
    bounds.check_msgpack(data)
    damaged = bytearray(data)
    damaged[where % len(damaged)] = byte
    for decode in DECODERS.values():
        try:
            decode(bytes(damaged))
        except MessageFault as fault:
            assert "\n" not in str(fault)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    for decode in DECODERS.values():
        try:
            decode(data)
        except MessageFault as fault:
            assert "\n" not in str(fault)
