"""The configs of papers, and what the tests do to one."""
import importlib
import pathlib

FOLDER = pathlib.Path(__file__).parent.parent.parent / 'configs' / 'papers'


def module(paper: str):
  return importlib.import_module(f'configs.papers.{paper}')


PAPERS = [(path.stem, name) for path in sorted(FOLDER.glob('*.py'))
          for name in module(path.stem).get_config.names]


def config(paper: str, name: str, *words):
  """What --config=configs/papers/PAPER.py:NAME,WORD,... gives."""
  given = ','.join(filter(None, (name, *words)))
  return module(paper).get_config(*[given] if given else [])
