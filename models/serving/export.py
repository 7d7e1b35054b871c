"""What serving needs of a trained model, without our code: towers as SavedModels, item vectors, an index.

Below the directory of a model that has vectors:

    saved_model/user/1  serving_default(history_item_ids int64 [B, L], history_actions string [B, L],
                        user_ids int64 [B]) -> vectors float32 [B, D]; histories as the tables hold them,
                        oldest first, padded behind with any id and the empty action
    saved_model/item/1  serving_default(item_ids int64 [C]) -> vectors float32 [C, D]
    item_vectors/       Parquet: item_id int64, vector list<float>, by item_id
    index.faiss         inner product over item_vectors; an entry's number is its position
    index_ids/          Parquet: position int64, item_id int64

Below that of one whose network crosses user and item, so that it has none:

    saved_model/scorer/1  serving_default(history_item_ids, history_actions as above, item_ids int64 [B, C])
                          -> scores float32 [B, C]

The `1` is the version that TensorFlow Serving looks for below a model's base path. Vectors and index hold the items
that are alive. Where the producer's ids are text, item_vectors and index_ids have a column `item_text`.
Ids are int64 in every signature: a float32 keeps apart no ids above 2^24.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import faiss
import numpy as np
import pyarrow as pa
import tensorflow as tf
from pyarrow import parquet

from models.batches import Batch, size
from schemas.table import FLOATS, ID
from schemas.vocabulary import Action

EXPORTED = ("saved_model", "item_vectors", "index.faiss", "index_ids")  # names in the model's directory
RECALL_AT = 100
VERSION = 1  # of each SavedModel; a directory holds one training, so there is never a second

_FLAT_BELOW = 20_000  # items; below it an exact search takes less than a millisecond
_TRAINING_VECTORS_PER_CELL = 64
_TIE = 1e-6
_TEXT = ("item_text", pa.string())
_HISTORIES = (tf.TensorSpec((None, None), tf.int64), tf.TensorSpec((None, None), tf.string))
_ITEMS_AT_ONCE = 65_536
_LISTED = 50  # items a request that a scorer is compared on


class Towers(Protocol):
    """What is exported of a model: its vectors, and the same in plain TensorFlow operations."""

    has_vectors: bool  # True; False for a `Scorer`
    item_vocabulary: np.ndarray  # int64 [C]

    def user_vectors(self, rows: Batch) -> np.ndarray: ...

    def item_vectors(self, item_ids: np.ndarray) -> np.ndarray: ...

    def user_vectors_of(self, history_item_ids: tf.Tensor, history_actions: tf.Tensor, user_ids: tf.Tensor): ...

    def item_vectors_of(self, item_ids: tf.Tensor): ...


class Scorer(Protocol):
    """What is exported of a model without vectors: its scores, and the same in plain TensorFlow operations."""

    item_vocabulary: np.ndarray  # int64 [C]

    def scores(self, rows: Batch, requests: np.ndarray, item_ids: np.ndarray) -> np.ndarray: ...

    def scores_of(self, history_item_ids: tf.Tensor, history_actions: tf.Tensor, item_ids: tf.Tensor): ...


@dataclass(frozen=True)
class IndexQuality:
    """What was built, and the share of the exact top 100 that it finds."""

    kind: str  # `flat` or `ivf`
    cells: int  # lists of an IVF, 1 for a flat index
    probes: int  # lists that a query searches; stored inside the index
    recall_at: int
    recall: float
    queries: int


def export(
    model: Towers,
    history_length: int,
    queries: np.ndarray,
    folder: Path,
    item_ids: np.ndarray | None = None,
    texts: pa.Array | None = None,
) -> dict:
    """Write everything below a local folder; returns what a manifest says of it.

    Args:
        history_length: the longest history that the user tower takes; of a longer one its newest part counts.
        queries: float32 [Q, D], user vectors that the index is tuned and measured with.
        item_ids: int64 [C], ascending, what vectors and index hold; all that the model knows if None.
        texts: the producer's text of each; None where its ids are numbers.
    """
    write_towers(model, history_length, folder)
    item_ids = np.sort(model.item_vocabulary) if item_ids is None else item_ids
    starts = range(0, max(len(item_ids), 1), _ITEMS_AT_ONCE)
    vectors = np.concatenate([model.item_vectors(item_ids[start : start + _ITEMS_AT_ONCE]) for start in starts])
    write_item_vectors(item_ids, vectors, folder, texts)
    index, quality = build_index(vectors, queries)
    write_index(index, item_ids, folder, texts)
    return {"items": len(item_ids), "dimensions": vectors.shape[1], "index": asdict(quality)}


def write_towers(model: Towers, history_length: int, folder: Path) -> None:
    """The two SavedModels: batch-polymorphic, apart, plain TensorFlow operations."""

    def user(history_item_ids, history_actions, user_ids):
        items, actions = newest_first(history_item_ids, history_actions, history_length)
        return {"vectors": model.user_vectors_of(items, actions, user_ids)}

    def item(item_ids):
        return {"vectors": model.item_vectors_of(item_ids)}

    _save(folder / "saved_model/user", user, [*_HISTORIES, tf.TensorSpec((None,), tf.int64)])
    _save(folder / "saved_model/item", item, [tf.TensorSpec((None,), tf.int64)])


def export_scorer(model: Scorer, history_length: int, rows: Batch, folder: Path) -> dict:
    """Write the scorer below a local folder; returns what a manifest says of it.

    Args:
        rows: requests that it is loaded back and compared with the model on.
    """

    def score(history_item_ids, history_actions, item_ids):
        items, actions = newest_first(history_item_ids, history_actions, history_length)
        return {"scores": model.scores_of(items, actions, item_ids)}

    _save(folder / "saved_model/scorer", score, [*_HISTORIES, tf.TensorSpec((None, None), tf.int64)])
    asked = np.resize(model.item_vocabulary, (size(rows), min(_LISTED, len(model.item_vocabulary))))
    fed = fed_user(rows)
    del fed["user_ids"]
    loaded = load_saved_model(folder / "saved_model/scorer").signatures["serving_default"]
    served = loaded(**fed, item_ids=tf.constant(asked, tf.int64))["scores"].numpy()
    own = model.scores(rows, np.repeat(np.arange(len(asked)), asked.shape[1]), asked.ravel())
    return {"items": 0, "largest_difference": float(np.abs(served.ravel() - own).max(initial=0))}


def _save(folder: Path, function, signature: list[tf.TensorSpec]) -> None:
    """A SavedModel with one signature, below its version's folder; it holds just the variables that it uses."""
    module = tf.Module()
    module.vectors = tf.function(function, input_signature=signature)
    serving = module.vectors.get_concrete_function()
    module.held = tuple(serving.variables)
    tf.saved_model.save(module, str(folder / str(VERSION)), signatures={"serving_default": serving})


def load_saved_model(folder: Path):
    """The SavedModel in a folder, its newest numbered version; an older export lies in the folder itself."""
    versions = [int(path.name) for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]
    return tf.saved_model.load(str(folder / str(max(versions)) if versions else folder))


def action_codes(actions: tf.Tensor) -> tf.Tensor:
    """`Action.strength` of action names, int32; 0 for the empty string and for any other."""
    return tf.add_n([action.strength * tf.cast(actions == str(action), tf.int32) for action in Action])


def newest_first(items_BL: tf.Tensor, actions_BL: tf.Tensor, length: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Turn histories of oldest first, padded behind, into the newest `length` entries of newest first, padded behind.

    A history ends at its last non-empty action, so an action of no known name keeps its place, with the code 0.

    Args:
        items_BL: int64 [B, L]. actions_BL: action names [B, L], empty where padded.

    Returns:
        Item ids and action codes, both [B, min(L, length)].
    """
    places_L = 1 + tf.range(tf.shape(actions_BL)[1])
    lengths_B = tf.reduce_max(tf.where(actions_BL != "", places_L, 0), axis=1)
    lengths_B = tf.maximum(lengths_B, 0)  # the maximum over no column is the least integer
    columns = (items_BL, action_codes(actions_BL))
    items_BN, codes_BN = (tf.reverse_sequence(column, lengths_B, seq_axis=1)[:, :length] for column in columns)
    return items_BN, codes_BN


def fed_user(rows: Batch) -> dict[str, tf.Tensor]:
    """A batch of user_id, history_item_ids, history_actions as the user signature's arguments."""
    items, codes = rows["history_item_ids"], rows["history_actions"]
    width = max(int(items.lengths.max(initial=0)), 1)
    names = np.array(["", *map(str, Action)])
    return {
        "history_item_ids": tf.constant(items.padded(width), tf.int64),
        "history_actions": tf.constant(names[codes.padded(width)]),
        "user_ids": tf.constant(rows["user_id"], tf.int64),
    }


def largest_difference(folder: Path, model: Towers, rows: Batch, item_ids: np.ndarray) -> float:
    """The largest difference between vectors of the SavedModels below a folder and the model's own."""
    user, item = (load_saved_model(folder / f"saved_model/{name}") for name in ("user", "item"))
    users = user.signatures["serving_default"](**fed_user(rows))["vectors"].numpy() - model.user_vectors(rows)
    items = item.signatures["serving_default"](item_ids=tf.constant(item_ids, tf.int64))["vectors"].numpy()
    differences = [np.abs(users), np.abs(items - model.item_vectors(item_ids))]
    return float(max(difference.max(initial=0) for difference in differences))


def write_item_vectors(item_ids: np.ndarray, vectors: np.ndarray, folder: Path, texts: pa.Array | None = None) -> None:
    """item_vectors/part-0.parquet, in the order given."""
    width = vectors.shape[1]
    schema = pa.schema([("item_id", ID), *(() if texts is None else [_TEXT]), ("vector", FLOATS)])
    (folder / "item_vectors").mkdir(parents=True)
    with parquet.ParquetWriter(folder / "item_vectors/part-0.parquet", schema, compression="zstd") as writer:
        for start in range(0, len(item_ids), _ITEMS_AT_ONCE):
            part = vectors[start : start + _ITEMS_AT_ONCE]
            offsets = pa.array(np.arange(len(part) + 1) * width, pa.int32())
            lists = pa.ListArray.from_arrays(offsets, pa.array(part.ravel(), pa.float32()))
            columns = {"item_id": pa.array(item_ids[start : start + _ITEMS_AT_ONCE], ID), "vector": lists}
            if texts is not None:
                columns["item_text"] = texts.slice(start, _ITEMS_AT_ONCE)
            writer.write_table(pa.table(columns).select(schema.names).cast(schema))


def build_index(vectors: np.ndarray, queries: np.ndarray, at_least: float = 0.98) -> tuple[faiss.Index, IndexQuality]:
    """An inner-product index whose recall@100 against exact search is `at_least` that, with as few probes as do.

    Exact below 20,000 items, inverted lists (IVF) above. An IVF whose probes reach every list is exact, so
    the loop ends. Another item with the same score as the last exact one counts as found.

    Args:
        vectors: float32 [C, D]. queries: float32 [Q, D].
    """
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    depth = min(RECALL_AT, len(vectors))
    if len(vectors) < _FLAT_BELOW or not len(queries):
        return exact, IndexQuality("flat", 1, 1, depth, 1.0, len(queries))
    cells = int(4 * np.sqrt(len(vectors)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.max_points_per_centroid = _TRAINING_VECTORS_PER_CELL
    index.train(vectors)
    index.add(vectors)
    last_scores = exact.search(queries, depth)[0][:, -1:]
    index.nprobe = 1
    while (found := recall(index, queries, last_scores, depth)) < at_least and index.nprobe < cells:
        index.nprobe = min(2 * index.nprobe, cells)
    return index, IndexQuality("ivf", cells, index.nprobe, depth, found, len(queries))


def recall(index: faiss.Index, queries: np.ndarray, last_scores: np.ndarray, depth: int) -> float:
    """Share of the exact top `depth` that the index finds; last_scores [Q, 1] are the exact ones' smallest."""
    scores, positions = index.search(queries, depth)
    return float(((scores >= last_scores - _TIE) & (positions >= 0)).mean())


def write_index(index: faiss.Index, item_ids: np.ndarray, folder: Path, texts: pa.Array | None = None) -> None:
    """index.faiss, and index_ids/part-0.parquet that gives the item of each entry."""
    faiss.write_index(index, str(folder / "index.faiss"))
    rows = pa.table({"position": pa.array(np.arange(len(item_ids)), ID), "item_id": pa.array(item_ids, ID)})
    if texts is not None:
        rows = rows.append_column(pa.field(*_TEXT), texts)
    (folder / "index_ids").mkdir(parents=True)
    parquet.write_table(rows, folder / "index_ids/part-0.parquet", compression="zstd")
