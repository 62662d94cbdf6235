"""Curves over time as an SVG, for docs/images: small multiples that share the axis of time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

Curve = Sequence[tuple[float, float]]

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 820, 150, 64, 16, 34, 34
COLOURS = ("#1f5fa8", "#b4531a", "#3a7d44")
STYLE = "font:12px system-ui,sans-serif;fill:#333"


def draw(path: Path, panels: Mapping[str, Mapping[str, Curve]], x_name: str, columns: int = 1) -> None:
    """Write one panel for each name, with its curves of (x, y) by their names; y begins at 0."""
    width = (WIDTH - GAP * (columns - 1)) / columns
    rows = -(-len(panels) // columns)
    height = rows * (TOP + PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="{STYLE}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
    ]
    for number, (title, curves) in enumerate(panels.items()):
        row, column = divmod(number, columns)
        parts += _panel(column * (width + GAP), row * (TOP + PANEL + GAP) + TOP, width, title, curves, x_name)
    path.write_text("\n".join([*parts, "</svg>", ""]), "utf-8")


def _panel(left: float, top: float, width: float, title: str, curves: Mapping[str, Curve], x_name: str) -> list[str]:
    points = [point for curve in curves.values() for point in curve]
    far, high = _round_up(max(x for x, _ in points)), _round_up(max(y for _, y in points))
    begin, end, bottom = left + LEFT, left + width - RIGHT, top + PANEL

    def at(x: float, y: float) -> str:
        return f"{begin + x / far * (end - begin):.1f},{bottom - y / high * PANEL:.1f}"

    parts = [f'<text x="{begin}" y="{top - 12}" font-weight="600">{escape(title)}</text>']
    for part in range(5):
        x, y = at(far * part / 4, 0).split(",")[0], at(0, high * part / 4).split(",")[1]
        unit = x_name if part == 4 else ""
        parts += [
            f'<path d="M{begin} {y}H{end:.1f}" stroke="#ddd"/>',
            f'<text x="{begin - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{high * part / 4:g}</text>',
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{far * part / 4:g}{unit}</text>',
        ]
    for number, (name, curve) in enumerate(curves.items()):
        colour, beside = COLOURS[number % len(COLOURS)], -110 * number
        line = " ".join(at(x, y) for x, y in curve)
        parts += [
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>',
            f'<text x="{end:.1f}" y="{top - 12}" dx="{beside}" text-anchor="end" fill="{colour}">{escape(name)}</text>',
        ]
    return parts


def _round_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 8 times a power of ten: its quarters are short to write."""
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    while scale > value > 0:
        scale /= 10
    return next(step * scale for step in (1, 2, 4, 5, 6, 8, 10) if step * scale >= value)
