"""The weekly maintenance of the Delta tables as an Airflow DAG of one task.

Imports airflow, the standard library and `airflow_dags.tasks` only, so that a scheduler needs no Spark.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from airflow_dags.tasks import DAG_DEFAULTS, DATE_PARAM, ROOT_PARAM, TIME_ZONE, run_date, spark_job

DOC = """
### Weekly maintenance

Keeps the files of the Delta tables (logs, labels) few and deletes what no reader can still hold. It runs on Sundays at
18:00 UTC, when neither `daily_batch` (from 0:00 on) nor `late_conversions` (from 12:00 on) should be at work, and takes
the dates up to the last whole day. No row changes by it, so it may be skipped, cleared or run by hand at any time; the
next run does what was left.

Needs what `daily_batch` needs for its Spark tasks: the connection `spark_default`, and the Variables
`headrace_py_files` and `headrace_packages` where that DAG has them.

| task | reads | writes | when it fails |
|---|---|---|---|
| `maintain_tables` | the Delta tables, `_staging` | the same rows in fewer files | `Concurrent…Exception`: a job \
replaced the same date meanwhile; nothing is lost, the retry does it. Should a task of `daily_batch` or \
`late_conversions` fail with it instead, clear that task. Disk full: compaction writes before anything is deleted; \
free some space and clear the task. |

`retention_days` is how long a version that was replaced can still be read: longer than any run lasts, and the longer
the cheaper late conversions are. Less than 7 is refused. The log ends in one JSON line: files compacted, added and
deleted and bytes freed, by table.
"""

PARAMS = {
    "root": ROOT_PARAM,
    "date": DATE_PARAM,
    "retention_days": Param(30, type="integer", minimum=7, description="Days that replaced files are kept."),
}


def last_whole_day(params: dict, dag_run: object, interval_end: object) -> str:
    """The parameter `date`, else the date before the one on which the run's data interval ends."""
    day = run_date(params, dag_run, interval_end)
    return f"{day if params['date'] else day - timedelta(days=1)}"


ROOT = ["--root", "{{ params.root }}"]
LAST_WHOLE_DAY = ["--date", "{{ last_whole_day(params, dag_run, data_interval_end) }}"]

with DAG(
    "weekly_maintenance",
    description="Fewer files in the Delta tables, and none that no reader can still hold",
    schedule=CronDataIntervalTimetable("0 18 * * 0", timezone=TIME_ZONE),
    params=PARAMS,
    user_defined_macros={"last_whole_day": last_whole_day},
    doc_md=DOC,
    **DAG_DEFAULTS,
) as dag:
    spark_job(
        "maintain_tables",
        [*ROOT, *LAST_WHOLE_DAY, "--retention-days", "{{ params.retention_days }}"],
        retry_delay=timedelta(minutes=30),
    )
