"""The items that a model knows: which row of its tables each has, and the codes of its attributes.

Rows: 0 is padding, 1..U are buckets that unknown ids are hashed into, then one row for each known item in the
order in which it became known. Rows are only ever appended, so a table of vectors grows without moving any.
"""

import json
import zlib
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

_MIX = -7046029254386353131  # 0x9E3779B97F4A7C15, the odd constant of Fibonacci hashing, as int64
_QUANTILES = 32


@dataclass(frozen=True)
class Attribute:
    """One attribute of items. Code 0 is unknown; codes 1..size - 1 are hash buckets or number ranges.

    Without boundaries values are hashed (strings, bools, integers named *_id); with boundaries a number's code is
    1 + how many of them it reaches.
    """

    name: str
    size: int
    boundaries: tuple[float, ...] | None = None

    def takes(self, kind: pa.DataType) -> bool:
        """Whether values of this type can be coded: a number where ranges were learned, else what is hashed."""
        if self.boundaries is not None:
            return pa.types.is_integer(kind) or pa.types.is_floating(kind)
        return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind)

    def codes(self, values: pa.Array) -> np.ndarray:
        """int32 [N]; null gives 0."""
        codes = np.zeros(len(values), np.int32)
        there = ~values.is_null().to_numpy(zero_copy_only=False)
        known = values.drop_null()
        if self.boundaries is None:
            codes[there] = 1 + bucket(_integers(known), self.size - 1)
        else:
            codes[there] = 1 + np.searchsorted(self.boundaries, known.cast(pa.float64()).to_numpy(), side="right")
        return codes


@dataclass(frozen=True, eq=False)
class Catalogue:
    """item_ids: int64 [N], in row order; codes: int32 [rows, A], each attribute's codes, 0 for unknown items."""

    unknown_buckets: int
    item_ids: np.ndarray
    attributes: tuple[Attribute, ...]
    codes: np.ndarray

    @classmethod
    def empty(cls, unknown_buckets: int, items: pa.Table | None, attribute_size: int) -> "Catalogue":
        """No item yet; the attributes are those of an `items` snapshot, if there is one, with at most
        `attribute_size` codes each.
        """
        attributes = _attributes(items, attribute_size) if items is not None else ()
        codes = np.zeros((1 + unknown_buckets, len(attributes)), np.int32)
        return cls(unknown_buckets, np.zeros(0, np.int64), attributes, codes)

    @property
    def rows(self) -> int:
        """Padding, unknown buckets and known items together."""
        return 1 + self.unknown_buckets + len(self.item_ids)

    @property
    def first_row(self) -> int:
        """The first known item's row."""
        return 1 + self.unknown_buckets

    def mistyped(self, items: pa.Table) -> dict[str, str]:
        """Attribute -> its type in a snapshot, for those whose values cannot be coded as they were learned."""
        kinds = {each.name: each.type for each in items.schema}
        return {
            each.name: str(kinds[each.name])
            for each in self.attributes
            if each.name in kinds and not each.takes(kinds[each.name])
        }

    def grown(
        self, item_ids: np.ndarray, items: pa.Table | None = None, attribute_size: int | None = None
    ) -> "Catalogue":
        """The same with new ids appended, sorted, and with the attributes of this snapshot for those in it.

        An attribute that the snapshot lacks, or has in a type that cannot be coded, keeps its codes. A column that was
        not an attribute becomes the last one, with at most `attribute_size` codes; it is left out if that is None.
        """
        fresh = np.setdiff1d(np.asarray(item_ids, np.int64), self.item_ids)
        attributes = self.attributes
        if items is not None and attribute_size is not None:
            known = {each.name for each in attributes}
            attributes += tuple(each for each in _attributes(items, attribute_size) if each.name not in known)
        codes = np.zeros((len(self.codes) + len(fresh), len(attributes)), np.int32)
        codes[: len(self.codes), : len(self.attributes)] = self.codes
        item_ids = np.concatenate([self.item_ids, fresh])
        made = replace(self, item_ids=item_ids, attributes=attributes, codes=codes)
        if items is not None:
            rows = made.lookup(items["item_id"].to_numpy())
            known = rows >= made.first_row
            mistyped = made.mistyped(items)
            for n, attribute in enumerate(attributes):
                if attribute.name in items.column_names and attribute.name not in mistyped:
                    codes[rows[known], n] = attribute.codes(_array(items[attribute.name]))[known]
        return made

    def lookup(self, item_ids: np.ndarray) -> np.ndarray:
        """Rows of these ids, int32, same shape; an unknown id gets one of the unknown buckets, always the same."""
        ids = np.asarray(item_ids, np.int64)
        rows = 1 + bucket(ids, self.unknown_buckets)
        if len(self.item_ids):
            place = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
            rows = np.where(self._sorted[place] == ids, self.first_row + self._order[place], rows)
        return rows.astype(np.int32)

    def lookup_hiding(self, item_ids: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
        """`lookup`, but a random share of the ids get the rows that they would get if they were unknown.

        Trained so, an unknown item's vector means something.
        """
        hidden = random.random(len(item_ids)) < share
        return np.where(hidden, 1 + bucket(item_ids, self.unknown_buckets), self.lookup(item_ids)).astype(np.int32)

    def lookup_tensor(self, item_ids: tf.Tensor) -> tf.Tensor:
        """`lookup` in plain TensorFlow operations, for an exported model: int64 [...] -> int32 [...]."""
        rows = 1 + bucket_tensor(item_ids, self.unknown_buckets)
        if len(self.item_ids):
            flat = tf.reshape(item_ids, [-1])
            place = tf.minimum(tf.searchsorted(self._sorted, flat, out_type=tf.int64), len(self._sorted) - 1)
            known = tf.gather(self._sorted, place) == flat
            found = tf.where(known, self.first_row + tf.gather(self._order, place), tf.reshape(rows, [-1]))
            rows = tf.reshape(found, tf.shape(item_ids))
        return tf.cast(rows, tf.int32)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.item_ids).astype(np.int64)

    @cached_property
    def _sorted(self) -> np.ndarray:
        return self.item_ids[self._order]

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, for a checkpoint."""
        settings = {"unknown_buckets": self.unknown_buckets, "attributes": [asdict(a) for a in self.attributes]}
        return {"item_ids": self.item_ids, "codes": self.codes, "settings": np.array(json.dumps(settings))}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Catalogue":
        """From `arrays()`."""
        settings = json.loads(str(arrays["settings"]))
        attributes = tuple(
            Attribute(a["name"], a["size"], None if a["boundaries"] is None else tuple(a["boundaries"]))
            for a in settings["attributes"]
        )
        return cls(settings["unknown_buckets"], arrays["item_ids"], attributes, arrays["codes"])


def bucket(values: np.ndarray, buckets: int) -> np.ndarray:
    """A hash of int64 values in 0..buckets - 1: the high bits of a multiplication, the same on every machine."""
    with np.errstate(over="ignore"):
        return ((values.astype(np.int64) * np.int64(_MIX)) >> 33) % buckets


def bucket_tensor(values: tf.Tensor, buckets: int) -> tf.Tensor:
    """`bucket` in plain TensorFlow operations, int64."""
    return tf.math.floormod(tf.bitwise.right_shift(values * _MIX, tf.constant(33, tf.int64)), buckets)


def by_row(catalogue: Catalogue, item_ids: np.ndarray, values: np.ndarray, missing: float) -> np.ndarray:
    """Values given by item id as float64 [rows] by row; `missing` where there is none."""
    out = np.full(catalogue.rows, missing, np.float64)
    rows = catalogue.lookup(item_ids)
    known = rows >= catalogue.first_row
    out[rows[known]] = values[known]
    return out


def _attributes(items: pa.Table, size: int) -> tuple[Attribute, ...]:
    """The attributes of a snapshot: hashed ones, and numbers cut at their quantiles."""
    found = []
    for name in items.column_names:
        kind, values = items.schema.field(name).type, _array(items[name]).drop_null()
        if name == "item_id" or not len(values):
            continue
        if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not name.endswith("_id")):
            cuts = np.quantile(values.cast(pa.float64()).to_numpy(), np.arange(1, _QUANTILES) / _QUANTILES)
            boundaries = tuple(map(float, np.unique(cuts)))
            found.append(Attribute(name, 2 + len(boundaries), boundaries))
        elif pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind):
            found.append(Attribute(name, 1 + size))
    return tuple(found)


def _integers(values: pa.Array) -> np.ndarray:
    """Values to hash as int64; strings by a checksum of their distinct values."""
    if not pa.types.is_string(values.type):
        return values.cast(pa.int64()).to_numpy()
    coded = values.dictionary_encode()
    checksums = np.array([zlib.crc32(word.encode()) for word in coded.dictionary.to_pylist()], np.int64)
    return checksums[coded.indices.to_numpy()]


def _array(column: pa.ChunkedArray) -> pa.Array:
    """One array of a column; a number that is not finite counts as none."""
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if not pa.types.is_floating(whole.type):
        return whole
    return pc.if_else(pc.is_finite(whole), whole, pa.scalar(None, whole.type))
