"""JSON with arrays, as X-VLA's and OpenVLA's ``/act`` servers speak it.

An array is ``{"__numpy__": base64, "dtype": ..., "shape": [...]}`` (json-numpy 2.1.1). X-VLA wants arrays as *strings
that hold such JSON*; OpenVLA takes them as they are, or a whole request as one string under ``encoded``.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_bench.policies.remote.codecs.bounds import DEEPEST, LARGEST_MESSAGE, MOST_VALUES, array_from, check_size
from vla_bench.policies.remote.errors import MessageFault

PROPRIO = "proprio"
"""X-VLA's CALVIN client sends it as a list, in a string."""


def encode(value: Any) -> bytes:
    """A JSON body, arrays in it as objects."""
    return encoded_text(value).encode()


def encoded_text(value: Any) -> str:
    """The same as text, e.g. one of X-VLA's strings within strings."""
    return json.dumps(value, default=_plain)


def encode_x_vla(request: Mapping[str, Any]) -> bytes:
    """A request of X-VLA: every array, and every list, is a string that holds JSON."""
    apart = np.ndarray | list
    texts = {name: encoded_text(value) if isinstance(value, apart) else value for name, value in request.items()}
    return json.dumps(texts).encode()


def encode_openvla(request: Mapping[str, Any], *, double: bool = False) -> bytes:
    """A request of OpenVLA; ``double``: as one string under ``encoded``."""
    return encode({"encoded": encoded_text(request)} if double else request)


def decode(data: bytes, largest: int = LARGEST_MESSAGE) -> Any:
    """The value of a body; arrays are read-only. MessageFault: no JSON, too much of it, or an array of objects."""
    check_size(len(data), largest)
    try:
        return decoded_text(data.decode())
    except UnicodeDecodeError:
        raise MessageFault("bytes that are no text") from None


def decoded_text(text: str) -> Any:
    """The same of text."""
    if text.count(",") + text.count(":") + text.count("[") + text.count("{") > MOST_VALUES:
        raise MessageFault(f"a message of more than {MOST_VALUES:,} values")
    try:
        value = json.loads(text, object_hook=_array)
    except MessageFault:
        raise
    except (ValueError, RecursionError) as error:
        raise MessageFault(f"text that is no JSON: {str(error)[:80]}") from None
    _check_depth(value, DEEPEST)
    return value


def decode_request(data: bytes, largest: int = LARGEST_MESSAGE) -> Mapping[str, Any]:
    """A request of either server, strings that hold arrays opened."""
    value = decode(data, largest)
    if isinstance(value, dict) and isinstance(value.get("encoded"), str):
        value = decoded_text(value["encoded"])
    if not isinstance(value, dict):
        raise MessageFault(f"a request that is a {type(value).__name__}, not an object")
    return {name: _opened(item, lists=name == PROPRIO) for name, item in value.items()}


def decode_reply(data: bytes, largest: int = LARGEST_MESSAGE) -> Any:
    """A reply of either server: OpenVLA answers a double-encoded request by a string that holds the array."""
    value = decode(data, largest)
    return _opened(value)


def _opened(value: Any, *, lists: bool = False) -> Any:
    begins = ('{"__numpy__"', "[") if lists else '{"__numpy__"'
    return decoded_text(value) if isinstance(value, str) and value.startswith(begins) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biufU":
            raise ValueError(f"an array of {value.dtype} cannot be sent")
        text = base64.b64encode(np.ascontiguousarray(value).data if value.ndim else value.tobytes()).decode()
        return {"__numpy__": text, "dtype": value.dtype.str, "shape": list(value.shape)}
    raise ValueError(f"a {type(value).__name__} cannot be sent")


def _array(value: dict[str, Any]) -> Any:
    if "__numpy__" not in value:
        return value
    try:
        data = base64.b64decode(value["__numpy__"], validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise MessageFault("an array that is no base64") from None
    array = array_from(value.get("dtype"), data, value.get("shape"))
    return array if array.ndim else array[()]


def _check_depth(value: Any, left: int) -> None:
    if left < 0:
        raise MessageFault(f"a message nested deeper than {DEEPEST} levels")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, dict | list):
            _check_depth(item, left - 1)
