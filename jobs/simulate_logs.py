"""Land the logs of a simulated world whose truth is known.

Reads:  nothing
Writes: landing/<table>/date=D of every log; landing/_truth, which no log shows

The same users, items, seed and date give the same bytes, whichever dates were
made before. The figures in the JSON line are of all dates of the call.

In detail:

The same users, items, seed and date give the same bytes, and a date can be made alone: nothing it holds
depends on which dates were made before. Every other dial of the world is a field of jobs.simulator.settings.World,
for studies in Python: simulator.landing.land(root, World(...), day). With `shadow_ranked` the ranker also scores so
many candidates a request that pre-ranking dropped, logged as the stage `shadow_ranking`, which exposes nothing. With
`exploration_slots` pre-ranking gives so many of its places to what it would have dropped, drawn evenly.

The figures in the JSON line are of all dates of the call: coverage is the share of items visited elsewhere
after a homepage request of the same date that this request had retrieved.
"""

import argparse
from datetime import date, timedelta

from jobs.command import cli
from jobs.simulator.landing import land
from jobs.simulator.settings import World


def arg_parser() -> argparse.ArgumentParser:
    parser = cli.parser(__doc__)
    parser.add_argument("--days", type=cli.at_least(1), help="dates from --date on; default those of --date")
    parser.add_argument("--users", type=cli.at_least(1), default=World.users, help="default %(default)s")
    parser.add_argument("--items", type=cli.at_least(100), default=World.items, help="default %(default)s")
    parser.add_argument("--seed", type=cli.at_least(0), default=World.seed, help="default %(default)s")
    return parser


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments, with the dates that --days asks for."""
    parser = arg_parser()
    parsed = parser.parse_args(arguments)
    if parsed.days and len(parsed.date) not in (1, parsed.days):
        parser.error(f"--date has {len(parsed.date)} dates and --days {parsed.days}; give the first date or agree")
    parsed.date = [parsed.date[0] + timedelta(n) for n in range(parsed.days or len(parsed.date))]
    parsed.figures = None
    return parsed


def main(arguments: argparse.Namespace, day: date) -> dict:
    world = World(users=arguments.users, items=arguments.items, seed=arguments.seed)
    rows, figures = land(arguments.root, world, day, cli.log)
    so_far = figures if arguments.figures is None else arguments.figures + figures
    arguments.figures = so_far
    logged = {name: count for name, count in rows.items() if not name.startswith("_truth/")}
    return {"rows_written": sum(logged.values()), **logged, "figures": so_far.shares()}


if __name__ == "__main__":
    cli.run("simulate_logs", parse(), main)
