"""What is known of a request's user before it, and of an item before a date."""

import pyarrow as pa

from schemas.table import ID, IDS, STRINGS, TIME, Column, Table

user_histories = Table(
    name="user_histories",
    layer="features",
    doc="The user's last conversions known at each request, oldest first.",
    key=("request_id",),
    columns=(
        Column("request_id", pa.string(), "The request."),
        Column("history_item_ids", IDS, "Items acted on, oldest first."),
        Column("history_actions", STRINGS, "The actions, parallel."),
        Column("history_times", pa.list_(TIME), "Their times, parallel."),
    ),
)

item_stats = Table(
    name="item_stats",
    layer="features",
    doc="Trailing counts of each item over the days before the date.",
    key=("item_id",),
    columns=(
        Column("item_id", ID, "The item."),
        Column("impressions", pa.int64(), "Times shown."),
        Column("clicks", pa.int64(), "Clicks."),
        Column("purchases", pa.int64(), "Purchases."),
        Column("conversions", pa.int64(), "All four actions."),
        Column("sampling_probability", pa.float64(), "Smoothed share of conversions; sums to 1."),
        Column("popularity", pa.string(), "`top`, `middle` or `tail`."),
    ),
)
