"""Makes the pictures of the README: ``python docs/make_pictures.py [builtin|official]``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vla_bench.envs.calvin.bundle import AssetBundle, find_bundle
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.registry import make_policy

FOLDER = Path(__file__).parent / "pictures"
SIZE, INSET, CAPTION, GAP = 330, 108, 46, 8
SEQUENCE = 0
STEP_LIMIT = 360


def panels(bundle: AssetBundle, sequence_number: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Caption, static and gripper image at the moment each subtask of a sequence is solved."""
    sequence = official_sequences()[sequence_number]
    cameras = (Camera("static", width=SIZE, height=SIZE), Camera("gripper", width=INSET, height=INSET))
    simulation = CalvinSimulation(bundle, Sensors(cameras))
    policy = make_policy(PolicyChoice("expert"), environment_spec("calvin"))
    simulation.reset(initial_state(sequence.condition))
    found = []
    for position, task in enumerate(sequence.subtasks):
        policy.reset(0, bundle.instructions[task], SubtaskContext("picture", position, 0))
        simulation.begin(task)
        for step in range(1, STEP_LIMIT + 1):  # noqa: B007
            policy.see(0, simulation.privileged())
            outcome = simulation.advance(policy.act((0,), (None,))[0])
            if outcome.success:
                break
        seen = simulation.observe()
        verdict = f"solved at step {step}" if outcome.success else "not solved"
        caption = f"{position + 1}. {bundle.instructions[task]}\n{verdict}"
        found.append((caption, seen["rgb_static"], seen["rgb_gripper"]))
    simulation.close()
    return found


def strip(found: list[tuple[str, np.ndarray, np.ndarray]]) -> Image.Image:
    """The panels side by side, the gripper's view in a corner, captions below."""
    width = len(found) * (SIZE + GAP) - GAP
    picture = Image.new("RGB", (width, SIZE + CAPTION), "white")
    draw = ImageDraw.Draw(picture)
    for column, (caption, static, gripper) in enumerate(found):
        left = column * (SIZE + GAP)
        picture.paste(Image.fromarray(static), (left, 0))
        corner = (left + SIZE - INSET - 6, SIZE - INSET - 6)
        draw.rectangle((corner[0] - 2, corner[1] - 2, corner[0] + INSET + 1, corner[1] + INSET + 1), fill="white")
        picture.paste(Image.fromarray(gripper), corner)
        draw.multiline_text((left + 2, SIZE + 6), caption, fill="black", font=ImageFont.load_default(14))
    return picture


def main() -> None:
    """Writes ``rollout.png``."""
    bundle = find_bundle(sys.argv[1] if len(sys.argv) > 1 else "builtin")
    FOLDER.mkdir(exist_ok=True)
    strip(panels(bundle, SEQUENCE)).save(FOLDER / "rollout.png", optimize=True)
    print(FOLDER / "rollout.png")


if __name__ == "__main__":
    main()
