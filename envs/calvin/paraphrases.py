"""Other sentences for each of the 34 tasks, in our own words, for :mod:`vla_bench.envs.stress`.

Each was read against the task's rule in :mod:`vla_bench.envs.calvin.oracle`: it asks for what the rule asks for, of the
same object, to the same side, and could be meant for no other task. ``right`` rotations are clockwise seen from above.
"""

from __future__ import annotations

from vla_bench.envs.calvin.builtin.instructions import COLOURS

BLOCK_SENTENCES = {
    "rotate_{}_block_right": (
        "rotate the {} block to the right",
        "turn the {} block towards the right",
        "twist the {} block clockwise",
        "take the {} block and give it a turn to the right",
        "the {} block should be rotated clockwise",
    ),
    "rotate_{}_block_left": (
        "rotate the {} block to the left",
        "turn the {} block towards the left",
        "twist the {} block counterclockwise",
        "take the {} block and give it a turn to the left",
        "the {} block should be rotated counterclockwise",
    ),
    "push_{}_block_right": (
        "push the {} block to the right",
        "shove the {} block rightwards",
        "move the {} block to the right by pushing it",
        "the {} block should be pushed towards the right",
        "give the {} block a push to the right side",
    ),
    "push_{}_block_left": (
        "push the {} block to the left",
        "shove the {} block leftwards",
        "move the {} block to the left by pushing it",
        "the {} block should be pushed towards the left",
        "give the {} block a push to the left side",
    ),
    "lift_{}_block_table": (
        "lift the {} block from the table",
        "grasp the {} block on the table and raise it",
        "take the {} block off the tabletop",
        "raise the {} block that lies on the table",
        "the {} block on the table should be picked up",
    ),
    "lift_{}_block_slider": (
        "lift the {} block from the sliding cabinet",
        "grasp the {} block in the slider and raise it",
        "pick up the {} block that lies in the cabinet",
        "take the {} block out of the sliding cabinet",
        "the {} block in the cabinet should be lifted",
    ),
    "lift_{}_block_drawer": (
        "lift the {} block from the drawer",
        "grasp the {} block in the drawer and raise it",
        "pick up the {} block that lies in the drawer",
        "take the {} block out of the drawer",
        "the {} block in the drawer should be lifted",
    ),
}
"""By the name of a task that exists for each colour."""
SENTENCES = {
    "move_slider_left": (
        "push the sliding door to the left",
        "slide the door to the left side",
        "move the slider to the left",
        "the sliding door should be moved to the left",
        "grasp the door handle and slide the door left",
    ),
    "move_slider_right": (
        "push the sliding door to the right",
        "slide the door to the right side",
        "move the slider to the right",
        "the sliding door should be moved to the right",
        "grasp the door handle and slide the door right",
    ),
    "open_drawer": (
        "pull the drawer open",
        "open the drawer",
        "grasp the handle of the drawer and pull it out",
        "the drawer should be opened",
        "slide the drawer out",
    ),
    "close_drawer": (
        "push the drawer shut",
        "close the drawer",
        "push the handle of the drawer to close it",
        "the drawer should be closed",
        "slide the drawer back in",
    ),
    "place_in_slider": (
        "place the grasped block in the sliding cabinet",
        "set down what you hold in the cabinet",
        "put the object in your gripper into the slider",
        "the block in the gripper belongs in the sliding cabinet",
        "store the grasped block in the cabinet",
    ),
    "place_in_drawer": (
        "place the grasped block in the drawer",
        "set down what you hold in the drawer",
        "put the object in your gripper into the drawer",
        "the block in the gripper belongs in the drawer",
        "store the grasped block in the drawer",
    ),
    "push_into_drawer": (
        "push a block into the drawer",
        "shove a block so that it falls into the drawer",
        "slide a block along the table until it drops into the drawer",
        "sweep a block off the table into the drawer",
        "a block on the table should be pushed into the drawer",
    ),
    "stack_block": (
        "stack the block in your gripper on another one",
        "place the grasped block on top of another block",
        "build a tower with the block that you hold",
        "set the grasped block down on another block",
        "the block in the gripper should end up on another block",
    ),
    "unstack_block": (
        "unstack the blocks",
        "remove the block on top from the stack",
        "lift the top block off the stack",
        "take the stacked blocks apart",
        "the block on top should be taken off the other",
    ),
    "turn_on_lightbulb": (
        "turn on the light bulb",
        "switch the yellow light on",
        "use the switch to turn on the light bulb",
        "flip the lever up so that the bulb lights",
        "the light bulb should be on",
    ),
    "turn_off_lightbulb": (
        "turn off the light bulb",
        "switch the yellow light off",
        "use the switch to turn off the light bulb",
        "flip the lever down so that the bulb goes dark",
        "the light bulb should be off",
    ),
    "turn_on_led": (
        "turn on the led",
        "switch the green light on",
        "press the button to turn on the led",
        "push down the button so that the led lights",
        "the green led should be on",
    ),
    "turn_off_led": (
        "turn off the led",
        "switch the green light off",
        "press the button to turn off the led",
        "push down the button so that the led goes dark",
        "the green led should be off",
    ),
}


def paraphrases() -> dict[str, tuple[str, ...]]:
    """Task name to its sentences, all 34."""
    blocks = {
        name.format(colour): tuple(text.format(colour) for text in texts)
        for name, texts in BLOCK_SENTENCES.items()
        for colour in COLOURS
    }
    return blocks | SENTENCES
