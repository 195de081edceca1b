"""Plans for absent TPUs: an execution of each bucket that their compiler has accepted."""
