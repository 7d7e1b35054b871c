"""A small root written without a JVM: the contract's worked example, with the days, scores and faults around it."""

import json
from argparse import Namespace
from datetime import UTC, date, datetime

import pyarrow as pa
from deltalake import CommitProperties, write_deltalake
from pyarrow import parquet

from jobs import build_channel_value
from schemas.storage import arrow
from schemas.storage.root import Root
from schemas.table import landing
from schemas.tables.registry import TABLES
from tests.support import worked_example as example

DAY = example.DAY
BEFORE = date(2024, 2, 29)
SIMULATED = {"simulated": ["retrievals", "stages", "impressions"], "density": "session"}


def rows(name: str, tuples) -> pa.Table:
    """Tuples in the order of the contract's columns as an Arrow table."""
    table = TABLES[name]
    padded = [(*row, *[None] * (len(table.columns) - len(row))) for row in tuples]  # columns added since
    columns = [list(values) for values in zip(*padded, strict=True)] or [[] for _ in table.columns]
    return pa.table(columns, schema=pa.schema([(c.name, c.type) for c in table.columns]))


def put_delta(root, name: str, day: date, tuples, **settings) -> None:
    """One date of a Delta table, in a commit that records what Spark's doorway records."""
    table = TABLES[name]
    held = rows(name, tuples)
    recorded = {"date": day.isoformat(), "made_from": {}, "settings": settings}
    write_deltalake(
        f"{root}/{table.path}",
        held.append_column("date", pa.array([day] * held.num_rows, pa.date32())),
        mode="append",
        partition_by=["date"],
        commit_properties=CommitProperties(custom_metadata={"userMetadata": json.dumps(recorded)}),
    )


def put(root, name: str, day: date, tuples, **settings) -> None:
    arrow.write(str(root), TABLES[name], day, rows(name, tuples), {}, settings)


def put_landing(root, name: str, day: date, tuples, **settings) -> None:
    arrow.write_at(str(root), TABLES[name], day, landing(TABLES[name], day), rows(name, tuples), {}, settings)


def put_quarantine(root, name: str, day: date, tuples, reasons) -> None:
    folder = f"quarantine/{name}/date={day}"
    place = Root.of(str(root))
    place.filesystem.create_dir(place.at(folder), recursive=True)
    refused = rows(name, tuples).append_column("reason", pa.array(reasons, pa.string()))
    parquet.write_table(refused, place.at(f"{folder}/part-0.parquet"))


def put_logs(root) -> None:
    """The worked example landed and ingested: one conversion refused, one landed twice."""
    logs = {
        "requests": example.REQUESTS,
        "retrievals": example.RETRIEVALS,
        "impressions": example.IMPRESSIONS,
        "conversions": [row for row in example.CONVERSIONS if row[4].date() == DAY],
        "stages": [
            ("r1", "pre_ranking", [3, 1, 2], []),
            ("r1", "ranking", [3, 1], []),
            ("r1", "re_ranking", [3, 1], []),
            ("r1", "shadow_ranking", [4], []),
        ],
    }
    bad = ("e99", 1, 3, "share", example.at("10:06"), "homepage", None, example.at("10:07"))
    twice = [*logs["conversions"], logs["conversions"][0], bad]
    for name, tuples in logs.items():
        put_landing(root, name, DAY, twice if name == "conversions" else tuples, **SIMULATED)
        put_delta(root, name, DAY, tuples)
    put_quarantine(root, "conversions", DAY, [bad], ["action is unknown"])


def put_labels(root) -> None:
    put_delta(root, "target_groups", BEFORE, [_lone("r0")], window_hours=24, scenario="homepage")
    ordered = sorted(example.EXPECTED, key=lambda row: (row[0], row[2], row[3]))
    labels = [(*row[:8], list(row[8]), row[9]) for row in ordered]
    put_delta(root, "target_groups", DAY, labels, window_hours=24, scenario="homepage")


def _lone(request: str) -> tuple:
    return (request, 7, 1, "ETG", None, None, None, 0, ["hot"], 1)


def put_samples(root) -> None:
    noon = datetime(2024, 3, 1, 12, tzinfo=UTC)
    put(root, "user_histories", DAY, [("r1", [], [], []), ("r2", [3], ["click"], [noon]), ("r3", [], [], [])])
    put(
        root,
        "item_stats",
        DAY,
        [(1, 9, 2, 1, 5, 0.5, "top"), (3, 9, 1, 0, 3, 0.3, "middle"), (4, 9, 0, 0, 0, 0.2, "tail")],
    )
    put(
        root,
        "increc_samples",
        DAY,
        [
            ("r1", 1, "homepage", noon, [], [], [1, 3], ["", "purchase"], [3, 2], ["purchase"] * 2, [9], ["cart"]),
            ("r2", 1, "homepage", noon, [3], ["click"], [8, 4], ["purchase", "click"], [8, 4], ["purchase", "click"],
             [], []),
            ("r3", 2, "homepage", noon, [], [], [3], [""], [], [], [5], ["favorite"]),
        ],
        seed=1,
    )  # fmt: skip
    levels = ["purchased", "exposed", *["filtered"] * 40]
    put(
        root,
        "hccp_samples",
        DAY,
        [
            ("r1", 1, noon, [], [], list(range(42)), levels, list(range(1, 43)), ["purchase", *[""] * 41],
             ["purchase", *[""] * 41], [1.0] * 42),
            ("r2", 1, noon, [3], ["click"], [8, 4], ["clicked", "exposed"], [1, 2], ["click", ""], ["click", ""],
             [1.0, 1.0]),
        ],
        seed=1,
    )  # fmt: skip


def put_quality(root) -> None:
    put(
        root,
        "quality",
        DAY,
        [
            ("conversions", "refused_share", 1 / 8, 0.05, False),
            ("conversions", "conflicting", 2.0, None, True),
            ("requests", "refused_share", 0.0, 0.05, True),
        ],
    )


def put_scores(root) -> None:
    """IncRec: hot_items, and two seeds of `full` whose Inc@500 are .20 and .30; HCCP: one seed of `full`."""
    increc = [
        ("increc", variant, seed, metric, "all", k, value + k / 10000, 2000)
        for variant, seed, value in (("random", 0, 0.0), ("hot_items", 0, 0.1), ("full", 1, 0.15), ("full", 2, 0.25))
        for metric in ("inc", "inc_filtered", "base", "exposure", "order", "overlap")
        for k in (100, 500, 1000)
    ]
    increc += [
        ("increc", variant, seed, "inc_filtered", segment, 500, value, 700)
        for variant, seed, value in (("hot_items", 0, 0.11), ("full", 1, 0.22), ("full", 2, 0.22))
        for segment in ("top", "middle", "tail", "cold_start", "active")
    ]
    hccp = [
        ("hccp", variant, 0, metric, segment, k, value * part, 900)
        for variant, value in (("random", 0.2), ("incumbent", 0.5), ("full", 0.8))
        for metric in ("ish", "ash", "isph", "asph", "ranker_recall_10")
        for segment, part in (("all", 1.0), ("top", 0.9), ("middle", 0.6), ("tail", 0.3))
        for k in (10, 50)
    ]
    hccp += [("hccp", "full", 0, "auc", "all", 0, 0.625, 5000), ("hccp", "full", 0, "gauc", "all", 0, None, 0)]
    hccp += [("hccp", "full", 0, "milliseconds_p50", "all", 0, 1.75, 200)]
    untrained = ("random", "hot_items", "incumbent")
    put(root, "evaluations", DAY, [(*row, row[1] not in untrained) for row in increc + hccp])


def put_value(root) -> None:
    """Needs the logs and labels; its rows are tested where its job is."""
    build_channel_value.main(Namespace(root=str(root)), DAY)


def put_all(root) -> None:
    for each in (put_logs, put_labels, put_value, put_samples, put_quality, put_scores):
        each(root)
