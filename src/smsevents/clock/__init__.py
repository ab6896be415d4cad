"""Time: the clocks of the machine, and how far each is trusted.

system.py   the wall clock and the clock that cannot be set
trusted.py  the mark of trusted time, compared with both clocks: pure functions
"""
