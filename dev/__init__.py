"""Tools for developers of this project: embedded run, simulator, trace, fault sweep, benchmark."""
