"""What to do about rows of the logs that arrive after their date was labelled, as an Airflow DAG of its own.

Imports airflow, the standard library and `airflow_dags.tasks` only, as daily_batch does.
"""

from datetime import date, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from airflow_dags.tasks import DAG_DEFAULTS, DATE_PARAM, ROOT_PARAM, TIME_ZONE, python_job, run_date, spark_job

DOC = """
### Late rows of the logs

A producer adds a file to the landing folder of the rows' date. Every day this takes the last `look_back_days` dates
that end at D = T - `maturity_days`. Those whose landing folders changed are ingested again. Late requests, retrievals,
impressions and conversions change the labels they touch; what was made from older inputs is built again. A date that is
in step is skipped, so on most days little is done. A row of the oldest of these dates can change the labels of the
`maturity_days` before it: their samples are looked after as well. Labels are, on every labelled date up to D.

Needs what `daily_batch` needs, and its `root` and `maturity_days`. Start it when `daily_batch` is done: both
write the labels.

| task | reads | writes | when it fails |
|---|---|---|---|
| `ingest_logs` | landing | logs, quarantine, quality | As in `daily_batch`. One date that fails keeps no other from \
being ingested; the log ends by naming those that failed, and what comes after it waits until they are in step: land \
what is missing, or run the job for them with `--accept-changes`, and clear the task. |
| `relabel_late` | requests, retrievals, impressions, conversions and their changes, target_groups | target_groups | \
Another run wrote the same date: let Airflow try again. |
| `build_user_histories`, `build_increc_samples`, `build_hccp_samples`, `build_channel_value` | as in `daily_batch` | \
what was made from older inputs | A missing input names the task to clear. One date that fails keeps no other from \
being built. |
"""

PARAMS = {
    "root": ROOT_PARAM,
    "date": DATE_PARAM,
    "maturity_days": Param(1, type="integer", minimum=1, description="Days until a date's labels are mature."),
    "look_back_days": Param(30, type="integer", minimum=1, description="How many dates may have late files."),
}


def last_date(day: date, params: dict) -> str:
    """D."""
    return f"{day - timedelta(days=params['maturity_days'])}"


def dates(day: date, params: dict, before: int = 0) -> str:
    """The last `look_back_days` dates, of which D is the last, and so many before them."""
    last = day - timedelta(days=params["maturity_days"])
    first = last - timedelta(days=params["look_back_days"] - 1 + before)
    return f"{first}..{last}"


ROOT = ["--root", "{{ params.root }}", "--date"]
LATE = [*ROOT, "{{ dates(day(params, dag_run, data_interval_start), params) }}", "--stale"]
LAST = [*ROOT, "{{ last_date(day(params, dag_run, data_interval_start), params) }}"]
# A row of the first late date can change labels of the dates whose windows hold it.
STALE = [*ROOT, "{{ dates(day(params, dag_run, data_interval_start), params, params.maturity_days) }}", "--stale"]

with DAG(
    "late_conversions",
    description="Late files to labels that are as if labelled from scratch, and their samples",
    schedule=CronDataIntervalTimetable("0 12 * * *", timezone=TIME_ZONE),
    params=PARAMS,
    user_defined_macros={"day": run_date, "dates": dates, "last_date": last_date},
    doc_md=DOC,
    **DAG_DEFAULTS,
) as dag:
    ingest = spark_job("ingest_logs", LATE)
    relabel = spark_job("relabel_late", LAST)
    histories = spark_job("build_user_histories", STALE)
    increc_samples = spark_job("build_increc_samples", STALE)
    hccp_samples = spark_job("build_hccp_samples", STALE)
    value = python_job("build_channel_value", STALE)

    ingest >> relabel >> [histories, value]
    histories >> [increc_samples, hccp_samples]
