"""The service with other constants, so that a test need not wait: service_main.py '{"poll_seconds": 0.05}'."""

import json
import sys

from prediction_api.__main__ import main
from prediction_api.settings import Settings

for name, value in json.loads(sys.argv[1]).items():
    assert name in Settings.__class_vars__, name
    setattr(Settings, name, value)
sys.exit(main())
