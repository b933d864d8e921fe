"""`python -m ops`: commands for operators."""

import sys
from pathlib import Path

# The commands ask the table in the functions' own words.
sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))

from ops.cli import main

sys.exit(main())
