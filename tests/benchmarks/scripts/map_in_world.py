"""Which team gains from which method? One dial of the world at a time: `python .../map_in_world.py ROOT`.

The middle world is serve_in_world.py's `clicked`, `plain` with planted interests that are clicked on; each other world
differs in one dial. Learned from and served as in serve_in_world.py; a world below ROOT that has all models is not made
again. Names of dials after ROOT pick some. Prints Markdown: expected clicks and users with a purchase, in per cent of
the reference's, with paired 95 % bootstrap intervals over users, the seeds of training averaged.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from judge_in_world import JUDGED, learn, learned
from serve_in_world import (
    WITH_QUOTA,
    WORLDS,
    Known,
    by_variant,
    channels,
    pre_rankers,
    serve_channels,
    serve_pre_rankers,
)
from served_tables import Figures, changes

from jobs.simulator.settings import World

MIDDLE = WORLDS["clicked"]
DIALS = {
    "pre_ranking_popularity": (0.0, 0.9),  # the incumbent's bias
    "pre_ranking_correlation": (0.2, 0.8),  # its quality
    "ranking_correlation": (0.5,),  # the ranker's
    "coverage": (0.5, 2.0),  # of the channels
    "requests_per_user": (0.3, 3.0),  # density
    "planted_taste": (0.0, 1.5),  # what the channels miss by construction
    "items": (500, 8_000),  # the catalogue; of a small one less is retrieved and kept, of a large one a smaller share
}
PRESETS = {
    "hccp": "exposed_only,distillation,full,debiased",
    "increc": "base,base_aligned,na,full",
}


@dataclass(frozen=True)
class Table:
    """What it is called, its reference, and the variants whose change from it is a column each."""

    title: str
    reference: str
    variants: Sequence[str]


PRE_RANKERS = (
    Table(
        "Pre-rankers against one that learned from exposures",
        "exposed_only",
        ("incumbent", "distillation", "full", "debiased"),
    ),
    Table("Pre-rankers against the incumbent", "incumbent", ("oracle", "distillation", "full", "debiased")),
)
CHANNELS = Table(
    "One channel more, with a quota of 10 of what pre-ranking keeps, 50 as a rule", "none",
    [f"{name}{WITH_QUOTA}" for name in ("oracle", "hot_items", "item_cf_twice", "base", "base_aligned", "na", "full")],
)  # fmt: skip


def worlds(dials: Sequence[str]) -> dict[str, World]:
    """The middle, and each dial's other values."""
    varied = {f"{dial}-{value}": replace(MIDDLE, **{dial: value}) for dial in dials for value in DIALS[dial]}
    return {"middle": MIDDLE, **varied}


def served(root: str, world: World) -> tuple[dict[str, list[Figures]], dict[str, list[Figures]]]:
    """What the day earns, by variant: with other pre-rankers, and with one channel more."""
    if not learned(root, world, PRESETS):
        learn(root, world, PRESETS)
    known = Known.of(root, world, JUDGED)
    return (
        by_variant(serve_pre_rankers(world, pre_rankers(world, known))),
        by_variant(serve_channels(world, channels(world, known))),
    )


def lines(table: Table, found: Mapping[str, dict[str, list[Figures]]], dials: Sequence[str]) -> Iterator[str]:
    """A row a world and figure, dial by dial, the middle among each dial's values."""
    yield f"### {table.title}\n"
    yield "| dial | value | figure | " + " | ".join(name.removesuffix(WITH_QUOTA) for name in table.variants) + " |"
    yield "|---" * (len(table.variants) + 3) + "|"
    for dial in dials:
        values = sorted({getattr(MIDDLE, dial), *DIALS[dial]})
        for value in values:
            figures = found["middle" if value == getattr(MIDDLE, dial) else f"{dial}-{value}"]
            for name in ("ec", "ucvr"):
                changed = changes(figures, table.reference, name)
                yield f"| {dial} | {value} | {name} | " + " | ".join(changed[each] for each in table.variants) + " |"
    yield ""


if __name__ == "__main__":
    dials = sys.argv[2:] or [*DIALS]
    ranked, widened = {}, {}
    for name, world in worlds(dials).items():
        ranked[name], widened[name] = served(f"{sys.argv[1]}/{name}", world)
        print(f"{name} is served", file=sys.stderr, flush=True)
    for table in PRE_RANKERS:
        print(*lines(table, ranked, dials), sep="\n")
    print(*lines(CHANNELS, widened, dials), sep="\n")
