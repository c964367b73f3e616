"""What readouts cost: counts that can be worked out by hand, and every readout in one run."""

from __future__ import annotations

import itertools

from tools.readout import READOUTS, Reader, Setting, cost_of, measure

SIZES = {"width": 8, "hidden": 4, "head": "fc", "batch": 2, "device": "cpu"}


def outputs(inner, chunk=10):
    """Multiplications of both output stacks."""
    stacks = [[inner, 1024, 512, 256, chunk * 6], [inner, 1024, 512, 256, chunk]]
    return sum(a * b for stack in stacks for a, b in itertools.pairwise(stack))


def test_counts_are_those_worked_out_by_hand():
    token = cost_of(Reader(Setting("action token", 6, 1, 3), **SIZES))
    everything = cost_of(Reader(Setting("all tokens", 6, 1, 3), **SIZES))
    pooled = cost_of(Reader(Setting("max pooling", 6, 1, 3), **SIZES))
    assert token.flops == 2 * 6 * (8 * 4 + 4 * 4 + outputs(4))  # 2 samples of 3 frames
    assert everything.flops == 2 * 6 * (48 * 24 + 24 * 6 + outputs(6))
    assert pooled.flops == token.flops and pooled.parameters == token.parameters
    assert everything.both == 3 * everything.flops
    assert everything.memory > token.memory > 4 * 2 * token.parameters  # weights and gradients are in it


def test_every_readout_is_a_row_and_the_action_token_their_measure():
    table = measure([Setting(each, 4, 2, 1) for each in READOUTS], 1, **SIZES)
    assert [row[0].text for row in table.rows] == list(READOUTS)
    assert all(row[4].text.startswith("× ") == (row[0].text != "action token") for row in table.rows)
    assert float(table.rows[3][4].text[2:]) > 1 and table.rows[2][4].text == "× 1.00"
