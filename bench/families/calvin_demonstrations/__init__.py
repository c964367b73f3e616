"""Demonstrations: fresh start states, and the recording of what a policy does from them as a data set."""
