"""`python -m lensdepth` is the command `lensdepth`."""

import sys

from lensdepth.cli import main

sys.exit(main())
