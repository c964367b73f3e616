"""SimplerEnv: real-robot tasks of WidowX and the Google Robot, simulated on two backends.

Robots, tasks, variants and grids are plain data in modules that import numpy only. The simulators are
imported when a simulation is built: the original package on sapien 2 (``simpler_env``), which lives in
an interpreter of its own, or ManiSkill3 on sapien 3 (``maniskill3``).
"""
