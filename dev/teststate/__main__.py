"""`python -m dev.teststate`: tests every state of the definition."""

import sys

from dev.teststate.command import main

sys.exit(main())
