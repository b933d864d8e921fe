"""An emulator of AWS on this machine, and the stack of template.yaml on it: deploy, feed, read back."""
