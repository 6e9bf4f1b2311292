"""`python -m framework`."""

import sys

try:
    from framework.cli.main import main
except ModuleNotFoundError as error:
    package = (error.name or "framework").partition(".")[0]
    if package == "framework":
        raise
    sys.exit(
        f"framework: the package {package} is missing; on hosts, ./infrainit.sh -f builds an image with it; "
        "without a cluster: pip install ."
    )

sys.exit(main())
