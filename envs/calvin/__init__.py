"""CALVIN's play table on PyBullet: scenes, robot, cameras, the 34-task oracle and the official
evaluation sequences. Knows nothing of policies or of the benchmark runner."""
