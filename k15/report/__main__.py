"""The command: `python -m k15.report RUN...`."""

import sys

from k15.report import run_page

if __name__ == '__main__':
  run_page.main(sys.argv[1:])
