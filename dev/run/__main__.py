"""`python -m dev.run`: the embedded run."""

import sys

from dev.paths import CODE

# The run announces files by the functions' package manifest_builder.
sys.path.insert(0, str(CODE))

from dev.run.cli import main

sys.exit(main())
