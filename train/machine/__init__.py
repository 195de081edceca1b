"""Host and devices: processes, signals, preemption, peak FLOP/s, work directory."""
