"""`python -m ruleaudit`."""

import sys

from ruleaudit.cli import main

sys.exit(main())
