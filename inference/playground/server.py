"""The playground's server: a page, and an answer to what it asks for.

It listens on this machine alone and opens no file that a request could name: what it
gives are the fixed files of PAGES, and pictures that it has drawn. One request is drawn
at a time, few wait, and a browser's other pages are refused (Host and Origin).
"""
import base64
import contextlib
import http.server
import io
import json
import os
import queue
import threading
from urllib.parse import urlsplit

import numpy as np

from console.errors import one_line
from data import images
from inference.playground import asked as asking, drawing

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = '127.0.0.1'
NAMES = '127.0.0.1', 'localhost'
PAGES = {'/': ('page.html', 'text/html'), '/page.css': ('page.css', 'text/css'),
         '/page.js': ('page.js', 'text/javascript')}
HEADERS = {'Content-Security-Policy': (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data: blob:; form-action 'none'; frame-ancestors 'none'"),
    'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-store',
    'Referrer-Policy': 'no-referrer', 'Cross-Origin-Resource-Policy': 'same-origin'}
MOST_WAITING = 4      # requests, beside the one that is drawn
MOST_CONNECTIONS = 32
SECONDS = 30          # that a connection may be silent
SMALL = 160           # pixels of a side up to which pictures on the way are PNGs


class Watch:
  """The host's end of a sampler: hands what is on the way to whoever draws now."""

  def __init__(self):
    self.tell = None

  def __call__(self, step, steps, pictures):
    if self.tell:
      self.tell(int(step), int(steps), np.asarray(pictures))


class Playground:
  """A model behind a page.

  Attributes:
    model: of inference.load.
    place: flags of sample.py that name the model, for command lines.
    address: of the page.
  """

  def __init__(self, model, place: list[str], port: int = 0):
    """Binds to a port of this machine, 0 for any. Raises OSError where it is taken."""
    self.model, self.place, self.watch = model, place, Watch()
    self.turn, self.places = threading.Lock(), threading.Semaphore(1 + MOST_WAITING)
    self.usual, self.choices = drawing.usual(model), drawing.choices(model)
    handler = type('Handler', (Handler,), {'playground': self})
    self.server = Server((HOST, port), handler)
    self.address = f'http://{HOST}:{self.server.server_port}/'

  def serve(self):
    """Answers until `close`, or until it is interrupted."""
    self.server.serve_forever(poll_interval=0.1)

  def close(self):
    self.server.shutdown()
    self.server.server_close()

  def about(self) -> dict:
    """What the page has to know of the model."""
    c, (height, width) = self.model.config, self.model.size
    return {'name': ' '.join(self.place), 'source': self.model.source,
            'height': height, 'width': width, 'any_size': self.model.module.any_size,
            'usual': self.usual, 'choices': self.choices,
            'prompts': list(c.sample.prompts), 'most_text': asking.MOST_TEXT,
            'most_sides': asking.MOST_SIDES,
            'numbers': {k: v[1:] for k, v in asking.NUMBERS.items()}}

  def read(self, body: bytes):
    """(Asked, its jobs). Raises ValueError for what makes no sense."""
    asked = asking.from_json(body, self.usual, self.choices, self.model.size,
                             self.model.config.data.channels)
    return asked, drawing.jobs(self.model, asked)

  def draw(self, asked, jobs, tell, wanted):
    """Does jobs, telling of each event, a dict; stops between two if not wanted()."""
    try:
      for i, job in enumerate(jobs):
        if not wanted():
          return
        offset = [0]
        def on_the_way(step, steps, pictures, i=i, offset=offset):
          tell({'job': i, 'step': step, 'steps': steps, 'first': offset[0],
                'pictures': [address(x, way=True) for x in pictures]})
        def done(count, offset=offset):
          offset[0] = count
        self.watch.tell = on_the_way
        pictures = drawing.answer(self.model, job, asked, self.watch, done)
        tell({'job': i, 'label': job.label,
              'command': drawing.command_line(self.model, job, self.place),
              'pictures': [address(x) for x in pictures]})
    except Exception as e:  # whatever went wrong is this request's alone
      tell({'error': one_line(e)[:500]})
    finally:
      self.watch.tell = None
      tell(None)

  def warm_up(self):
    """Compiles the program of the first picture; others wait for it."""
    body = json.dumps({'mode': 'draw', 'prompt': ''}).encode()
    with self.turn:
      self.draw(*self.read(body), lambda event: None, lambda: True)


def address(picture: np.ndarray, way: bool = False) -> str:
  """uint8 [h w c] as a data: address: a PNG, or on the way a JPEG where it is large."""
  kind, data = 'PNG', io.BytesIO()
  if way and max(picture.shape) > SMALL:
    kind = 'JPEG'
  images.pillow(picture).save(data, kind)
  text = base64.b64encode(data.getvalue()).decode()
  return f'data:image/{kind.lower()};base64,{text}'


class Server(http.server.ThreadingHTTPServer):
  """A thread a connection, of which there are few."""
  daemon_threads = True
  request_queue_size = MOST_CONNECTIONS

  def __init__(self, *args):
    super().__init__(*args)
    self.free = threading.Semaphore(MOST_CONNECTIONS)

  def process_request(self, request, client_address):
    if not self.free.acquire(blocking=False):
      return self.shutdown_request(request)
    super().process_request(request, client_address)

  def process_request_thread(self, request, client_address):
    try:
      super().process_request_thread(request, client_address)
    finally:
      self.free.release()

  def handle_error(self, request, client_address):
    """A connection that breaks is nobody's business."""


class Handler(http.server.BaseHTTPRequestHandler):
  """Answers GET of PAGES and /about, and POST of /draw with a line of JSON an event."""
  playground: Playground
  timeout = SECONDS
  server_version, sys_version = 'playground', ''

  def log_message(self, *args):
    """Says nothing."""

  def do_GET(self):
    if self.foreign():
      return self.refuse(403, 'this page is for this machine alone.')
    if self.path == '/about':
      return self.give(200, 'application/json', json.dumps(self.playground.about()))
    if self.path not in PAGES:
      return self.refuse(404, 'there is no such page.')
    name, kind = PAGES[self.path]
    with open(os.path.join(HERE, name), encoding='utf-8') as f:
      self.give(200, kind, f.read())

  def do_POST(self):
    if self.foreign():
      return self.refuse(403, 'this page is for this machine alone.')
    if self.path != '/draw':
      return self.refuse(404, 'there is no such page.')
    if self.headers.get_content_type() != 'application/json':
      return self.refuse(415, 'a request is application/json.')
    length = self.headers.get('Content-Length', '')
    if not (length.isascii() and length.isdigit()) or len(length) > 12:
      return self.refuse(411, 'a request says its length.')
    if int(length) > asking.MOST_BYTES:
      return self.refuse(413, f'a request has at most {asking.MOST_BYTES:,} bytes.')
    body = self.rfile.read(int(length))
    try:
      asked, jobs = self.playground.read(body)
    except ValueError as e:
      return self.refuse(400, one_line(e))
    if not self.playground.places.acquire(blocking=False):
      return self.refuse(503, 'others are drawing and waiting; try again in a moment.')
    try:
      self.answer(asked, jobs)
    finally:
      self.playground.places.release()

  def foreign(self) -> bool:
    """Whether another machine's name was asked for, or another page asks."""
    host = self.headers.get('Host', '')
    origin = self.headers.get('Origin')
    try:
      known = urlsplit(f'//{host}').hostname in NAMES
    except ValueError:
      return True
    return not known or origin is not None and origin != f'http://{host}'

  def answer(self, asked, jobs):
    """Waits for its turn, then passes on what is drawn, event by event."""
    events, here, turn = queue.Queue(), [True], self.playground.turn
    self.head(200, 'application/x-ndjson')
    with contextlib.suppress(OSError):
      while not turn.acquire(timeout=1.0):
        self.event({'waiting': True})
      def draw():  # gives the turn back, also after this connection has gone
        try:
          self.playground.draw(asked, jobs, events.put, lambda: here[0])
        finally:
          turn.release()
      threading.Thread(target=draw, daemon=True).start()
      try:
        while (event := events.get()) is not None:
          self.event(event)
      finally:
        here[0] = False

  def event(self, event: dict):
    self.wfile.write(json.dumps(event).encode() + b'\n')
    self.wfile.flush()

  def head(self, code: int, kind: str, length: int | None = None):
    self.send_response(code)
    self.send_header('Content-Type', f'{kind}; charset=utf-8')
    if length is not None:
      self.send_header('Content-Length', str(length))
    for name, value in HEADERS.items():
      self.send_header(name, value)
    self.end_headers()

  def give(self, code: int, kind: str, text: str):
    data = text.encode()
    self.head(code, kind, len(data))
    self.wfile.write(data)

  def refuse(self, code: int, line: str):
    self.close_connection = True
    self.give(code, 'application/json', json.dumps({'error': line}))
