"""`report.html`: one self-contained page that a person likes to read."""

from forethought.arena.report.page import write_report

__all__ = ["write_report"]
