"""play.py: its pictures are those of sample.py, and it gives nothing else away."""
import base64
import http.client
import io
import json
import pathlib
import random
import shlex
import signal
import socket
import time
from urllib.parse import urlencode, urlsplit

import numpy as np
from PIL import Image
import pytest

from helpers import browser
from helpers.commands import trained
from inference.playground import asked, server

JSON = {'Content-Type': 'application/json'}


@pytest.fixture(scope='module')
def run(root, commands):
  return trained(root, commands, 'played')


@pytest.fixture(scope='module')
def address(run, commands):
  """Of a playground of that run."""
  process = commands.start('play.py', f'--workdir={run}', '--port=0')
  while 'http://' not in process.said():
    assert not process.ended(), process.said('err')
    time.sleep(0.02)
  yield process.said().split()[0]
  process.send(signal.SIGINT)
  code, _, err = process.wait()
  assert (code, err) == (130, '')


def speak(address, method, path, body=b'', headers=JSON):
  """(status, headers, body) of a request."""
  place = urlsplit(address)
  connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
  connection.request(method, path, body, headers)
  answer = connection.getresponse()
  found = answer.status, dict(answer.headers), answer.read()
  connection.close()
  return found


def post(address, **fields):
  """The events of a drawing."""
  status, _, body = speak(address, 'POST', '/draw', json.dumps(fields).encode())
  events = [json.loads(line) for line in body.splitlines()]
  assert status == 200 and not any('error' in event for event in events), events
  return [event for event in events if 'waiting' not in event]


def decoded(source: str) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(',')[2]))))


def picture(seed: int, size=(40, 24)) -> bytes:
  data = io.BytesIO()
  Image.fromarray(np.random.default_rng(seed).integers(
      0, 256, (*size, 3), np.uint8)).save(data, 'PNG')
  return data.getvalue()


def by_command_line(commands, folder, command: str) -> list[np.ndarray]:
  """What the command line of an answer draws, a file a picture, in a folder."""
  words = shlex.split(command)
  assert words[:2] == ['python', 'sample.py'] and words[-1] == '--out=out.png'
  words = [f'--{name}={folder}/{file}' if file in ('image.png', 'mask.png') else word
           for word in words[2:-1]
           for name, _, file in [word.removeprefix('--').partition('=')]]
  out = folder / 'pictures'
  code, _, err = commands.run('sample.py', *words, f'--out={out}/')
  assert code == 0, err
  return [np.asarray(Image.open(path)) for path in sorted(out.iterdir())]


ADDRESSED = {name: f'data:image/png;base64,{base64.b64encode(picture(i)).decode()}'
             for i, name in enumerate(('image', 'mask'))}
CASES = {
    'draw': dict(mode='draw', prompt="it's a \"red\" ring", num=3, seed=2**32 - 1,
                 negative='a star', steps=5, guidance=2.5),
    'edit': dict(mode='edit', prompt='a ring', image=ADDRESSED['image'], strength=0.5,
                 steps=4, solver='ddim'),
    'inpaint': dict(mode='edit', prompt='a ring', num=2, steps=3, rule='apg',
                    **ADDRESSED),
    'interpolate': dict(mode='interpolate', prompt='a red ring', to_prompt='a star',
                        seed=3, to_seed=4, frames=3),
    'grid': dict(mode='grid', prompt='a\nring', guidances=[1, 3.5], steps_list=[2])}


@pytest.mark.parametrize('case', CASES)
def test_pictures_are_those_of_sample_to_the_bit(address, commands, tmp_path, case):
  fields = CASES[case]
  for name, source in ADDRESSED.items():
    (tmp_path / f'{name}.png').write_bytes(base64.b64decode(source.partition(',')[2]))
  events = post(address, **fields)
  ends = [event for event in events if 'command' in event]
  assert len(ends) == (2 if case == 'grid' else 1)
  there = by_command_line(commands, tmp_path, ends[-1]['command'])
  assert len(there) == len(ends[-1]['pictures'])
  for ours, theirs in zip(ends[-1]['pictures'], there):
    np.testing.assert_array_equal(decoded(ours), theirs)
  # The way there is told step by step, and leads to the picture.
  way = [event for event in events if event.get('job') == len(ends) - 1
         and 'step' in event]
  steps = 1 if case == 'edit' else fields.get('steps', 3)
  steps = 2 if case in ('edit', 'grid') else steps
  assert sorted(event['step'] for event in way) == list(range(1, steps + 1))
  last = max(way, key=lambda event: event['step'])
  for x, y in zip(last['pictures'], ends[-1]['pictures']):
    np.testing.assert_allclose(decoded(x).astype(int), decoded(y), atol=1)


# What is refused.

NO_PAGES = ('/../../../../etc/passwd', '/%2e%2e/%2e%2e/etc/passwd', '//etc/passwd',
            '/etc/passwd', '/page.py', '/server.py', '/page.css/../server.py',
            'file:///etc/passwd', '/page.js?x=../../server.py', '/draw', '/\\..\\..')


@pytest.mark.parametrize('path', NO_PAGES)
def test_no_file_can_be_read(address, path):
  status, headers, body = speak(address, 'GET', path)
  assert status == 404 and b'root' not in body and b'import' not in body
  assert headers['X-Content-Type-Options'] == 'nosniff'


def test_the_page_is_given_with_its_policy(address):
  for path, (name, kind) in server.PAGES.items():
    status, headers, body = speak(address, 'GET', path)
    assert status == 200 and headers['Content-Type'].startswith(kind)
    assert body == (pathlib.Path(server.HERE) / name).read_bytes()
    assert "default-src 'none'" in headers['Content-Security-Policy']
    assert b'http' not in body.replace(b'http-equiv', b'')
  about = json.loads(speak(address, 'GET', '/about')[2])
  assert about['height'] == 16 and 'ddim' in about['choices']['solver']


def test_only_this_machine_is_listened_to(address):
  host, port = urlsplit(address).hostname, urlsplit(address).port
  assert host == '127.0.0.1'
  with socket.socket() as s:
    s.settimeout(2)
    with pytest.raises(OSError):
      s.connect((socket.gethostbyname(socket.gethostname())
                 if not socket.gethostbyname(socket.gethostname()).startswith('127.')
                 else '127.0.0.2', port))


@pytest.mark.parametrize('headers', (
    {'Host': 'evil.example'}, {'Host': 'localhost.evil.example'}, {'Host': '['},
    {'Host': 'localhost:1', 'Origin': 'http://localhost:3000'},
    {'Host': 'localhost', 'Origin': 'null'}, {'Host': ''}))
def test_other_pages_are_refused(address, headers):
  for method, path in (('GET', '/'), ('GET', '/about'), ('POST', '/draw')):
    assert speak(address, method, path, b'{}', JSON | headers)[0] == 403


SANE = {'mode': 'draw', 'prompt': 'a ring'}
HOSTILE = {  # body -> what the answer names
    b'': 'JSON', b'[]': 'object', b'nonsense': 'JSON', b'\xff\xfe': 'JSON',
    b'[' * 100_000: 'JSON', b'{"mode": "draw"}': 'prompt', b'{"prompt": "a"}': 'mode',
    b'{"mode": "draw", "prompt": "a", "guidance": NaN}': 'NaN',
    b'{"mode": "draw", "prompt": "a", "guidance": -Infinity}': 'Infinity',
    b'{"mode": "draw", "prompt": "a", "guidance": 1e999}': 'guidance',
    b'{"mode": "draw", "prompt": "a", "seed": ' + b'9' * 5000 + b'}': 'JSON'}
FIELDS = (  # fields -> what the answer names
    ({'workdir': '/etc'}, 'workdir'), ({'out': '/tmp/x'}, 'out'),
    ({'mode': '../draw'}, 'mode'), ({'mode': ['draw']}, 'mode'),
    ({'solver': '__import__("os")'}, 'solver'), ({'solver': 'dpm(tol=1)'}, 'solver'),
    ({'timesteps': 'custom(times=(1,))'}, 'timesteps'), ({'rule': 7}, 'rule'),
    ({'height': 10**9}, 'height'), ({'width': 0}, 'width'), ({'height': 1.5}, 'height'),
    ({'height': 15}, '15'), ({'num': 17}, 'num'), ({'num': True}, 'num'),
    ({'steps': 10**6}, 'steps'), ({'steps': 0}, 'steps'), ({'seed': -1}, 'seed'),
    ({'seed': 2**32}, 'seed'), ({'guidance': '3'}, 'guidance'),
    ({'guidance': 1e30}, 'guidance'), ({'prompt': 7}, 'prompt'),
    ({'prompt': 'a' * 1001}, 'prompt'), ({'prompt': 'a\0'}, 'prompt'),
    ({'negative': 'a', 'guidance': 1}, 'negative'),
    ({'mode': 'edit'}, 'image'), ({'mode': 'edit', 'image': '/etc/passwd'}, 'image'),
    ({'mode': 'edit', 'image': 'file:///etc/passwd'}, 'image'),
    ({'mode': 'edit', 'image': base64.b64encode(b'<svg/>').decode()}, 'image'),
    ({'mode': 'edit', 'image': ADDRESSED['image'], 'strength': 0}, 'strength'),
    ({'mode': 'edit', 'image': ADDRESSED['image']}, 'mask'),
    ({'mode': 'edit', **ADDRESSED, 'fill': 'repaint(repeats=1000000)'}, 'fill'),
    ({'mode': 'interpolate', 'seed': 5, 'to_seed': 5}, 'to_seed'),
    ({'mode': 'interpolate', 'to_seed': 1, 'frames': 1000}, 'frames'),
    ({'mode': 'grid'}, 'guidances'),
    ({'mode': 'grid', 'guidances': [1] * 7, 'steps_list': [1] * 6}, '36'),
    ({'mode': 'grid', 'guidances': [2], 'steps_list': [200, 200]}, 'steps_list'),
    ({'mode': 'grid', 'guidances': {}, 'steps_list': [2]}, 'guidances'))


def refused(address, body: bytes) -> str:
  """The line that an answer refuses a body with."""
  status, _, answer = speak(address, 'POST', '/draw', body)
  if status == 200:  # the model itself refused it
    (error,) = [json.loads(line) for line in answer.splitlines()]
    return error['error']
  assert status == 400
  found = json.loads(answer)
  assert found.keys() == {'error'} and '\n' not in found['error']
  assert len(found['error']) < 600
  return found['error']


@pytest.mark.parametrize('body', HOSTILE, ids=lambda body: str(body[:60]))
def test_what_is_no_request_is_refused(address, body):
  assert HOSTILE[body] in refused(address, body)


@pytest.mark.parametrize('fields, named', FIELDS, ids=lambda x: str(x)[:60])
def test_what_makes_no_sense_is_refused_by_name(address, fields, named):
  assert named in refused(address, json.dumps(SANE | fields).encode())


def test_other_forms_are_refused(address):
  body = json.dumps(SANE).encode()
  assert speak(address, 'POST', '/draw', body, {'Content-Type': 'text/plain'})[0] == 415
  assert speak(address, 'POST', '/', body)[0] == 404
  assert speak(address, 'PUT', '/draw', body)[0] == 501
  for length, status in (('x', 411), ('-1', 411), ('9' * 40, 411), ('', 411),
                         (str(asked.MOST_BYTES + 1), 413)):
    found = speak(address, 'POST', '/draw', b'', JSON | {'Content-Length': length})
    assert found[0] == status, length


def test_fields_drawn_at_random_never_hurt_it(address):
  """Any JSON is answered with an error or a picture, and it goes on."""
  seed = random.SystemRandom().randrange(2**32)
  print('seed', seed)
  rng = random.Random(seed)
  odd = (None, True, -1, 2**70, 0.5, '', 'ddim', '\ud800', [], [1], {}, [[]],
         'a' * 2000)
  for _ in range(40):
    fields = {name: rng.choice(odd) for name in rng.sample(asked.Asked._fields, 4)}
    fields |= {'mode': 'none'}  # so that nothing is drawn
    refused(address, json.dumps(fields).encode())
  assert post(address, **SANE)[-1]['pictures']


def test_more_than_can_wait_are_refused(address):
  """With one that is drawing and MOST_WAITING that wait, the next is told so."""
  place, body = urlsplit(address), json.dumps(SANE | {'steps': 249}).encode()
  head = ('POST /draw HTTP/1.0\r\nHost: localhost\r\n'
          'Content-Type: application/json\r\n'
          f'Content-Length: {len(body)}\r\n\r\n').encode()
  held = []
  for _ in range(1 + server.MOST_WAITING):
    s = socket.create_connection((place.hostname, place.port), timeout=60)
    s.sendall(head + body)
    assert b'200' in s.recv(64)  # its headers: it has a place
    held.append(s)
  assert speak(address, 'POST', '/draw', json.dumps(SANE).encode())[0] == 503
  for s in held:  # those that go away give their places back
    s.close()
  end = time.monotonic() + 60
  while speak(address, 'POST', '/draw', json.dumps(SANE).encode())[0] == 503:
    assert time.monotonic() < end
    time.sleep(0.2)


@pytest.mark.parametrize('words, message', (
    ((), 'a model is needed'), (('--workdir={run}', '--weights=a'), 'one of them'),
    (('--workdir=nowhere',), 'no such folder'),
    (('--workdir={run}', '--port=70000'), 'port'),
    (('--workdir={run}', '--dtype=bfloat16'), 'is for --weights')))
def test_a_mistake_is_one_line(run, commands, words, message):
  code, out, err = commands.run('play.py', *(word.format(run=run) for word in words))
  assert (code, out, err.count('\n')) == (2, '', 1) and message in err, err


def test_a_port_that_is_taken_is_told(run, address, commands):
  port = urlsplit(address).port
  code, _, err = commands.run('play.py', f'--workdir={run}', f'--port={port}')
  assert code == 2 and f'--port={port}: Address already in use' in err, err


@browser.needed
@pytest.mark.long
def test_chromium_shows_the_picture_of_sample(address, commands, tmp_path):
  given = {'mode': 'draw', 'prompt': 'a red ring', 'num': 2, 'seed': 7}
  with browser.opened(f'{address}#{urlencode(given)}', tmp_path) as page:
    done = "document.querySelectorAll('figcaption a').length == 6 && !busy"
    page.until(done)
    sources = page.js("[...document.querySelectorAll('figure img')].map(x => x.src)")
    there = by_command_line(commands, tmp_path, page.js(
        "document.getElementById('command').textContent"))
    for source, picture in zip(sources, there, strict=True):
      np.testing.assert_array_equal(decoded(source), picture)
    # The link draws it again.
    link = page.js("document.getElementById('link').href")
    with browser.opened(link, tmp_path / 'again') as again:
      again.until(done)
      assert sources == again.js(
          "[...document.querySelectorAll('figure img')].map(x => x.src)")
      assert not again.said
    # A stroke of the brush, and only what is under it changes.
    page.js("document.querySelectorAll('figcaption a')[1].click()")
    page.until('picture && mask.width')
    page.js('''(() => { canvas.setPointerCapture = () => 0;
        const box = canvas.getBoundingClientRect(), at = (x, y) => ({buttons: 1,
          clientX: box.left + x * box.width, clientY: box.top + y * box.height});
        canvas.onpointerdown(at(0.1, 0.1)); canvas.onpointermove(at(0.2, 0.1)); })()''')
    page.js("form.elements.num.value = 1; form.elements.seed.value = 9; draw()")
    page.until('!busy && document.querySelectorAll("figcaption a").length == 3')
    new = decoded(page.js("document.querySelector('figure img').src")).astype(int)
    old = decoded(sources[0]).astype(int)
    assert np.abs(new - old)[8:].max() <= 1 and np.abs(new - old)[:4, :4].max() > 1
    page.js("form.elements.prompt.value = 'a'.repeat(2000); draw()")
    page.until("document.getElementById('status').textContent.includes('1,000')")
    assert [x for x in page.said if '400' not in x] == []
