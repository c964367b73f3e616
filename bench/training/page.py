"""One HTML file of a training run: curves, what trained, what it cost, how to make it again. Opens offline."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_bench.bench.live.totals import clock_text
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.records.conditions import flat
from vla_bench.bench.records.journal import write_atomically
from vla_bench.bench.records.provenance import now, tries_of
from vla_bench.bench.training.curves import chart, curve_of
from vla_bench.bench.training.journal import STEPS, TrainingJournalContents, read_training

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "report.css"


def write_page(folder: Path, path: Path | None = None) -> Path:
    """Writes the page of the run in ``folder``, there unless told where. ResultSetError: it holds none."""
    text = render(folder)
    path = path or folder / "report.html"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def render(folder: Path) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    contents = read_training(folder / STEPS)
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    header = contents.header
    return environment.get_template("training.html.jinja").render(
        title=header["name"],
        policy=header["policy"],
        cards=_cards(contents),
        sections=[
            {"id": name, "title": title, "lead": lead, "names": names, "chart": Markup(drawn)}
            for name, title, lead, names, drawn in _charts(contents)
            if drawn
        ],
        parts=_parts(folder),
        cost=_cost(contents),
        facts=list(flat(to_plain(_facts(header))).items()),
        choices=list(flat(to_plain(header["identity"]["train"])).items()),
        tries=_tries(folder),
        made=now()[:16].replace("T", " "),
        style=Markup(_STYLE.read_text(encoding="utf-8")),
    )


def _facts(header: Mapping[str, Any]) -> dict[str, Any]:
    """What was trained, on what, and what it began with (checkpoints by the digest of their content)."""
    start = header["identity"].get("start", {})
    return {"data": header["data"], "start": start, "structure": header["structure"]}


def _charts(contents: TrainingJournalContents) -> list[tuple[str, str, str, list[str], str]]:
    steps, checks, tried = contents.of("step"), contents.of("validation"), contents.of("evaluation")
    names = sorted({name for line in [*steps, *checks] for name in line["losses"]}, key=_rank)
    rows = []
    for name in names:
        curves = {"training": curve_of(steps, "losses", name), "validation": curve_of(checks, "losses", name)}
        shown = [key for key, points in curves.items() if points]
        lead = "What is minimised, over steps." if name == "total" else "Over steps, by labels of each batch."
        rows.append((f"loss-{name}", f"Loss: {name}" if name == "total" else name, lead, shown, chart(curves)))
    success = {"success": curve_of(tried, "numbers", "success")}
    lead = "In the simulator: success of tasks, or average chain length. Losses hardly predict it."
    rows.insert(1, ("success", "Success", lead, ["success"], chart(success, dots=True)))
    for key, title in (("rate", "Learning rate"), ("gradient", "Length of the gradient")):
        rows.append(
            (key, title, "Before clipping." if key == "gradient" else "", [], chart({key: curve_of(steps, key)}))
        )
    return rows


def _rank(name: str) -> tuple[int, str]:
    first = ("total", "arm", "gripper", "vl_cotrain")
    return (first.index(name) if name in first else len(first), name)


def _cards(contents: TrainingJournalContents) -> list[dict[str, str]]:
    steps, begun = contents.of("step"), contents.of("begun")
    cards = []
    if begun:
        cards.append(_card(f"{contents.lines[-1]['step']}/{begun[-1]['steps']}", "steps"))
    if steps:
        cards.append(_card(f"{steps[-1]['losses']['total']:.4f}", "training loss", "of the last step"))
    if checks := contents.of("validation"):
        best = min(checks, key=lambda line: line["losses"]["total"] or float("inf"))
        cards.append(_card(f"{best['losses']['total']:.4f}", "validation loss", f"lowest, at step {best['step']}"))
    tried = [line for line in contents.of("evaluation") if line["numbers"].get("success") is not None]
    if tried:
        best = max(tried, key=lambda line: line["numbers"]["success"])
        numbers = best["numbers"]
        interval = f"[{numbers['low']:.3g}, {numbers['high']:.3g}], n = {numbers['episodes']:.0f}, step {best['step']}"
        cards.append(_card(f"{numbers['success']:.3g}", "success, best", interval))
    return cards


def _card(number: str, name: str, more: str = "") -> dict[str, str]:
    return {"number": number, "name": name, "more": more}


def _parts(folder: Path) -> list[dict[str, Any]]:
    """Parameters by part of the network, and how many of them train."""
    try:
        listed = json.loads((folder / "parameters.json").read_text())
    except (OSError, ValueError):
        return []
    sums: dict[str, list[int]] = {}
    for name, (shape, trains) in listed.items():
        size = 1
        for each in shape:
            size *= each
        depth = 2 if name.startswith(("backbone.", "act_head.")) else 1
        part = sums.setdefault(".".join(name.split(".")[:depth]), [0, 0])
        part[0] += size
        part[1] += size * bool(trains)
    rows = [{"part": part, "all": f"{whole:,}", "trains": f"{trained:,}"} for part, (whole, trained) in sums.items()]
    whole, trained = (sum(each[place] for each in sums.values()) for place in (0, 1))
    return [*rows, {"part": "together", "all": f"{whole:,}", "trains": f"{trained:,}"}]


def _cost(contents: TrainingJournalContents) -> list[tuple[str, str]]:
    steps, ended, begun = contents.of("step"), contents.of("ended"), contents.of("begun")
    if not steps:
        return []
    wall = sum(line["seconds"] for line in steps)
    waited = sum(line["waited"] for line in steps)
    batch = contents.header["identity"]["train"]["batch"] * contents.header["identity"]["train"]["accumulate"]
    rows = [
        ("time in steps", clock_text(wall)),
        ("of it waiting for data", f"{100 * waited / wall:.0f} %" if wall else ""),
        ("seconds per step", f"{wall / len(steps):.3f}"),
        ("windows per second", f"{batch * len(steps) / wall:.1f}" if wall else ""),
        ("validation", clock_text(sum(line["seconds"] for line in contents.of("validation")))),
        ("evaluation in the simulator", clock_text(sum(line["seconds"] for line in contents.of("evaluation")))),
    ]
    if begun:
        rows.append(("processes", f"{begun[-1]['processes']} on {begun[-1]['device']}"))
        rows.append(("parameters", f"{begun[-1]['parameters']:,}, {begun[-1]['trained']:,} of them trained"))
    if ended:
        rows.append(("CPU time", clock_text(sum(line["cpu"] for line in ended))))
        rows.append(("most memory", f"{max(line['peak_mb'] for line in ended):.0f} MB"))
        if ended[-1].get("gpu_peak_mb"):
            rows.append(("most GPU memory", f"{max(line['gpu_peak_mb'] or 0 for line in ended):.0f} MB"))
    return rows


def _tries(folder: Path) -> Sequence[Mapping[str, Any]]:
    made = []
    for each in tries_of(folder / "provenance.json"):
        code = each.get("code", {})
        changed = " (changed)" if code.get("dirty") else ""
        made.append(
            {
                "started": str(each["started"])[:16].replace("T", " "),
                "command": " ".join(shlex.split(str(each.get("command", "")))),
                "code": f"{str(code.get('commit') or 'no commit')[:10]}{changed}",
                "machine": each.get("machine", {}).get("processor", ""),
            }
        )
    return made
