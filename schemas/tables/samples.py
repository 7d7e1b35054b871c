"""What the two models learn from: one row a request, lists parallel.

Both tables are open: `context_<attribute>` and `profile_<attribute>` follow the contract's columns.
"""

import pyarrow as pa

from schemas.table import FLOATS, ID, IDS, STRINGS, TIME, Column, Table

# Further columns of both tables: attributes of the request's row, and of the user's in the newest `users` snapshot of
# a date before the request's that is at most this many days old.
CONTEXT, PROFILE = "context_", "profile_"
PROFILE_DAYS = 30

_HISTORY = (
    Column("history_item_ids", IDS, "Items the user acted on before the request, oldest first."),
    Column("history_actions", STRINGS, "The actions, parallel."),
)


def _group(name: str, meaning: str) -> tuple[Column, Column]:
    return (
        Column(f"{name}_item_ids", IDS, f"Items {meaning}, strongest action first, then earliest, then item_id."),
        Column(f"{name}_actions", STRINGS, "Their actions, parallel; empty for none."),
    )


increc_samples = Table(
    name="increc_samples",
    layer="samples",
    open=True,
    doc="Labelled requests with at least one acted item, for the incremental retrieval channel.",
    key=("request_id",),
    columns=(
        Column("request_id", pa.string(), "The request."),
        Column("user_id", ID, "Its user."),
        Column("scenario", pa.string(), "Its scenario."),
        Column("request_time", TIME, "Its time."),
        *_HISTORY,
        *_group("etg", "exposed"),
        *_group("rtg", "acted on and retrieved"),
        *_group("itg", "acted on and retrieved by no channel but `increc`"),
    ),
)

hccp_samples = Table(
    name="hccp_samples",
    layer="samples",
    open=True,
    doc="Labelled requests with items from every stage of the funnel, for the pre-ranker.",
    key=("request_id",),
    columns=(
        Column("request_id", pa.string(), "The request."),
        Column("user_id", ID, "Its user."),
        Column("request_time", TIME, "Its time."),
        *_HISTORY,
        Column("item_ids", IDS, "The items, best first."),
        Column("levels", STRINGS, "`purchased`, `clicked`, `exposed`, `ranked`, `shadow` or `filtered`, parallel."),
        Column("teacher_ranks", pa.list_(pa.int32()), "1 for the best, no gaps, parallel."),
        Column("actions", STRINGS, "Strongest attributed action in any scenario, or empty, parallel."),
        Column("in_scenario_actions", STRINGS, "Strongest in-scenario action, or empty, parallel."),
        Column("sampling_weights", FLOATS, "1 / inclusion probability, parallel."),
    ),
)
