"""The labels: what happened to each item after a target request."""

import pyarrow as pa

from schemas.table import ID, STRINGS, TIME, Column, Table

target_groups = Table(
    name="target_groups",
    layer="labels",
    storage="delta",
    doc="What became of each exposed or acted item of a target request: ETG, RTG or ITG.",
    key=("request_id", "item_id", "group"),
    columns=(
        Column("request_id", pa.string(), "The target request."),
        Column("user_id", ID, "Its user."),
        Column("item_id", ID, "The item."),
        Column("group", pa.string(), "`ETG` exposed; `RTG` acted on and retrieved; `ITG` acted on, not retrieved."),
        Column("action", pa.string(), "Strongest attributed action.", nullable=True),
        Column("action_time", TIME, "First time of that action.", nullable=True),
        Column("scenario", pa.string(), "Where that action was made.", nullable=True),
        Column("actions", pa.int32(), "Number of attributed conversions of the item."),
        Column("channels", STRINGS, "Names of the channels that retrieved the item, sorted."),
        Column("position", pa.int32(), "Smallest position it was exposed at.", nullable=True),
        Column("request_scenario", pa.string(), "The target request's scenario.", added=True),
    ),
)


def recorded_scenarios(settings: dict) -> tuple[str, ...]:
    """The target scenarios that a labelling's settings name, which were one in an earlier release; none if neither."""
    return tuple(settings.get("scenarios") or [name for name in [settings.get("scenario")] if name])
