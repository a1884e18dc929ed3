"""``python -m capture`` is the ``capture`` command."""

import sys

from capture.cli import main

sys.exit(main())
