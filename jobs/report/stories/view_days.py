"""The stories of a user and of an item, to be read at 80 columns."""

from collections.abc import Mapping

from rich.console import Console

from jobs.report import grids, numbers
from jobs.report.id_texts import IdTexts
from jobs.report.stories.view import heading, moment, more, pairs

_ROWS = 15
_GROUPS, _ACTIONS = ("ETG", "RTG", "ITG"), ("purchase", "cart", "favorite", "click")


def user(console: Console, story: Mapping, texts: IdTexts) -> None:
    """A user's days, then the requests and actions of the last one."""
    texts.learn("user_id", [story["user_id"]])
    texts.learn("item_id", [each["item_id"] for each in story["conversions"]])
    held = story["profile"]
    heading(console, f"User {texts.name('user_id', story['user_id'])}", f"last seen {story['days'][-1]['date']}")
    if held is not None:
        console.print(f"profile  {pairs(held['attributes']) or 'not in it'} (users of {held['date']})", markup=False)
    grid = grids.new("date", ">requests", *(f">{name}" for name in (*_GROUPS, *_ACTIONS)))
    for each in story["days"]:
        counts = (each[name] for name in ("requests", *_GROUPS, *_ACTIONS))
        grids.add(grid, str(each["date"]), *map(numbers.count, counts))
    grids.show(console, "Days: requests, items of their groups, actions made", grid)
    grid = grids.new("request", "time", "scenario", *(f">{name}" for name in _GROUPS))
    for each in story["requests"][-_ROWS:]:
        counts = (numbers.count(each[name]) for name in _GROUPS)
        grids.add(grid, each["request_id"], moment(each["request_time"]), each["scenario"], *counts)
    grids.show(console, f"Requests of {story['days'][-1]['date']}", grid)
    more(console, len(story["requests"]) - _ROWS, "earlier")
    grid = grids.new("time", "action", "item", "where", "names")
    for each in story["conversions"][-_ROWS:]:
        item = texts.name("item_id", each["item_id"])
        named = each["request_id"] or numbers.NOTHING
        grids.add(grid, moment(each["event_time"]), each["action"], item, each["scenario"], named)
    grids.show(console, f"Actions of {story['days'][-1]['date']}", grid)
    more(console, len(story["conversions"]) - _ROWS, "earlier")


def item(console: Console, story: Mapping, texts: IdTexts) -> None:
    """What is known of an item, then its way from the channels' lists to what was done with it."""
    texts.learn("item_id", [story["item_id"]])
    heading(console, f"Item {texts.name('item_id', story['item_id'])}", f"on {story['date']}")
    grid = grids.new("", "", head=False)
    for name, table in (("attributes", "items"), ("stats", "item_stats")):
        row = story[name]
        values = {key: value for key, value in (row or {}).items() if key not in ("item_id", "date")}
        told = f"{pairs(values)} ({table} of {row['date']})" if row else f"{table} has no row of it"
        grids.add(grid, name, told)
    console.print(grid)
    grid = grids.new("in the list of", ">requests", ">best place", ">median place")
    rows = [(each["channel"], each) for each in story["channels"]]
    rows += [(each["stage"], each) for each in story["stages"]] + [("shown", story["shown"])]
    for name, each in rows:
        counts = (numbers.count(each[key]) for key in ("requests", "best_place", "median_place"))
        grids.add(grid, name, *counts)
    grids.show(console, "Its way: channels, stages, screen", grid)
    grid = grids.new(*(f">{name}" for name in _GROUPS))
    grids.add(grid, *(numbers.count(story["groups"][name]) for name in _GROUPS))
    grids.show(console, "Requests with the item in each group", grid)
    if story["actions"]:
        grid = grids.new("scenario", *(f">{name}" for name in _ACTIONS))
        for each in story["actions"]:
            grids.add(grid, each["scenario"], *(numbers.count(each[name]) for name in _ACTIONS))
        grids.show(console, "Actions made with it, anywhere", grid)
