"""What `settings.toml` might say of a producer's files: guesses from names, types and a few values of each column."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from difflib import SequenceMatcher

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from jobs.ingestion import sources, units
from jobs.ingestion.landing import File
from schemas.storage.root import Root
from schemas.storage.settings import ID_COLUMNS, PATH, UNITS, RootSettings
from schemas.table import TIME, Table

SAMPLE_ROWS = 1000
_LIKE = 0.6  # the least similarity of two names
_SYNONYMS = {
    "request_id": "rid reqid requestid session sessionid query queryid search searchid pv pvid impressionid",
    "user_id": "uid user userid visitor visitorid customer customerid member memberid account accountid clientid",
    "item_id": "iid item itemid sku skuid product productid goods goodsid article articleid aid movieid newsid videoid "
    "contentid docid",
    "item_ids": "items itemlist products skus articles candidates results recalled list",
    "scenario": "scene page pagetype surface placement tab screen",
    "request_time": "ts timestamp time datetime createdat eventtime eventtimestamp",
    "event_time": "ts timestamp time datetime createdat occurredat eventtimestamp",
    "impression_time": "ts timestamp time datetime createdat shownat eventtime eventtimestamp",
    "logged_time": "logtime ingesttime servertime receivedat loadedat arrivaltime ts timestamp",
    "event_id": "eid id eventid uuid logid actionid",
    "action": "event eventtype type behavior behaviortype behaviour actiontype feedback",
    "position": "pos rank slot index place",
    "channel": "source recall recaller retriever strategy channelname trigger",
    "stage": "phase step module stagename",
    "scores": "score scorelist weights",
    "category_id": "category categoryid cat catid",
}
_WORDS = {
    "click": "view pv detail open visit clickout clicks clicked",
    "favorite": "fav like save wishlist collect favourite",
    "cart": "addtocart addcart basket carts add",
    "purchase": "buy order transaction paid pay purchased orders checkout",
    "pre_ranking": "prerank preranking prerank coarse coarseranking",
    "ranking": "rank fineranking fine ranked",
    "re_ranking": "rerank reranking reranked mixing",
    "shadow_ranking": "shadow shadowranking",
}
_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_TEXTS = ("string", "binary", "uuid")


@dataclass(frozen=True)
class Suggestion:
    """Of one log: missing column of the contract -> the producer's columns that could be meant, the likeliest first;
    and what to add to its section and to `[ids]`. `needed`: the missing columns without which every row is refused.
    """

    candidates: dict[str, list[str]] = field(default_factory=dict)
    section: dict[str, dict] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    needed: tuple[str, ...] = ()


def suggest(table: Table, files: Sequence[File], root_files: Root, settings: RootSettings) -> Suggestion:
    """Guess what is missing; a guess is taken over only where one column is likelier than every other."""
    filled = [file for file in files if file.rows]
    if not filled:
        return Suggestion()
    file, log = filled[0], settings.log(table)
    kinds = {name: kind for each in filled for name, kind in each.types.items()}
    kinds |= {f"{PATH}{name}": "string" for each in filled for name in each.folders if name != "date"}
    origins = {name: sources.source(log, name, file.types, file.folders) for name in table.names}
    missing = [name for name, source in origins.items() if source == sources.NO_SOURCE]
    taken = {source.column for source in origins.values()}
    free = {name: kind for name, kind in kinds.items() if name not in taken}
    candidates = {name: _candidates(table, name, free, kinds) for name in missing}
    columns = _chosen(candidates)
    constants = {}
    required = [name for name in missing if _is_required(table, name)]
    if "logged_time" in missing and "logged_time" not in columns:
        known = columns.get("event_time") or origins["event_time"].column
        columns |= {"logged_time": known} if known else {}
    if "scenario" in missing and "scenario" not in columns:
        constants["scenario"] = settings.scenarios[0]
    chosen = {name: source.column for name, source in origins.items() if source.column is not None}
    chosen |= {name: column for name, column in columns.items() if not column.startswith(PATH)}
    sample = _sample(root_files, file, sorted(set(chosen.values())))
    clocks, words = {}, {}
    for name, column in chosen.items():
        kind = table.columns[table.names.index(name)].type
        if kind == TIME and name not in log.units and units.is_number(kinds[column] or ""):
            clocks |= _unit(name, sample[column], file.day)
        if name in sources.VOCABULARIES:
            words |= _words(name, sample[column], log.values.get(name, {}))
    section = {"columns": columns, "units": clocks, "constants": constants, "values": words}
    return Suggestion(
        {name: found for name, found in candidates.items() if _is_required(table, name) or found},
        {name: part for name, part in section.items() if part},
        _text_ids(table, chosen, kinds, sample, settings),
        tuple(required),
    )


def merged(settings: Mapping, suggestions: Mapping[str, Suggestion]) -> dict:
    """The settings with the suggestions of each log; what a person wrote stays."""
    ids = {name: kind for each in suggestions.values() for name, kind in each.ids.items()}
    whole = {**settings, "ids": ids | settings.get("ids", {}), "logs": dict(settings.get("logs", {}))}
    for log, suggestion in suggestions.items():
        section = {name: dict(part) for name, part in whole["logs"].get(log, {}).items()}
        for name, part in suggestion.section.items():
            held = section.setdefault(name, {})
            for key, value in part.items():
                held[key] = value | held.get(key, {}) if isinstance(value, dict) else held.get(key, value)
        whole["logs"][log] = section
    whole["logs"] = {log: section for log, section in whole["logs"].items() if section}
    return {name: part for name, part in whole.items() if part not in ({}, None)}


def _is_required(table: Table, name: str) -> bool:
    return not table.columns[table.names.index(name)].nullable and name != "scores"


def _candidates(table: Table, name: str, free: Mapping, kinds: Mapping) -> list[str]:
    """Columns whose type suits and whose name is alike; of times also those that are taken."""
    kind = table.columns[table.names.index(name)].type
    pool = kinds if kind == TIME else free
    rated = {column: _likeness(name, column) for column, landed in pool.items() if _suits(kind, name, landed or "")}
    alike = [column for column, likeness in rated.items() if likeness >= _LIKE]
    return sorted(alike, key=lambda column: (-rated[column], column not in free, column))


def _chosen(candidates: Mapping[str, list[str]]) -> dict[str, str]:
    """The likeliest column of each, none for two unless both are times."""
    chosen: dict[str, str] = {}
    likeliest = sorted(candidates, key=lambda name: -max((_likeness(name, c) for c in candidates[name]), default=0))
    for name in likeliest:
        left = [c for c in candidates[name] if c not in chosen.values() or name.endswith("_time")]
        if left:
            chosen[name] = left[0]
    return {name: chosen[name] for name in candidates if name in chosen}


def _likeness(name: str, column: str) -> float:
    """1 for the same letters and digits, 0.9 for a usual other name, else how alike the texts are.

    Hardly a log has two lists of ids, so any is like `item_ids`.
    """
    wanted, given = _plain(name), _plain(column.removeprefix(PATH))
    if wanted == given:
        return 1.0
    if given in _SYNONYMS.get(name, "").split():
        return 0.9
    if name == "item_ids" and re.sub(r"(list|array|ids|id|s)+$", "", given) in _SYNONYMS["item_id"].split():
        return 0.85
    return max(SequenceMatcher(None, wanted, given).ratio() * 0.9, _LIKE if name == "item_ids" else 0)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _suits(kind: pa.DataType, name: str, landed: str) -> bool:
    inner = landed.removeprefix("array<").removesuffix(">")
    if pa.types.is_list(kind) != landed.startswith("array<"):
        return False
    if kind == TIME:
        return landed in ("timestamp", "timestamp_ntz", "nanos", "date") or units.is_number(landed)
    if name.removesuffix("s") in ID_COLUMNS:
        return inner in (*_INTEGERS, *_TEXTS, "double") or "decimal" in inner
    if pa.types.is_list(kind):
        return inner in ("float", "double")
    if pa.types.is_string(kind):
        return inner in (*_INTEGERS, *_TEXTS)
    return inner in (*_INTEGERS, "string", "double")


def _sample(root: Root, file: File, columns: list[str]) -> dict[str, pa.ChunkedArray]:
    with root.filesystem.open_input_file(file.path) as source, parquet.ParquetFile(source) as opened:
        batch = next(opened.iter_batches(batch_size=SAMPLE_ROWS, columns=columns), None)
        table = pa.table(batch) if batch is not None else opened.schema_arrow.empty_table()
        return {name: table[name] for name in columns}


def _unit(name: str, values: pa.ChunkedArray, day: date) -> dict[str, str]:
    """The unit in which the numbers lie nearest to the date, if it is near at all."""
    try:
        number = pc.min(values.cast(pa.float64())).as_py()
    except pa.ArrowInvalid:
        return {}
    if number is None:
        return {}
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()
    distance = {unit: abs(number / 1000**power - noon) for power, unit in enumerate(UNITS)}
    unit = min(distance, key=distance.get)
    return {name: unit} if distance[unit] < 400 * 86_400 else {}


def _words(name: str, values: pa.ChunkedArray, known: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Words of the sample that are neither the contract's nor mapped; what none is like is set aside."""
    vocabulary = sources.VOCABULARIES[name]
    words = [str(word) for word in values.unique().to_pylist() if word is not None]
    unknown = sorted(word for word in words if word not in vocabulary and word not in known)
    meanings = {word: _meaning(word, vocabulary) for word in unknown[:20]}
    return {name: meanings} if meanings else {}


def _meaning(word: str, vocabulary: Sequence[str]) -> str:
    plain = _plain(word)
    for meaning in vocabulary:
        if plain == _plain(meaning) or plain in _WORDS[meaning].split():
            return meaning
    return ""


def _text_ids(table: Table, chosen: Mapping, kinds: Mapping, sample: Mapping, settings: RootSettings) -> dict[str, str]:
    """The id columns that cannot be int64."""
    found = {}
    for name, column in chosen.items():
        identifier = name.removesuffix("s")
        if identifier not in ID_COLUMNS or settings.is_text(identifier):
            continue
        kind = (kinds[column] or "").removeprefix("array<").removesuffix(">")
        values = sample[column]
        if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
            values = pc.list_flatten(values)
        if kind == "uuid" or ((kind in _TEXTS or "decimal" in kind) and not _are_int64(values)):
            found[identifier] = "text"
    return found


def _are_int64(values: pa.ChunkedArray) -> bool:
    try:
        whole = [int(value) for value in values.to_pylist() if value is not None]
    except (ValueError, TypeError, ArithmeticError):
        return False
    return all(-(2**63) <= value < 2**63 for value in whole)
