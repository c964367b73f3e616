"""Windows of a data set as arrays, and several of them as a batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.calvin.dataset.windows import Window, windows
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.chunks import sliding_chunks
from vla_bench.policies.vla.actions.frames import world_to_tcp
from vla_bench.policies.vla.actions.normalisation import mu_law, normalise
from vla_bench.policies.vla.actions.tokenizer import ActionTokens
from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.losses import IGNORE
from vla_bench.policies.vla.prompts import prompt_ids
from vla_bench.policies.vla.token_targets import token_targets
from vla_bench.policies.vla.training.config import TrainingConfig
from vla_bench.policies.vla.training.pictures import Pictures
from vla_bench.policies.vla.training.sampling import LOOKS
from vla_bench.policies.vla.training.step import Looks, TrainingBatch
from vla_bench.policies.vla.training.subject import block_order, named_block, subjects
from vla_bench.policies.vla.training.waypoint import waypoints


@dataclass(frozen=True, slots=True)
class Item:
    """One window of W frames."""

    images: dict[str, Tensor]
    """(W, 3, S, S) pixels by camera; those of cameras that are not looked through are left out."""
    actions: np.ndarray
    """(W, C, 7) chunks, float32: the arm in [-1, 1], the gripper -1 or 1."""
    mask: np.ndarray
    """(W, C) bool, False beyond the annotation."""
    state: np.ndarray | None
    """(W, n) robot states."""
    instruction: str
    scene: np.ndarray | None = None
    """(W, 24) ``scene_obs``, for the loss that asks for it."""
    tool: np.ndarray | None = None
    """(W, 6) pose of the tool, likewise."""
    waypoint: np.ndarray | None = None
    """(W, 5) where the tool goes next (:func:`waypoints`), likewise."""


@dataclass(frozen=True)
class WindowItems:
    """All windows of a data set, prepared for one structure. Can be sent to another process."""

    dataset: Dataset
    structure: VlaConfig
    training: TrainingConfig
    adapter: type[Backbone]
    tokenizer: Any
    annotations: tuple[int, ...] | None = None
    """Numbers of the annotations whose windows are taken; None: all."""
    augment: bool = True
    """Whether shifts and colours are applied."""
    windows: tuple[Window, ...] = field(init=False)

    def __post_init__(self) -> None:
        span = (self.structure.window - 1) * self.training.stride + 1
        chosen = self.dataset.annotations
        if self.annotations is not None:
            chosen = tuple(chosen[number] for number in self.annotations)
        made = windows(chosen, span, self.structure.chunk, skip_frames=self.training.skip_frames)
        object.__setattr__(self, "windows", tuple(made))
        object.__setattr__(self, "_prompts", {})
        self._check_images()

    def _check_images(self) -> None:
        shapes = self.dataset.shapes
        for camera in self.cameras:
            if self.structure.blind:
                continue
            shape = shapes.get(f"rgb_{camera}")
            if shape is None:
                raise PolicyError(
                    f"{self.dataset.folder} holds no images of the {camera} camera; it has {', '.join(sorted(shapes))}"
                )
            if len(shape) != 3 or shape[2] != 3:
                raise PolicyError(
                    f"{self.dataset.folder}: images of the {camera} camera are {tuple(shape)}; (height, width, 3) is "
                    "wanted"
                )
        if "rel_actions" not in shapes or tuple(shapes["rel_actions"]) != (7,):
            raise PolicyError(
                f"{self.dataset.folder} is not of CALVIN's robot: its rel_actions are "
                f"{tuple(shapes.get('rel_actions', ()))}, and (7,) is wanted: three of position, three of rotation, "
                "one of the gripper"
            )
        if "robot_obs" in shapes and tuple(shapes["robot_obs"]) != (15,):
            raise PolicyError(
                f"{self.dataset.folder} is not of CALVIN's robot: its robot_obs are {tuple(shapes['robot_obs'])}, and "
                "(15,) is wanted"
            )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras the structure looks through."""
        return self._pictures.cameras

    def __len__(self) -> int:
        return len(self.windows)

    @cached_property
    def _pictures(self) -> Pictures:
        return Pictures(self.dataset, self.structure, self.training, self.adapter.pixels)

    def item(self, number: int, seed: int | None = None) -> Item:
        """One window.

        Args:
            number: of :attr:`windows`.
            seed: of its shifts and colours. None: torch's global generator.
        """
        images = self._seen([number], [seed])
        return self._item(number, {camera: pixels[0] for camera, pixels in images.items()})

    def _seen(self, numbers: Sequence[int], seeds: Sequence[int | None]) -> dict[str, Tensor]:
        looked = self.training.stride * np.arange(self.structure.window)
        frames = np.array([self.windows[number].first for number in numbers])[:, None] + looked
        return self._pictures.of(frames, seeds, augment=self.augment)

    def _item(self, number: int, images: dict[str, Tensor]) -> Item:
        window, annotation = self.windows[number], self.dataset.annotations[self.windows[number].annotation]
        shape, training, first = self.structure, self.training, window.first
        span = (shape.window - 1) * training.stride + 1
        wanted = first + np.arange(span + shape.chunk - 1)
        real = wanted < annotation.end
        ended = real.all() or self.dataset.has(annotation.end)
        acted = np.minimum(wanted, annotation.end if ended else annotation.end - 1)  # never counts: it is masked
        keys = ["rel_actions"]
        keys += ["robot_obs"] if self._needs_state or training.scene_loss or training.waypoint_loss else []
        keys += ["scene_obs"] if training.scene_loss else []
        last = max(int(acted[-1]), annotation.end - 1) if training.waypoint_loss else int(acted[-1])
        read = self.dataset.frames(np.arange(first, last + 1), keys)
        actions, mask = read["rel_actions"][acted - first], sliding_chunks(real[:, None], span, shape.chunk)
        chunks = sliding_chunks(self._scaled(actions), span, shape.chunk)[:: training.stride]
        at = (acted - first)[: span : training.stride]
        if shape.action_frame != "world":
            states = read["robot_obs"]
            chunks = self._in_tool_frame(chunks, states[at], states[acted - first], span)
        state = read["robot_obs"][at][:, list(shape.state_numbers)] if shape.state_token else None
        scene = tool = waypoint = None
        if training.scene_loss:
            scene, tool = read["scene_obs"][at], read["robot_obs"][at, :6]
        if training.waypoint_loss:
            rest = annotation.end - first
            going = waypoints(read["robot_obs"][:rest], read["rel_actions"][:rest, 6], span)
            waypoint = going[:: training.stride]
        return Item(
            images, chunks, mask[:: training.stride, :, 0], state, annotation.instruction, scene, tool, waypoint
        )

    @property
    def _needs_state(self) -> bool:
        return self.structure.state_token or self.structure.action_frame != "world"

    def _scaled(self, actions: np.ndarray) -> np.ndarray:
        actions = actions.astype(np.float32)
        if self.structure.norm is not None:
            actions = normalise(actions, *self.structure.norm)
        if self.structure.mu_law is not None:
            actions = mu_law(actions, self.structure.mu_law)
        return actions

    def _in_tool_frame(self, chunks: np.ndarray, at: np.ndarray, states: np.ndarray, span: int) -> np.ndarray:
        """In the frame of the tool where the chunk begins, which is where it is executed from. The released
        training turns each action by the state of its own frame."""
        if self.structure.action_frame == "tcp_pose":
            raise PolicyError("training has no labels for action_frame=tcp_pose; type policy.model.action_frame=tcp")
        if self.training.compat == "released":
            own = sliding_chunks(states, span, self.structure.chunk)[:: self.training.stride]
            return world_to_tcp(chunks, own)
        return world_to_tcp(chunks, at[:, None, :])

    def prompt(self, instruction: str) -> list[int]:
        """Token ids of an instruction's prompt, of a generating policy with its stop token."""
        held: dict[str, list[int]] = self._prompts  # type: ignore[attr-defined]
        if instruction not in held:
            released = self.training.compat == "released"
            held[instruction] = prompt_ids(
                self.adapter, self.tokenizer, self.structure, instruction, released=released, stop=True
            )
        return held[instruction]

    def collate(self, items: Sequence[Item]) -> TrainingBatch:
        """Items as a batch; text is padded at its end to the longest."""
        return self._collated(
            items, {camera: torch.stack([item.images[camera] for item in items]) for camera in self.cameras}
        )

    def _collated(self, items: Sequence[Item], images: dict[str, Tensor]) -> TrainingBatch:
        actions = torch.from_numpy(np.stack([item.actions for item in items]))
        mask = torch.from_numpy(np.stack([item.mask for item in items]))
        states = [item.state for item in items if item.state is not None]
        scenes = [item.scene for item in items if item.scene is not None]
        tools = [item.tool for item in items if item.tool is not None]
        going = [item.waypoint for item in items if item.waypoint is not None]
        text, text_mask, labels = self._text(items)
        return TrainingBatch(
            static=images["static"],
            gripper=images.get("gripper"),
            state=torch.from_numpy(np.stack(states)) if states else None,
            scene=torch.from_numpy(np.stack(scenes)) if scenes else None,
            tool=torch.from_numpy(np.stack(tools)) if tools else None,
            waypoint=torch.from_numpy(np.stack(going)) if going else None,
            text=text,
            text_mask=text_mask,
            labels=labels,
            arm_target=actions[..., :6],
            gripper_target=torch.div(actions[..., 6] + 1, 2, rounding_mode="floor"),
            chunk_mask=mask.long(),
        )

    def batch(self, numbers: Sequence[int], seeds: Sequence[int | None]) -> TrainingBatch:
        """A batch of these windows."""
        images = self._seen(numbers, seeds)
        items = [
            self._item(number, {camera: pixels[place] for camera, pixels in images.items()})
            for place, number in enumerate(numbers)
        ]
        return self._collated(items, images)

    def looks(self, number: int, place: tuple[int, int]) -> Looks | None:
        """The further frames of a batch, drawn by its number; those of one process among several.

        They are frames of no annotation where the data have such, as CALVIN's own mostly are, else of the annotations
        that are trained on.
        """
        count = self.training.scene_frames
        if not count:
            return None
        generator = np.random.default_rng([self.training.seed, LOOKS, number])
        drawn = generator.integers(len(self._free), size=count)
        frames = self._free[drawn][place[0] :: place[1]]
        read = self.dataset.frames(frames, ["scene_obs", "robot_obs"])
        images = {
            camera: pixels[:, 0]
            for camera, pixels in self._pictures.of(frames[:, None], [None] * len(frames), augment=False).items()
        }
        scene, tool = (torch.from_numpy(read[key]) for key in ("scene_obs", "robot_obs"))
        looks = Looks(images["static"], images.get("gripper"), scene, tool[:, :6])
        if not self.training.subject_loss:
            return looks
        asked = self._naming[generator.integers(len(self._naming), size=count)][place[0] :: place[1]]
        return self._asked(looks, asked, read)

    def _asked(self, looks: Looks, annotations: np.ndarray, read: Mapping[str, np.ndarray]) -> Looks:
        """Further frames, each with the instruction of an annotation that names a block, as if it was to be acted on.

        Args:
            annotations: (M,) numbers of the data set's.
            read: ``scene_obs`` and ``robot_obs`` of the frames.
        """
        shape, chosen = self.structure, [self.dataset.annotations[number] for number in annotations]
        states = read["robot_obs"][:, None, list(shape.state_numbers)] if shape.state_token else None
        nothing = np.zeros((1, shape.chunk, 7), np.float32), np.ones((1, shape.chunk), bool)
        text, text_mask, labels = self._text([Item({}, *nothing, None, each.instruction) for each in chosen])
        blocks = np.array([named_block(each.task, self._order) for each in chosen], np.int64)
        return dataclasses.replace(
            looks,
            text=text,
            text_mask=text_mask,
            labels=labels,
            state=None if states is None else torch.from_numpy(states),
            subject=torch.from_numpy(subjects(blocks, read["scene_obs"], read["robot_obs"])),
        )

    @cached_property
    def _naming(self) -> np.ndarray:
        """Numbers of the annotations that name a block, among those whose windows are taken."""
        every = self.dataset.annotations
        taken = range(len(every)) if self.annotations is None else self.annotations
        return np.array([number for number in taken if named_block(every[number].task, self._order) is not None])

    @cached_property
    def _order(self) -> tuple[str, ...]:
        return block_order(self.dataset.annotations, self.dataset.folder)

    @cached_property
    def _free(self) -> np.ndarray:
        held = [(each.start, each.end) for each in self.dataset.annotations]
        free = free_frames(self.dataset.spans, held)
        return np.unique([window.first for window in self.windows]) if free is None else free

    def _text(self, items: Sequence[Item]) -> tuple[Tensor, Tensor, Tensor | None]:
        prompts = [self.prompt(item.instruction) for item in items]
        if not self.structure.generates_tokens:
            rows = [torch.tensor(prompt) for prompt in prompts]
            return (*pad_rows(rows, self.pad_id), None)
        shape = self.structure
        tokens = ActionTokens.for_tokenizer(self.tokenizer, shape.bins, shape.bin_min, shape.bin_max)
        made = [
            token_targets(
                prompt,
                item.actions,
                item.mask,
                tokens,
                ends_in_stop=bool(self.adapter.trailing),
                predict_stop="always",
            )
            for prompt, item in zip(prompts, items, strict=True)
        ]
        longest = max(ids.shape[1] for ids, _, _ in made)
        # The original fills these rows with zeros; where they are not attended to, that changes nothing.
        fills = (0 if self.training.compat == "released" else self.pad_id, IGNORE, 0)
        ids, labels, mask = (
            torch.stack([torch.nn.functional.pad(row, (0, longest - row.shape[1]), value=fill) for row in rows])
            for rows, fill in zip(zip(*made, strict=True), fills, strict=True)
        )
        return ids, mask, labels

    @property
    def pad_id(self) -> int:
        """What rows of text are filled up with."""
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else self.tokenizer.eos_token_id or 0


def free_frames(spans: np.ndarray, annotations: Sequence[tuple[int, int]]) -> np.ndarray | None:
    """Frames of no annotation among those that are there, given (S, 2) first and last frames and annotations' ends;
    None, where fewer than a twentieth are free: then they are no more than what happened to be left over."""
    every = np.concatenate([np.arange(first, last + 1) for first, last in spans])
    held = [np.arange(start, end + 1) for start, end in annotations]
    free = np.setdiff1d(every, np.concatenate(held)) if held else every
    return free if len(free) * 20 >= len(every) else None


def pad_rows(rows: Sequence[Tensor], value: int) -> tuple[Tensor, Tensor]:
    """(B, T) ids padded at their end to the longest, and their mask."""
    longest = max(len(row) for row in rows)
    ids = torch.stack([torch.nn.functional.pad(row, (0, longest - len(row)), value=value) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(longest) < lengths[:, None]).long()
