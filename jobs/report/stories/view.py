"""The stories of a request, a user and an item, to be read at 80 columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from rich.console import Console
from rich.text import Text

from jobs.report import grids, numbers
from jobs.report.id_texts import IdTexts
from jobs.report.stories import words
from schemas.vocabulary import FUNNEL, TargetGroup

_HISTORY, _SHOWN, _ITEMS, _AFTERWARDS, _ACTED = 5, 12, 6, 15, 15
NO_CHANNEL, ALL = "(no channel)", "(all)"


def request(console: Console, story: Mapping, texts: IdTexts) -> None:
    """A request's whole way on one screen."""
    texts.learn("user_id", [story["user_id"]])
    texts.learn("item_id", _items_named(story))
    heading(console, f"Request {story['request_id']}", f"{moment(story['request_time'])} UTC, {story['scenario']}")
    grid = grids.new("", "", head=False)
    grids.add(grid, "user", texts.name("user_id", story["user_id"]))
    for name, text in _known_of(story, texts):
        grids.add(grid, name, text)
    console.print(grid)
    _funnel(console, story)
    _shown(console, story, texts)
    _afterwards(console, story, texts)
    _groups(console, story, texts)
    _levels(console, story, texts)


def _known_of(story: Mapping, texts: IdTexts) -> Iterator[tuple[str, str]]:
    if story["context"]:
        yield "context", pairs(story["context"])
    if story["profile"] is not None:
        held = story["profile"]
        yield "profile", f"{pairs(held['attributes']) or 'not in it'} (users of {held['date']})"
    if story["history"] is None:
        yield "history", f"features/user_histories has no {story['date']}"
        return
    newest = [
        f"{each['action']} {texts.name('item_id', each['item_id'])}, {moment(each['event_time'])}"
        for each in reversed(story["history"][-_HISTORY:])
    ]
    yield "history", f"{_counted(len(story['history']), 'action')} before" + (":" if newest else "")
    yield from (("", line) for line in newest)


def _funnel(console: Console, story: Mapping) -> None:
    """What each channel returned, and how many of these items each stage kept; then the shown and the acted."""
    shown = {each["item_id"] for each in story["impressions"]}
    acted = {each["item_id"] for each in story["groups"] if each["group"] in ("RTG", "ITG")}
    stages = {name: set(items) for name, items in story["stages"].items() if name in FUNNEL}
    steps = {**stages, "shown": shown, "acted": acted}
    if not story["labelled"]:
        del steps["acted"]
    lists = {each["channel"]: set(each["item_ids"]) for each in story["channels"]}
    every = set().union(*lists.values())
    grid = grids.new("channel", ">returned", *(f">{name}" for name in steps))
    for channel, items in (*lists.items(), (ALL, every)):
        grids.add(
            grid, channel, numbers.count(len(items)), *(numbers.count(len(items & kept)) for kept in steps.values())
        )
    outside = [len(kept - every) for kept in steps.values()]
    if any(outside):
        grids.add(grid, NO_CHANNEL, "", *map(numbers.count, outside))
    grids.show(console, "From retrieved to acted: items of each channel that were still there", grid)
    if not lists:
        console.print("No list of any channel was logged: the request cannot be labelled.")


def _shown(console: Console, story: Mapping, texts: IdTexts) -> None:
    if not story["impressions"]:
        console.print("\nNothing was shown.")
        return
    rankings = [name for name in ("re_ranking", "ranking", "pre_ranking") if name in story["stages"]]
    order = story["stages"][rankings[0]] if rankings else []
    grid = grids.new(
        ">position", "item", "found by (place)", *([f">{rankings[0]}"] if rankings else []), "what followed"
    )
    for each in story["impressions"][:_SHOWN]:
        item = each["item_id"]
        found = ", ".join(f"{name} {place}" for place, name in words.places(item, story["channels"])) or NO_CHANNEL
        place = [str(order.index(item) + 1) if item in order else numbers.NOTHING] if rankings else []
        grids.add(grid, str(each["position"]), texts.name("item_id", item), found, *place, _followed(story, item))
    grids.show(console, f"Shown: {_counted(len(story['impressions']), 'impression')}", grid)
    more(console, len(story["impressions"]) - _SHOWN)


def _followed(story: Mapping, item: int) -> str:
    label = next((each for each in story["groups"] if each["item_id"] == item), None)
    if label is None or label["action"] is None:
        return numbers.NOTHING
    return f"{label['action']} in {label['scenario']}"


def _afterwards(console: Console, story: Mapping, texts: IdTexts) -> None:
    title = f"What the user did in the {story['window_hours']} hours from the request"
    if not story["afterwards"]:
        console.print(f"\n{title}: nothing")
        return
    grid = grids.new("when", "action", "item", "where", "belongs to", "because")
    for each in story["afterwards"][:_AFTERWARDS]:
        owners = ", ".join("this" if owner == story["request_id"] else owner for owner in each["belongs_to"])
        after = words.later(each["event_time"] - story["request_time"]).removesuffix(" later")
        item = texts.name("item_id", each["item_id"])
        grids.add(grid, after, each["action"], item, each["scenario"], owners or "none", each["why"])
    grids.show(console, title, grid)
    more(console, len(story["afterwards"]) - _AFTERWARDS)


def _groups(console: Console, story: Mapping, texts: IdTexts) -> None:
    if not story["labelled"]:
        console.print(f"\nNo groups yet: run label_target_groups --date {story['date']}")
        return
    if not story["target"]:
        console.print(f"\nNo groups: {story['scenario']} is no target scenario")
        return
    if not story["groups"]:
        console.print("\nNo groups: nothing was shown and nothing acted on, or no channel's list was logged")
        return
    shown = [each for each in story["groups"] if each["group"] == TargetGroup.ETG]
    acted = [each for each in story["groups"] if each["group"] != TargetGroup.ETG]
    grid = grids.new("group", "item", "why")
    followed = sum(each["action"] is not None for each in shown)
    grids.add(grid, "ETG", _counted(len(shown), "item"), f"shown; {numbers.count(followed)} of them acted on")
    for each in acted[:_ACTED]:
        grids.add(grid, each["group"], texts.name("item_id", each["item_id"]), each["why"])
    grids.show(console, "Groups", grid)
    more(console, len(acted) - _ACTED)


def _levels(console: Console, story: Mapping, texts: IdTexts) -> None:
    if story["levels"] is None:
        console.print(f"\nNo levels: samples/hccp_samples has no row of it on {story['date']}")
        return
    grid = grids.new("level", ">items", "best first")
    for level, items in story["levels"].items():
        named = ", ".join(texts.name("item_id", item) for item in items[:_ITEMS])
        grids.add(grid, level, str(len(items)), named + (", …" if len(items) > _ITEMS else ""))
    grids.show(console, "Levels of the pre-ranker's sample", grid)


def _items_named(story: Mapping) -> set[int]:
    rows: Iterable[Mapping] = [*story["impressions"], *story["afterwards"], *story["groups"], *(story["history"] or [])]
    levels: Sequence[Sequence[int]] = [*(story["levels"] or {}).values()]
    return {each["item_id"] for each in rows} | {item for items in levels for item in items[:_ITEMS]}


def heading(console: Console, what: str, rest: str) -> None:
    console.print(Text.assemble((what, "bold"), f"  {rest}"))


def pairs(values: Mapping) -> str:
    return ", ".join(f"{name} {_brief(value)}" for name, value in values.items())


def _brief(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value[:3]))}{', …' if len(value) > 3 else ''}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _counted(number: int, noun: str) -> str:
    return f"{numbers.count(number)} {noun}{'' if number == 1 else 's'}"


def moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S")


def more(console: Console, left: int, which: str = "more") -> None:
    if left > 0:
        console.print(Text(f"… and {numbers.count(left)} {which}; --json has all", "dim"))
