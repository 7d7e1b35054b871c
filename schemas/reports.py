"""What the pipeline says of itself: data quality and the models' evaluations."""

import pyarrow as pa

from schemas.table import Column, Table

evaluations = Table(
    name="evaluations",
    layer="reports",
    doc="One metric of one model, measured on the requests of the date.",
    key=("model", "variant", "seed", "metric", "segment", "k"),
    columns=(
        Column("model", pa.string(), "`increc` or `hccp`."),
        Column("variant", pa.string(), "The preset, or the name of a row that needs no training."),
        Column("seed", pa.int64(), "The training's seed; 0 where there is none."),
        Column("metric", pa.string(), "The metric's name without its cut-off."),
        Column("segment", pa.string(), "`all`, or the part of requests or items it is about."),
        Column("k", pa.int32(), "The cut-off; 0 where the metric has none."),
        Column("value", pa.float64(), "The value; a share, not per cent.", nullable=True),
        Column("support", pa.int64(), "How many targets or requests it was averaged over."),
    ),
)

quality = Table(
    name="quality",
    layer="reports",
    doc="One check of one log, or of the labels, of the date.",
    key=("table", "check"),
    columns=(
        Column("table", pa.string(), "The log, or target_groups."),
        Column("check", pa.string(), "What was measured."),
        Column("value", pa.float64(), "What it was."),
        Column(
            "threshold",
            pa.float64(),
            "What it may be at most, or at least where `check` says so; null: counted.",
            nullable=True,
        ),
        Column("passed", pa.bool_(), "Whether it was within the threshold."),
    ),
)
