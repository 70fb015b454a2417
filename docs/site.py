"""Hooks of mkdocs: pages from outside docs/, links to files, a reference by room."""
import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
PAGES = {'README.md': 'index.md', 'benchmarks/README.md': 'measured.md'}
ROOMS = {  # of which there is a reference
    'inference': 'from weights to pictures',
    'diffusion': 'the maths of noise and steps',
    'models': 'networks', 'training': 'the step and what it keeps',
    'data': 'captioned pictures', 'evaluation': 'what is measured',
    'interop': "other libraries' files"}
LINK = re.compile(r'(\]\(|src=")([^)"#:\s]+)(?=[)"#])')


def on_config(config):
  config.nav.append({'Reference': [f'api/{room}.md' for room in ROOMS]})
  return config


def on_files(files, config):
  """Adds the pages of PAGES, those of ROOMS, and every file that a page links to."""
  sources = {page.src_uri: f'docs/{page.src_uri}'
             for page in files.documentation_pages()}
  sources |= {page: source for source, page in PAGES.items()}
  for page, source in sources.items():
    text, linked = moved((ROOT / source).read_text(), source)
    files.append(File.generated(config, page, content=text))
    for path in linked:
      files.append(File.generated(config, f'files/{path}',
                                  content=(ROOT / path).read_bytes()))
  for room, about in ROOMS.items():
    files.append(File.generated(config, f'api/{room}.md',
                                content=reference(room, about)))
  return files


def moved(text: str, source: str):
  """(a page's Markdown with its links as they are in the site, files outside docs/)."""
  linked = []
  def move(match):
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
    if path in PAGES:
      return match[1] + PAGES[path]
    if path.startswith('docs/'):
      return match[1] + path.removeprefix('docs/')
    linked.append(path)
    return f'{match[1]}files/{path}'
  return LINK.sub(move, text), linked


def reference(room: str, about: str) -> str:
  """A page of the docstrings of a room's modules."""
  names = sorted('.'.join(path.relative_to(ROOT).with_suffix('').parts)
                 for path in (ROOT / room).rglob('*.py') if path.stem != '__init__')
  parts = [f'# {room}: {about}', *(f'::: {name}' for name in names)]
  return '\n\n'.join(parts) + '\n'
