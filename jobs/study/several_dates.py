"""Dates that are judged on as one: a sparse log has too few requests a date to tell two models apart."""

from collections.abc import Sequence
from datetime import date

from jobs.evaluation import Judge, Measured
from models.checkpoint import ModelDirectory
from models.per_request import Key, PerRequest


class SeveralDates:
    """Judges of rising dates as one judge of the last, whose requests stand behind those of the dates before.

    A date sees its own item_stats and logs, as if it were judged alone. Of AUC, which is over all exposures, each
    item acted on is compared with those of its own date.
    """

    def __init__(self, judges: Sequence[Judge]):
        self.judges, last = judges, judges[-1]
        self.root, self.day, self.settings, self.sources = last.root, last.day, last.settings, last.sources
        self.requests = sum(each.requests for each in judges)

    @property
    def days(self) -> list[date]:
        return [each.day for each in self.judges]

    def measure(self, models: Sequence[ModelDirectory], untrained: bool = True) -> Measured:
        """What the models earned in every request, and what needs no training if `untrained`."""
        parts: dict[tuple[str, int], dict[Key, list[PerRequest]]] = {}
        before = 0
        for judge in self.judges:
            for name, values in judge.measure(models, untrained).items():
                for one in values:
                    parts.setdefault(name, {}).setdefault(one.key, []).append(one.moved(before))
            before += judge.requests
        return {name: [PerRequest.joined(each) for each in found.values()] for name, found in parts.items()}

    def cost(self, model: ModelDirectory) -> list[dict]:
        """As the last date's."""
        return self.judges[-1].cost(model)
