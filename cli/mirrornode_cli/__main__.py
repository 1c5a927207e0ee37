"""`python -m mirrornode_cli`."""

from __future__ import annotations

import sys

from mirrornode_cli.main import main

sys.exit(main())
