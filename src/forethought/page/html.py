"""Small pieces of the page: sections, tables, pictures. Text is escaped here, once."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import final

import numpy as np
from numpy.typing import NDArray

from forethought.page.png import encode_png
from forethought.page.style import STYLE


@final
@dataclass(frozen=True)
class Section:
    """One part of the page: an anchor, a title, a lead that says how to read it, and what it shows."""

    id: str
    title: str
    lead: str
    body: str

    def html(self) -> str:
        """The section; a part with nothing to show is left out."""
        lead = f'<p class="lead">{self.lead}</p>' if self.lead else ""
        return f'<section id="{self.id}"><h2>{escape(self.title)}</h2>{lead}{self.body}</section>' if self.body else ""


def whole_page(title: str, top: str, sections: Sequence[Section]) -> str:
    """The page: its head, links to the sections that have something to show, and these."""
    there = [section for section in sections if section.body]
    links = "".join(f'<a href="#{section.id}">{escape(section.title)}</a>' for section in there)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f"<body><main>{top}<nav>{links}</nav>{''.join(section.html() for section in there)}</main></body></html>"
    )


def cards(figures: Sequence[tuple[str, str]]) -> str:
    """A row of big figures, each with what it means."""
    shown = "".join(f'<div class="card"><b>{escape(big)}</b>{escape(small)}</div>' for big, small in figures)
    return f'<div class="cards">{shown}</div>'


def figure(body: str, caption: str, title: str = "") -> str:
    """A framed figure; every caption says n."""
    head = f"<b>{escape(title)}</b>" if title else ""
    return f"<figure>{head}{body}<figcaption>{caption}</figcaption></figure>"


def grid(parts: Sequence[str], least: int = 300) -> str:
    """Figures side by side, as many as fit, none narrower than `least` pixels (or the screen)."""
    few = " few" if len(parts) < 3 else ""
    return f'<div class="grid{few}" style="--least:{least}px">{"".join(parts)}</div>' if parts else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], main: int | None = None) -> str:
    """A table that scrolls by itself where it is too wide; cells are HTML; row `main` stands out."""
    top = "".join(f"<th>{cell}</th>" for cell in head)
    body = "".join(_row(row, index == main) for index, row in enumerate(rows))
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(row: Sequence[str], main: bool) -> str:
    cells = "".join(f"<td>{cell}</td>" for cell in row)
    return f'<tr class="main">{cells}</tr>' if main else f"<tr>{cells}</tr>"


def picture(image_HWC: NDArray[np.uint8], alt: str = "", width: int | None = None, kind: str = "") -> str:
    """An image tag that carries its PNG."""
    colour = image_HWC if image_HWC.shape[-1] in (1, 3) else image_HWC[..., :3]
    data = base64.b64encode(encode_png(np.ascontiguousarray(colour))).decode()
    size = f' width="{width}"' if width else ""
    name = f' class="{kind}"' if kind else ""
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}"{size}{name}>'


def shrink(image_HWC: NDArray[np.uint8], most: int = 96) -> NDArray[np.uint8]:
    """Means of whole blocks until the longer side is at most about `most`."""
    step = max(1, round(max(image_HWC.shape[:2]) / most))
    rows, columns = (side // step * step for side in image_HWC.shape[:2])
    blocks = image_HWC[:rows, :columns].reshape(rows // step, step, columns // step, step, -1)
    small: NDArray[np.uint8] = blocks.mean((1, 3)).astype(np.uint8)
    return small
