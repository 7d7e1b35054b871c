"""A request's history beside what else is known of it."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from schemas.storage.spark import refuse


def with_history(requests: DataFrame, histories: DataFrame) -> DataFrame:
    """Add history_item_ids and history_actions; writing fails, with a line that says so, if a request has no row.

    Args:
        requests: request_id, a row each.
        histories: the rows of `user_histories`.
    """
    histories = histories.select("request_id", "history_item_ids", "history_actions")
    fault = F.concat(
        F.lit("user_histories has no row of request "),
        "request_id",
        F.lit(", which was logged later: run build_user_histories again"),
    )
    known = F.coalesce("history_item_ids", refuse(fault).cast("array<bigint>"))
    return requests.join(histories, on="request_id", how="left").withColumn("history_item_ids", known)
