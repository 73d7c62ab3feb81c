"""The findings of `data check` along the log: one lane per finding; a mark tells its message, without a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from forethought.data.checks import Examination, Finding, Severity
from forethought.page.html import Section

MARKS = 120
"""Places of a lane that can be told apart; findings that fall on one place share a mark."""
_COLOURS = {Severity.ERROR: "--c1", Severity.WARNING: "--c4", Severity.INFO: "--c0"}


def timeline(found: Examination, lengths: Mapping[int, int]) -> Section:
    """One lane per finding, episodes end to end, each as wide as the others."""
    findings = found.findings
    if not findings:
        return Section(
            "findings", "Findings", "", "<p>No findings: <code>forethought data check</code> has nothing to say.</p>"
        )
    place = {name: index for index, name in enumerate(found.ids)}
    lanes = "".join(_lane(f"f{i}", finding, found.places, place, lengths) for i, finding in enumerate(findings))
    last = max(0, len(found.ids) - 1)
    axis = f'<div class="axis small dim"><span>episode 0</span><span>{last}</span></div>' if last else ""
    lead = "Episodes from left to right; in each, rows from left to right. Point at a mark, or click it, to read what was found there."
    return Section("findings", "Findings", lead, f'<div class="film">{lanes}{axis}</div>')


def _lane(id: str, finding: Finding, places: Sequence[Finding], place: Mapping[str, int], lengths: Mapping[int, int]) -> str:
    here = [p for p in places if (p.code, p.sensor) == (finding.code, finding.sensor)]
    groups: dict[tuple[int, int], list[Finding]] = {}
    for one in here:
        groups.setdefault(_span(one, place, lengths), []).append(one)
    colour = _COLOURS[finding.severity]
    marks = "".join(_mark(f"{id}-{start}", start, stop, some, colour) for (start, stop), some in sorted(groups.items()))
    told = "".join(
        f'<div class="told note" id="{id}-{start}">{_told(some)}</div>' for (start, _), some in sorted(groups.items())
    )
    what = f"{escape(finding.code)}{f' · {escape(finding.sensor)}' if finding.sensor else ''}"
    head = f'<b style="color:var({colour})">{finding.severity.value}</b> <b>{what}</b> <span class="dim">× {finding.count:,}</span>'
    track = f'<svg viewBox="0 0 {MARKS} 10" preserveAspectRatio="none" aria-label="where">{marks}</svg>'
    return f'<div class="lane"><div class="small">{head}</div>{track}<div class="small dim">{escape(finding.message)}</div>{told}</div>'


def _span(finding: Finding, place: Mapping[str, int], lengths: Mapping[int, int]) -> tuple[int, int]:
    """First and last mark: the row's, or the whole episode's, or the whole log's."""
    index = place.get(finding.episode or "")
    if index is None:
        return 0, MARKS
    rows = lengths.get(index, 0) + 1
    first, last = (0.0, 1.0) if finding.row is None else (finding.row / rows, (finding.row + 1) / rows)
    start, stop = (MARKS * (index + share) / len(place) for share in (first, last))
    return min(int(start), MARKS - 1), max(int(start) + 1, round(stop))


def _mark(target: str, start: int, stop: int, some: Sequence[Finding], colour: str) -> str:
    more = f", and {len(some) - 1} more here" if len(some) > 1 else ""
    label = escape(f"{_where(some[0])}: {some[0].message}{more}")
    shade = "" if some[0].episode else ";opacity:.35"
    return (
        f'<a href="#{target}" aria-label="{label}"><rect x="{start}" y="1" width="{stop - start}" height="8" '
        f'style="fill:var({colour}){shade}"><title>{label}</title></rect></a>'
    )


def _told(some: Sequence[Finding], most: int = 5) -> str:
    lines = [f"<b>{escape(_where(one))}</b>: {escape(one.message)}" for one in some[:most]]
    lines += [f"and {len(some) - most} more here"] * (len(some) > most)
    return "<br>".join(lines)


def _where(finding: Finding) -> str:
    if finding.episode is None:
        return "the whole log"
    rows = f", {finding.count} rows" if finding.count > 1 else ""
    return f"episode '{finding.episode}'" + (f", row {finding.row}{rows}" if finding.row is not None else rows)
