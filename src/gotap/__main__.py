"""`python -m gotap` is the command `gotap`."""

import sys

from gotap.commands.main import main

sys.exit(main())
