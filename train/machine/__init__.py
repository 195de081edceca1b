"""The machine below: processes, signals, preemption, peak FLOPs, work directory."""
