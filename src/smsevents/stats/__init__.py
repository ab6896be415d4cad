"""Numbers over an interval of a shop's log. They equal a count over an export, whatever overlaps in the log.

parts.py           a log in parts, each event once: tallies where a segment counts as a whole, otherwise lines
kept.py            what tallies said, for the next question
interval.py        a time as text, in a time zone → the interval that is meant
calendar.py        an interval → buckets of the local calendar
question.py        what is asked: interval, axis, buckets, groups, what is wanted
grouping.py        counts by bucket, status and source → rows, with names
events.py          how many events
took.py            counts of how long deliveries took → percentiles, shares, a histogram
delivery.py        how long the delivery took, by bucket and source
messages.py        how many messages, by their state
message_lines.py   lines → what decides on the state of a message
message_states.py  events in any order → messages with their states, in bounded memory
day_counts.py      the messages of days of sending, as they are kept
keeping.py         the messages of settled days are counted once and kept
kept_messages.py   what is kept of the messages that are asked for, and what is left to be counted
"""
