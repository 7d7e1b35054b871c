"""What only a simulation knows: tables under landing/_truth/, beside the logs and read by no job of the pipeline."""

from datetime import date

import pyarrow as pa

from schemas.table import FLOATS, ID, IDS, Column, Table

users = Table(
    name="users",
    layer="truth",
    doc="The users' true tastes.",
    key=("user_id",),
    columns=(
        Column("user_id", ID, "The user."),
        Column("taste", FLOATS, "Its taste, a vector of length 1."),
        Column("activity", pa.float64(), "How often it comes, as a multiple of the average user."),
        Column("planted_interest", pa.float64(), "Share of its visits elsewhere that go to planted items."),
    ),
)

items = Table(
    name="items",
    layer="truth",
    doc="The items' true tastes, popularity, quality, and which no channel ever returns.",
    key=("item_id",),
    columns=(
        Column("item_id", ID, "The item."),
        Column("taste", FLOATS, "Its taste, a vector of length 1."),
        Column("log_popularity", pa.float32(), "Logarithm of its Zipf weight."),
        Column("quality", pa.float32(), "Standardised; adds to every user's click logit."),
        Column("value", pa.float32(), "Standardised; adds to every user's logit of purchase after a click."),
        Column("planted", pa.bool_(), "Whether it belongs to the segment that the channels miss by construction."),
    ),
)

candidates = Table(
    name="candidates",
    layer="truth",
    doc="For a keyed share of the homepage requests: every retrieved item's true probabilities.",
    key=("request_id",),
    columns=(
        Column("request_id", pa.string(), "The request."),
        Column("item_ids", IDS, "Every item that some channel retrieved, ascending."),
        Column("click_probabilities", FLOATS, "Of a click on it if the user looks at it, parallel."),
        Column("purchase_probabilities", FLOATS, "Of a click and a purchase after it, parallel."),
    ),
)

events = Table(
    name="conversions",
    layer="truth",
    doc="For every conversion: the true probabilities of its user and item.",
    key=("event_id",),
    columns=(
        Column("event_id", pa.string(), "The conversion."),
        Column("planted", pa.bool_(), "Whether its item belongs to the planted segment."),
        Column("click_probability", pa.float32(), "Of a click if the user looks at the item on the homepage."),
        Column("purchase_probability", pa.float32(), "Of a click and a purchase after it there."),
    ),
)

TRUTHS = (users, items, candidates, events)


def folder(table: Table, day: date) -> str:
    """Where one date of a truth table lies, relative to the root."""
    return f"landing/_truth/{table.name}/date={day.isoformat()}"
