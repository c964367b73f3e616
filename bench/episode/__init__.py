"""One episode: pure, without processes and files.

rollout.py     an episode as a function of a simulation, a policy, a specification and a clock
actions.py     what a policy answers, judged before it moves anything
watch.py       what is wrong with an observation
preflight.py   one step tried before the first episode, so that what breaks every episode is a sentence
"""
