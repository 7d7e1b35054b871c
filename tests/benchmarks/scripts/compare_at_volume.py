"""Our jobs against the bare scan, DuckDB, Polars and plain Spark SQL, same rows: `compare_at_volume.py ROOT`.

Lands a day of about --requests requests with some 1,250 retrieved items each below ROOT, ingests it, and in --rounds
rounds by turns runs: our jobs, a process each; all of them again in one session, with the bare scan and the plain
labels; DuckDB; Polars. Every figure goes to ROOT/measured.jsonl as it is taken, so that a run can be taken up again or
taken in parts (--only). Then the rows are compared by hash, and --report is written from all figures so far. Rows that
differ fail it.
"""

import argparse
import json
import sys
from pathlib import Path

from volume import duckdb_sql, equality, generate, report
from volume.measure import measured
from volume.warm_spark import JOBS

from schemas.storage import partitions
from schemas.storage.root import Root
from schemas.table import partition
from schemas.tables import samples
from schemas.tables.labels import target_groups

HERE = Path(__file__).resolve().parent.parent
PROJECT = HERE.parent.parent
DAY = generate.DAY
PARTS = ("ingest", "jobs", "warm", "duckdb", "polars")


def arg_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="an empty folder, or one that an earlier run of this command filled")
    parser.add_argument("--requests", type=int, default=100_000, help="of the day, about (%(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured (%(default)s)")
    parser.add_argument("--only", default=",".join(PARTS), help="what is measured, of %(default)s; `equal` for nothing")
    parser.add_argument("--growth", help="instead: our jobs once at so many times ROOT's requests, as in 0.1,3,10")
    parser.add_argument("--report", help="a Markdown file to write")
    return parser


def python(*arguments: object) -> dict:
    """What it costs to run Python with these arguments, as a user would, in the project's folder."""
    return measured([sys.executable, *map(str, arguments)], PROJECT, [HERE, PROJECT])


def keep(root: Path, **figure: object) -> None:
    """Add a figure to ROOT/measured.jsonl."""
    figure.pop("output", None)
    with (root / "measured.jsonl").open("a") as file:
        file.write(json.dumps(figure) + "\n")
    print(json.dumps(figure), flush=True)


def prepare(root: Path, requests: int) -> None:
    """Land and ingest what is not there yet."""
    if not (root / "landing").exists():
        print(json.dumps({"landed": generate.land_days(str(root), requests)}), flush=True)
    ingest(root)


def ingest(root: Path) -> None:
    """Ingest the days that are not there yet."""
    for day in generate.DAYS:
        if not (root / "logs" / "retrievals" / f"date={day}").exists():
            cost = python("-m", "jobs.ingest_logs", "--root", root, "--date", day)
            keep(root, mode="first", step=f"ingest_logs {day}", **cost)


def job(root: Path, name: str) -> None:
    keep(root, mode="jobs", step=name, **python("-m", f"jobs.{name}", "--root", root, "--date", DAY))


def measure(root: Path, part: str, rounds: int) -> None:
    """One round of a part; the warm session has all its rounds at once, after a cold one."""
    out = root / "out" / part
    if part == "ingest":
        job(root, "ingest_logs")
    elif part == "jobs":
        for name in JOBS:
            job(root, name)
    elif part == "warm":
        cost = python("-m", "volume.warm_spark", root, DAY, out, rounds + 1)
        for line in cost["output"].splitlines():
            if line.startswith('{"step"'):
                keep(root, mode="warm", **json.loads(line))
        keep(root, mode="process", step="warm", **cost)
    else:
        module, tables = ("duckdb_sql", ("scan", *duckdb_sql.STEPS)) if part == "duckdb" else ("polars_frames", ())
        cost = python("-m", f"volume.{module}", root, DAY, out, *tables)
        for step, wall in json.loads(cost["output"].splitlines()[-1]).items():
            keep(root, mode=part, step=step, wall=wall)
        keep(root, mode="process", step=part, **cost)


def made_by(root: Path) -> list[equality.Rows]:
    """What is there of each engine's output: our jobs first."""
    place = Root.of(str(root))
    ours: dict[str, str | list[str]] = {
        table.name: f"{place.at(partition(table, DAY))}/*.parquet"
        for table in (samples.increc_samples, samples.hccp_samples)
        if DAY in partitions.dates(place, table)
    }
    engines = [equality.Rows("jobs", {"target_groups": duckdb_sql.files(str(root), target_groups, DAY, DAY)} | ours)]
    for part, tables in (
        ("duckdb", equality.TABLES),
        ("polars", equality.TABLES),
        ("warm", ("target_groups",)),
    ):
        places = {name: root / "out" / part / f"{name}.parquet" for name in tables}
        found = {name: f"{path}/*.parquet" if path.is_dir() else str(path) for name, path in places.items()
                 if path.exists()}  # fmt: skip
        engines.append(equality.Rows({"warm": "plain Spark"}.get(part, part), found))
    return engines


def compare(root: Path, one_in: int) -> list[str]:
    """Print every hash, keep them, and return the differences."""
    found, faults = equality.compared(str(root), DAY, made_by(root), one_in)
    made = {table: [engine for name, engine, _, _ in found if name == table] for table in equality.TABLES}
    faults += [f"{table}: made by {those}, nothing to compare" for table, those in made.items() if len(those) < 2]
    for name, engine, rows, digest in found:
        print(f"{name:16} {engine:12} {rows:>10,} rows {digest}")
    (root / "equality.json").write_text(json.dumps({"hashes": found, "faults": faults}))
    return faults


def grow(root: Path, requests: int, factor: str) -> None:
    """Ingest and each of our jobs once, at `factor` times the requests: a smaller world, or copies of ROOT's users."""
    place = root / f"growth-{factor}"
    place.mkdir(exist_ok=True)
    if float(factor) < 1:
        prepare(place, round(requests * float(factor)))
    else:
        if not (place / "landing").exists():
            generate.land_copies(str(root), str(place), int(factor))
        ingest(place)
    for name in JOBS:
        job(place, name)


def main(arguments: argparse.Namespace) -> int:
    root = Path(arguments.root).absolute()
    root.mkdir(parents=True, exist_ok=True)
    faults: list[str] = []
    if arguments.growth:
        for factor in arguments.growth.split(","):
            grow(root, arguments.requests, factor)
    else:
        prepare(root, arguments.requests)
        for number in range(arguments.rounds):
            for part in (part for part in PARTS if part in arguments.only.split(",")):
                if part != "warm" or number == 0:
                    measure(root, part, arguments.rounds)
        faults = compare(root, max(1, arguments.requests // 5_000))
        print("\n".join(faults) or "all rows are equal")
    if arguments.report:
        Path(arguments.report).write_text(report.page(root))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(arg_parser().parse_args()))
