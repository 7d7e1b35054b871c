"""Real event logs by name: how each is read into user_id, item_id, category_id, action, event_time.

A further log is one reading function and one line in SOURCES. The function returns the five columns with null
wherever a row does not say them (category_id may be null in a good row), and `line`, the row as text for an error.
A log of lists that were really shown (`lists`) has other columns: see lists_shown.with_requests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.command.cli import WorkFailedError
from jobs.replay.files import Layout, action_of, events, hashed, moment, parquet, text, word_of
from jobs.replay.lists.shown import ASKING, CLICKOUT, INTERACTION
from schemas.table import MissingDataError
from schemas.vocabulary import Action

_COMMA_SEPARATED = (".csv", ".csv.gz")
_EVENT = ("user_id", "item_id", "action", "event_time")
_TAOBAO = Layout({"user_id": "bigint", "item_id": "bigint", "category_id": "bigint", "behavior": "string",
                  "timestamp": "bigint"})  # fmt: skip
_MULTI_BEHAVIOR = Layout({"user_id": "bigint", "item_id": "bigint", "behavior": "string", "ts": "bigint"},
                         header="user_id,item_id,behavior,ts")  # fmt: skip
_RETAILROCKET = Layout({"timestamp": "bigint", "visitorid": "bigint", "event": "string", "itemid": "bigint",
                        "transactionid": "string"},
                       header="timestamp,visitorid,event,itemid,transactionid")  # fmt: skip
_RATINGS = Layout({"user_id": "bigint", "item_id": "bigint", "rating": "double", "timestamp": "bigint"}, separator="\t")
_TRIVAGO = Layout({"user_id": "string", "session_id": "string", "timestamp": "bigint", "step": "bigint",
                   "action_type": "string", "reference": "string", "city": "string",
                   "impressions": "string"})  # fmt: skip
_TRIVAGO_HEADER = (
    "user_id,session_id,timestamp,step,action_type,reference,platform,city,device,current_filters,impressions,prices"
)
_TRIVAGO_KINDS = {
    "clickout item": CLICKOUT,
    **{f"interaction item {part}": INTERACTION for part in ("image", "info", "rating", "deals")},
    **{f"search for {what}": ASKING for what in ("destination", "poi", "item")},
    "filter selection": ASKING,
    "change of sort order": ASKING,
}
_TYPED_RATINGS = Layout(
    _RATINGS.columns, header="user_id:token\titem_id:token\trating:float\ttimestamp:float", separator="\t"
)


@dataclass(frozen=True)
class Source:
    """A published log: how to read it, what a row is, the time it says it covers, and how its file may end.

    Rows before `first` or at or after `end` are faults of the log and are dropped. `needed` names the columns that
    every good row has. `lists` says that the log holds the lists that were shown, and so its own requests.
    """

    read: Callable[[SparkSession, str], DataFrame]
    rows: str
    first: datetime
    end: datetime
    endings: tuple[str, ...] = _COMMA_SEPARATED
    needed: tuple[str, ...] = _EVENT
    lists: bool = False


def read(spark: SparkSession, path: str, name: str) -> DataFrame:
    """The events of a file, unchecked: see `unreadable` and `inside`.

    Raises:
        WorkFailedError: the file's kind or columns are not the source's.
        MissingDataError: Spark finds no such file.
    """
    source = SOURCES[name]
    if not path.endswith(source.endings):
        *others, last = source.endings
        endings = " or ".join([", ".join(others), last] if others else [last])
        raise WorkFailedError(f"{path}: {name}'s log should end in {endings}; unpack an archive first")
    try:
        return source.read(spark, path)
    except Exception as fault:
        if "PATH_NOT_FOUND" in str(fault):
            raise MissingDataError(f"there is no file {path}") from None
        if "FAILED_READ_FILE" in str(fault) or "CANNOT_READ_FILE_FOOTER" in str(fault):
            kind = "Parquet" if path.endswith(".parquet") else "text"
            raise WorkFailedError(f"{path} is no readable {kind} file; {name} has {source.rows}") from None
        raise


def unreadable(needed: tuple[str, ...] = _EVENT) -> Column:
    """Whether a row lacks a value that every event has."""
    return F.greatest(*(F.col(name).isNull() for name in needed))


def inside(source: Source) -> Column:
    """Whether an event lies in the time that its log covers."""
    return (F.col("event_time") >= F.lit(source.first)) & (F.col("event_time") < F.lit(source.end))


def _taobao(spark: SparkSession, path: str) -> DataFrame:
    """UserBehavior.csv as published, without a header, or Parquet with the same columns (category_id may lack)."""
    if path.endswith(".parquet"):
        rows = parquet(spark, path, _TAOBAO, optional="category_id")
    else:
        rows = text(spark, path, _TAOBAO)
    words = {"pv": Action.CLICK, "fav": Action.FAVORITE, "cart": Action.CART, "buy": Action.PURCHASE}
    action = action_of("behavior", words)
    seconds = F.col("timestamp")
    return events(rows, user="user_id", item="item_id", category="category_id", action=action, seconds=seconds)


def _taobao_subset(spark: SparkSession, path: str) -> DataFrame:
    """Taobao's log as a benchmark of several behaviours keeps it (SSLRec's `tmall`): buyers, ids of its own.

    One row for each user, item and behaviour. Its clicks are not the log's: only those of pairs that were bought are
    left, one a pair, derived from a product of two times. Nothing of clicks may be learned or measured on it.
    """
    words = {"pv_of_bought_pair": Action.CLICK, "fav": Action.FAVORITE, "cart": Action.CART, "buy": Action.PURCHASE}
    rows, action = text(spark, path, _MULTI_BEHAVIOR), action_of("behavior", words)
    return events(rows, user="user_id", item="item_id", action=action, seconds=F.col("ts"))


def _retailrocket(spark: SparkSession, path: str) -> DataFrame:
    """events.csv as published, in milliseconds; or as a benchmark of several behaviours keeps it, in seconds.

    The benchmark (SSLRec's `retail_rocket`) has ids of its own, only visitors who bought, and one row for each user,
    item and behaviour, it seems the last: a view is often later than the purchase. The log knows no favourites.
    """
    rows = text(spark, path, _RETAILROCKET, _MULTI_BEHAVIOR)
    if "visitorid" not in rows.columns:
        action = action_of("behavior", {"view": Action.CLICK, "cart": Action.CART, "buy": Action.PURCHASE})
        return events(rows, user="user_id", item="item_id", action=action, seconds=F.col("ts"))
    action = action_of("event", {"view": Action.CLICK, "addtocart": Action.CART, "transaction": Action.PURCHASE})
    return events(rows, user="visitorid", item="itemid", action=action, seconds=F.floor(F.col("timestamp") / 1000))


def _movielens(spark: SparkSession, path: str) -> DataFrame:
    """MovieLens 100K: u.data as published, without a header, or ml-100k.inter as RecBole packs it.

    [D] A rating says that the film was watched: a click. One of 4 or 5 of 5 says that it was liked: a favorite. There
    are no carts and no purchases, and nobody rates a film twice, so the channel of the user's own items never hits.
    Times are those of rating, of dozens of films in a sitting; most users come on one date only.
    """
    rows = text(spark, path, _TYPED_RATINGS if path.endswith(".inter") else _RATINGS)
    rating = F.col("rating")
    action = F.when(rating.between(4, 5), str(Action.FAVORITE)).when(rating.between(1, 5), str(Action.CLICK))
    return events(rows, user="user_id", item="item_id", action=action, seconds=F.col("timestamp"))


def _trivago(spark: SparkSession, path: str) -> DataFrame:
    """A file of the RecSys Challenge 2019: train.csv or test.csv as published, or Parquet with its columns.

    Its ids of users are text, and become numbers by a keyed hash, as cities do; those of hotels are numbers. A click
    that the challenge hides (test.csv) names no hotel. Not read: platform, device, filters, prices.
    """
    if path.endswith(".parquet"):
        rows = parquet(spark, path, _TRIVAGO)
    else:
        columns = {name: _TRIVAGO.columns.get(name, "string") for name in _TRIVAGO_HEADER.split(",")}
        rows = text(spark, path, Layout(columns, header=_TRIVAGO_HEADER))
    kind = word_of("action_type", _TRIVAGO_KINDS)
    ids = F.transform(F.split("impressions", r"\|"), lambda one: one.try_cast("bigint"))
    shown = F.when(kind == CLICKOUT, ids)
    unclear = (kind == CLICKOUT) & (shown.isNull() | F.exists(shown, lambda one: one.isNull()))
    return rows.select(
        hashed("user_id", "trivago").alias("user_id"),
        "session_id",
        "step",
        moment(F.col("timestamp")).alias("event_time"),
        F.when(~unclear, kind).alias("kind"),
        F.when(kind != ASKING, F.col("reference").try_cast("bigint")).alias("item_id"),
        hashed("city", "trivago").alias("city_id"),
        shown.alias("shown"),
        "line",
    )


# The time a log covers is of whole days where it was logged: Beijing's, Minnesota's; RetailRocket's ends at 03:00 UTC,
# Trivago's are UTC's.
SOURCES = {
    "taobao": Source(
        read=_taobao,
        rows="rows of user, item, category, behavior (pv, fav, cart or buy), timestamp in seconds",
        first=datetime(2017, 11, 24, 16, tzinfo=UTC),
        end=datetime(2017, 12, 3, 16, tzinfo=UTC),
        endings=(*_COMMA_SEPARATED, ".parquet"),
    ),
    "taobao_subset": Source(
        read=_taobao_subset,
        rows="rows of user, item, behavior (pv_of_bought_pair, fav, cart or buy), timestamp in seconds",
        first=datetime(2017, 11, 24, 16, tzinfo=UTC),
        end=datetime(2017, 12, 3, 16, tzinfo=UTC),
    ),
    "retailrocket": Source(
        read=_retailrocket,
        rows="rows of user, item, behavior (view, cart or buy), timestamp in seconds, or timestamp in milliseconds, "
        "visitor, event (view, addtocart or transaction), item, transaction",
        first=datetime(2015, 5, 3, 3, tzinfo=UTC),
        end=datetime(2015, 9, 18, 3, tzinfo=UTC),
    ),
    "movielens": Source(
        read=_movielens,
        rows="rows of user, item, rating from 1 to 5, timestamp in seconds, separated by tabs",
        first=datetime(1997, 9, 19, 5, tzinfo=UTC),
        end=datetime(1998, 4, 23, 5, tzinfo=UTC),
        endings=(".inter", ".data"),
    ),
    "trivago": Source(
        read=_trivago,
        rows="rows of user, session, timestamp in seconds, step, action, reference, city and, of a clickout, the list",
        first=datetime(2018, 11, 1, tzinfo=UTC),
        end=datetime(2018, 11, 9, tzinfo=UTC),
        endings=(*_COMMA_SEPARATED, ".parquet"),
        needed=("user_id", "session_id", "step", "event_time", "kind"),
        lists=True,
    ),
}
