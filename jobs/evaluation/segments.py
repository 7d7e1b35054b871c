"""Where items were acted on: segments of targets by the scenario of the action.

The requests that a root labels are of one scenario, so that a request's own tells nothing apart; the action's does.
"""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.storage import arrow
from schemas.tables.labels import target_groups
from schemas.vocabulary import TargetGroup

MOST = 5  # scenarios that get a segment, those with most targets: a platform may have dozens
_ACTED = [str(TargetGroup.RTG), str(TargetGroup.ITG)]


def of_targets(
    root: str | arrow.Snapshot, day: date, request_ids: pa.Array, requests: np.ndarray, item_ids: np.ndarray
) -> np.ndarray:
    """The scenario of the strongest action on each target, object [T]; '' where the labels of the date have none.

    Args:
        request_ids: of the measured requests. requests: int64 [T], places in them. item_ids: int64 [T].
    """
    if day not in arrow.dates(root, target_groups):
        return np.full(len(item_ids), "", object)
    acted = (pc.field("date") == day) & pc.field("group").isin(_ACTED) & pc.field("request_id").isin(request_ids)
    columns = ["request_id", "item_id", "scenario"]
    rows = arrow.delta(root, target_groups).to_pyarrow_dataset().to_table(columns=columns, filter=acted)
    places = pc.index_in(rows["request_id"], value_set=request_ids).to_pylist()
    known = dict(zip(zip(places, rows["item_id"].to_pylist(), strict=True), rows["scenario"].to_pylist(), strict=True))
    asked = zip(requests.tolist(), item_ids.tolist(), strict=True)
    return np.array([known.get(target) or "" for target in asked], object)


def segments(scenario_T: np.ndarray) -> dict[str, np.ndarray]:
    """`scenario_<name>` -> bool [T], of the scenarios with most targets first; none where there is only one."""
    names, counts = np.unique(scenario_T[scenario_T != ""].astype(str), return_counts=True)
    if len(names) < 2:
        return {}
    return {f"scenario_{names[n]}": scenario_T == names[n] for n in np.lexsort((names, -counts))[:MOST]}
