"""Dates that are judged on as one: a sparse log has too few requests a date to tell two models apart."""

from collections import Counter
from collections.abc import Sequence
from datetime import date

from jobs import command
from jobs.evaluation import Judge, Measured
from models.checkpoint import ModelDirectory
from models.per_request import Key, PerRequest


class SeveralDates:
    """Judges of rising dates as one judge of the last, whose requests stand behind those of the dates before.

    A date sees its own item_stats and logs, as if it were judged alone: what needs no training is made anew for each
    date, where the models grow older. Of AUC, which is over all exposures, each item acted on is compared with those
    of its own date.
    """

    def __init__(self, judges: Sequence[Judge]):
        self.judges, last = judges, judges[-1]
        self.day, self.settings = last.day, last.settings
        self.requests = sum(each.requests for each in judges)

    @property
    def days(self) -> list[date]:
        return [each.day for each in self.judges]

    def measure(self, models: Sequence[ModelDirectory], untrained: bool = True) -> Measured:
        """What the models earned in every request, and what needs no training if `untrained`.

        An order that some date lacks, as of a channel that was not logged, is left out: it would be compared over other
        requests than the rest.
        """
        parts: dict[tuple[str, int], dict[Key, list[PerRequest]]] = {}
        dates, before = Counter(), 0
        asked = [judge for judge in self.judges if judge.requests] or self.judges[-1:]
        for judge in asked:
            found = judge.measure(models, untrained)
            dates.update(found.keys())
            for name, values in found.items():
                for one in values:
                    parts.setdefault(name, {}).setdefault(one.key, []).append(one.moved(before))
            before += judge.requests
        for name in [name for name in parts if dates[name] < len(asked)]:
            command.log(f"{name[0]}: not there on every date, so left out")
            del parts[name]
        return {name: [PerRequest.joined(each) for each in found.values()] for name, found in parts.items()}

    def cost(self, model: ModelDirectory) -> list[dict]:
        """Of the date with most requests."""
        return max(self.judges, key=lambda judge: judge.requests).cost(model)
