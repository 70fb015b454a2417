"""A headless Chromium, where this machine has one."""
import json
import shutil
import subprocess

import pytest

NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needed = pytest.mark.skipif(
    not CHROMIUM, reason='no Chromium: apt-get install chromium')


def opened(address: str, folder, seconds: float = 3.0, dark: bool = False,
           size=(1200, 900)) -> tuple[str, list[str]]:
  """(HTML of a page after its script ran, lines of its console).

  A screenshot lies at folder/page.png.
  """
  flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
           f'--user-data-dir={folder}/chromium', '--enable-logging=stderr',
           f'--virtual-time-budget={seconds * 1000:.0f}',
           f'--window-size={size[0]},{size[1]}',
           f'--blink-settings=preferredColorScheme={0 if dark else 1}']
  found = subprocess.run([CHROMIUM, *flags, '--dump-dom', address], timeout=120,
                         capture_output=True, text=True, check=True)
  subprocess.run([CHROMIUM, *flags, f'--screenshot={folder}/page.png', address],
                 timeout=120, capture_output=True, check=True)
  return found.stdout, [line for line in found.stderr.splitlines() if 'CONSOLE' in line]


def data_of(page: str) -> dict:
  """The JSON that a report has in it."""
  start = page.index('id="data">') + len('id="data">')
  return json.loads(page[start:page.index('</script>', start)])
