"""Users and items with their true tastes.

Shapes: U users, I items, C categories, d dimensions. Ids are index + 1 everywhere outside this package.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from jobs.simulator.settings import World
from jobs.simulator.streams import Purpose, stream

AGE_GROUPS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")


@dataclass(frozen=True)
class Items:
    """Everything true of the items; `category_Cd` has the categories' centres.

    `by_category` lists item indices category by category; category c has those from
    `category_starts[c]` to `category_starts[c + 1]`, most popular first.
    """

    taste_Id: np.ndarray
    category: np.ndarray
    brand: np.ndarray
    price: np.ndarray
    log_popularity: np.ndarray
    quality: np.ndarray
    value: np.ndarray
    planted: np.ndarray
    category_Cd: np.ndarray
    category_planted: np.ndarray
    by_category: np.ndarray
    category_starts: np.ndarray


@dataclass(frozen=True)
class Users:
    taste_Ud: np.ndarray
    activity: np.ndarray
    planted_interest: np.ndarray
    age_group: np.ndarray


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / max(float(values.std()), 1e-9)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=2)
def items_of(world: World) -> Items:
    """The catalogue: a pure function of the world."""
    draws = stream(world, Purpose.CATEGORIES)
    size, categories, d = world.items, world.categories(), world.dimensions
    centres = unit(draws.normal(size=(categories, d)))
    shares = draws.permutation((np.arange(categories) + 5.0) ** -0.5)
    planted_categories = _planted(world, draws, shares / shares.sum())
    directions = draws.normal(size=(d, 5))

    draws = stream(world, Purpose.ITEMS)
    category = draws.choice(categories, size=size, p=shares / shares.sum())
    noise = unit(draws.normal(size=(size, d)))
    taste = unit(np.sqrt(world.category_share) * centres[category] + np.sqrt(1 - world.category_share) * noise)
    log_popularity = -world.zipf * np.log(draws.permutation(size) + 1.0)
    rest = np.sqrt(1 - world.quality_popularity**2) * draws.normal(size=size)
    quality = standardised(world.quality_popularity * standardised(log_popularity) + rest)
    value = draws.normal(size=size)
    price = np.exp(3 + standardised(taste @ directions[:, 4]) - 0.5 * value + 0.2 * draws.normal(size=size))
    style = (taste @ directions[:, :4] > 0) @ np.array([1, 2, 4, 8])
    by_category = np.lexsort((-log_popularity, category))
    return Items(
        taste_Id=taste,
        category=category.astype(np.int32),
        brand=(1 + category // 5 * 16 + style).astype(np.int64),
        price=np.round(price, 2),
        log_popularity=log_popularity.astype(np.float32),
        quality=quality.astype(np.float32),
        value=value.astype(np.float32),
        planted=planted_categories[category],
        category_Cd=centres,
        category_planted=planted_categories,
        by_category=by_category.astype(np.int32),
        category_starts=np.searchsorted(category[by_category], np.arange(categories + 1)),
    )


def _planted(world: World, draws: np.random.Generator, shares: np.ndarray) -> np.ndarray:
    """Which categories no channel returns: some at random, that hold about the planted share of the items."""
    order = draws.permutation(len(shares))
    chosen = np.zeros(len(shares), bool)
    if world.planted_items > 0:
        chosen[order] = np.cumsum(shares[order]) <= world.planted_items
        chosen[order[0]] = True
    return chosen


@lru_cache(maxsize=2)
def users_of(world: World) -> Users:
    """The users: a pure function of the world."""
    items = items_of(world)
    draws = stream(world, Purpose.USERS)
    ordinary = np.flatnonzero(~items.category_planted)
    picks = ordinary[draws.integers(0, len(ordinary), size=(world.users, world.interests))]
    weights = draws.dirichlet(np.full(world.interests, 2.0), size=world.users).astype(np.float32)
    liked = unit(np.einsum("uk,ukd->ud", weights, items.category_Cd[picks]))
    taste = unit(liked + world.user_spread * unit(draws.normal(size=liked.shape)))
    activity = np.exp(world.activity_spread * draws.normal(size=world.users) - world.activity_spread**2 / 2)
    share = world.planted_demand if world.planted_items > 0 else 0.0
    interest = (
        draws.beta(2 * share, 2 * (1 - share), size=world.users) if 0 < share < 1 else np.full(world.users, share)
    )
    age = standardised(taste @ draws.normal(size=world.dimensions)) + 0.5 * draws.normal(size=world.users)
    known = draws.random(world.users) > 0.05
    group = np.clip(np.floor(standardised(age) * 1.5 + 2.5), 0, len(AGE_GROUPS) - 1).astype(int)
    planted = np.flatnonzero(items.category_planted)
    if world.planted_taste and len(planted):
        wanted = items.category_Cd[planted[draws.integers(0, len(planted), size=world.users)]]
        taste = unit(taste + world.planted_taste * wanted)
    return Users(taste, activity, interest, np.where(known, np.array(AGE_GROUPS, object)[group], None))


def click_logits(world: World, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """True logits of a click before the intercept, float32; `users` (n,), `items` (n,) or (n, k) of indices."""
    catalogue, people = items_of(world), users_of(world)
    tastes = np.take(catalogue.taste_Id, items, axis=0)
    cosines = np.matmul(tastes.reshape(len(users), -1, world.dimensions), people.taste_Ud[users][:, :, None])
    return world.taste * cosines.reshape(items.shape) + world.quality * np.take(catalogue.quality, items)


def purchase_logits(world: World, clicks: np.ndarray, items: np.ndarray) -> np.ndarray:
    """True logits of a purchase after a click, before the intercept, from the click logits."""
    return world.purchase_taste * clicks + world.purchase_value * np.take(items_of(world).value, items)
