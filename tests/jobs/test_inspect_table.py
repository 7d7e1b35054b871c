"""jobs/inspect_table.py: what a person sees of a root at 80 columns, and the answers to wrong questions."""

import json
import subprocess
import sys

import pytest
from rich.console import Console

from jobs import inspect_table as job
from jobs.evaluation.table import replace_rows
from jobs.report import counts as breakdowns
from jobs.report import inventory, scores
from jobs.report.terminal import shorten
from tests.support import tiny_root
from tests.support.project import PROJECT
from tests.support.terminal import view
from tests.support.tiny_root import DAY


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("root")
    tiny_root.put_all(made)
    return str(made)


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def told(root: str, capsys, *arguments: str) -> dict:
    job.main(job.arg_parser().parse_args([*arguments, "--root", root, "--json"]), Console(width=80))
    return json.loads(capsys.readouterr().out)


def test_the_overview_lists_every_table_that_exists(root):
    shown = lines(view(root))
    assert ["logs/requests", "1", "2024-03-01", "2024-03-01", "5"] in [line[:5] for line in shown]
    assert ["landing/conversions", "1", "2024-03-01", "2024-03-01", "8"] in [line[:5] for line in shown]
    assert ["quarantine/conversions", "1", "2024-03-01", "2024-03-01", "1"] in [line[:5] for line in shown]
    # 1 row of the day before and the worked example's 11
    assert ["labels/target_groups", "2", "2024-02-29", "2024-03-01", "12"] in [line[:5] for line in shown]
    assert not any(line and line[0] == "logs/users" for line in shown)


def test_the_overview_of_one_date_leaves_the_others_out(root):
    shown = [line[:5] for line in lines(view(root, "--date", "2024-02-29")) if line]
    assert ["labels/target_groups", "1", "2024-02-29", "2024-02-29", "1"] in shown
    assert not any(line[0] == "logs/requests" for line in shown)


def test_each_models_figures_have_sources_of_their_own(tmp_path):
    row = {"variant": "full", "seed": 1, "metric": "ish", "segment": "all", "k": 10, "value": 0.5, "support": 4}
    for model in ("increc", "hccp"):
        replace_rows(str(tmp_path), DAY, model, [row], {f"samples/{model}_samples": "a1"}, {"requests": 9})
    shown = lines(view(str(tmp_path), "evaluations"))
    assert ["increc", "from", "samples/increc_samples", "@", "a1"] in shown
    assert ["hccp", "from", "samples/hccp_samples", "@", "a1"] in shown


def test_groups_by_action_channel_and_scenario(root, capsys):
    counts = told(root, capsys, "target_groups")["counts"]
    groups, actions, channels, scenarios = counts.values()
    assert [(row["group"], row["items"], row["requests"]) for row in groups] == [
        ("ETG", 5, 3), ("RTG", 4, 2), ("ITG", 2, 2)
    ]  # fmt: skip
    assert groups[0]["share"] == pytest.approx(5 / 11)
    assert [list(row.values()) for row in actions] == [
        ["ETG", 2, 0, 0, 1, 2],  # item 3 of r1 and 8 of r2 purchased, 4 of r2 clicked, 1 of r1 and 3 of r3 not
        ["RTG", 3, 0, 0, 1, 0],
        ["ITG", 0, 1, 1, 0, 0],
    ]
    assert [tuple(row.values()) for row in channels] == [
        ("hot", 3, 2, 1, 0), ("swing", 2, 2, 1, 0), ("(none)", 1, 1, 0, 2)
    ]  # fmt: skip
    assert [tuple(row.values()) for row in scenarios] == [("elsewhere", 3, 2), ("search", 1, 0)]


def test_channels_by_what_only_they_found_and_what_none_did(root, capsys):
    channels, missed = told(root, capsys, "channel_value")["counts"].values()
    assert [tuple(row.values()) for row in channels] == [
        ("hot", 3, 6, 3, 2, 1 / 3, 1, 1),
        ("swing", 1, 3, 2, 2, 1 / 3, 1, 0),
        ("(none)", None, None, 1, 2, 1 / 3, None, None),
    ]
    # found by none, of all that was acted on: items 9 (cart) and 5 (favorite), both elsewhere
    assert [tuple(row.values()) for row in missed] == [
        ("(everywhere)", "purchase", 0, 3, 0), ("(everywhere)", "cart", 1, 1, 1), ("(everywhere)", "favorite", 1, 1, 1),
        ("(everywhere)", "click", 0, 1, 0), ("(everywhere)", "(any)", 2, 6, 1 / 3),
        ("elsewhere", "purchase", 0, 2, 0), ("elsewhere", "cart", 1, 1, 1), ("elsewhere", "favorite", 1, 1, 1),
        ("elsewhere", "click", 0, 1, 0), ("elsewhere", "(any)", 2, 5, 0.4),
        ("search", "purchase", 0, 1, 0), ("search", "(any)", 0, 1, 0),
    ]  # fmt: skip
    assert ["hot", "3", "6", "3", "2", "33.3", "%", "1", "1"] in lines(view(root, "channel_value"))


def test_the_newest_date_is_shown_unless_one_is_asked_for(root, capsys):
    assert told(root, capsys, "target_groups")["date"] == "2024-03-01"
    earlier = told(root, capsys, "target_groups", "--date", "2024-02-29")
    assert earlier["counts"]["By group"] == [{"group": "ETG", "items": 1, "requests": 1, "share": 1.0}]
    assert earlier["made"]["settings"] == {"window_hours": 24, "scenario": "homepage"}
    assert len(earlier["rows"]) == 1


def test_one_table_shows_contract_dates_settings_counts_and_rows(root):
    text = view(root, "target_groups")
    assert "labels/target_groups  Delta, key request_id, item_id, group" in text
    shown = lines(text)
    assert ["position", "int32?"] in [line[:2] for line in shown]
    assert ["2024-03-01", "11"] in [line[:2] for line in shown]
    assert ["window_hours", "24"] in shown
    assert ["ETG", "5", "3", "45.5", "%"] in shown
    assert "[hot, swing]" in text  # data in brackets is no markup


def test_levels_and_list_lengths_of_samples(root, capsys):
    levels, lengths = told(root, capsys, "hccp_samples")["counts"].values()
    assert [(row["level"], row["items"], row["requests"]) for row in levels] == [
        ("purchased", 1, 1), ("clicked", 1, 1), ("exposed", 2, 2), ("filtered", 40, 1)
    ]  # fmt: skip
    assert levels[3]["share"] == pytest.approx(40 / 44)
    assert [(row["list"], row["shortest"], row["longest"], row["mean"]) for row in lengths] == [
        ("history_item_ids", 0, 1, 0.5), ("item_ids", 2, 42, 22.0)
    ]  # fmt: skip
    text = view(root, "hccp_samples")
    assert "[0, 1, 2, …] 42 in all" in text
    groups = told(root, capsys, "increc_samples")["counts"]["Requests by the groups they have"]
    assert {row["acted"]: row["requests"] for row in groups} == {"RTG and ITG": 1, "RTG only": 1, "ITG only": 1}


def test_failed_checks_come_first_and_nothing_is_cut(root):
    shown = lines(view(root, "quality"))
    checks = [line for line in shown if line[-1:] in (["NO"], ["yes"])]
    assert checks[0] == ["conversions", "refused_share", "0.125", "0.05", "NO"]
    assert len(checks) == 3


def test_evaluations_show_headlines_with_seeds_and_spread(root):
    shown = lines(view(root, "evaluations"))
    # seeds of .20 and .30 at 500: mean .25, standard deviation .0707; trained first, then the best without training
    inc = next(n for n, line in enumerate(shown) if line[:2] == ["increc:", "Inc,"])
    assert shown[inc + 3] == ["full", "2", "21.0", "±7.1", "%", "25.0", "±7.1", "%", "30.0", "±7.1", "%", "2,000"]
    assert shown[inc + 4] == ["hot_items", "11.0", "%", "15.0", "%", "20.0", "%", "2,000"]
    assert ["full", "1", "0.625", "5,000"] in shown


def test_landing_and_quarantine_are_found_by_path_and_shown_with_reasons(root):
    text = view(root, "quarantine/conversions")
    assert ["action", "is", "unknown", "1", "100.0", "%"] in lines(text)
    assert "Parquet files as producers drop them" in view(root, "landing/conversions")
    assert ["2024-03-01", "8"] in [line[:2] for line in lines(view(root, "landing/conversions"))]
    assert view(root, "conversions").startswith("logs/conversions")


@pytest.mark.parametrize("path", [path for path in inventory.paths() if not path.startswith("quarantine/")])
def test_no_view_is_wider_than_a_terminal(root, path):
    if inventory.holding(root, path).parts:
        assert path in view(root, path)


def test_every_breakdown_belongs_to_a_table():
    assert set(breakdowns.BREAKDOWNS) <= set(inventory.paths())


def test_wide_values_fold_instead_of_running_over(tmp_path):
    long = "x" * 200
    tiny_root.put_delta(tmp_path, "requests", DAY, [(long, 10**18, long, tiny_root.example.at("10:00"))])
    assert "xxx" in view(str(tmp_path), "requests")


def test_long_values_are_shortened():
    assert shorten(list(range(200))) == "[0, 1, 2, …] 200 in all"
    assert shorten(["", "cart"]) == "['', cart]"
    assert shorten([]) == "[]"
    assert shorten(None) == "null"
    assert shorten(0.123456) == "0.1235"
    assert len(shorten("y" * 100)) == 58


def test_seeds_are_gathered_and_missing_values_stay_missing():
    rows = [
        {"model": "hccp", "variant": "full", "seed": seed, "metric": "ish", "segment": "all", "k": 10,
         "value": value, "support": support}
        for seed, value, support in ((1, 0.5, 9), (2, 0.7, 8), (3, None, 0))
    ]  # fmt: skip
    measure = scores.gather(rows)["hccp"].get("full", "ish", 10)
    assert measure.value == pytest.approx(0.6)
    assert measure.spread == pytest.approx(0.02**0.5)  # deviations -.1 and .1 over n - 1 = 1
    assert (measure.seeds, measure.support) == ((1, 2, 3), 0)
    assert scores.written("ish", measure) == "60.0 ±14.1 %"
    assert scores.written("auc", None) == "-"


def run(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "jobs.inspect_table", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing_such",), "no table is named 'nothing_such'; the tables are channel_value, conversions,"),
        (("users",), "logs/users is not below"),
        (("requests", "--date", "2023-01-01"), "logs/requests has no date 2023-01-01; dates there: 2024-03-01"),
        (("--date", "2023-01-01"), "is of 2023-01-01; dates there: 2024-02-29 to 2024-03-01"),
    ],
)
def test_a_wrong_question_gets_one_clear_line(root, arguments, said):
    with pytest.raises(inventory.MissingDataError, match=said.replace("(", r"\(")):
        view(root, *arguments)


def test_exit_statuses(root, tmp_path):
    missing = run("--root", tmp_path / "none")
    assert missing.returncode == 1
    assert missing.stderr.startswith("inspect_table: there is no root")
    assert len(missing.stderr.splitlines()) == 1
    assert run("--root", root, "--date", "2024-02-31").returncode == 2
    assert run("requests").returncode == 2
    done = run("--root", root, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["job"] == "inspect_table"


def test_a_broken_file_is_named_in_one_line(tmp_path):
    folder = tmp_path / "landing/requests/date=2024-03-01"
    folder.mkdir(parents=True)
    (folder / "part.parquet").write_bytes(b"not Parquet")
    assert "unreadable" in view(str(tmp_path))
    done = run("landing/requests", "--root", tmp_path)
    assert done.returncode == 1
    assert "landing/requests/date=2024-03-01 has a file that is no readable Parquet" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_empty_root_says_what_fills_it(tmp_path):
    assert "holds nothing yet" in view(str(tmp_path))
