"""What a policy's ``act`` may answer, and what is said of anything else: one place for all policies."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
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
        raise PolicyError(f"{told} a dict with {keys or 'nothing in it'} from act(){_way_out(answer)}. {_WANTED}")
    if isinstance(answer, str | bytes):
        raise PolicyError(f"{told} the text {str(answer)[:_SHOWN]!r} from act(). {_WANTED}")
    if isinstance(answer, Iterator) or inspect.isgenerator(answer) or inspect.iscoroutine(answer):
        raise PolicyError(f"{told} a {type(answer).__name__} from act(), which has to be run first. {_WANTED}")
    if isinstance(answer, tuple) and any(isinstance(item, Mapping) or item is None for item in answer):
        kinds = ", ".join(type(item).__name__ for item in answer)
        raise PolicyError(f"{told} a tuple of {kinds} from act(); return the action alone. {_WANTED}")
    if lengths := _ragged(answer):
        raise PolicyError(
            f"{told} a {type(answer).__name__} of parts of different lengths from act() ({lengths}); join them, e.g. "
            f"np.concatenate([np.atleast_1d(part) for part in answer]). {_WANTED}"
        )
    try:
        chunk = np.asarray(_numbers(answer))
    except (ValueError, TypeError, RuntimeError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise PolicyError(f"{told} {type(answer).__name__}, which is no array: {said}. {_WANTED}") from error
    if chunk.ndim == 0:
        raise PolicyError(f"{told} {_described(answer)} from act(), a single value. {_WANTED}")
    if chunk.dtype.kind in "iu":
        chunk = chunk.astype(np.float64)
    elif chunk.dtype == np.float16:
        chunk = chunk.astype(np.float32)
    return chunk[None] if chunk.ndim == 1 else chunk


def _way_out(answer: Mapping[Any, Any]) -> str:
    """What to return in place of a dictionary: the one array in it that is an action, or all parts joined."""
    likely = [key for key in answer if str(key).lower() in ("action", "actions", "action_pred", "action_chunk")]
    if likely or len(answer) == 1:
        return f"; return the array itself, e.g. answer[{(likely or list(answer))[0]!r}]"
    return "; return one array, its parts joined, e.g. np.concatenate([position, rotation, gripper])" if answer else ""


def _ragged(answer: Any) -> str:
    """Lengths of the parts of a list or tuple that cannot be stacked; empty where they can."""
    if not isinstance(answer, list | tuple) or len({*map(_length, answer)}) < 2:
        return ""
    return ", ".join(str(_length(part) or "a number") for part in answer[:8])


def _length(part: Any) -> int:
    if isinstance(part, list | tuple):
        return len(part)
    shape: Sequence[int] = getattr(part, "shape", ())
    return int(shape[0]) if len(shape) else 0


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
