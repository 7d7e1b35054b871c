"""The daily batch as an Airflow DAG: one task a job, ordered by what the jobs read.

Imports airflow, the standard library and `airflow_dags.tasks` only, so that a scheduler needs neither Spark nor
TensorFlow.
"""

from datetime import date, timedelta

from airflow.sdk import DAG, Context, CronDataIntervalTimetable, Param
from airflow.sdk.exceptions import AirflowSkipException

from airflow_dags.tasks import DAG_DEFAULTS, DATE_PARAM, ROOT_PARAM, TIME_ZONE, python_job, run_date, spark_job

TRAINING_POOL = "gpu"

DOC = """
### Daily batch

Takes the logs of one day T (the run's data interval, or the parameter `date`) and everything else for
D = T - `maturity_days`, the latest day whose windows are over; `late_conversions` takes those that arrive later. Every
job replaces its date, so any task may run again at any time, and a task that was killed (lost executor, out of memory)
is simply retried.

A run by hand needs the parameter `date`, which is T: in the form of the Trigger button, or as `airflow dags trigger
daily_batch --conf '{"date": "2017-12-01"}'`. `airflow backfill create` takes several days one after another. To take
many dates at once, set `first_date`: each Spark job then takes FIRST..D in one start, and the models train on the
`days` that end at D. `first_log_date` is the first day of logs to ingest, if histories begin earlier. For models
that are judged at once, set `model_date` to the day before D: they train up to that day; then run D without it,
with `ingest_logs`, `label_target_groups` and the `build_` tasks marked as done.

Where no `stages` are logged, HCCP has nothing to learn from: leave `hccp_presets` empty (its default in this file, for
the scheduled runs), and `build_hccp_samples`, `evaluate_hccp` and `train_hccp` are skipped.

Needs: the connection `spark_default` (its host is Spark's master), the pool `gpu` (as many slots as trainings may
run at once), and this checkout, or the installed package, on scheduler and workers. Two Variables may be set: on a
cluster whose workers lack the package, `headrace_py_files` to a zip of it (a wheel renamed to .zip); where Delta is
on Spark's class path already, `headrace_packages` to nothing, which spares each task the search for its jars.

| task | reads | writes | when it fails |
|---|---|---|---|
| `ingest_logs` | landing | logs, quarantine, quality | The log names the table. A missing landing folder: ask its \
producer; a log without rows is landed as a file without rows. Too many refused rows: look at their `reason` with \
`python -m jobs.inspect_table` in quarantine. A change against the days before, such as a channel that is gone: land \
what is missing; where the change is real, trigger the date with `accept_changes`. \
The logs of that date are unchanged until then. |
| `label_target_groups` | requests, retrievals, impressions, conversions | target_groups, quality | A missing date of \
logs: clear `ingest_logs` for that date first. |
| `build_user_histories` | requests, conversions | user_histories | As above. Long run time: one user with very many \
conversions. |
| `build_item_stats` | impressions, conversions, items | item_stats | As above. |
| `build_increc_samples` | requests, target_groups, user_histories | increc_samples | A missing input names the task \
to clear. |
| `build_hccp_samples` | requests, retrievals, stages, impressions, conversions, target_groups, user_histories | \
hccp_samples | As above; no rows means that no request of D has a `ranking` or `re_ranking` stage. |
| `build_channel_value` | target_groups, requests, retrievals | channel_value | As above; only the report needs it. |
| `evaluate_increc`, `evaluate_hccp` | samples of D, the newest models of the week before, item_stats, retrievals, \
target_groups; conversions (IncRec), stages (HCCP) | evaluations | No such model is no \
failure: the rows that need no training are written. One after the other, since both replace the same date of \
`evaluations`, which an object store cannot lock: if the first fails, HCCP's evaluation and training wait too. |
| `train_increc`, `train_hccp` | samples, items, item_stats, the newest checkpoint of the week before | models | Out \
of memory: a smaller preset or fewer `days`. A retry trains the date anew, from the same checkpoint. |
| `export_models` | models of D and D-1, evaluations, request_scores | SavedModels, item vectors, FAISS index, \
serving.json | A model that is held back, or does not replace the one that serves, is no failure: the log's last lines \
say why. `python -m jobs.serve_model --previous` goes back to the model before. |
| `render_report` | reports, and the tables' counts | the HTML page | Nothing depends on it; clear it alone. |

Every log ends in one JSON line: rows written, seconds, and what was counted.
"""

PARAMS = {
    "root": ROOT_PARAM,
    "date": DATE_PARAM,
    "max_refused_share": Param(
        0.05, type="number", minimum=0, maximum=1, description="Share of refused rows of a log that stops the day."
    ),
    "accept_changes": Param(False, type="boolean", description="Publish logs that are unlike the days before."),
    "maturity_days": Param(1, type="integer", minimum=1, description="Days until a date's labels are mature."),
    "window_hours": Param(24, type="integer", minimum=1, description="Attribution window; within maturity_days."),
    "attribution": Param("last_request", enum=["last_request", "every_request"], description="Whose a conversion is."),
    "scenario": Param(
        None, type=["null", "string"], description="Scenario of the labelled requests; else those of settings.toml."
    ),
    "first_date": Param(None, type=["null", "string"], format="date", description="First date of a backfill."),
    "first_log_date": Param(
        None, type=["null", "string"], format="date", description="First date of logs in a backfill; else first_date."
    ),
    "model_date": Param(
        None, type=["null", "string"], format="date", description="Date of the models, up to D; D if not set."
    ),
    "days": Param(7, type="integer", minimum=1, description="Dates that a model trains on that starts from nothing."),
    "increc_presets": Param("base,full", type="string", description="IncRec variants to train."),
    "hccp_presets": Param(
        "exposed_only,full", type=["null", "string"], description="HCCP variants to train; empty: nothing of HCCP."
    ),
    "model_size": Param("default", enum=["default", "tiny"], description="`tiny` shrinks every preset, to try it."),
    "seed": Param(1, type="integer", minimum=0, description="Seed of training."),
}


def dates(first: str | None, last: str) -> str:
    """`LAST`, or `FIRST..LAST` in a backfill.

    Raises:
        ValueError: the backfill would end before it starts.
    """
    if first and first > last:
        raise ValueError(f"first date {first} is after the last one, {last}: nothing to do; set an earlier first_date")
    return f"{first}..{last}" if first else last


def logged_dates(day: date, params: dict) -> str:
    """The dates of logs to ingest: T, or in a backfill all from `first_log_date` on."""
    return dates(params["first_log_date"] or params["first_date"], f"{day}")


def mature_date(day: date, params: dict) -> str:
    """D: the date whose windows are over when T is.

    Raises:
        ValueError: windows last longer than `maturity_days`.
    """
    if params["window_hours"] > 24 * params["maturity_days"]:
        raise ValueError(
            f"window_hours {params['window_hours']} do not fit into maturity_days {params['maturity_days']}: "
            f"labels would still change; set maturity_days to {-(-params['window_hours'] // 24)}"
        )
    return f"{day - timedelta(days=params['maturity_days'])}"


def mature_dates(day: date, params: dict) -> str:
    """D, or in a backfill `first_date`..D."""
    return dates(params["first_date"], mature_date(day, params))


def model_date(day: date, params: dict) -> str:
    """The date whose models are judged, trained and exported: D, or an earlier one of a backfill.

    Raises:
        ValueError: the date has no labels in this run.
    """
    last = mature_date(day, params)
    first, given = params["first_date"] or last, params["model_date"] or last
    if not first <= given <= last:
        raise ValueError(f"model_date {given} is not in {dates(params['first_date'], last)}; leave it out for {last}")
    return given


def skip_without_hccp(context: Context) -> None:
    """Skip the task, and so what comes after it, in a run that has nothing of HCCP.

    Raises:
        AirflowSkipException: no HCCP variant is to be trained.
    """
    if not context["params"]["hccp_presets"]:
        raise AirflowSkipException("hccp_presets is empty: no HCCP samples, evaluation or models")


ROOT = ["--root", "{{ params.root }}"]
LOGGED = [*ROOT, "--date", "{{ logged_dates(run_date(params, dag_run, data_interval_start), params) }}"]
MATURE = [*ROOT, "--date", "{{ mature_dates(run_date(params, dag_run, data_interval_start), params) }}"]
MODELS = [*ROOT, "--date", "{{ model_date(run_date(params, dag_run, data_interval_start), params) }}"]
QUALITY = ["--max-refused-share", "{{ params.max_refused_share }}"]
QUALITY += ["{{ '--accept-changes' if params.accept_changes else '--no-accept-changes' }}"]
LABELLING = ["--window-hours", "{{ params.window_hours }}", "--attribution", "{{ params.attribution }}"]
LABELLING += ["--scenario={{ params.scenario or '' }}"]
TRAINING = [*MODELS, "--days", "{{ params.days }}", "--seed", "{{ params.seed }}", "--size", "{{ params.model_size }}"]

MACROS = {
    "run_date": run_date, "logged_dates": logged_dates, "mature_dates": mature_dates, "model_date": model_date,
}  # fmt: skip

with DAG(
    "daily_batch",
    description="Logs to labels, samples, evaluated models and a report",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=TIME_ZONE),
    params=PARAMS,
    user_defined_macros=MACROS,
    doc_md=DOC,
    **DAG_DEFAULTS,
) as dag:
    ingest = spark_job("ingest_logs", [*LOGGED, *QUALITY])
    label = spark_job("label_target_groups", [*MATURE, *LABELLING])
    histories = spark_job("build_user_histories", MATURE)
    item_stats = spark_job("build_item_stats", MATURE)
    increc_samples = spark_job("build_increc_samples", MATURE)
    hccp_samples = spark_job("build_hccp_samples", MATURE, pre_execute=skip_without_hccp)
    value = python_job("build_channel_value", MATURE)
    evaluate_increc = python_job("evaluate_increc", MODELS)
    evaluate_hccp = python_job("evaluate_hccp", MODELS)
    train_increc = python_job(
        "train_increc", [*TRAINING, "--preset", "{{ params.increc_presets }}"], pool=TRAINING_POOL
    )
    train_hccp = python_job("train_hccp", [*TRAINING, "--preset", "{{ params.hccp_presets }}"], pool=TRAINING_POOL)
    export = python_job("export_models", MODELS, trigger_rule="none_failed")  # HCCP's tasks may be skipped
    report = python_job("render_report", MODELS)

    # What each task reads decides the order; models are evaluated on a date before they train on it.
    ingest >> [label, histories, item_stats]
    [label, histories] >> increc_samples
    [label, histories] >> hccp_samples
    [increc_samples, item_stats] >> evaluate_increc >> train_increc
    [hccp_samples, item_stats] >> evaluate_hccp >> train_hccp
    evaluate_increc >> evaluate_hccp  # both replace one date of one table, and an object store has no locks
    label >> value >> report
    [train_increc, train_hccp] >> export >> report
