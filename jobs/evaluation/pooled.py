"""Dates that are judged on as one: a sparse log has too few requests a date to tell two models apart."""

from collections.abc import Sequence
from datetime import date

from jobs.command import cli
from jobs.evaluation.evaluate import Judge, Measured
from models.checkpoint import ModelDirectory
from models.evaluation.per_request import Key, PerRequest


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

        What some date lacks is left out, an order as of a channel that was not logged, or a figure of one as of a
        scenario in which little happened: it would be of other requests than the rest.
        """
        parts: dict[tuple[str, int], dict[Key, list[PerRequest]]] = {}
        before = 0
        asked = [judge for judge in self.judges if judge.requests] or self.judges[-1:]
        for judge in asked:
            found = judge.measure(models, untrained)
            for name, values in found.items():
                for one in values:
                    parts.setdefault(name, {}).setdefault(one.key, []).append(one.moved(before))
            before += judge.requests
        joined = {
            name: [PerRequest.joined(each) for each in found.values() if len(each) == len(asked)]
            for name, found in parts.items()
        }
        for name, values in joined.items():
            if len(values) < len(parts[name]):
                lacking = parts[name].keys() - {one.key for one in values}
                cli.log(f"{name[0]}: {len(lacking)} of {len(parts[name])} figures are not of every date: left out")
        return {name: values for name, values in joined.items() if values}

    def cost(self, model: ModelDirectory) -> list[dict]:
        """Of the date with most requests."""
        return max(self.judges, key=lambda judge: judge.requests).cost(model)
