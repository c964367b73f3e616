"""How fast a structure decides: this engine against the way the original evaluates, on random weights.

The original decides for one episode at a time, prepares and encodes every frame of the window again at each
step, keeps the hidden states of all layers, and computes logits over the whole vocabulary.
"""

from __future__ import annotations

import dataclasses
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.backbones import backbone_class
from vla_bench.policies.vla.backbones.tokenizers import byte_tokenizer
from vla_bench.policies.vla.build import Built, device_named, dtype_named
from vla_bench.policies.vla.checkpoints import parameters_on_meta
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.engine import Engine
from vla_bench.policies.vla.fusion import Frame
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.options import VlaOptions

SIZES = ("tiny", "mid", "full")
"""``full`` is microsoft/kosmos-2-patch14-224 (1.66 billion parameters), ``mid`` a fiftieth of it."""
INSTRUCTION = "open"
"""Short, since a byte-level tokenizer makes many tokens of a text."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Decisions of one setting."""

    way: str
    """``original``, ``exact`` or ``fast``."""
    slots: int
    per_second: float
    """Decisions per second, over all slots: of wall time on a GPU, of CPU time without."""
    latency: float
    """Median seconds of one call, on the same clock."""
    memory: float
    """Peak megabytes: of the GPU, or of the process on a CPU."""


def engine_of_size(config: VlaConfig, size: str, *, device: str, dtype: str, batching: str) -> Engine:
    """A Kosmos-2 of that size with random weights, drawn on the device."""
    if size not in SIZES:
        raise PolicyError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    adapter = backbone_class("kosmos2")
    backbone, side = _backbone(size)
    with parameters_on_meta():
        model = VlaModel(config, adapter(adapter.build(backbone)))
    place, number = device_named(device), dtype_named(dtype)
    torch.manual_seed(0)
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None and parameter.is_meta:
                drawn = torch.empty(parameter.shape, dtype=number, device=place).normal_(std=0.02)
                module._parameters[name] = torch.nn.Parameter(drawn, requires_grad=False)
    model.backbone.tie_weights()
    model.to(place, number)
    fields = {**config.to_mapping(), "backbone": "kosmos2", "image_size": side}
    options = VlaOptions.from_arguments({"model": fields, "seed": 0, "batching": batching, "dtype": dtype})
    return Engine(Built(model.eval(), byte_tokenizer()), options)


def measure(engine: Engine, slots: int, decisions: int, *, original: bool = False) -> Speed:
    """Times ``decisions`` calls with all windows full."""
    observations = [_observation(slot) for slot in range(slots)]
    names = list(range(slots))
    act: Callable[[], Any]
    if original:
        window = engine.config.window if engine.config.structure in ("interleaved", "video") else 1
        act = lambda: [_original(engine, [seen] * window) for seen in observations]  # noqa: E731
    else:
        for slot in names:
            engine.reset(slot, INSTRUCTION)
        act = lambda: engine.act(names, observations)  # noqa: E731
        for _ in range(engine.config.window - 1):
            act()
    gpu = engine.model.device.type == "cuda"
    act()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    # On a CPU the time of this process alone, so that a busy machine does not show in the numbers.
    clock = time.perf_counter if gpu else time.process_time
    times = []
    for _ in range(decisions):
        _wait(gpu)
        start = clock()
        act()
        _wait(gpu)
        times.append(clock() - start)
    way = "original" if original else engine.options.batching
    return Speed(way, slots, slots * decisions / sum(times), statistics.median(times), _peak(gpu))


def _original(engine: Engine, window: Sequence[dict[str, np.ndarray]]) -> None:
    model, recipe = engine.model, engine.model.adapter.pixels
    with torch.inference_mode():
        ids = engine.prompt(INSTRUCTION)[0]
        cameras = ["static", "gripper"] if engine.config.gripper_camera else ["static"]
        pixels = [
            torch.stack([recipe(seen[f"rgb_{camera}"], engine.config.image_side(camera)) for seen in window])
            for camera in cameras
        ]
        images = model.encode_frames(*pixels)
        text = model.embed_text(ids)
        batch = model.join([[Frame(text, torch.ones_like(ids), seen) for seen in images]])
        output = model.backbone.text_model(
            inputs_embeds=batch.embeds, attention_mask=batch.mask, output_hidden_states=True, use_cache=False
        )
        features, _ = model.features(batch, output.hidden_states[-1])
        if engine.config.history_in_head:
            features = features.expand(-1, engine.config.window, -1)
        model.act_head(features)


def _observation(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "rgb_static": random.integers(0, 256, (200, 200, 3), dtype=np.uint8),
        "rgb_gripper": random.integers(0, 256, (84, 84, 3), dtype=np.uint8),
        "robot_obs": np.zeros(15),
    }


def _backbone(size: str) -> tuple[Any, int]:
    from transformers import Kosmos2Config

    if size == "tiny":
        adapter = backbone_class("kosmos2")
        return adapter.tiny_config(), adapter.tiny_image_size()
    if size == "full":
        return Kosmos2Config(), 224
    text = dict(vocab_size=65037, embed_dim=256, layers=6, attention_heads=8, ffn_dim=1024)
    vision = dict(hidden_size=256, intermediate_size=1024, num_hidden_layers=6, num_attention_heads=8)
    return Kosmos2Config(text_config=text, vision_config={**vision, "image_size": 112}, latent_query_num=64), 112


def _wait(gpu: bool) -> None:
    if gpu:
        torch.cuda.synchronize()


def _peak(gpu: bool) -> float:
    if gpu:
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def report(
    structures: Sequence[str],
    slots: Sequence[int],
    *,
    size: str,
    device: str,
    dtype: str,
    window: int,
    decisions: int,
) -> Iterator[str]:
    """Lines of a table as they come: for each structure the original's way, then ours by number of slots."""
    fields = {
        "policy_head": {"structure": "policy_head", "head": "lstm"},
        "interleaved": {"structure": "interleaved", "head": "fc"},
    }
    threads = torch.get_num_threads()
    yield f"kosmos2 {size}, {dtype} on {device}, {threads} threads, window {window}, two cameras"
    yield (f"{'structure':<12} {'way':<9} {'slots':>5} {'decisions/s':>12} {'ms/call':>9} {'x':>6} {'peak MB':>8}")
    for structure in structures:
        config = VlaConfig.from_mapping(
            {
                **fields[structure],
                "window": window,
                "gripper_camera": True,
                "hidden": 1024 if size == "full" else 128,
            }
        )
        exact = engine_of_size(config, size, device=device, dtype=dtype, batching="exact")
        # The same weights, so that the peak is that of one model.
        fast = Engine(Built(exact.model, exact.tokenizer), dataclasses.replace(exact.options, batching="fast"))
        first = measure(exact, 1, decisions, original=True)
        yield _line(structure, first, first)
        for count in slots:
            for made in (exact, fast):
                yield _line(structure, measure(made, count, decisions), first)


def _line(structure: str, speed: Speed, first: Speed) -> str:
    return (
        f"{structure:<12} {speed.way:<9} {speed.slots:>5} {speed.per_second:>12.2f} "
        f"{1e3 * speed.latency:>9.1f} {speed.per_second / first.per_second:>6.2f} {speed.memory:>8.0f}"
    )
