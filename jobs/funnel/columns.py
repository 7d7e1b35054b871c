"""Frames and columns that every engine makes alike."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def union(frame: DataFrame, other: DataFrame) -> DataFrame:
    """Both frames' rows; a column that one of them lacks is null there, of the other's type.

    unionByName(allowMissingColumns=True) is the same on Spark; on Sail the added column would have no type.
    """
    kinds = {field.name: field.dataType for one in (frame, other) for field in one.schema.fields}
    frames = [
        one.select(
            *(name if name in one.columns else F.lit(None).cast(kind).alias(name) for name, kind in kinds.items())
        )
        for one in (frame, other)
    ]
    return frames[0].unionByName(frames[1])
