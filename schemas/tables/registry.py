"""Every table of the pipeline, by name."""

from schemas.tables import features, ids, labels, logs, reports, samples

TABLES = {
    table.name: table
    for table in (
        *logs.LOGS,
        *ids.IDS.values(),
        labels.target_groups,
        features.user_histories,
        features.item_stats,
        samples.increc_samples,
        samples.hccp_samples,
        reports.evaluations,
        reports.request_scores,
        reports.quality,
        reports.channel_value,
    )
}
