"""What the pipeline says of its logs, of the retrieval channels and of the models."""

import pyarrow as pa

from schemas.table import Column, Table

evaluations = Table(
    name="evaluations",
    layer="reports",
    doc="One metric of one model, measured on the requests of the date.",
    key=("model", "variant", "seed", "metric", "segment", "k"),
    columns=(
        Column("model", pa.string(), "`increc` or `hccp`; `studies/NAME` for the rows of a study."),
        Column("variant", pa.string(), "The preset (and size, if not the default), or a row that needs no training."),
        Column("seed", pa.int64(), "The training's seed; 0 where there is none."),
        Column("metric", pa.string(), "The metric's name without its cut-off."),
        Column("segment", pa.string(), "`all`, or the part of requests or items it is about."),
        Column("k", pa.int32(), "The cut-off; 0 where the metric has none."),
        Column("value", pa.float64(), "The value; a share, not per cent.", nullable=True),
        Column("support", pa.int64(), "How many targets or requests it was averaged over."),
        Column(
            "trained", pa.bool_(), "Whether a model was trained for it; null: not known.", nullable=True, added=True
        ),
    ),
)

request_scores = Table(
    name="request_scores",
    layer="reports",
    doc="What each model earned in one request of the date, in the metric that decides what serves.",
    key=("model", "place", "request_id"),
    columns=(
        Column("model", pa.string(), "`increc` or `hccp`."),
        Column("place", pa.string(), "The model's directory below the root."),
        Column("request_id", pa.string(), "A request that the metric says something of."),
        Column("metric", pa.string(), "As in evaluations; a model's is sum(numerator) / sum(denominator)."),
        Column("k", pa.int32(), "The cut-off."),
        Column("numerator", pa.float64(), "Targets of the request among the first k."),
        Column("denominator", pa.float64(), "Targets of the request."),
    ),
)

# Not among the dated tables: it lies in reports/studies/<study>/cells/<variant>-seed<seed>/, a folder a cell.
study_values = Table(
    name="study_values",
    layer="reports/studies",
    doc="What one order of items earned in one request: a metric is sum(numerator) / sum(denominator).",
    key=("variant", "metric", "segment", "k", "request"),
    columns=(
        Column("variant", pa.string(), "As in evaluations."),
        Column("metric", pa.string(), "As in evaluations."),
        Column("segment", pa.string(), "As in evaluations."),
        Column("k", pa.int32(), "As in evaluations."),
        Column("request", pa.int64(), "Place among the measured requests by request_id; -1 where no request has any."),
        Column("numerator", pa.float64(), "Hits, for a hit rate."),
        Column("denominator", pa.float64(), "Targets, for a hit rate."),
        Column("support", pa.int64(), "What evaluations' support is the sum of."),
        Column("by_request", pa.bool_(), "Whether evaluations have the mean of each request's own ratio too."),
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

# A producer may call a scenario `all` or nothing at all, so a total has null there; no channel is called '', which
# ingest_logs refuses, so '' can stand for none.
_TOTAL = "null unless scenario and action are"
channel_value = Table(
    name="channel_value",
    layer="reports",
    doc="What one channel found of what was acted on after labelled requests, and what none found.",
    key=("channel", "scenario", "action"),
    columns=(
        Column("channel", pa.string(), "The retrieval channel; '' for none."),
        Column("scenario", pa.string(), "Where the action was made; null for everywhere.", nullable=True),
        Column("action", pa.string(), "The item's strongest action; null for any.", nullable=True),
        Column("requests", pa.int64(), f"Labelled requests it returned an item for; {_TOTAL}.", nullable=True),
        Column("retrieved", pa.int64(), f"Items it returned for labelled requests; {_TOTAL}.", nullable=True),
        Column("exposed", pa.int64(), f"ETG items it had retrieved; {_TOTAL}.", nullable=True),
        Column("acted", pa.int64(), "RTG items it had retrieved, its hits; for channel '' the ITG."),
        Column("acted_only", pa.int64(), "Hits only it found; null for channel ''.", nullable=True),
        Column("lost", pa.int64(), "Of these, the exposed: lost without it; null for channel ''.", nullable=True),
        Column("support", pa.int64(), "RTG and ITG items, whoever found them: what acted is a share of."),
    ),
)
