"""Whether an address of this computer answers with 200: `python -S -m deployments.health URL`, for containers without curl."""

import sys
import urllib.error
import urllib.request

DEADLINE_S = 8.0


def main(arguments: list[str]) -> int:
    """Exit code 0: it does; 1: it does not; 2: not asked for an address."""
    if len(arguments) != 1 or not arguments[0].startswith("http://"):
        return 2
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(arguments[0], timeout=DEADLINE_S) as answer:
            return int(answer.status != 200)
    except (OSError, urllib.error.URLError):
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
