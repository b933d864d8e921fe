"""Importing a function checks its settings, so they are there before anything else is."""

import os

from dev.simulator.world import ENVIRONMENT

os.environ.update(ENVIRONMENT)
