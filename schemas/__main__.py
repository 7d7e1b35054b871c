"""Print every table's contract: `python -m schemas [TABLE ...]`."""

import sys

from schemas.tables.registry import TABLES


def describe(name: str) -> str:
    table = TABLES[name]
    width = max(len(column.name) for column in table.columns)
    lines = [f"{table.path}  ({table.storage}, key {', '.join(table.key)})", f"  {table.doc}"]
    for column in table.columns:
        null = " or null" if column.nullable else ""
        lines.append(f"  {column.name:<{width}}  {column.type}{null}: {column.doc}")
    if table.open:
        lines.append("  ... and any further string or number attributes")
    return "\n".join(lines)


if __name__ == "__main__":
    asked = sys.argv[1:] or list(TABLES)
    unknown = [name for name in asked if name not in TABLES]
    if unknown:
        sys.exit(f"no table named {', '.join(unknown)}; the tables are {', '.join(TABLES)}")
    print("\n\n".join(describe(name) for name in asked))
