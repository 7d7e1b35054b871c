"""Whether the engines made the same rows: order-independent hashes, judged by DuckDB, whoever wrote the files.

Labels and `increc_samples` are compared whole. Of `hccp_samples` everything that no draw decides is: each request, its
history, its levels purchased, clicked and exposed with their actions, the number of the others and their weights. Of
the draws: each drawn item comes from where its level says, none twice, in the level's order; an item that two engines
drew alike has one weight in both.
"""

from dataclasses import dataclass
from datetime import date

import duckdb
from volume.duckdb_sql import connect

from schemas.table import Table
from schemas.tables import samples
from schemas.tables.labels import target_groups

TABLES = (target_groups.name, samples.increc_samples.name, samples.hccp_samples.name)

_KEPT = "[x for x, i in {0} if levels[i] IN ('purchased', 'clicked', 'exposed')]"
_DRAWN = "levels NOT IN ('purchased', 'clicked', 'exposed')"


@dataclass(frozen=True)
class Rows:
    """What one engine wrote: a file pattern, or a list of files, a table."""

    engine: str
    places: dict[str, str | list[str]]


def hashed(connection: duckdb.DuckDBPyConnection, table: Table, place: str | list[str]) -> tuple[int, str]:
    """(rows, hash) of a table's columns; two tables with the same rows in any order have the same."""
    columns = ", ".join(f'"{name}"' for name in table.names)
    return _sum_of_hashes(connection, f"SELECT {columns} FROM read_parquet({place!r})")


def hashed_without_draws(connection: duckdb.DuckDBPyConnection, place: str | list[str]) -> tuple[int, str]:
    """(rows, hash) of `hccp_samples` less the items that the engines draw each in its own way."""
    kept = ", ".join(_KEPT.format(name) for name in ("item_ids", "levels", "actions", "in_scenario_actions"))
    return _sum_of_hashes(
        connection,
        f"""
        SELECT request_id, user_id, request_time, history_item_ids, history_actions, {kept}, levels, teacher_ranks,
            [round(w, 3) for w, i in sampling_weights if levels[i] != 'ranked']
        FROM read_parquet({place!r})""",
    )


def draws_at_fault(connection: duckdb.DuckDBPyConnection, place: str | list[str], one_in: int = 1) -> dict[str, int]:
    """Drawn items, of one request in `one_in`, that are not where their level says, repeated, or out of order."""
    connection.execute(f"""
    CREATE OR REPLACE TEMP TABLE checked AS
    SELECT request_id, item_ids, levels FROM read_parquet({place!r}) WHERE hash(request_id) % {one_in} = 0;
    CREATE OR REPLACE TEMP TABLE drawn AS
    SELECT request_id, unnest([{{'item_id': x, 'level': levels[i], 'place': i}} for x, i in item_ids
        if levels[i] IN ('ranked', 'filtered')], recursive := true) FROM checked;
    CREATE OR REPLACE TEMP TABLE passed AS
    SELECT request_id, stage, unnest(item_ids) AS item_id, generate_subscripts(item_ids, 1) AS rank
    FROM stages SEMI JOIN checked USING (request_id);
    CREATE OR REPLACE TEMP TABLE retrieved AS
    SELECT request_id, item_id, min(rank) AS rank FROM (
        SELECT request_id, unnest(item_ids) AS item_id, generate_subscripts(item_ids, 1) AS rank
        FROM retrievals SEMI JOIN checked USING (request_id)) GROUP BY ALL;
    CREATE OR REPLACE TEMP TABLE placed AS
    SELECT d.*, r.rank AS retrieved_at, p.rank AS ranked_at FROM drawn d
    LEFT JOIN retrieved r USING (request_id, item_id)
    LEFT JOIN (FROM passed WHERE stage = 'ranking') p USING (request_id, item_id);
    """)
    counted = {
        "repeated": "SELECT count(*) FROM checked WHERE len(list_distinct(item_ids)) != len(item_ids)",
        "ranked_elsewhere": "SELECT count(*) FROM placed WHERE level = 'ranked' AND ranked_at IS NULL",
        "exposed": "SELECT count(*) FROM drawn SEMI JOIN impressions USING (request_id, item_id)",
        "not_retrieved": "SELECT count(*) FROM placed WHERE level = 'filtered' AND retrieved_at IS NULL",
        "not_dropped": "SELECT count(*) FROM (FROM drawn WHERE level = 'filtered') d SEMI JOIN "
        "(FROM passed WHERE stage IN ('pre_ranking', 'ranking')) USING (request_id, item_id)",
        "out_of_order": """SELECT count(*) FROM (SELECT *, lag(if(level = 'ranked', ranked_at, retrieved_at)) OVER mine
            AS before, lag(item_id) OVER mine AS item_before FROM placed
            WINDOW mine AS (PARTITION BY request_id, level ORDER BY place))
        WHERE before IS NOT NULL
            AND (before, item_before) > (if(level = 'ranked', ranked_at, retrieved_at), item_id)""",
    }
    return {what: connection.execute(query).fetchone()[0] for what, query in counted.items()}


def weights_that_differ(connection: duckdb.DuckDBPyConnection, one: str | list[str], other: str | list[str]) -> int:
    """Items that both drew into `ranked`, and whose weights differ by more than single precision explains."""
    unnested = """(SELECT request_id, unnest([{{'item_id': x, 'weight': sampling_weights[i]}} for x, i in item_ids
        if levels[i] = 'ranked'], recursive := true) FROM read_parquet({0!r}))"""
    query = f"""SELECT count(*) FROM {unnested.format(one)} a JOIN {unnested.format(other)} b
        USING (request_id, item_id) WHERE abs(a.weight - b.weight) > 1e-4 * a.weight"""
    return connection.execute(query).fetchone()[0]


def compared(root: str, day: date, engines: list[Rows], one_in: int = 1) -> tuple[list[tuple], list[str]]:
    """Every hash as (table, engine, rows, hash), and a line for each difference: none is what has to be."""
    connection, found, faults = connect(root, day), [], []
    whole = {target_groups.name: target_groups, samples.increc_samples.name: samples.increc_samples}
    for name in TABLES:
        those = [rows for rows in engines if name in rows.places]
        made = [
            hashed(connection, whole[name], rows.places[name]) if name in whole
            else hashed_without_draws(connection, rows.places[name])
            for rows in those
        ]  # fmt: skip
        found += [(name, rows.engine, *one) for rows, one in zip(those, made, strict=True)]
        faults += [
            f"{name}: {rows.engine} has {one}, {those[0].engine} has {made[0]}"
            for rows, one in zip(those, made, strict=True)
            if one != made[0]
        ]
        if name == "hccp_samples":
            for rows in those:
                wrong = draws_at_fault(connection, rows.places[name], one_in)
                faults += [f"{name}: {rows.engine}: {n} items {what}" for what, n in wrong.items() if n]
                if n := weights_that_differ(connection, those[0].places[name], rows.places[name]):
                    faults.append(f"{name}: {n} weights of {rows.engine} are not {those[0].engine}'s")
    return found, faults


def _sum_of_hashes(connection: duckdb.DuckDBPyConnection, rows: str) -> tuple[int, str]:
    query = f"SELECT count(*), coalesce(sum(hash(r)), 0) FROM ({rows}) r"
    count, total = connection.execute(query).fetchone()
    return count, f"{int(total) % 2**64:016x}"
