"""Requests of a log that names a list only where one of its items was clicked out: which rows were made on which list.

Neighbouring rows of a session that can all be told to be on one list are a request: clickouts with that list, and
before each of them interactions with items of it. Any other row ends that, and so does a long pause. The list was asked
for by the search, filter or sort order right before those rows, else no later than at the first of them; that time is
inferred, everything else is the log's. A list that nobody clicked out of is not known, so every request has a click.
"""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.replay.settings import ListSettings
from schemas.vocabulary import ELSEWHERE, HOMEPAGE, Action

CLICKOUT, INTERACTION, ASKING = "clickout", "interaction", "asking"


def with_requests(rows: DataFrame, settings: ListSettings) -> DataFrame:
    """The rows, each with the request it was made on.

    Args:
        rows: user_id, session_id, step, event_time,
            kind: CLICKOUT of an item to a booking site, INTERACTION with one on the page, or ASKING for another list,
            item_id or null, city_id or null,
            shown array<bigint>: the list, best first, of a clickout; else null.

    Returns:
        user_id, item_id, city_id, kind, event_time, and
        event_id: `<session>-<seconds>-<step>`,
        request_id, request_time: of the request; null without one; a request's id is its first clickout's,
        shown: the list, where the row is the request's first clickout; else null,
        on_list: whether the item is of the request's list,
        again: whether it interacts with the same item as the row before, as looking at the next image does.
    """
    run = Window.partitionBy("user_id", "session_id", "run")
    asked = F.coalesce(F.when(~F.col("alone"), F.col("asked_at")), F.col("event_time"))
    told = _in_runs(rows, settings).withColumns(
        {
            "first": F.min(F.when(F.col("kind") == CLICKOUT, F.struct("event_time", "step"))).over(run),
            "request_time": F.min(asked).over(run),
        }
    )
    is_first = (F.col("kind") == CLICKOUT) & (F.struct("event_time", "step") == F.col("first"))
    on_list = F.col("first").isNotNull() & F.array_contains("list", F.col("item_id"))
    return told.select(
        "user_id",
        "item_id",
        "city_id",
        "kind",
        "event_time",
        row_id(F.col("event_time"), F.col("step")).alias("event_id"),
        row_id(F.col("first.event_time"), F.col("first.step")).alias("request_id"),
        F.when(F.col("first").isNotNull(), F.col("request_time")).alias("request_time"),
        F.when(is_first, F.col("shown")).alias("shown"),
        F.coalesce(on_list, F.lit(False)).alias("on_list"),
        F.coalesce((F.col("kind") == INTERACTION) & F.col("same_item") & ~F.col("alone"), F.lit(False)).alias("again"),
    )


def requests_of(rows: DataFrame) -> DataFrame:
    """request_id, user_id, scenario, request_time, city_id, shown, and logged_time: when the log names the list."""
    return rows.where(F.col("shown").isNotNull()).select(
        "request_id",
        "user_id",
        F.lit(str(HOMEPAGE)).alias("scenario"),
        "request_time",
        "city_id",
        "shown",
        F.col("event_time").alias("logged_time"),
    )


def conversions_of(rows: DataFrame) -> DataFrame:
    """The columns of conversions, and city_id: every clickout, and interactions with an item in a row as one.

    [D] Both are clicks: the log has nothing stronger. Of scenario `homepage` and naming their request are clickouts of
    an item of its list, which the log itself says; interactions are `elsewhere`, since it names no list for them.
    """
    named = (F.col("kind") == CLICKOUT) & F.col("on_list")
    acts = F.col("kind").isin(CLICKOUT, INTERACTION) & F.col("item_id").isNotNull()
    return rows.where(acts & ~F.col("again")).select(
        "event_id",
        "user_id",
        "item_id",
        F.lit(str(Action.CLICK)).alias("action"),
        "event_time",
        F.when(named, F.lit(str(HOMEPAGE))).otherwise(F.lit(str(ELSEWHERE))).alias("scenario"),
        F.when(named, F.col("request_id")).alias("request_id"),
        F.col("event_time").alias("logged_time"),
        "city_id",
    )


def row_id(time: Column, step: Column) -> Column:
    """`<session>-<seconds>-<step>`; null without a time. Steps begin anew where a session is taken up days later."""
    return F.concat("session_id", F.lit("-"), F.unix_seconds(time).cast("string"), F.lit("-"), step.cast("string"))


def _in_runs(rows: DataFrame, settings: ListSettings) -> DataFrame:
    """Add what a row's neighbours in its session say of it.

    alone: whether it comes after a pause or first; asked_at: the time of the row before if that asked for a list;
    same_item: whether that interacted with the same item; list: the one it was made on, or null; run: a number that
    rows of one list share.
    """
    session = Window.partitionBy("user_id", "session_id")
    forth = session.orderBy("event_time", "step", "kind", "item_id")
    back = session.orderBy(*(F.desc(name) for name in ("event_time", "step", "kind", "item_id")))
    so_far = (Window.unboundedPreceding, Window.currentRow)
    row = {name: F.lag(name).over(forth) for name in ("event_time", "kind", "item_id")}
    long_before = F.col("event_time") - F.make_dt_interval(mins=F.lit(settings.pause_minutes))
    told = rows.withColumns(
        {
            "alone": F.coalesce(row["event_time"] < long_before, F.lit(True)),
            "asked_at": F.when(row["kind"] == ASKING, row["event_time"]),
            "same_item": (row["kind"] == INTERACTION) & (row["item_id"] == F.col("item_id")),
            "next_shown": F.last("shown", ignorenulls=True).over(back.rowsBetween(*so_far)),
        }
    )
    told = told.withColumn("list", _list_of_row())
    other = ~F.col("list").eqNullSafe(F.lag("list").over(forth))
    begins = F.col("alone") | F.col("list").isNull() | other
    return told.withColumn("run", F.sum(begins.cast("int")).over(forth.rowsBetween(*so_far)))


def _list_of_row() -> Column:
    """The list that a row can be told to have been made on: a clickout's own, or the next one's if it has the item."""
    near = (F.col("kind") == INTERACTION) & F.array_contains("next_shown", F.col("item_id"))
    return F.when(F.col("kind") == CLICKOUT, F.col("shown")).when(near, F.col("next_shown"))
