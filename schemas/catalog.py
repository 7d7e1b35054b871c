"""Every table of the pipeline, by name."""

from schemas import features, logs, reports, samples, target_groups

TABLES = {
    table.name: table
    for table in (
        *logs.LOGS,
        target_groups.target_groups,
        features.user_histories,
        features.item_stats,
        samples.increc_samples,
        samples.hccp_samples,
        reports.evaluations,
        reports.quality,
        reports.channel_value,
    )
}
