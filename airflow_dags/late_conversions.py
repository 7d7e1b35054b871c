"""What to do about conversions that arrive after their date was labelled, as an Airflow DAG of its own.

Imports airflow, the standard library and `airflow_dags.tasks` only, as daily_batch does.
"""

from datetime import datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from airflow_dags.tasks import POLICY, ROOT_PARAM, interval_bound, python_job, spark_job

DOC = """
### Late conversions

A producer adds a file to the landing folder of the event's date. Every day this takes the last `look_back_days` dates
that end at D = T - `maturity_days`: those whose landing folders have other files than were ingested are ingested again,
the labels that this changes are merged, and the samples made from older labels are built again. A date that is in
step is skipped, so on most days little is done. Labels are looked after on every labelled date up to D, however old.

Needs what `daily_batch` needs, and its `root` and `maturity_days`. Start it when `daily_batch` is done: both
write the labels.

| task | reads | writes | when it fails |
|---|---|---|---|
| `ingest_logs` | landing | logs, quarantine, quality | As in `daily_batch`. One date that fails keeps no other from \
being ingested; the log ends by naming those that failed, and what comes after it waits until they are in step: land \
what is missing, or run the job for them with `--accept-changes`, and clear the task. |
| `relabel_late` | conversions and their changes, requests, retrievals, impressions, target_groups | target_groups | \
Another run wrote the same date: let Airflow try again. Late requests, retrievals or impressions are not its \
business: clear `label_target_groups` of their date in `daily_batch`. |
| `build_increc_samples`, `build_hccp_samples`, `build_channel_value` | as in `daily_batch` | what was made from older \
labels | A missing input names the task to clear. One date that fails keeps no other from being built. |
"""

PARAMS = {
    "root": ROOT_PARAM,
    "maturity_days": Param(1, type="integer", minimum=1, description="Days until a date's labels are mature."),
    "look_back_days": Param(30, type="integer", minimum=1, description="How many dates may have late files."),
}


def dates(interval_start: datetime, params: dict) -> str:
    """The last `look_back_days` dates, of which D is the last."""
    last = interval_bound(interval_start) - timedelta(days=params["maturity_days"])
    return f"{last - timedelta(days=params['look_back_days'] - 1):%Y-%m-%d}..{last:%Y-%m-%d}"


STALE = ["--root", "{{ params.root }}", "--date", "{{ dates(data_interval_start, params) }}", "--stale"]
LAST = ["--root", "{{ params.root }}", "--date", "{{ dates(data_interval_start, params).split('..')[1] }}"]

with DAG(
    "late_conversions",
    description="Late files to labels that are as if labelled from scratch, and their samples",
    schedule=CronDataIntervalTimetable("0 12 * * *", timezone="UTC"),
    params=PARAMS,
    user_defined_macros={"dates": dates},
    doc_md=DOC,
    **POLICY,
) as dag:
    ingest = spark_job("ingest_logs", STALE)
    relabel = spark_job("relabel_late", LAST)
    increc_samples = spark_job("build_increc_samples", STALE)
    hccp_samples = spark_job("build_hccp_samples", STALE)
    value = python_job("build_channel_value", STALE)

    ingest >> relabel >> [increc_samples, hccp_samples, value]
