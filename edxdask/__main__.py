"""``python -m edxdask`` is the command ``edxdask``."""

import sys

from edxdask.cli import main

sys.exit(main())
