"""Pull the events of a window into files, day by day, each event exactly once, continuing from the last pull.

days.py       which days to fetch, and in which file each is kept
clocks.py     when a day was fetched, by two clocks
gaps.py       days that can no longer be fetched
lines.py      blocks of lines → checked lines
arrivals.py   what arrives of a day: written as it comes while it is in order
sort.py       any number of entries → sorted and unique, in bounded memory
formats.py    JSON lines and CSV
parquet.py    Parquet
row_groups.py      events → the row groups of a Parquet file
directory.py  the files, the manifest, and the lock of a directory
drafts.py     new files, until they replace others
single.py     one file instead of a directory
text_files.py      files of text, plain or as gzip
messages.py        events → records that sort by message → messages
message_files.py   the files of messages, and which of them an update replaces
message_formats.py JSON lines and CSV of messages
message_parquet.py Parquet of messages
terms.py      the inputs and outputs of a pull: options, source, reports, summary
pull.py       a pull, from its plan to its summary
schedule.py   which day is next, how many threads, and when to give up
fetch.py      fetches one complete day from the server, or raises an error
receive.py    receives one day, in one try
helper.py     a second process that receives days
fold.py       merges days into files
ledger.py     the results of a pull so far
errors.py     the errors of a pull
"""
