"""How a VLA is trained: data set and structure in, checkpoint out. Knows no simulator.

config.py         every choice of a training run; no torch
items.py          windows of a data set as arrays and as batches
augmentation.py   random shifts and colours
sampling.py       which windows make which batch: a pure function of seed and number
conversations.py  vision-language data beside the robot's
trainable.py      what trains: freezing, LoRA, dropout, gradient checkpointing
optimiser.py      AdamW and the learning rate
step.py           the network on one batch, and its losses
taught.py         losses that only teach: their names and shares
scene.py          one that asks the eyes where things are
waypoint.py       one that asks where the tool goes
weighing.py       what each loss is the mean of, across batches and processes
processes.py      one process or many
sharding.py       a network divided among them
loop.py           the run: steps, validation, saving, going on
state.py          what a run goes on from, and the checkpoints it leaves
export.py         a checkpoint under RoboVLMs' names
"""
