"""What is known of a run before a worker exists.

config.py        every field of a run, its type, its default, its meaning
run_config.py    the part of them that is handed down to the workers as it is
presets.py       presets and what was typed, composed into a configuration
plan.py          from a benchmark and a policy's needs to a list of episodes
preparation.py   configuration, policy, plan and protocol of one run, checked together
run_folder.py    whose folder it is, and what the disk says
"""
