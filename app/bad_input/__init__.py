"""Bad input by machine: cases made from a seed, and what a command makes of each.

A kind of input is one file in `kinds/`: a function of a seed and an empty folder that returns a
`Case`. The bound: it works, or it is one line and status 2; never a traceback, a hang, a silent
loss.
"""
