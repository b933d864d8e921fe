"""What developers of this project run: the embedded run, the simulator, the trace, the faults, the benchmark."""
