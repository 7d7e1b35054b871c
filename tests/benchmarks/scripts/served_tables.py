"""What serve_in_world prints, as Markdown: the values of a served day, and differences with intervals."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jobs.simulator.earnings import Ratio
from jobs.simulator.settings import World
from models.evaluation.bootstrap import Sums, differences

PRE_RANKERS = (
    "ec", "ep", "transactions", "uctr", "ucvr", "slots", "r10_full", "best_kept", "best_kept_top", "best_kept_middle",
    "best_kept_tail", "popularity",
)  # fmt: skip
CHANNELS = ("ec", "ep", "transactions", "uctr", "ucvr", "slots", "added", "retrieved_of_best", "shown_of_best")
_COMPARED = ("ec", "ep", "uctr", "ucvr")
_PLAIN = {"ec": 1, "ep": 2, "transactions": 1, "slots": 2, "added": 2, "popularity": 2}  # digits; the rest are shares

Figures = Mapping[str, Ratio]  # what a day earned, by user


def value(figures: Figures, name: str) -> float:
    if name == "transactions":  # of the whole day; ep is per 100 requests
        return float(figures["ep"][0].sum() / 100)
    up, down = figures[name]
    return float(up.sum() / down.sum()) if down.sum() else float("nan")


def written(name: str, number: float) -> str:
    return f"{number:.{_PLAIN[name]}f}" if name in _PLAIN else f"{100 * number:.1f}"


def values_table(variants: Mapping[str, Sequence[Figures]], columns: Sequence[str]) -> Iterator[str]:
    """A value a seed; shares in per cent."""
    yield "| variant | " + " | ".join(name.replace("_", " ") for name in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for variant, seeds in variants.items():
        cells = (" / ".join(written(name, value(figures, name)) for figures in seeds) for name in columns)
        yield f"| {variant} | " + " | ".join(cells) + " |"


def changes(variants: Mapping[str, Sequence[Figures]], reference: str, name: str) -> dict[str, str]:
    """Each variant's change of a figure, in per cent of the reference's value, which the intervals take as given."""
    sums = {
        variant: Sums(*(np.stack(each, axis=1) for each in zip(*(figures[name] for figures in seeds), strict=True)))
        for variant, seeds in variants.items()
    }
    whole = np.mean([value(figures, name) for figures in variants[reference]]) / 100
    return {
        variant: f"{one.value / whole:+.1f} % [{one.low / whole:+.1f}, {one.high / whole:+.1f}]"
        for variant, one in differences(sums, reference).items()
    }


def differences_table(variants: Mapping[str, Sequence[Figures]], reference: str) -> Iterator[str]:
    """A column a figure."""
    found = [changes(variants, reference, name) for name in _COMPARED]
    yield f"| against {reference} | " + " | ".join(_COMPARED) + " |"
    yield "|---" * (len(_COMPARED) + 1) + "|"
    for variant in variants:
        if variant != reference:
            yield f"| {variant} | " + " | ".join(figure[variant] for figure in found) + " |"


def sanity(world: World, figures: Figures) -> str:
    """What the world is like with the incumbent, in a line."""
    requests = int(figures["ec"][1].sum())
    shares = {name: 100 * value(figures, name) for name in ("ctr", "cvr")}
    left = [100 * value(figures, f"{stage}_of_best") for stage in ("retrieved", "kept", "shown")]
    return (
        f"{requests} requests of {len(figures['uctr'][1])} users; pre-ranking keeps {world.kept_by_pre_ranking()}. "
        f"With the incumbent: CTR {shares['ctr']:.1f} %, CVR {shares['cvr']:.1f} %. Of the 10 truly best items of the "
        f"catalogue {left[0]:.1f} % are retrieved, {left[1]:.1f} % kept by pre-ranking, {left[2]:.1f} % shown. The "
        f"incumbent's scores correlate by {value(figures, 'popularity'):.2f} with log popularity."
    )
