"""The jobs that turn a landed date into samples, in the order in which they need one another.

A job never imports a job. Here they are named and imported by name when they run, so that a job that is not run loads
nothing, and each keeps its own parser and main as the only way in.
"""

import importlib
from argparse import Namespace
from dataclasses import dataclass
from datetime import date
from types import ModuleType

from schemas.table import Table
from schemas.tables.features import item_stats, user_histories
from schemas.tables.labels import target_groups
from schemas.tables.logs import stages
from schemas.tables.samples import hccp_samples, increc_samples


@dataclass(frozen=True)
class Step:
    """One job of the batch.

    table: what it makes; None for the logs. flags: those of the batch that it takes. days_before: how far back its
    inputs reach. takes_later_days: whether the attribution window's dates after it count too. needs: a log that a root
    may lack; a date without it is left out.
    """

    job: str
    table: Table | None
    flags: tuple[str, ...] = ()
    days_before: int = 0
    takes_later_days: bool = False
    needs: Table | None = None

    @property
    def module(self) -> ModuleType:
        return importlib.import_module(f"jobs.{self.job}")

    def arguments(self, batch: Namespace, day: date) -> Namespace:
        """The job's arguments by its own parser: root and date, and the batch's flags that were given."""
        words = ["--root", batch.root, "--date", str(day)]
        for name in self.flags:
            given = getattr(batch, name)
            for value in given if isinstance(given, list) else [] if given is None else [given]:
                words += [f"--{name.replace('_', '-')}", str(value)]
        return self.module.arg_parser().parse_args(words)


STEPS = (
    Step("ingest_logs", None),
    Step("label_target_groups", target_groups, ("window_hours", "attribution", "scenario"), 31, True),
    Step("build_user_histories", user_histories, days_before=31),
    Step("build_item_stats", item_stats, days_before=61),
    Step("build_increc_samples", increc_samples, days_before=31),
    Step("build_hccp_samples", hccp_samples, ("seed",), 31, True, stages),
)
