"""A small simulated funnel whose truth is known, written as the tables that training and evaluating HCCP read."""

from datetime import UTC, datetime, timedelta

import numpy as np

from tests.support.tiny_root import put, put_delta

DIMENSIONS, CANDIDATES, KEPT, EXPOSED, RANKED, FILTERED = 6, 80, 25, 5, 6, 20


class Funnel:
    """Users and items with latent tastes; an incumbent pre-ranker biased to popularity, a ranker close to truth."""

    def __init__(self, seed: int, items: int = 240, users: int = 150):
        self.random = np.random.default_rng(seed)
        draw = self.random.normal
        self.item_tastes, self.user_tastes = draw(size=(items, DIMENSIONS)), draw(size=(users, DIMENSIONS))
        self.item_ids = 1_000 + 7 * np.arange(items)
        self.log_popularity = draw(size=items)

    def put_day(self, root, day, requests: int) -> None:
        """One date of retrievals, stages, target_groups, item_stats and hccp_samples."""
        rows = [self._request(f"{day}-{n:04d}", day) for n in range(requests)]
        for name in ("retrievals", "stages", "target_groups"):
            put_delta(root, name, day, [row for one in rows for row in one[name]])
        put(root, "hccp_samples", day, [one["sample"] for one in rows])
        shown = np.round(200 * np.exp(self.log_popularity)).astype(int).tolist()
        order = np.argsort(-self.log_popularity, kind="stable")
        segment = dict(zip(order.tolist(), ["top"] * 40 + ["middle"] * 60 + ["tail"] * 999, strict=False))
        stats = [
            (int(item), shown[n], shown[n] // 8, shown[n] // 60, shown[n] // 6, 1 / len(shown), segment[n])
            for n, item in enumerate(self.item_ids)
        ]
        put(root, "item_stats", day, stats)

    def _request(self, request: str, day) -> dict:
        random, user = self.random, int(self.random.integers(len(self.user_tastes)))
        truth = 1.2 * self.item_tastes @ self.user_tastes[user] / DIMENSIONS**0.5
        history = random.choice(len(truth), 8, replace=False, p=_share(2 * truth))
        chosen = random.choice(len(truth), CANDIDATES, replace=False, p=_share(0.3 * self.log_popularity))
        incumbent = 0.5 * truth[chosen] + 0.8 * self.log_popularity[chosen] + 0.5 * random.normal(size=CANDIDATES)
        kept = chosen[np.argsort(-incumbent)][:KEPT]
        ranking = kept[np.argsort(-(truth[kept] + 0.2 * random.normal(size=KEPT)))]
        shown = ranking[:EXPOSED]
        clicks = random.random(EXPOSED) < _sigmoid(truth[shown] - 2)
        bought = clicks & (random.random(EXPOSED) < 0.3)
        elsewhere = {int(n) for n in random.choice(chosen, 2, replace=False, p=_share(2 * truth[chosen]))}
        in_scenario = ["purchase" if b else "click" if c else "" for c, b in zip(clicks, bought, strict=True)]
        level = {"purchase": "purchased", "click": "clicked", "": "exposed"}
        head = sorted(zip(shown.tolist(), in_scenario, strict=True), key=lambda one: -len(one[1]))  # stable
        ranked = ranking[EXPOSED : EXPOSED + RANKED].tolist()
        filtered = random.choice(np.setdiff1d(chosen, kept), FILTERED, replace=False).tolist()
        listed = [*(n for n, _ in head), *ranked, *filtered]
        levels = [*(level[a] for _, a in head), *["ranked"] * RANKED, *["filtered"] * FILTERED]
        in_row = [*(a for _, a in head), *[""] * (RANKED + FILTERED)]
        attributed = {n: a for n, a in head if a} | dict.fromkeys(elsewhere - {n for n, a in head if a}, "click")
        noon, ids = datetime(day.year, day.month, day.day, 12, tzinfo=UTC), self.item_ids
        later = noon + timedelta(hours=1)
        groups = [
            (request, user, int(ids[n]), "ETG", a or None, later if a else None, "homepage" if a else None,
             int(bool(a)), ["a"], place)
            for place, (n, a) in enumerate(zip(shown.tolist(), in_scenario, strict=True), start=1)
        ]  # fmt: skip
        groups += [
            (request, user, int(ids[n]), "RTG", a, later, "homepage", 1, ["a"], None) for n, a in attributed.items()
        ]
        half = CANDIDATES // 2
        return {
            # The second channel returns ten items of the first one again.
            "retrievals": [
                (request, "a", ids[chosen[:half]].tolist(), []),
                (request, "b", ids[chosen[half - 10 :]].tolist(), []),
            ],
            "stages": [
                (request, "pre_ranking", ids[kept].tolist(), []),
                (request, "ranking", ids[ranking].tolist(), []),
            ],
            "target_groups": groups,
            "sample": (
                request, user, noon, ids[history].tolist(), ["click"] * len(history), ids[listed].tolist(), levels,
                list(range(1, len(listed) + 1)), [attributed.get(n, "") for n in listed], in_row,
                [1.0] * len(listed),
            ),
        }  # fmt: skip


def _share(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))
