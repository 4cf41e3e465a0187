"""Variables that libraries read when they are imported; to be imported before them."""

import os
import sys

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler reports each start otherwise
if "--interpreter" in sys.argv:
    os.environ["TRITON_INTERPRET"] = "1"
