"""The logs that producers land and `ingest_logs` validates."""

import pyarrow as pa

from schemas.table import FLOATS, ID, IDS, TIME, Column, Table

_REQUEST_ID = Column("request_id", pa.string(), "One homepage (or other) request.")

requests = Table(
    name="requests",
    layer="logs",
    storage="delta",
    open=True,
    doc="A user opened a page that asks for recommendations, with any further attributes: the request's context.",
    key=("request_id",),
    columns=(
        _REQUEST_ID,
        Column("user_id", ID, "Who asked."),
        Column("scenario", pa.string(), "The page that asked, `homepage` for one."),
        Column("request_time", TIME, "When; its local date in the root's time zone is the row's date."),
    ),
)

retrievals = Table(
    name="retrievals",
    layer="logs",
    storage="delta",
    doc="What one retrieval channel returned for one request.",
    key=("request_id", "channel"),
    columns=(
        _REQUEST_ID,
        Column("channel", pa.string(), "The retrieval channel's name."),
        Column("item_ids", IDS, "The items in the channel's order, best first, none twice."),
        Column("scores", FLOATS, "The channel's scores, as long as item_ids or empty."),
    ),
)

stages = Table(
    name="stages",
    layer="logs",
    storage="delta",
    optional=True,
    doc="What one stage after retrieval let through for one request, or scored without letting it through.",
    key=("request_id", "stage"),
    columns=(
        _REQUEST_ID,
        Column(
            "stage", pa.string(), "`pre_ranking`, `ranking`, `re_ranking`, or `shadow_ranking`, which exposes nothing."
        ),
        Column("item_ids", IDS, "The items it let through, best first, none twice; of the last, those it scored."),
        Column("scores", FLOATS, "The stage's scores, as long as item_ids or empty."),
    ),
)

impressions = Table(
    name="impressions",
    layer="logs",
    storage="delta",
    doc="An item was shown for a request, at a position.",
    key=("request_id", "item_id", "position"),
    columns=(
        _REQUEST_ID,
        Column("item_id", ID, "What was shown."),
        Column("position", pa.int32(), "Where; 1 is the first."),
        Column("impression_time", TIME, "When it was shown."),
    ),
)

conversions = Table(
    name="conversions",
    layer="logs",
    storage="delta",
    doc="A user acted on an item, anywhere on the platform.",
    key=("event_id",),
    columns=(
        Column("event_id", pa.string(), "One action."),
        Column("user_id", ID, "Who acted."),
        Column("item_id", ID, "On what."),
        Column("action", pa.string(), "`click`, `favorite`, `cart` or `purchase`."),
        Column("event_time", TIME, "When; its local date in the root's time zone is the row's date."),
        Column("scenario", pa.string(), "The page it happened on."),
        Column("request_id", pa.string(), "The request whose impression led to it, where known.", nullable=True),
        Column("logged_time", TIME, "When the row became known."),
    ),
)

users = Table(
    name="users",
    layer="logs",
    storage="delta",
    open=True,
    optional=True,
    doc="A snapshot of the users, with any further string or number attributes.",
    key=("user_id",),
    columns=(Column("user_id", ID, "The user."),),
)

items = Table(
    name="items",
    layer="logs",
    storage="delta",
    open=True,
    optional=True,
    doc="A snapshot of the items, with any further string or number attributes.",
    key=("item_id",),
    columns=(
        Column("item_id", ID, "The item."),
        Column("category_id", ID, "Its category.", nullable=True),
    ),
)

LOGS = (requests, retrievals, stages, impressions, conversions, users, items)
SNAPSHOTS = (users.name, items.name)  # a folder of them is a date's, whatever arrives later
