"""What a policy's ``act`` may answer, and what is said of anything else: one place for all policies."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vla_bench.policies.errors import PolicyError

_SHOWN = 60


def as_chunk(answer: Any, name: str) -> np.ndarray:
    """The answer for one slot as a chunk (k, A), or (A,) made (1, A), float32 or float64.

    Arrays, lists of numbers and tensors (of any device) are taken. Whole numbers become float64 and half
    precision float32, both exactly. PolicyError: says what came back, and what is wanted.

    Args:
        answer: what ``act`` returned.
        name: of the policy.
    """
    told = f"policy {name!r} returned"
    if answer is None:
        raise PolicyError(f"{told} None from act(): is a `return` missing? {_WANTED}")
    if isinstance(answer, Mapping):
        keys = ", ".join(map(repr, list(answer)[:5]))
        hint = f"; return the array itself, e.g. answer[{next(iter(answer))!r}]" if answer else ""
        raise PolicyError(f"{told} a dict with {keys or 'nothing in it'} from act(){hint}. {_WANTED}")
    if isinstance(answer, str | bytes):
        raise PolicyError(f"{told} the text {str(answer)[:_SHOWN]!r} from act(). {_WANTED}")
    if isinstance(answer, Iterator) or inspect.isgenerator(answer) or inspect.iscoroutine(answer):
        raise PolicyError(f"{told} a {type(answer).__name__} from act(), which has to be run first. {_WANTED}")
    if isinstance(answer, tuple) and any(isinstance(item, Mapping) or item is None for item in answer):
        kinds = ", ".join(type(item).__name__ for item in answer)
        raise PolicyError(f"{told} a tuple of {kinds} from act(); return the action alone. {_WANTED}")
    try:
        chunk = np.asarray(_numbers(answer))
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PolicyError(f"{told} {type(answer).__name__}, which is no array: {said}. {_WANTED}") from error
    if chunk.ndim == 0:
        raise PolicyError(f"{told} {_described(answer)} from act(), a single value. {_WANTED}")
    if chunk.dtype.kind in "iu":
        chunk = chunk.astype(np.float64)
    elif chunk.dtype == np.float16:
        chunk = chunk.astype(np.float32)
    return chunk[None] if chunk.ndim == 1 else chunk


_WANTED = "It must be a NumPy array (A,) or (k, A) of float32 or float64"


def _numbers(answer: Any) -> Any:
    """A tensor as an array, also in a list."""
    if hasattr(answer, "detach") and hasattr(answer, "cpu"):
        tensor = answer.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":  # which NumPy does not have
            tensor = tensor.float()
        return tensor.numpy()
    if isinstance(answer, list | tuple) and any(hasattr(item, "detach") for item in answer):
        return [_numbers(item) for item in answer]
    return answer


def _described(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= _SHOWN else f"an object of type {type(answer).__name__}"
