"""The clips of a run: replayed and encoded by processes of their own, after the run."""

from __future__ import annotations

import fcntl
import html
import importlib.util
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.records.journal import write_atomically
from vla_bench.bench.video.trace import TRACES, Trace, file_name
from vla_bench.program import installing

if TYPE_CHECKING:
    import numpy as np

VIDEOS, INDEX, LIST = "videos", "index.html", "index.json"
POSTER_SECONDS = 0.5
"""Into a clip, where the arm has begun to move."""
FRAMES_PER_SECOND = 20
"""Of playing: twice the speed of 30 control steps a second, of which every third is shown."""
HOLD_FRAMES = 16
"""How long the outcome of a subtask stays."""
_STILL_QUALITY = 72
_QUALITY = {"crf": "27", "preset": "veryfast"}


@dataclass(frozen=True, slots=True)
class Clip:
    """One file."""

    episode: str
    file: str
    """Name within the folder of videos."""
    subtask: str
    """The last one tried."""
    instruction: str
    success: bool
    chain: int
    """Subtasks solved."""
    steps: int
    """Control steps in all."""
    faithful: bool
    """Whether every subtask ended in the recorded state."""
    bytes: int
    seconds: float
    """CPU time it took."""
    poster: str = ""
    """Name of a frame of it as JPEG; empty for clips of an earlier version."""


def check_encoder() -> None:
    """ConfigError where nothing can encode."""
    if importlib.util.find_spec("av") is None:
        raise ConfigError(f"clips need the package av: type {installing('video')}, or run.video=none")


def make_clips(
    folder: Path,
    *,
    workers: int = 1,
    episodes: Iterable[str] | None = None,
    on_clip: Callable[[int, int, Clip | str], None] = lambda done, total, clip: None,
) -> list[Clip]:
    """Encodes the traces of the run in ``folder`` that have no clip yet, and writes the index.

    Args:
        workers: processes.
        episodes: only these; by default all that have a trace.
        on_clip: told after each how many of how many are done, and the clip, or why there is none.

    Raises:
        ConfigError: nothing here can encode.
    """
    check_encoder()
    target = folder / VIDEOS
    known = {clip.episode: clip for clip in read_index(folder)}
    chosen = None if episodes is None else {file_name(episode) for episode in episodes}
    missing = []
    for path in sorted((folder / TRACES).glob("*.npz")):
        clip = target / f"{path.stem}.mp4"
        fresh = clip.exists() and clip.stat().st_mtime >= path.stat().st_mtime and _knows(known, clip.name)
        if not fresh and (chosen is None or path.stem in chosen):
            missing.append(path)
    if missing:
        target.mkdir(exist_ok=True)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(missing)), mp_context=context) as pool:
            calls = {pool.submit(encode, path, target): path for path in missing}
            for done, call in enumerate(as_completed(calls), start=1):
                try:
                    encoded = call.result()
                    known[encoded.episode] = encoded
                    on_clip(done, len(missing), encoded)
                except Exception as error:  # one damaged trace must not cost the other clips
                    on_clip(done, len(missing), f"{calls[call].stem}: {error}")
        made = {name: clip for name, clip in known.items() if clip.file in {f"{path.stem}.mp4" for path in missing}}
        return add_to_index(folder, made)
    return sorted(known.values(), key=lambda clip: clip.episode)


def add_to_index(folder: Path, made: Mapping[str, Clip]) -> list[Clip]:
    """Adds clips by episode to the run's index, whoever else adds to it now; returns all, by episode."""
    with (folder / VIDEOS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = {clip.episode: clip for clip in read_index(folder)} | dict(made)
        clips = sorted(known.values(), key=lambda clip: clip.episode)
        write_index(folder, clips)
    return clips


def encode(path: Path, target: Path) -> Clip:
    """Replays one trace into ``target/<episode>.mp4``, whole or not at all."""
    import av

    from vla_bench.bench.video.picture import HEIGHT, WIDTH, draw
    from vla_bench.bench.video.replayer import give_up, replayer_for

    started = time.process_time()
    trace = Trace.read(path)
    replayer = replayer_for(trace)
    part = target / f".{path.stem}.{os.getpid()}.mp4"
    faithful, shown = True, 0
    poster: np.ndarray | None = None
    try:
        with av.open(str(part), "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options=_QUALITY)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.codec_context.thread_count = 1
            for moment in replayer.moments(path):
                faithful = faithful and moment.faithful
                drawn = draw(moment, trace.episode)
                if shown <= POSTER_SECONDS * FRAMES_PER_SECOND:
                    poster = drawn
                shown += 1
                frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
                for _ in range(1 if moment.outcome is None else HOLD_FRAMES):
                    frame.pts = None
                    container.mux(stream.encode(frame))
            container.mux(stream.encode())
        final, still = target / f"{path.stem}.mp4", target / f"{path.stem}.jpg"
        if poster is not None:
            write_atomically(still, partial(_write_picture, poster))
        part.replace(final)
    except BaseException:
        give_up(replayer)
        raise
    finally:
        part.unlink(missing_ok=True)
    last = len(trace.results) - 1
    return Clip(
        episode=trace.episode.episode,
        file=final.name,
        subtask=trace.episode.subtasks[last],
        instruction=trace.episode.instructions[last],
        success=bool(trace.results[last]["success"]),
        chain=sum(bool(result["success"]) for result in trace.results),
        steps=sum(len(actions) for actions in trace.actions),
        faithful=faithful,
        bytes=final.stat().st_size,
        seconds=time.process_time() - started + replayer.seconds,
        poster=still.name if poster is not None else "",
    )


def _write_picture(drawn: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(drawn).save(path, "JPEG", quality=_STILL_QUALITY)


def read_index(folder: Path) -> list[Clip]:
    """The clips that the run's index names and that are there; none without a readable one."""
    try:
        plain = json.loads((folder / VIDEOS / LIST).read_text(encoding="utf-8"))
        clips = [Clip(**each) for each in plain]
    except (OSError, ValueError, TypeError):
        return []
    inside = [
        clip
        for clip in clips
        if clip.file == f"{(name := file_name(clip.episode))}.mp4" and clip.poster in ("", f"{name}.jpg")
    ]
    return [clip for clip in inside if (folder / VIDEOS / clip.file).is_file()]


def write_index(folder: Path, clips: list[Clip]) -> None:
    """Writes the list of clips, and a page that shows them."""
    plain = json.dumps([asdict(clip) for clip in clips], indent=1)
    page = _page(folder.name, clips)
    for name, text in ((LIST, plain), (INDEX, page)):
        write_atomically(folder / VIDEOS / name, partial(_write_text, text))


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _knows(known: dict[str, Clip], name: str) -> bool:
    return any(clip.file == name for clip in known.values())


def _page(run: str, clips: list[Clip]) -> str:
    """In the dress of the report; a moment into each clip is its poster."""
    style = (Path(__file__).parents[1] / "report" / "report.css").read_text(encoding="utf-8")
    figures = "\n".join(map(_figure, clips))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{html.escape(run)}: clips</title><style>{style}</style></head>
<body><header><p class="eyebrow">clips</p><h1>{html.escape(run)}</h1>
<p class="lead">{len(clips)} clips, at twice the speed of the robot.</p></header>
<main><div class="clips">
{figures}
</div></main></body></html>
"""


def _figure(clip: Clip) -> str:
    episode, source = html.escape(clip.episode), html.escape(clip.file)
    if clip.poster:
        shown = f'src="{source}" poster="{html.escape(clip.poster)}" preload="none"'
    else:
        shown = f'src="{source}#t={POSTER_SECONDS}" preload="metadata"'
    return (
        f'<figure id="{episode}" tabindex="-1">'
        f'<video {shown} controls muted playsinline aria-label="{episode}"></video>'
        f"<figcaption><b>{html.escape(clip.subtask)}</b> {html.escape(clip.instruction)} "
        f'<a href="#{episode}">{episode}</a><br><i class="dot {"solved" if clip.success else "failed"}"></i>'
        f"{'solved' if clip.success else 'not solved'}, {clip.chain} in a row, {clip.steps} steps"
        f"{'' if clip.faithful else ', the replay ended in another state'}</figcaption></figure>"
    )
