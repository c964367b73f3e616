"""An ablation on the command line: its rows run, shown before they are run, and listed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vla_bench.bench.stopping import INTERRUPTED, INTERRUPTION, interrupting

if TYPE_CHECKING:
    from vla_bench.bench.ablation import Ablation
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.setup.config import Config
    from vla_bench.bench.setup.preparation import Preparation

DONE = 0
SIZE = "laptop"


def run_ablation(choice: str, typed: Sequence[str], *, show: bool) -> int:
    """Runs an ablation, or shows what it would run; returns the exit code.

    Args:
        choice: a preset, or a file.
        typed: words for all rows, and ``<row>:<word>``.
        show: say what would be run, and run nothing.
    """
    from vla_bench.bench import ablation
    from vla_bench.bench.training.ablation_plan import read_preset

    if read_preset(choice) is not None:
        return _run_learned(choice, typed, show=show)
    chosen, typed = ablation.narrowed(ablation.load_ablation(choice), typed)
    typed, extend = ablation.extending(typed)
    configs = ablation.configurations(chosen, typed)
    if show:
        return _show(chosen, configs, typed, extend=extend)
    places = {name: f"row {place} of {len(configs)}: {name}" for place, name in enumerate(configs, start=1)}
    sets = ablation.run(
        chosen,
        configs,
        _evaluate,
        lambda name: print(places[name], file=sys.stderr),
        [word for word in typed if ":" not in word.partition("=")[0]],
        extend=extend,
    )
    last = list(sets)[-1]
    if len(sets) < len(configs) or not sets[last].has(configs[last].run.only):
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED
    from vla_bench.bench.stress.comparing import stress_facts

    under_stress = len([each for each in sets.values() if stress_facts(each) is None]) == 1 < len(sets)
    _print_comparison(sets, tables=not under_stress)
    if under_stress:  # the same rows, on fewer lines and with Holm's correction
        from vla_bench.bench.cli.stress import show as show_stress

        show_stress({"": next(iter(sets.values())).folder.parent})
    return DONE


def _evaluate(ready: Preparation) -> ResultSet:
    from vla_bench.bench.cli.finishing import make_more
    from vla_bench.bench.live.screen import make_screen
    from vla_bench.bench.runner import evaluate

    done = evaluate(ready.config, make_screen(), ready)
    if done.has(ready.config.run.only):
        with interrupting():
            make_more(ready.config, done)
    return done


def listed() -> list[tuple[str, str]]:
    """The presets with a line on each, and below each its rows with the words that tell them apart; of trained ones
    in the size that is trained unless another is typed."""
    from vla_bench.bench.ablation import load_ablation
    from vla_bench.bench.setup.presets import presets
    from vla_bench.bench.training.ablation_plan import read_preset

    lines = []
    for preset in presets("ablation"):
        learned = read_preset(preset.name)
        if learned is None:
            rows = load_ablation(preset.name).rows
        else:
            rows = {name: (*row.get("words", ()), *row.get(SIZE, ())) for name, row in learned["rows"].items()}
        alike = set.intersection(*map(set, rows.values()))
        lines.append((preset.name, preset.text))
        lines += [(f"  {name}", " ".join(word for word in words if word not in alike)) for name, words in rows.items()]
    return lines


def _show(chosen: Ablation, configs: Mapping[str, Config], typed: Sequence[str], *, extend: bool) -> int:
    """Prints what differs between the rows, what they share, and where each one's results go."""
    import yaml

    from vla_bench.bench import ablation
    from vla_bench.bench.setup.config import config_to_plain

    plain = {name: config_to_plain(config) for name, config in configs.items()}
    shared, own = _parted(plain)
    print(f"# ablation {chosen.name}: {len(plain)} rows, the first is the baseline")
    print("\n".join(f"#   {line}".rstrip() for line in _columns(own)))
    print("\n# the same in all rows")
    print(yaml.safe_dump(shared, sort_keys=False, allow_unicode=True))
    planned = ablation.plan_rows(chosen, configs, typed, extend=extend)
    facts, differing = _parted({name: ready.plan.protocol.facts for name, ready in planned.items()})
    for name, value in facts.items():
        print(f"#   {name}: {value}")
    for note in dict.fromkeys(note for ready in planned.values() for note in ready.plan.notes):
        print(f"# {note}")
    for name, ready in planned.items():
        protocol = ready.plan.protocol
        print(f"# row {name}: {len(protocol.episodes)} episodes, protocol {protocol.hash}")
        for fact, value in differing[name].items():
            print(f"#   {fact}: {value}")
        print(f"#   {' '.join(chosen.rows[name])}")
        print(f"#   result set: {ready.folder}{' (exists)' if ready.folder.exists() else ''}")
    return DONE


def _parted(plain: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What all rows have alike, nested as it was; and by row what differs, under dotted names."""
    flat = {name: _flat(each) for name, each in plain.items()}
    fields = dict.fromkeys(field for each in flat.values() for field in each)
    missing = object()
    differ = [field for field in fields if len({repr(each.get(field, missing)) for each in flat.values()}) > 1]
    first = next(iter(flat.values()))
    shared: dict[str, Any] = {}
    for field, value in first.items():
        if field in differ:
            continue
        *groups, last = field
        within = shared
        for group in groups:
            within = within.setdefault(group, {})
        within[last] = value
    return shared, {
        name: {".".join(field): each[field] for field in differ if field in each} for name, each in flat.items()
    }


def _flat(plain: Mapping[str, Any], before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for name, value in plain.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, (*before, str(name)))
        else:
            found[*before, str(name)] = value
    return found


def _columns(own: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table of what differs: rows, and a column for each field."""
    fields = list(dict.fromkeys(field for each in own.values() for field in each))
    lines = [["row", *fields]]
    lines += [[name, *(str(each.get(field, "–")) for field in fields)] for name, each in own.items()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(fields) + 1)]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)) for line in lines]


def _run_learned(choice: str, typed: Sequence[str], *, show: bool) -> int:
    from rich.console import Console

    from vla_bench.bench.records.screen_tables import screen_table
    from vla_bench.bench.setup.preparation import as_row, prepare
    from vla_bench.bench.training import ablation_plan, ablation_run, ablation_table

    planned = ablation_plan.plan(choice, typed)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if show:
        console.print(ablation_plan.described(planned), soft_wrap=True, markup=False)
        return DONE
    try:
        with interrupting():
            results = ablation_run.run_ablation(
                planned,
                evaluate=lambda config, row: _evaluate(as_row(prepare(config), row)),
                say=lambda text: print(text, file=sys.stderr),
            )
    except ablation_run.Interrupted:
        print(INTERRUPTION, file=sys.stderr)
        return INTERRUPTED
    for table in ablation_table.tables(planned, results):
        console.print(f"\n{table.title}", style="bold")
        console.print(screen_table(table))
        console.print(table.caption, style="dim")
    written = ablation_table.write(planned, results)
    console.print(f"comparison: {' and '.join(map(str, written))}", soft_wrap=True, markup=False)
    return DONE


def _print_comparison(sets: Mapping[str, ResultSet], *, tables: bool) -> None:
    from rich.console import Console

    from vla_bench.bench import ablation
    from vla_bench.bench.records.comparison_tables import to_screen

    found = ablation.compare_rows(sets)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 110)
    if tables:
        console.print(to_screen(found))
    written = ablation.write(next(iter(sets.values())).folder.parent, sets, found)
    console.print(f"comparison: {' and '.join(map(str, written))}", soft_wrap=True, markup=False)
