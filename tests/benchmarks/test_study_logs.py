"""study_logs.py: which dates are landed, sampled and judged, what is made again, wrong questions."""

from datetime import timedelta

import pytest
import study_logs
from study_logs import LOGS, days

from jobs import run_study
from jobs.command.cli import WorkFailedError

ASKED = ["--study", "hccp_baselines", "--written", "2020-02-01", "--hardware", "none"]


@pytest.mark.parametrize("name", LOGS)
def test_windows_are_over_and_something_is_learned_from(name):
    log = LOGS[name]
    learned = days(*log.sampled)[: -log.judged]
    assert learned
    if name == "trivago":  # its slice has two dates
        assert log.landed == log.sampled
    else:
        assert log.landed[0] < log.sampled[0]
        assert log.landed[1] == log.sampled[1] + timedelta(1)


@pytest.fixture
def told(monkeypatch):
    """What would have been replayed, run and studied, in its order."""
    seen = []
    monkeypatch.setattr(study_logs, "replay", lambda root, file, settings, day: seen.append(("replay", file, day)))
    monkeypatch.setattr(study_logs, "run", lambda root, job, first, last, *flags: seen.append((job, first, last)))
    monkeypatch.setattr(run_study, "main", lambda arguments, day: seen.append((arguments.study, arguments.judged, day)))
    monkeypatch.setattr(study_logs, "summary", lambda roots, *about: f"{roots}")
    return seen


def test_a_log_becomes_samples_and_then_its_studies(told, tmp_path):
    words = [str(tmp_path), "taobao_slice=slice.parquet", *ASKED, "--study", "increc_presets"]
    assert study_logs.main(study_logs.parsed(words)) == (f"['taobao_slice={tmp_path}/taobao_slice']", [])
    landed, sampled = (days(*each) for each in (LOGS["taobao_slice"].landed, LOGS["taobao_slice"].sampled))
    assert told[: len(landed)] == [("replay", "slice.parquet", day) for day in landed]
    assert told[len(landed)] == ("ingest_logs", landed[0], landed[-1])
    assert {each[1:] for each in told[len(landed) + 1 : -2]} == {(sampled[0], sampled[-1])}
    assert [each[0] for each in told[-3:]] == ["build_hccp_samples", "hccp_baselines", "increc_presets"]
    assert told[-1] == ("increc_presets", sampled[-1:], sampled[-1])


def test_samples_that_are_there_are_not_made_again(told, tmp_path, monkeypatch):
    monkeypatch.setattr(study_logs.partitions, "dates", lambda root, table: days(*LOGS["retailrocket"].sampled))
    study_logs.main(study_logs.parsed([str(tmp_path), "retailrocket=log.csv", *ASKED]))
    ((name, judged, day),) = told
    assert (name, len(judged), day) == ("hccp_baselines", 6, LOGS["retailrocket"].sampled[1])


def test_a_study_that_fails_keeps_neither_the_others_nor_the_page(told, tmp_path, monkeypatch):
    def fails(arguments, day):
        if arguments.study == "hccp_baselines":
            raise WorkFailedError("arf-seed1: the loss is not finite")
        told.append(arguments.study)

    monkeypatch.setattr(run_study, "main", fails)
    words = [str(tmp_path), "taobao_slice=slice.parquet", *ASKED, "--study", "increc_presets"]
    page, faults = study_logs.main(study_logs.parsed(words))
    assert page
    assert faults == ["taobao_slice, hccp_baselines: arf-seed1: the loss is not finite"]
    assert told[-1] == "increc_presets"


def test_a_study_that_needs_more_dates_is_refused_before_anything_is_made(told, tmp_path):
    words = [str(tmp_path), "trivago=log.csv", *ASKED, "--study", "hccp_baselines_tuned"]
    with pytest.raises(SystemExit):
        study_logs.main(study_logs.parsed(words))
    assert told == []


def test_wrong_questions(capsys):
    for logs in (["amazon=x.csv"], ["taobao"]):
        with pytest.raises(SystemExit):
            study_logs.parsed(["roots", *logs, *ASKED])
        assert f"{logs[0].partition('=')[0]}: should be LOG=FILE with LOG one of" in capsys.readouterr().err
