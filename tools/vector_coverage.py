"""How often the intervals of context vectors hold the truth, by simulation.

python -m tools.vector_coverage                       statistics of one extraction
python -m tools.vector_coverage comparison            distances and likeness of two, and how much a task changed
python -m tools.vector_coverage probes --repeats 300  what is read off, and how much more off a second policy

Extractions are simulated: frames of an episode share a random part, as they do in a policy, so that they are
correlated; both policies are Gaussian, so that the truth is known in closed form (of the divergences: of shares in as
many bins; of the mean cosine and of probes: from a million frames, or from maps fitted to other such extractions).
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas
from scipy import stats

from vla_bench.bench.vectors.comparison import change_of_task
from vla_bench.bench.vectors.distances import bins_of, distances
from vla_bench.bench.vectors.intervals import Episodes, Estimate
from vla_bench.bench.vectors.probes import FOLDS, better, probes
from vla_bench.bench.vectors.similarity import cka_estimate, cosine
from vla_bench.bench.vectors.statistics import overall

Held = Mapping[str, float]
"""By what is estimated: 1 where the interval holds the truth, else 0; a share where there are several."""


@dataclass(frozen=True)
class Setting:
    """Of a simulation."""

    episodes: int
    frames: int
    """Of each episode."""
    correlation: float
    """Between frames of an episode."""
    width: int = 8
    shift: float = 0.0
    """Of the second policy's means, in deviations."""
    scale: float = 1.0
    """Of its deviations."""
    likeness: float = 0.8
    """Correlation of the two policies' numbers at the same frame."""
    changed: float = 1.0
    """Share of dimensions that are shifted and scaled."""

    @property
    def names(self) -> np.ndarray:
        """(n,) of episodes."""
        return np.repeat(np.arange(self.episodes), self.frames)

    def noise(self, generator: np.random.Generator) -> np.ndarray:
        """(n, d) of deviation 1."""
        shared = generator.normal(size=(self.episodes, self.width))[self.names]
        own = generator.normal(size=(len(self.names), self.width))
        return math.sqrt(self.correlation) * shared + math.sqrt(1 - self.correlation) * own

    def moved(self) -> tuple[np.ndarray, np.ndarray]:
        """(d,) shifts and scales."""
        there = np.arange(self.width) < round(self.changed * self.width)
        return np.where(there, self.shift, 0.0), np.where(there, self.scale, 1.0)

    def both(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(n, d) of each policy."""
        a = self.noise(generator)
        b = self.likeness * a + math.sqrt(1 - self.likeness**2) * self.noise(generator)
        shift, scale = self.moved()
        return a, shift + scale * b


ONE = [Setting(50, 10, 0.3), Setting(50, 10, 0.8), Setting(100, 5, 0.5), Setting(500, 1, 0.0), Setting(12, 20, 0.5)]
TWO = [
    Setting(50, 10, 0.5, shift=0.25, scale=1.2),
    Setting(100, 5, 0.3, width=32, shift=0.15, scale=1.1, likeness=0.6),
    Setting(100, 5, 0.3, width=32, shift=0.25, scale=1.1, likeness=0.6, changed=0.5),
    Setting(20, 10, 0.5, shift=0.25, scale=1.2),
    Setting(50, 10, 0.5, likeness=0.9),
]


def statistics(setting: Setting, repeats: int) -> Iterator[Held]:
    """Mean, deviation and length."""
    generator = np.random.default_rng(0)
    # The length of a Gaussian vector that has a mean, from a million of them.
    million = 0.3 + 2 * np.random.default_rng(1).normal(size=(1_000_000, setting.width))
    truth = {"mean": 0.3, "deviation": 2.0, "length": float(np.linalg.norm(million, axis=1).mean())}
    for repeat in range(repeats):
        found = overall(0.3 + 2 * setting.noise(generator), setting.names, seed=repeat)
        yield {name: held(found[name], true) for name, true in truth.items()}


def comparison(setting: Setting, repeats: int) -> Iterator[Held]:
    """Distances, likeness, and the change of a task that half of the episodes are of."""
    generator = np.random.default_rng(0)
    shift, scale = setting.moved()
    far = [_wasserstein(*each) for each in zip(shift, scale, strict=True)]
    bins = bins_of(len(setting.names), setting.episodes)
    apart = [_divergences(*each, bins) for each in zip(shift, scale, strict=True)]
    js, kl = (float(np.mean([each[place] for each in apart])) for place in (0, 1))
    many = Setting(200_000, 1, 0.0, *(getattr(setting, name) for name in ("width", "shift", "scale", "likeness")))
    many = Setting(**{**vars_of(many), "changed": setting.changed})
    a, b = many.both(np.random.default_rng(1))
    angle = float(cosine(a, b).mean())
    change = float(np.linalg.norm(b - a, axis=1).mean() / np.linalg.norm(a, axis=1).mean())
    like = setting.likeness**2 * float((scale**2).sum() / math.sqrt(setting.width * (scale**4).sum()))
    names = setting.names
    task = names % 2 == 0
    for repeat in range(repeats):
        a, b = setting.both(generator)
        over = Episodes(names, repeat)
        found = distances(a, b, names, repeat)
        ends = zip(found.wasserstein, found.low, found.high, far, strict=True)
        yield {
            "CKA": held(cka_estimate(a, b, over), like),
            "cosine": held(over.ratio(cosine(a, b), np.ones(len(a)), (-1, 1)), angle),
            "Wasserstein": held(found.mean_wasserstein, float(np.mean(far))),
            "of a dimension": float(np.mean([held(Estimate(*map(float, end[:3])), end[3]) for end in ends])),
            "JS": held(found.mean_js, js),
            "KL": held(found.mean_divergence, kl),
            "task": held(change_of_task(a, b, names, task, repeat), change),
        }


def reading(setting: Setting, repeats: int) -> Iterator[Held]:
    """A number and three tasks read off two policies, the second of which says less; and the difference."""
    weights = np.random.default_rng(2).normal(size=setting.width) / math.sqrt(setting.width)

    def extraction(of: Setting, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, pandas.DataFrame]:
        a, b = of.both(generator)
        target = a @ weights + 0.7 * of_episode(of, generator)
        kinds = np.digitize(a[:, 0] + 0.5 * of_episode(of, generator), (-0.5, 0.5))
        rows = {"episode": of.names, "task": np.array(["lift", "push", "turn"])[kinds], "x": target}
        return a, b, pandas.DataFrame(rows)

    truth = _read_off(setting, extraction)
    generator = np.random.default_rng(0)
    for repeat in range(repeats):
        a, b, rows = extraction(setting, generator)
        found = [{each.what: each for each in probes(values, rows, seed=repeat)} for values in (a, b)]
        over = Episodes(setting.names, repeat)
        yield {
            f"{word}{told}": held(estimate, true)
            for word, measure in (("task", "task"), ("x", "x"))
            for told, estimate, true in (
                ("", found[0][measure].score, truth[measure][0]),
                (" of the second", found[1][measure].score, truth[measure][1]),
                (", difference", better(found[0][measure], found[1][measure], over), np.diff(truth[measure])[0]),
            )
        }


def of_episode(setting: Setting, generator: np.random.Generator) -> np.ndarray:
    """(n,) noise that frames of an episode share as they share the rest."""
    return Setting(setting.episodes, setting.frames, setting.correlation, 1).noise(generator)[:, 0]


def vars_of(setting: Setting) -> dict[str, float]:
    """Its fields."""
    return {name: getattr(setting, name) for name in setting.__dataclass_fields__}


def _read_off(setting: Setting, extraction: Callable[..., tuple[np.ndarray, np.ndarray, pandas.DataFrame]]) -> dict:
    """What maps that are fitted as the probes fit theirs score on new frames, on average over 60 extractions."""
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator, strengths = np.random.default_rng(3), 10.0 ** np.arange(-1, 5)
    fitted = Setting(**{**vars_of(setting), "episodes": setting.episodes * (FOLDS - 1) // FOLDS})
    new = Setting(**{**vars_of(setting), "episodes": 20_000, "frames": 1})
    scores: dict[str, list[list[float]]] = {"task": [], "x": []}
    for _ in range(60):
        *sides, rows = extraction(fitted, generator)
        *shown, told = extraction(new, generator)
        for name, score in (("task", balanced_accuracy_score), ("x", r2_score)):
            of = []
            for values, seen in zip(sides, shown, strict=True):
                map_ = RidgeClassifierCV(strengths, class_weight="balanced") if name == "task" else RidgeCV(strengths)
                made = make_pipeline(StandardScaler(), map_).fit(values, rows[name])
                of.append(float(score(told[name], made.predict(seen))))
            scores[name].append(of)
    return {name: np.mean(each, axis=0) for name, each in scores.items()}


def held(found: Estimate, true: float) -> float:
    """Whether the interval holds it."""
    return float(found.low <= true <= found.high)


def _wasserstein(shift: float, scale: float) -> float:
    """Between N(0, 1) and N(shift, scale): the mean of a folded Gaussian."""
    spread = abs(scale - 1)
    if spread < 1e-12:
        return abs(shift)
    at = shift / spread
    return float(spread * math.sqrt(2 / math.pi) * math.exp(-(at**2) / 2) + shift * (1 - 2 * stats.norm.cdf(-at)))


def _divergences(shift: float, scale: float, bins: int) -> tuple[float, float]:
    """Jensen-Shannon and Kullback-Leibler of N(0, 1) and N(shift, scale) in bins between quantiles of both."""
    grid = np.linspace(-12, 12, 200_001)
    below = [stats.norm.cdf(grid), stats.norm.cdf(grid, shift, scale)]
    edges = np.searchsorted((below[0] + below[1]) / 2, np.arange(1, bins) / bins)
    p, q = (np.diff(np.r_[0.0, each[edges], 1.0]) for each in below)
    middle = (p + q) / 2
    js = 0.5 * float((p * np.log(p / middle)).sum() + (q * np.log(q / middle)).sum())
    return js, float((p * np.log(p / q)).sum())


KINDS = {"statistics": (statistics, ONE), "comparison": (comparison, TWO), "probes": (reading, TWO[:1] + TWO[3:4])}


def covered(kind: str, setting: Setting, repeats: int) -> dict[str, float]:
    """Share of simulated extractions whose interval holds the truth, by what is estimated."""
    hits: Counter[str] = Counter()
    for found in KINDS[kind][0](setting, repeats):
        hits.update(found)  # type: ignore[arg-type]
    return {name: hit / repeats for name, hit in hits.items()}


def main() -> None:
    """Prints the table."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.vector_coverage", description=__doc__, formatter_class=form)
    parser.add_argument("kind", nargs="?", choices=KINDS, default="statistics", help="what is estimated (statistics)")
    parser.add_argument("--repeats", type=int, default=1000, metavar="N", help="simulated extractions (1000)")
    parser.add_argument("--only", type=int, metavar="ROW", help="one setting, from 0")
    arguments = parser.parse_args()
    settings = KINDS[arguments.kind][1]
    if arguments.only is not None:
        settings = settings[arguments.only : arguments.only + 1]
    for setting in settings:
        told = ", ".join(f"{name} {value:g}" for name, value in vars_of(setting).items())
        found = covered(arguments.kind, setting, arguments.repeats)
        print(f"{told}: {', '.join(f'{name} {100 * share:.1f} %' for name, share in found.items())}", flush=True)


if __name__ == "__main__":
    main()
