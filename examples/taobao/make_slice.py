"""Cut the slice: `python make_slice.py EVENTS.csv.gz events.parquet` (needs duckdb; NOTICE says what EVENTS is).

Drops the derived pv_of_bought_pair rows and keeps every remaining row on the 5,000 items with the most rows before
2017-11-28 00:00 UTC (ties by smaller item_id), which is 25 to 27 November and the last eight hours of the 24th.
"""

import sys

import duckdb

events, slice_file = sys.argv[1:]
duckdb.execute("SET threads = 1")
duckdb.execute(
    f"""
    COPY (
        WITH real AS (SELECT * FROM read_csv('{events}') WHERE behavior <> 'pv_of_bought_pair'),
        dense AS (
            SELECT item_id FROM real WHERE ts < epoch(TIMESTAMP '2017-11-28')
            GROUP BY item_id ORDER BY count(*) DESC, item_id LIMIT 5000
        )
        SELECT user_id::INTEGER AS user_id, item_id::INTEGER AS item_id, behavior, ts::INTEGER AS "timestamp"
        FROM real WHERE item_id IN (FROM dense) ORDER BY ts, user_id, item_id, behavior
    ) TO '{slice_file}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 19)
    """
)
