"""`python -m ops`: commands for operators."""

import sys
from pathlib import Path

# The commands use the functions' package manifest_builder.
sys.path.insert(0, str(Path(__file__).parents[1] / "functions"))

from ops.cli import main
from toolkit.ending import end_when_told

end_when_told()
sys.exit(main())
