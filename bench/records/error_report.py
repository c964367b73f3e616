"""What went wrong in the episodes that could not be judged, as a document: logs, and how to look closer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.program import evaluation

_PLACEMENT = re.compile(r"\s'?run\.(only|backend|workers|address|overwrite|extend)=\S+")


def error_report(records: Sequence[EpisodeRecord], tries: Sequence[Mapping[str, Any]]) -> str:
    """Markdown with the reason and the log of every error, and a command that runs one alone.

    Args:
        records: of the whole run; those without an error are left out.
        tries: of the run, for the command that was typed last.
    """
    failed = [record for record in records if record.error]
    command = str(tries[-1].get("command", "")) if tries else ""
    typed = _PLACEMENT.sub("", command) or f"{evaluation()} <as before>"
    lines = [
        f"# {len(failed)} of {len(records)} finished episodes ended in an error",
        "",
        "The same command tries them all again. To run one alone, in one process, without Ray:",
        "",
        *_fenced(f"{typed} run.only={failed[0].episode} run.backend=local run.workers=1"),
    ]
    for record in failed:
        assert record.error is not None
        lines += ["", f"## {record.episode}: {record.error.kind}", "", record.error.message, ""]
        lines += [f"Given up after attempt {record.attempt}, on {record.worker or 'no worker'}."]
        if record.error.detail:
            lines += ["", *_fenced(record.error.detail)]
    return "\n".join(lines) + "\n"


def _fenced(text: str) -> list[str]:
    """A block that shows the text as it is, whatever fences it has of its own."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [fence, text, fence]
