"""Other people's forms of CALVIN's data: LeRobot v3, HDF5 trajectories, the LMDB of GR-1's training code."""
