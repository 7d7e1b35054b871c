"""The simulated funnel of a batch of users: four channels merged, pre-ranked, ranked, spread.

NumPy over whole Arrow batches, since a date has millions of candidates: as exploded Spark rows they cost many times the
processor time. Candidates are flat parallel arrays in which `row` is the user's row in the batch. Scores are
rounded to a millionth and equal scores are in the order of item_id, so that no list hangs on the last bit of a sum.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs.replay.settings import Settings

HOT, ITEM_CF, ALS, OWN = "hot", "item_cf", "als", "own"
CHANNELS = (HOT, ITEM_CF, ALS, OWN)
FEATURES = (ITEM_CF, ALS, OWN, "popularity", "channels", "category")
_NO_CATEGORY = -1


@dataclass(frozen=True)
class Found:
    """What one channel returned to a batch: parallel arrays, by row and best first."""

    row: np.ndarray
    item: np.ndarray
    score: np.ndarray
    uses: np.ndarray
    category: np.ndarray

    def take(self, index: np.ndarray) -> "Found":
        return Found(*(values[index] for values in vars(self).values()))

    @property
    def position(self) -> np.ndarray:
        """Place in the row's list, from 0."""
        return place(self.row)


@dataclass(frozen=True)
class Catalogue:
    """The hot items, best first, and the items that ALS knows, by item_id, with their factors (items x rank)."""

    hot: Found
    known: Found
    factors: np.ndarray
    most_uses: int

    @classmethod
    def of(cls, most_used: pa.Table, factors: pa.Table, size: int) -> "Catalogue":
        """From the most used items, best first (item_id, uses, category_id), and ALS's (id, features)."""
        item, uses = (most_used.column(name).to_numpy().astype(np.int64) for name in ("item_id", "uses"))
        category = most_used.column("category_id").fill_null(_NO_CATEGORY).to_numpy().astype(np.int64)
        every = Found(np.zeros(len(item), np.int64), item, uses.astype(np.float64), uses, category)
        ids = factors.column("id").to_numpy().astype(np.int64)
        vectors = np.stack(factors.column("features").to_numpy()).astype(np.float64)
        by_id = np.argsort(item)
        by_id = by_id[np.isin(item[by_id], ids)]
        return cls(every.take(slice(size)), every.take(by_id), vectors[np.argsort(ids)], int(uses[0]))


@dataclass(frozen=True)
class Candidates:
    """The batch's retrieved items, or some of them: `features` is (items, FEATURES); `channel` indexes CHANNELS."""

    row: np.ndarray
    item: np.ndarray
    channel: np.ndarray
    pre_score: np.ndarray
    features: np.ndarray

    def take(self, index: np.ndarray) -> "Candidates":
        return Candidates(*(values[index] for values in vars(self).values()))


def retrieve(batch: pa.RecordBatch, catalogue: Catalogue, settings: Settings) -> dict[str, Found]:
    """Each channel's items for the users of a batch of channels.questions."""
    size = settings.channel_size
    return {
        HOT: _hot(batch.num_rows, catalogue),
        ITEM_CF: _item_cf(batch.column("near"), size),
        ALS: _als(batch.column("factors"), catalogue, size),
        OWN: _own(batch.column("own"), settings.own_items),
    }


def pre_rank(candidates: Candidates, settings: Settings) -> Candidates:
    """The candidates that pre-ranking lets through."""
    return candidates.take(place(candidates.row) < settings.pre_ranked)


def shadow(candidates: Candidates, chance: np.ndarray, settings: Settings) -> Candidates:
    """Of each row's candidates that pre-ranking drops so many as the settings say, evenly spread, or all if fewer.

    A systematic sample: of n items, k / n wide each and side by side, those that one of the points chance, chance + 1,
    ... falls into. Every item has a chance of k / n.

    Args:
        chance: of each row, in [0, 1).
    """
    dropped = candidates.take(place(candidates.row) >= settings.pre_ranked)
    n = np.bincount(dropped.row, minlength=len(chance))[dropped.row]
    k = np.minimum(settings.shadow_ranked, n)
    before, start = place(dropped.row), chance[dropped.row]
    return dropped.take(np.ceil((before + 1) * k / n - start) > np.ceil(before * k / n - start))


def merge(found: dict[str, Found], batch: pa.RecordBatch, catalogue: Catalogue, settings: Settings) -> Candidates:
    """What the channels returned, each item once, in the order of pre-ranking.

    A simple score, biased to popularity as real ones are: log(1 + uses), 1 at the most used item, plus half of how
    near the top of its best channel the item stands. `channel` is the one that places the item highest.
    """
    row, item, uses, category = (
        np.concatenate([getattr(found[name], field) for name in CHANNELS])
        for field in ("row", "item", "uses", "category")
    )
    channel = np.repeat(np.arange(len(CHANNELS)), [len(found[name].row) for name in CHANNELS])
    position = np.concatenate([found[name].position for name in CHANNELS])
    score = np.concatenate([found[name].score for name in CHANNELS])
    order = np.lexsort((item, row))
    first = starts(row[order], item[order])
    best = np.minimum.reduceat((position * len(CHANNELS) + channel)[order], first)
    one = order[first]
    by_channel = [
        np.add.reduceat(np.where(channel == CHANNELS.index(name), score, 0.0)[order], first)
        for name in (ITEM_CF, ALS, OWN)
    ]
    popularity = np.log1p(uses[one]) / np.log1p(catalogue.most_uses)
    channels = np.diff(np.append(first, len(order))) / len(CHANNELS)
    shares = category_shares(row[one], category[one], batch.column("own"))
    near_top = np.maximum(0.0, 1 - best // len(CHANNELS) / settings.channel_size)
    merged = Candidates(
        row[one],
        item[one],
        best % len(CHANNELS),
        np.round(popularity + 0.5 * near_top, 6),
        np.stack([*by_channel, popularity, channels, shares], axis=1),
    )
    return merged.take(np.lexsort((merged.item, -merged.pre_score, merged.row)))


def rank(kept: Candidates, score: np.ndarray) -> np.ndarray:
    """The ranking stage: an index into the candidates, each row's best first."""
    return np.lexsort((kept.item, -score, kept.row))


def spread(kept: Candidates, score: np.ndarray, settings: Settings) -> np.ndarray:
    """The re-ranking stage: an index into the candidates, each row's exposed ones, best first.

    The best `spread` items of each channel come before any channel's next ones; among those the ranking's order
    stands.
    """
    in_channel = np.lexsort((kept.item, -score, kept.channel, kept.row))
    turn = np.empty(len(in_channel), np.int64)
    turn[in_channel] = place(kept.row[in_channel], kept.channel[in_channel]) // settings.spread
    order = np.lexsort((kept.item, -score, turn, kept.row))
    return order[place(kept.row[order]) < settings.exposed]


def category_shares(row: np.ndarray, category: np.ndarray, own: pa.ListArray) -> np.ndarray:
    """The share of each row's own items that are in the category; 0 where there is no category."""
    owner, history = _flat(own)
    theirs = history["category_id"]
    categories = np.unique(np.concatenate([theirs, category]))
    width = len(categories)
    keys, counts = np.unique(owner * width + np.searchsorted(categories, theirs), return_counts=True)
    lengths = np.maximum(1, np.bincount(owner, minlength=len(own)))
    if len(keys) == 0:
        return np.zeros(len(row))
    wanted = row * width + np.searchsorted(categories, category)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    matches = np.where((keys[at] == wanted) & (category != _NO_CATEGORY), counts[at], 0)
    return matches / lengths[row]


def starts(*keys: np.ndarray) -> np.ndarray:
    """Where in sorted parallel keys each group begins."""
    changed = np.zeros(len(keys[0]), bool)
    changed[:1] = True
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(changed)


def place(*keys: np.ndarray) -> np.ndarray:
    """How many of its group stand before each element of sorted parallel keys."""
    first = starts(*keys)
    lengths = np.diff(np.append(first, len(keys[0])))
    return np.arange(len(keys[0])) - np.repeat(first, lengths)


def _hot(rows: int, catalogue: Catalogue) -> Found:
    tiled = catalogue.hot.take(np.tile(np.arange(len(catalogue.hot.item)), rows))
    return Found(np.repeat(np.arange(rows), len(catalogue.hot.item)), *list(vars(tiled).values())[1:])


def _item_cf(near: pa.ListArray, size: int) -> Found:
    """A score sums similarity / sqrt(how recent the user's item is, 1 = latest) over the user's latest items."""
    row, parts = _flat(near)
    order = np.lexsort((parts["part"], parts["item_id"], row))
    first = starts(row[order], parts["item_id"][order])
    one = order[first]
    score = np.round(np.add.reduceat(parts["part"][order], first), 6) if len(first) else np.zeros(0)
    found = Found(row[one], parts["item_id"][one], score, parts["uses"][one], parts["category_id"][one])
    return _best(found, size)


def _als(factors: pa.ListArray, catalogue: Catalogue, size: int) -> Found:
    """The items of the greatest products of factors; none for a user that ALS does not know."""
    row = np.flatnonzero(~factors.is_null().to_numpy(zero_copy_only=False))
    if len(row) == 0:
        return catalogue.known.take(slice(0))
    users = factors.flatten().to_numpy().reshape(len(row), -1).astype(np.float64)
    scores = np.round(users @ catalogue.factors.T, 6)
    last = max(0, scores.shape[1] - size)
    at_least = np.partition(scores, last, axis=1)[:, [last]]
    owner, at = np.nonzero(scores >= at_least)
    known = catalogue.known.take(at)
    return _best(Found(row[owner], known.item, scores[owner, at], known.uses, known.category), size)


def _own(own: pa.ListArray, size: int) -> Found:
    """The latest items; the score is 1 / rank."""
    row, items = _flat(own)
    position = place(row)
    found = Found(row, items["item_id"], 1 / (position + 1), items["uses"], items["category_id"])
    return found.take(position < size)


def _best(found: Found, size: int) -> Found:
    found = found.take(np.lexsort((found.item, -found.score, found.row)))
    return found.take(found.position < size)


def _flat(lists: pa.ListArray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A list<struct> column as the row of each element and a flat array for each field."""
    lengths = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    values = lists.flatten()
    fields = {}
    for number, field in enumerate(values.type):
        array = values.field(number)
        if pa.types.is_integer(field.type):
            array = array.fill_null(_NO_CATEGORY)
        fields[field.name] = array.to_numpy(zero_copy_only=False)
    return np.repeat(np.arange(len(lists)), lengths), fields
