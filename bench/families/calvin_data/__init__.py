"""Data sets of CALVIN: the actions of ``vla-bench data``, each a module with ``configure`` and ``run``.

Nothing else is imported before an action is asked for.
"""

from vla_bench.bench.families.family import Command, DataSets

ABOUT = """\
CALVIN's own layout, its packed form for training, and other people's forms.

vla-bench data record policy=expert output=demos     demonstrations, by any policy
vla-bench data check task_D_D                        known defects, and where they are
vla-bench data describe task_D_D --picture d.png     counts, tasks, lengths, quantiles, a look at it
vla-bench data pack task_D_D packed --size 224       for training: flat arrays, resumable
vla-bench data choose task_D_D --per-task 10 --to few.json
                                                           a part that is like the whole
vla-bench data import lerobot calvin_lerobot calvin_from_lerobot
vla-bench data export lerobot task_D_D calvin_lerobot"""
ACTIONS = {
    "record": "record demonstrations: by the expert, by any policy, or from a result set",
    "check": "find defects, and say where",
    "describe": "counts, tasks, lengths, quantiles, a picture",
    "pack": "make the form that training reads fastest",
    "choose": "choose annotations over tasks, scenes and lengths",
    "import": "take a data set of another form",
    "export": "give a data set in another form",
    "finish": "close a data set whose writing was cut off",
}
DATA = DataSets(ABOUT, tuple(Command(name, text, f"{__name__}.{name}_data") for name, text in ACTIONS.items()))
