"""Prints its arguments exactly, as JSON, and two metrics about them."""

import hashlib
import json
import sys

arguments = json.dumps(sys.argv[1:])
print(arguments)
print(f"Arguments: length={len(arguments)}, sha256={hashlib.sha256(arguments.encode()).hexdigest()}")
