"""Runs policies in environments and keeps the results.

From Python: :func:`evaluate` runs a policy, :func:`load` reads the results of any run, :func:`compare` says which of
two is better.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if __name__ == "bench":  # in a checkout's folder, by the name it had before 0.2
    # Of this name only ``python -m bench`` is left: a second copy of our modules would share no class with the first.
    __path__ = [f"{__path__[0]}/old_name"]
    warnings.warn("`import bench` is `import vla_bench` now", DeprecationWarning, stacklevel=2)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from typing import Any

    from vla_bench.bench.live.screen import Screen
    from vla_bench.bench.records.comparison import Comparison
    from vla_bench.bench.records.opening import Runs
    from vla_bench.bench.records.result_set import ResultSet

__all__ = ["compare", "evaluate", "load"]


def load(*folders: str | os.PathLike[str]) -> ResultSet | Runs:
    """Reads the results of a run, or of several.

    Args:
        folders: of a run each. One that holds no run itself stands for the runs in it.

    Returns:
        The results of the run. Of several, what holds them in order; where they are runs of one policy (other seeds,
        other checkpoints) it has their mean, with an interval over runs and episodes.

    Raises:
        ResultSetError: a folder holds no run, or one whose journal cannot be read; says which ones there are.

    Example:
        >>> vla_bench.load("results/my_policy-1a2b3c4d").average_chain_length.value
        2.47
        >>> for results in vla_bench.load("results"):
        ...     print(results.summary.policy, results.average_chain_length)
    """
    from vla_bench.bench.records.opening import open_results

    return open_results(folders)


def evaluate(
    policy: str | os.PathLike[str] | type | Callable[..., Any] | object,
    screen: Screen | None = None,
    *,
    benchmark: str = "",
    arguments: Mapping[str, Any] | None = None,
    progress: bool = True,
    **fields: Any,
) -> ResultSet:
    """Evaluates a policy, and returns its results. Called again, it finishes what is missing and redoes nothing.

    Args:
        policy: one of

            - a name, as typed after ``policy=``: a preset (``"expert"``, ``"vla"``), ``"my_module.MyPolicy"`` or
              ``"my_policy.py:MyPolicy"``;
            - a class, or a function that makes a policy: each worker makes its own. One of a notebook or of the script
              that runs is handed over by cloudpickle;
            - an instance: it stays in this process, which answers the workers. Evaluate a model in the middle of its
              training like this: the weights are those of this moment, and no file is written. A plain instance is
              copied for each worker (parameters of PyTorch modules are shared), a full
              :class:`vla_bench.policies.base.Policy` serves all of them;
            - a :class:`vla_bench.bench.setup.config.Config`, which says everything else, too.
        screen: shows what goes on, in place of the one that fits.
        benchmark: a preset, as typed after ``benchmark=``; empty: the one that runs without such a word.
        arguments: of the policy's class, by name.
        progress: show what goes on: a live table in a terminal, one output in a notebook, lines elsewhere.
        fields: of ``benchmark`` and ``run``, by name, as on the command line: ``sequences=20``, ``workers=2``,
            ``backend="local"``, ``results="results"``, ``seed=1``, ``video="failures"``, ...

    Returns:
        The results; not complete (``results.summary.complete``) after Ctrl-C.

    Raises:
        UserError: the policy, the assets or a field are not as they should be; says what to write instead.
        RunFailed: no worker could start, or more episodes ended in an error than ``max_error_rate`` allows. What was
            finished is its ``result_set``.

    Example:
        >>> results = vla_bench.evaluate(MyPolicy, sequences=20, workers=2)
        >>> results.average_chain_length.value
        0.85
    """
    from vla_bench.bench.evaluation import evaluate_policy

    return evaluate_policy(policy, screen, benchmark=benchmark, arguments=arguments, progress=progress, **fields)


def compare(
    first: ResultSet | str | os.PathLike[str], second: ResultSet | str | os.PathLike[str], *, anyway: bool = False
) -> Comparison:
    """Compares two results on the episodes that both have judged.

    Args:
        first: the baseline: results, or a folder.
        second: what is compared with it; a positive difference means that it is better.
        anyway: compare what was not measured in the same way, too; the fields that differ are then in ``fields``.

    Raises:
        ProtocolMismatch: they were not measured in the same way; names the fields.
        ResultSetError: they have no judged episode in common, or a folder holds no run.

    Example:
        >>> print(vla_bench.compare("results/base", "results/new").verdict)
        new is better than base: ...
    """
    from vla_bench.bench.records import comparison
    from vla_bench.bench.records.opening import open_run

    return comparison.compare(open_run(first), open_run(second), anyway=anyway)
