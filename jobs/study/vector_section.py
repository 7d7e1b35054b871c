"""The page's part about item vectors: two planes a variant, and how far ITG and RTG items really are apart."""

import numpy as np

from jobs.report import numbers
from jobs.report.page.charts import Cloud, scatter_chart
from jobs.study import neighbours
from jobs.study.pictures import BOTH, ITG, MOST, RTG, Items, Picture
from jobs.study.planes import Apart, Planes

_COLUMNS = ("all dimensions", "PCA", "t-SNE", "dealt anew", "dealt anew among equal popularity")


def section(picture: Picture) -> dict:
    """Everything the template says of the item vectors."""
    items = picture.items
    counts = [f"{numbers.count(items.there[group])} {group}" for group in (ITG, RTG, BOTH)]
    apart = [each.apart for each in picture.planes if each.apart]
    return {
        "counts": ", ".join(counts),
        "most": MOST,
        "nearest": neighbours.NEAREST,
        "chance": numbers.percent(apart[0].chance) if apart else numbers.NOTHING,
        "pictures": [_pictures(each, items) for each in picture.planes],
        "columns": _COLUMNS,
        "rows": [{"variant": each.variant, "cells": _cells(each.apart)} for each in picture.planes if each.apart],
    }


def _pictures(planes: Planes, items: Items) -> dict:
    kept = numbers.percent(planes.kept)
    return {
        "variant": planes.variant,
        "charts": [
            (f"PCA, {kept} of the variance", _chart(planes.pca, items, f"Item vectors of {planes.variant}, PCA")),
            ("t-SNE", _chart(planes.tsne, items, f"Item vectors of {planes.variant}, t-SNE")),
        ],
    }


def _chart(points: np.ndarray, items: Items, title: str) -> str:
    groups = ((BOTH, 0, True), (RTG, 0, False), (ITG, 1, False))
    clouds = [Cloud(group, points[items.groups == group].tolist(), number, faint) for group, number, faint in groups]
    return scatter_chart(clouds, title)


def _cells(apart: Apart) -> list[str]:
    """As _COLUMNS has them."""
    shares = [numbers.percent(each) for each in (apart.whole, apart.pca, apart.tsne)]
    ranges = [f"{100 * low:.1f} to {100 * high:.1f} %" for low, high in (apart.anew, apart.alike)]
    return [*shares, *ranges]
