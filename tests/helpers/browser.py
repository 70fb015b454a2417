"""A headless Chromium, where this machine has one, spoken to over a pipe."""
import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

import pytest

NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needed = pytest.mark.skipif(
    not CHROMIUM, reason='no Chromium: apt-get install chromium')
READ, WRITE = 3, 4  # where --remote-debugging-pipe listens and speaks


class Page:
  """An open page: js(expression), until(expression), said, shot(path)."""

  def __init__(self, to, answers):
    self.to, self.answers, self.count, self.session = to, answers, 0, None
    self.said, self.rest = [], b''  # of the console, and of the pipe

  def ask(self, method: str, **params):
    """The result of a command of the DevTools protocol."""
    self.count += 1
    message = {'id': self.count, 'method': method, 'params': params}
    if self.session:
      message['sessionId'] = self.session
    os.write(self.to, json.dumps(message).encode() + b'\0')
    while True:
      found = self.next()
      if found.get('id') == self.count:
        assert 'error' not in found, found
        return found['result']

  def next(self) -> dict:
    """The next message; what the console says is kept."""
    while b'\0' not in self.rest:
      self.rest += os.read(self.answers, 1 << 20)
    one, _, self.rest = self.rest.partition(b'\0')
    found = json.loads(one)
    if found.get('method') in ('Runtime.consoleAPICalled', 'Runtime.exceptionThrown',
                               'Log.entryAdded'):
      self.said.append(json.dumps(found['params']))
    return found

  def js(self, expression: str):
    """What an expression gives in the page."""
    found = self.ask('Runtime.evaluate', expression=expression, returnByValue=True,
                     awaitPromise=True)
    assert 'exceptionDetails' not in found, found
    return found['result'].get('value')

  def until(self, expression: str, seconds: float = 90.0):
    """Waits until an expression holds."""
    end = time.monotonic() + seconds
    while not (value := self.js(expression)):
      assert time.monotonic() < end, f'{expression} does not hold; {self.said}'
      time.sleep(0.05)
    return value

  def shot(self, path):
    with open(path, 'wb') as f:
      f.write(base64.b64decode(self.ask('Page.captureScreenshot')['data']))


@contextlib.contextmanager
def opened(address: str, folder, dark: bool = False, size=(1200, 900)):
  """Yields a Page, loaded."""
  (read, to), (answers, write) = os.pipe(), os.pipe()
  process = subprocess.Popen(
      ['bash', '-c', f'exec "$@" {READ}<&{read} {WRITE}>&{write}', 'bash', CHROMIUM,
       '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
       '--remote-debugging-pipe', f'--user-data-dir={folder}/chromium', 'about:blank'],
      pass_fds=(read, write), stderr=subprocess.DEVNULL)
  page = Page(to, answers)
  try:
    target = page.ask('Target.createTarget', url='about:blank')['targetId']
    page.session = page.ask('Target.attachToTarget', targetId=target,
                            flatten=True)['sessionId']
    for domain in ('Runtime', 'Log', 'Page'):
      page.ask(f'{domain}.enable')
    page.ask('Emulation.setDeviceMetricsOverride', width=size[0], height=size[1],
             deviceScaleFactor=1, mobile=False)
    page.ask('Emulation.setEmulatedMedia', features=[
        {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
    page.ask('Page.navigate', url=address)
    page.until(f'location.href.startsWith({json.dumps(address)}) '
               '&& document.readyState === "complete"')
    yield page
  finally:
    process.kill()
    process.wait()
    for fd in (read, to, answers, write):
      os.close(fd)


def data_of(page: str) -> dict:
  """The JSON that a report has in it."""
  start = page.index('id="data">') + len('id="data">')
  return json.loads(page[start:page.index('</script>', start)])
