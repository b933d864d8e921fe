"""`python -m local`: the embedded run."""

import sys

from local.cli import main

sys.exit(main())
