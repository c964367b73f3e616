"""Faults that unit tests once overlooked, for ``python -m tools.mutation --planted``."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One slip of the pen."""

    name: str
    file: str
    was: str
    """What stands there, once in the file."""
    now: str
    tests: str
    """Unit tests that must notice it, ``tests/unit/test_<name>.py``."""


ROLLOUT = "bench/episode/rollout.py"
ACTIONS = "bench/episode/actions.py"
JOURNAL = "bench/records/journal.py"
ORACLE = "envs/calvin/oracle.py"
WORLD = "envs/calvin/simulation.py"
ROBOT = "envs/calvin/robot.py"
FRAMES = "policies/vla/actions/frames.py"
COMMANDS = "policies/vla/actions/commands.py"
MODEL = "policies/vla/model.py"

PLANTED = (
    Fault(
        "the child passes seed 0",
        "bench/dispatch/tracing.py",
        "seed = job.run.seed",
        "seed = 0",
        "seed",
    ),
    Fault("the runner hands on seed 0", "bench/runner.py", "run=run,", "run=dataclasses.replace(run, seed=0),", "seed"),
    Fault("the rollout passes seed 0", ROLLOUT, "seed=seed,", "seed=0,", "seed"),
    Fault("a block may tilt by 35 degrees", ORACLE, "MAX_TILT = 30.0", "MAX_TILT = 35.0", "oracle_edges"),
    Fault("a record is not synced", JOURNAL, "os.fsync(self._file.fileno())", "pass", "journal"),
    Fault("a new file is not synced", JOURNAL, "os.fsync(file.fileno())", "pass", "journal"),
    Fault("a new name is not synced", JOURNAL, "os.fsync(folder)", "pass", "journal"),
    Fault(
        "the last actions of a chunk",
        ACTIONS,
        "chunk[: min(self._execute, remaining)]",
        "chunk[-min(self._execute, remaining) :]",
        "inference",
    ),
    Fault(
        "the renderer is not in the hash",
        "bench/families/calvin.py",
        '"renderer": renderer, **switches',
        "**switches",
        "evaluations",
    ),
    Fault(
        "log(1/alpha) for log(2/alpha)",
        "bench/records/early_stop.py",
        "math.log(2 / alpha)",
        "math.log(1 / alpha)",
        "early_stop",
    ),
    Fault(
        "expanded after it was scaled back",
        COMMANDS,
        "        chunk = inverse_mu_law(chunk, config.mu_law)\n"
        "    if config.norm is not None:\n"
        "        chunk = unnormalise(chunk, *config.norm, gripper_too=released)\n",
        "        pass\n"
        "    if config.norm is not None:\n"
        "        chunk = unnormalise(chunk, *config.norm, gripper_too=released)\n"
        "    if config.mu_law is not None:\n"
        "        chunk = inverse_mu_law(chunk, config.mu_law)\n",
        "vla_actions",
    ),
    Fault(
        "companded before it is scaled",
        "policies/vla/training/items.py",
        "        if self.structure.norm is not None:\n"
        "            actions = normalise(actions, *self.structure.norm)\n"
        "        if self.structure.mu_law is not None:\n"
        "            actions = mu_law(actions, self.structure.mu_law)\n",
        "        if self.structure.mu_law is not None:\n"
        "            actions = mu_law(actions, self.structure.mu_law)\n"
        "        if self.structure.norm is not None:\n"
        "            actions = normalise(actions, *self.structure.norm)\n",
        "training_items",
    ),
    Fault(
        "`ever` of the simulation is dropped",
        ROLLOUT,
        "ever = ever or outcome.ever or success",
        "ever = ever or success",
        "rollout",
    ),
    Fault(
        "`ever` of an earlier piece is dropped",
        ROLLOUT,
        "ever = ever or outcome.ever or success",
        "ever = outcome.ever or success",
        "rollout",
    ),
    Fault(
        "a rotation to the world has the other sign",
        FRAMES,
        "(tool * _rotations(small).inv())",
        "(tool * _rotations(small))",
        "vla_actions",
    ),
    Fault(
        "a rotation to the tool has the other sign",
        FRAMES,
        "(_rotations(angles + small).inv() * tool)",
        "(tool.inv() * _rotations(angles + small))",
        "vla_actions",
    ),
    Fault(
        "the oracle's start and end are swapped",
        WORLD,
        "rule.solved(start, world)",
        "rule.solved(world, start)",
        "calvin_samples",
    ),
    Fault(
        "the task's start and end are swapped",
        "envs/calvin/tasks.py",
        "TASKS[task].solved(start, end)",
        "TASKS[task].solved(end, start)",
        "oracle_edges",
    ),
    Fault(
        "the gripper's sign in the robot",
        ROBOT,
        "opening = self.gripper_command == 1",
        "opening = self.gripper_command == -1",
        "calvin_samples",
    ),
    Fault(
        "the gripper's sign in the robot's state",
        ROBOT,
        "left + right, *arm, self.gripper_command)",
        "left + right, *arm, -self.gripper_command)",
        "calvin_samples",
    ),
    Fault(
        "the environment's cameras are swapped",
        "envs/calvin/cameras.py",
        'if camera.name == "static":',
        'if camera.name != "static":',
        "calvin_samples",
    ),
    Fault(
        "the lenses are swapped",
        "envs/calvin/cameras.py",
        '{"static": STATIC, "gripper": GRIPPER}',
        '{"static": GRIPPER, "gripper": STATIC}',
        "calvin_samples",
    ),
    Fault(
        "the engine swaps the cameras",
        "policies/vla/engine.py",
        'pixels("static"), pixels("gripper") if self',
        'pixels("gripper"), pixels("static") if self',
        "vla_cameras",
    ),
    Fault(
        "images of one size are swapped",
        MODEL,
        "torch.cat([gripper, static])",
        "torch.cat([static, gripper])",
        "vla_cameras",
    ),
    Fault(
        "images of two sizes are swapped",
        MODEL,
        '[self.encode_images(gripper, "gripper"), self.encode_images(static)]',
        '[self.encode_images(static), self.encode_images(gripper, "gripper")]',
        "vla_cameras",
    ),
    Fault(
        "training swaps the cameras",
        "policies/vla/training/items.py",
        'static=images["static"],\n            gripper=images.get("gripper"),',
        'static=images["gripper"],\n            gripper=images.get("static"),',
        "training_items",
    ),
    Fault(
        "a block need be lifted by 3 cm only",
        "envs/calvin/tasks.py",
        'block_table"] = Lift(f"block_{colour}", 0.05',
        'block_table"] = Lift(f"block_{colour}", 0.03',
        "oracle_edges",
    ),
    Fault(
        "a block need be lifted by 3 cm from the drawer only",
        "envs/calvin/tasks.py",
        'block_drawer"] = Lift(f"block_{colour}", 0.05',
        'block_drawer"] = Lift(f"block_{colour}", 0.03',
        "oracle_edges",
    ),
    Fault("lifting that far is enough", ORACLE, "[2] <= self.height", "[2] < self.height", "oracle_edges"),
)
"""Everything that any test ever let pass belongs here, with the test that mends it."""
