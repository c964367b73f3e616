"""What is made of a finished run beside its tables: its entry in a tracker, its clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.setup.config import Config


def make_more(config: Config, result_set: ResultSet) -> None:
    """Hands the numbers to ``run.tracking`` and makes the clips of ``run.video``, as far as they were asked for."""
    if config.run.tracking != "none":
        from vla_bench.bench.live.tracking import track
        from vla_bench.bench.setup.config import config_to_plain

        track(result_set, config.run.tracking, config_to_plain(config))
    if config.run.video != "none":
        from vla_bench.bench.cli.video import show_clips
        from vla_bench.bench.machine.cores import usable_cores

        show_clips(result_set.folder, min(config.run.workers or usable_cores(), usable_cores()))
