"""What was committed, for requests that use what they know until something is.

A server of a database must be asked. Requests that wait at the same time share one question, as long as it is asked
after they came: only then does the mark tell of every commit that was acknowledged before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.web.once import Once

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.catalog.dialects.base import CommitMark
    from smsevents.web.fair import FairThreads


class CommitMarks:
    """Marks of the commits to one database, for coroutines of one event loop."""

    def __init__(self, database: Database, threads: FairThreads) -> None:
        """Ask a server in one of the threads, which should have nothing else to do."""
        self._database = database
        self._once: Once[CommitMark | None] = Once(threads, "commits")

    async def mark(self) -> CommitMark | None:
        """Return a mark that differs after each commit of any process, or None if that is not known.

        It tells of all commits that were acknowledged before the call. Raises what `Database.commit_mark` raises.
        """
        if self._database.dialect.marks_commits_at_once:
            return self._database.commit_mark()
        return await self._once.run(self._database.commit_mark)
