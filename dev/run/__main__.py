"""`python -m dev.run`: the embedded run."""

import sys

from dev.run.cli import main

sys.exit(main())
