"""Pull the events of a window into files, day by day, each event once, and go on where the last pull stood.

days.py       which days to fetch, and which file each is kept in
clocks.py     as of when a day was fetched, by two clocks
gaps.py       days that nobody can fetch any more
lines.py      blocks of lines → checked entries
sort.py       any number of entries → sorted and each once, in bounded memory
formats.py    JSON lines and CSV
parquet.py    Parquet
directory.py  the files, what is known of them, and that nobody else writes them
terms.py      what a pull is told and what it tells
pull.py       a pull from its plan to its summary
schedule.py   which day is next, by how many threads, and when to give up
fetch.py      one day from the server, complete, or an error
fold.py       days into files: merged with what is there, put in its place
ledger.py     what came of a pull so far
errors.py     what can go wrong
"""
