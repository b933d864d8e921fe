"""The embedded run: the deployed template on an emulator of AWS on this machine, fed and checked."""
