"""Land a real event log as a recommender's logs, its funnel simulated around it.

Reads:  FILE, the log as it is published by its source
Writes: landing/requests, landing/retrievals, landing/stages,
        landing/impressions, landing/conversions, landing/items

- Users, items and events are real. Requests, channels, stages and impressions
  are simulated; each landing folder's manifest says so. trivago's requests and
  impressions are real too.
- The first four dates have no requests: the channels learn from them.

In detail:

FILE, by source:
    taobao          UserBehavior.csv, or Parquet with its columns
    taobao_subset   SSLRec's tmall as user_id,item_id,behavior,ts; its clicks are derived, of bought pairs only
    retailrocket    events.csv, or SSLRec's retail_rocket as user_id,item_id,behavior,ts
    movielens       MovieLens 100K, u.data or ml-100k.inter; 4 or 5 of 5 is a favorite, less is a click [D]
    trivago         RecSys Challenge 2019: train.csv, test.csv, or Parquet with their columns

Real: the users, the items, what they did and when. Every event becomes a conversion, and only events do.
SIMULATED, and called so in each landing folder's manifest: a homepage request one second before the first event of
each session (a gap of more than 30 minutes starts one); four channels (hot items, item-to-item CF, ALS, the user's
own items), fitted anew for each date on the days before it; a pre-ranking biased to popularity that keeps 150; a
logistic ranker fitted on the last date without requests; a re-ranker that spreads over the channels and exposes 10.
A user's requests of one date are answered alike, as by a system that learns overnight. A conversion on an item exposed
by the user's latest request, less than 24 hours after it, names that request and has scenario `homepage`; any other
has scenario `elsewhere` and names none. logged_time is event_time. The log's first four dates have no requests:
the channels learn from them. A date already landed from the same file with the same settings is left as it is.
Every other number is a field of jobs.replay.settings.Settings, for studies in Python: replay(root, FILE, Settings(...),
day). With `shadow_ranked` the ranker also scores so many candidates a request that pre-ranking dropped, logged as the
stage `shadow_ranking`, which exposes nothing.

trivago alone names lists that were really shown: those that somebody clicked out of. Its requests, impressions,
conversions and re-ranking's output are real, the times of its requests inferred from the rows before the clickout.
SIMULATED are four channels (items of the city acted on or shown most, co-clicked items, the user's own), which know
what was logged before the hour of the request, and pre-ranking and ranking, which let the list through. Clickouts and
interactions with a hotel are clicks, of scenario `homepage` where the log says on which list [D]; it has no purchases.
No date is set aside to learn from: the log's first hours have requests without retrievals, which labelling leaves out.
"""

import argparse
import json
from contextlib import ExitStack
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.command import cli
from jobs.command.cli import WorkFailedError
from jobs.replay.events.answers import ANSWERED, exposed, write
from jobs.replay.events.log import EventLog, fingerprint, open_log
from jobs.replay.events.sessions import request_id
from jobs.replay.lists.log import ListLog, open_lists
from jobs.replay.settings import DENSITIES, SESSION, ListSettings, Settings
from jobs.replay.sources import SOURCES
from schemas.storage.partitions import MANIFEST
from schemas.storage.root import Root
from schemas.storage.session import session
from schemas.storage.spark import Store, check, sql_type
from schemas.storage.staging import publish, stage
from schemas.table import Table, landing
from schemas.tables import logs
from schemas.vocabulary import ELSEWHERE, HOMEPAGE

WRITTEN = (logs.requests, *ANSWERED, logs.items, logs.conversions)


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.spark_parser(__doc__)
    parser.add_argument("--events", required=True, metavar="FILE", help="path or URI of the log's file; required")
    parser.add_argument(
        "--source", required=True, choices=sorted(SOURCES), metavar="SOURCE", help="required: " + ", ".join(SOURCES)
    )
    parser.add_argument(
        "--request-density",
        choices=DENSITIES,
        metavar="WHAT",
        default=SESSION,
        help=f"a request a {' or '.join(DENSITIES)}, default {SESSION}",
    )
    parser.add_argument(
        "--channel-size",
        type=cli.at_least(4),
        default=200,
        metavar="N",
        help="items a channel returns, default 200; the user's own items are a quarter of it",
    )
    return parser


def main(arguments: argparse.Namespace, day: date) -> dict:
    return replay(arguments.root, arguments.events, settings_of(arguments), day)


def replay(root: str, events: str, settings: Settings | ListSettings, day: date) -> dict:
    """Land one date of the log in the file `events`; returns what was counted."""
    made_from = {"events": fingerprint(events)}
    place = Root.of(root)
    if all(is_landed(place, table, day, made_from, settings) for table in WRITTEN):
        cli.log(f"replay_events {day}: already landed from this file with these settings; left as it is")
        return {"rows_written": 0, "already_landed": 1}
    store = Store(session("replay_events", needs_jvm=True), root)
    lists = SOURCES[settings.source].lists
    open_source, land_tables = (open_lists, land_lists) if lists else (open_log, land_events)
    log = open_source(store.spark, events, made_from["events"], settings)
    store.spark.conf.set("spark.sql.shuffle.partitions", log.partitions)
    if not log.first <= day <= log.last:
        raise WorkFailedError(f"{events} has no events on {day}; it has {log.first} to {log.last}")

    counts = land_tables(store, log, day, made_from)
    return {"rows_written": sum(counts.values()), **counts, "log": log.counts}


def settings_of(arguments: argparse.Namespace) -> Settings | ListSettings:
    if not SOURCES[arguments.source].lists:
        return Settings(
            arguments.source, request_density=arguments.request_density, channel_size=arguments.channel_size
        )
    if arguments.request_density != SESSION:
        raise WorkFailedError(f"{arguments.source}'s requests are its own; --request-density places simulated ones")
    return ListSettings(arguments.source, channel_size=arguments.channel_size)


def land_lists(store: Store, log: ListLog, day: date, made_from: dict) -> dict[str, int]:
    """Land a date of a log whose requests and lists are real; returns each table's rows."""
    frames = log.tables(day)
    counts = {table.name: land(store, table, day, frame, made_from, log.settings) for table, frame in frames.items()}
    frames[logs.retrievals].unpersist()
    return counts


def land_events(store: Store, log: EventLog, day: date, made_from: dict) -> dict[str, int]:
    """Land a date of a log of events alone, requests and lists simulated; returns each table's rows."""
    counts = {}
    for table, frame in ((logs.requests, log.requests(day)), (logs.items, item_snapshot(log, day))):
        counts[table.name] = land(store, table, day, frame, made_from, log.settings)
    counts |= land_answers(store, log, day, made_from)
    shown = exposures(store, log, day - timedelta(1), made_from).unionByName(exposures(store, log, day, made_from))
    happened = name_requests(log.on(day), shown)
    counts["conversions"] = land(store, logs.conversions, day, happened, made_from, log.settings)
    return counts


def land_answers(store: Store, log: EventLog, day: date, made_from: dict) -> dict[str, int]:
    """Land what the simulated funnel logs of the date's requests; returns each table's rows."""
    if day < log.first_asked:
        return {
            table.name: land(store, table, day, nothing(store, table), made_from, log.settings) for table in ANSWERED
        }
    with ExitStack() as stack:
        staged = {table: stack.enter_context(stage(store.root, landing(table, day))) for table in ANSWERED}
        places = {table: store.uri(one.folder) for table, one in staged.items()}
        write(log.channels(day), log.ranker, log.requests(day), log.settings, places)
        recorded = log.settings.recorded()
        return {table.name: publish(one, table, day, made_from, recorded)["rows"] for table, one in staged.items()}


def item_snapshot(log: EventLog, day: date) -> DataFrame:
    """The items that the log knows when the date begins; with the date's own it would tell what will be acted on."""
    known = log.before(day)
    return known.groupBy("item_id").agg(F.min("category_id").alias("category_id"))


def name_requests(events: DataFrame, shown: DataFrame) -> DataFrame:
    """The conversions: every event, naming the user's latest request if that exposed the item.

    Args:
        events: as with_requests gives them.
        shown: request_id, item_id of the impressions of every request that the events may name.
    """
    followed = events.withColumn("request_id", request_id(F.col("latest_request_time")))
    exposed = shown.distinct().withColumn("exposed", F.lit(True))
    named = followed.join(exposed, on=["request_id", "item_id"], how="left")
    return named.select(
        "event_id",
        "user_id",
        "item_id",
        "action",
        "event_time",
        F.when(F.col("exposed"), F.lit(str(HOMEPAGE))).otherwise(F.lit(str(ELSEWHERE))).alias("scenario"),
        F.when(F.col("exposed"), F.col("request_id")).alias("request_id"),
        F.col("event_time").alias("logged_time"),
    )


def exposures(store: Store, log: EventLog, day: date, made_from: dict) -> DataFrame:
    """request_id, item_id of the date's impressions: landed ones, else simulated for those who acted past midnight."""
    place = landing(logs.impressions, day)
    if is_landed(store.root, logs.impressions, day, made_from, log.settings):
        return store.spark.read.parquet(store.uri(place)).select("request_id", "item_id")
    if day < log.first_asked:
        return nothing(store, logs.impressions).select("request_id", "item_id")
    late = log.on(day + timedelta(1)).where(F.to_date("latest_request_time") == F.lit(day))
    asked = log.requests(day).join(late.select("user_id"), on="user_id", how="left_semi")
    return exposed(log.channels(day), log.ranker, asked, log.settings)


def is_landed(root: Root, table: Table, day: date, made_from: dict, settings: Settings | ListSettings) -> bool:
    """Whether the landing folder holds this date of this file, made with these settings and this contract."""
    place = f"{landing(table, day)}/{MANIFEST}"
    if not root.exists(place):
        return False
    said = json.loads(root.read_text(place))
    wanted = (table.fingerprint, made_from, settings.recorded())
    return (said.get("contract"), said.get("made_from"), said.get("settings")) == wanted


def land(
    store: Store, table: Table, day: date, frame: DataFrame, made_from: dict, settings: Settings | ListSettings
) -> int:
    """Replace one date of a landing folder; returns its rows."""
    frame = frame.select(*table.names)
    check(table, frame)
    with stage(store.root, landing(table, day)) as staged:
        frame.write.parquet(store.uri(staged.folder))
        return publish(staged, table, day, made_from, settings.recorded())["rows"]


def nothing(store: Store, table: Table) -> DataFrame:
    """A frame of the table without rows, which is how a producer says that nothing happened."""
    columns = ", ".join(f"{column.name} {sql_type(column.type)}" for column in table.columns)
    return store.spark.createDataFrame([], columns)


if __name__ == "__main__":
    cli.run("replay_events", arg_parser().parse_args(), main)
