"""`data show`: one page that a person looks at before an hour is spent on a log."""

from forethought.data.show.page import write_page

__all__ = ["write_page"]
