"""Pictures of the page as inline SVG: no script, no file beside the page, colours from the page's style."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 492, 290
_LEFT, _TOP, _BOTTOM = 46, 12, 40
_CHARACTER = 8.6  # the width of one in a line's name, about; capitals are as wide, others narrower
_LABEL_HEIGHT = 15
_BAR_STEP = 22
_COLOURS, _DASHES = 6, 4
_DOT, _LAYERS = 6, 8  # a dot's distance from the frame, more than half its width; of a cloud's points


@dataclass(frozen=True)
class Point:
    """`spread` draws a bar of one deviation up and down; `note` is shown when the pointer rests on it."""

    x: float
    y: float
    spread: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Line:
    """`number` picks the colour of a strong line, or the dashes of a faint one."""

    name: str
    points: tuple[Point, ...]
    number: int
    faint: bool = False

    @property
    def style(self) -> str:
        return f"faint dash{self.number % _DASHES}" if self.faint else f"strong colour{self.number % _COLOURS}"


@dataclass(frozen=True)
class Bar:
    """A difference and the interval that is drawn across its end; `note` as in Point."""

    name: str
    value: float
    low: float
    high: float
    note: str = ""


@dataclass(frozen=True)
class Cloud:
    """Points of one kind, each a pair; `number` picks the colour, a faint one is grey."""

    name: str
    points: Sequence[tuple[float, float]]
    number: int = 0
    faint: bool = False

    @property
    def style(self) -> str:
        return "cloud faint" if self.faint else f"cloud colour{self.number % _COLOURS}"


@dataclass(frozen=True)
class _Scale:
    """A linear or logarithmic scale from data to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)


def line_chart(
    lines: Sequence[Line], title: str, x_name: str, *, share: bool = True, log_x: bool = False, from_zero: bool = True
) -> Markup:
    """Lines with their names at their ends, strong ones drawn above faint ones.

    Args:
        share: the y values are shares and are written as per cent.
        log_x: K cut-offs, which people choose as 10, 100, 1000.
    """
    points = [point for line in lines for point in line.points]
    xs = sorted({point.x for point in points})
    tops = [point.y + (point.spread or 0) for point in points]
    ticks = _ticks(0.0 if from_zero else min(point.y - (point.spread or 0) for point in points), max(tops))
    right = _WIDTH - 32 - min(24, max(len(line.name) for line in lines)) * _CHARACTER
    x = _Scale(xs[0], xs[-1], _LEFT, right, log=log_x and xs[0] > 0)
    y = _Scale(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    parts = [_axes(x, y, xs, ticks, x_name, share)]
    parts += [_drawn(line, x, y) for line in sorted(lines, key=lambda line: not line.faint)]
    parts += _names(lines, x.end, y)
    return _svg(parts, _HEIGHT, title)


def bar_chart(bars: Sequence[Bar], title: str) -> Markup:
    """Horizontal bars from 0, in the order given, each with its interval; values are shares, written in points."""
    left = 16 + min(26, max(len(bar.name) for bar in bars)) * _CHARACTER
    height = len(bars) * _BAR_STEP + _TOP + _BOTTOM
    ends = [end for bar in bars for end in (bar.low, bar.high, bar.value, 0.0)]
    ticks = _ticks(min(ends), max(ends), about=4)
    x, bottom = _Scale(ticks[0], ticks[-1], left, _WIDTH - 16), height - _BOTTOM
    digits, parts = _digits(100 * (ticks[1] - ticks[0])), []
    for tick in ticks:
        style = "axis" if tick == 0 else "rule"
        parts.append(f'<line class="{style}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x(tick):.1f}" y="{bottom + 16}">{100 * tick:+.{digits}f}</text>')
    parts.append(f'<text class="tick mid" x="{(left + _WIDTH) / 2:.1f}" y="{bottom + 33}">points</text>')
    for number, bar in enumerate(bars):
        top, start, width = _TOP + number * _BAR_STEP, min(x(0), x(bar.value)), abs(x(bar.value) - x(0))
        middle = top + _BAR_STEP / 2
        parts.append(f'<g class="strong colour0"><title>{escape(bar.note or bar.name)}</title>')
        parts.append(f'<text class="end" x="{left - 8:.1f}" y="{middle + 4:.1f}">{escape(bar.name)}</text>')
        parts.append(f'<rect x="{start:.1f}" y="{top + 4}" width="{width:.1f}" height="{_BAR_STEP - 8}"/>')
        parts.append(f'<path d="M{x(bar.low):.1f} {middle:.1f}H{x(bar.high):.1f}"/></g>')
    return _svg(parts, height, title)


def scatter_chart(clouds: Sequence[Cloud], title: str) -> Markup:
    """Clouds of points in a square, both axes with one scale and without numbers, names and sizes below.

    They are drawn in layers, a few points of each in turn, so that no cloud covers the others. A layer is one path
    whose dots are lines of no length: a thousand circles would be ten times as long.
    """
    xs, ys = zip(*(point for cloud in clouds for point in cloud.points), strict=True)
    half = max(max(each) - min(each) for each in (xs, ys)) / 2 or 1.0
    across, up = ((max(each) + min(each)) / 2 for each in (xs, ys))
    x = _Scale(across - half, across + half, _DOT, _WIDTH - _DOT)
    y = _Scale(up - half, up + half, _WIDTH - _DOT, _DOT)
    parts = [f'<rect class="frame" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{_WIDTH - 1}"/>']
    for layer in range(_LAYERS):
        for cloud in clouds:
            dots = "".join(f"M{x(px):.1f} {y(py):.1f}h0" for px, py in cloud.points[layer::_LAYERS])
            parts += [f'<g class="{cloud.style}"><path d="{dots}"/></g>'] if dots else []
    at = 2 * _DOT
    for cloud in clouds:
        name = f"{cloud.name} ({len(cloud.points):,})"
        parts.append(f'<g class="{cloud.style}"><path class="key" d="M{at:.1f} {_WIDTH + 16}h0"/></g>')
        parts.append(f'<text x="{at + 10:.1f}" y="{_WIDTH + 20}">{escape(name)}</text>')
        at += 26 + len(name) * _CHARACTER
    return _svg(parts, _WIDTH + 26, title)


def _svg(parts: Sequence[str], height: int, title: str) -> Markup:
    about = f'class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}"'
    return Markup("\n".join([f"<svg {about}>", *parts, "</svg>"]))


def _axes(x: _Scale, y: _Scale, xs: list[float], ticks: list[float], x_name: str, share: bool) -> str:
    right, bottom = x.end, _HEIGHT - _BOTTOM
    digits = _digits(100 * (ticks[1] - ticks[0]))
    parts = []
    for tick in ticks:
        text = f"{100 * tick:.{digits}f} %" if share else f"{tick:g}"
        parts.append(f'<line class="rule" x1="{_LEFT}" x2="{right:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y(tick) + 4:.1f}">{text}</text>')
    for value in _apart(xs, x):
        parts.append(f'<text class="tick mid" x="{x(value):.1f}" y="{bottom + 16}">{value:g}</text>')
    parts.append(f'<text class="tick mid" x="{(_LEFT + right) / 2:.1f}" y="{bottom + 33}">{escape(x_name)}</text>')
    return "\n".join(parts)


def _digits(step: float) -> int:
    """The fewest decimals with which ticks this far apart are written as they are."""
    return next(digits for digits in range(9) if math.isclose(round(step, digits), step, rel_tol=1e-6) or digits == 8)


def _drawn(line: Line, x: _Scale, y: _Scale) -> str:
    at = [(x(point.x), y(point.y), point) for point in line.points]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in at)
    parts = [f'<g class="{line.style}">', f'<polyline points="{path}"/>']
    for px, py, point in at:
        if point.spread:
            half = abs(y(point.y + point.spread) - py)
            parts.append(f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{py - half:.1f}" y2="{py + half:.1f}"/>')
        note = f"<title>{escape(point.note)}</title>" if point.note else ""
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="{2.2 if line.faint else 3.4}">{note}</circle>')
    return "\n".join([*parts, "</g>"])


def _names(lines: Sequence[Line], right: float, y: _Scale) -> list[str]:
    """Each line's name beside its last point, moved up or down so that no two touch."""
    ordered = sorted(lines, key=lambda line: y(line.points[-1].y))
    wanted = [y(line.points[-1].y) for line in ordered]
    placed = _spaced(wanted, _TOP + 4, _HEIGHT - _BOTTOM + 4)
    parts = []
    for line, at, mine in zip(ordered, wanted, placed, strict=True):
        lead = f'<line class="lead" x1="{right + 4:.1f}" y1="{at:.1f}" x2="{right + 14:.1f}" y2="{mine:.1f}"/>'
        name = f'<text class="name" x="{right + 17:.1f}" y="{mine + 4:.1f}">{escape(line.name)}</text>'
        parts.append(f'<g class="{line.style}">{lead}{name}</g>')
    return parts


def _spaced(wanted: list[float], low: float, high: float) -> list[float]:
    """Places near the wanted ones (sorted), at least a label's height apart, inside low..high where they fit."""
    placed = []
    for at in wanted:
        placed.append(max(at, low, placed[-1] + _LABEL_HEIGHT if placed else low))
    limit = high
    for number in reversed(range(len(placed))):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - _LABEL_HEIGHT
    return placed


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover low..high."""
    extent = (high - low) or abs(high) or 1.0
    raw = extent / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * n, 12) for n in range(first, max(last, first + 1) + 1)]


def _apart(xs: list[float], x: _Scale) -> list[float]:
    """The x values to write: those far enough from the one written before."""
    if len(xs) > 8:
        step = math.ceil(len(xs) / 8)
        xs = xs[::step]
    if all(x(after) - x(before) > 18 for before, after in pairwise(xs)):
        return xs
    kept = xs[:1]
    for value in xs[1:]:
        if x(value) - x(kept[-1]) > 18:
            kept.append(value)
    return kept
