"""Writes the tables of docs/models.md: every field of every module, and who sets it.

python benchmarks/fields.py

Defaults, meanings and what a module reads or gives are those of the code, values are
those of configs/papers/. tests/test_docs.py sees that the page is what this writes.
"""
import dataclasses
import fractions
import importlib
import inspect
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from models.autoencoders import AUTOENCODERS
from models.backbones import BACKBONES
from models.backbones.backbone import Backbone
from models.conditions import CONDITIONS

PAGE = os.path.join(ROOT, 'docs', 'models.md')
MARK = '<!-- written by benchmarks/fields.py: {} -->\n'
TABLES = {'backbones': ('model', BACKBONES), 'conditions': ('condition', CONDITIONS),
          'autoencoders': ('autoencoder', AUTOENCODERS)}
OURS = {'parent', 'name', 'dtype', 'image_channels', 'added'}  # no config sets them
NEEDED = dict(classes=1000)         # of fields without a default
GENERIC = 'Predicts the diffusion target of a noised picture.'


def papers() -> dict:
  """{'dit:xl': config} of every variant of every paper."""
  found = {}
  for path in sorted(os.listdir(os.path.join(ROOT, 'configs', 'papers'))):
    name, ending = os.path.splitext(path)
    if ending == '.py':
      make = importlib.import_module(f'configs.papers.{name}').get_config
      found |= {f'{name}:{kind}'.rstrip(':'): make(kind) for kind in make.names}
  return found


def settable(section: str, row) -> dict:
  """{field: default} of what a config may set; MISSING where it has to."""
  fields = {f.name: f.default for f in dataclasses.fields(row)
            if f.name not in OURS | ({'channels'} if section == 'backbones' else set())}
  tokenizer = {'vocab', 'length'}  # fields that have no default are the tokenizer's
  return {name: usual for name, usual in fields.items()
          if usual is not dataclasses.MISSING or name not in tokenizer}


def meanings(row) -> dict:
  """{field: what the docstring says of it}, those of a backbone's parent included."""
  fields, found = [f.name for f in dataclasses.fields(row)], {}
  for kind in (Backbone, row):
    one = f'(?:{"|".join({*fields, *vars(kind)})})'
    _, _, text = inspect.getdoc(kind).partition('Attributes:')
    _, *parts = re.split(rf'(?:^|(?<=\s))({one}(?:, {one})*): ', ' '.join(text.split()))
    for names, said in zip(parts[::2], parts[1::2]):
      found |= {name: said.strip() for name in names.split(', ')}
  for field in set(fields) - set(found):  # said where another one is
    found[field] = ', '.join(f'see `{other}`' for other, said in found.items()
                             if f'`{field}`' in said)
  return found


def uses(chosen: dict, field: str, usual) -> str:
  """'`1152` dit:xl, sit; `768` dit:b': the papers in which a field is not as usual.

  chosen: {paper: fields}. A paper stands for all its variants, where these are alike.
  """
  by_value = {}
  for name, fields in chosen.items():
    if field in fields and fields[field] != usual:
      by_value.setdefault(shown(fields[field]), []).append(name)
  def short(names):
    kinds = {}
    for name in names:
      kinds.setdefault(name.partition(':')[0], []).append(name)
    return ', '.join(paper if len(some) == sum(
        name.partition(':')[0] == paper for name in chosen) else ', '.join(some)
        for paper, some in kinds.items())
  return '; '.join(f'`{value}` {short(names)}' for value, names in by_value.items())


def abilities(section: str, module) -> str:
  """What a module declares, with its defaults."""
  def listed(names):
    return ', '.join(f'`{name}`' for name in sorted(names)) or 'nothing'
  if section == 'autoencoders':
    return (f'One latent for {module.factor} x {module.factor} pixels, '
            f'{module.channels} channels.')
  if section == 'conditions':
    return f'Gives {listed(module.gives)}.'
  return (f'Reads {listed(module.reads)}, needs {listed(module.needs)}; '
          f'{"any" if module.any_size else "only its own"} size; '
          f'{module.num_taps or "no"} blocks to tap.')


def table(section: str, name: str, row, chosen: dict) -> str:
  """The heading, what the module is, and a line a field."""
  fields, said = settable(section, row), meanings(row)
  about = [inspect.getmodule(row).__doc__.split('\n\n')[0],
           *inspect.getdoc(row).partition('\n\nAttributes:')[0].split('\n\n')]
  about = ' '.join(' '.join(part.split()) for part in about if part != GENERIC)
  module = row(**{k: v for k, v in dict(NEEDED, vocab=512, length=16).items()
                  if any(f.name == k and f.default is dataclasses.MISSING
                         for f in dataclasses.fields(row))})
  lines = [f'### `{name}`', '', about, '', abilities(section, module)]
  if fields:
    lines += ['', '| field | default | meaning | papers |', '|-|-|-|-|']
  for field, usual in fields.items():
    default = '' if usual is dataclasses.MISSING else f'`{shown(usual)}`'
    lines.append(f'| `{field}` | {default} | {said[field]} | '
                 f'{uses(chosen, field, usual)} |')
  return '\n'.join(lines) + '\n'


def shown(value) -> str:
  """A value; 1/3 in place of its 16 digits."""
  if type(value) is float and len(repr(value)) > 9:
    return str(fractions.Fraction(value).limit_denominator(99))
  return repr(value)


def written(section: str) -> str:
  """All tables of a section."""
  key, rows = TABLES[section]
  given = {paper: c[key].to_dict() for paper, c in papers().items()}
  return '\n'.join(table(section, name, row, {
      paper: fields for paper, fields in given.items() if fields['name'] == name})
                   for name, row in rows.items())


def page(text: str) -> str:
  """The page with its tables as they are to be."""
  for section in TABLES:
    mark = MARK.format(section)
    before, _, after = text.split(mark)
    text = f'{before}{mark}\n{written(section)}\n{mark}{after}'
  return text


if __name__ == '__main__':
  with open(PAGE, encoding='utf-8') as f:
    new = page(f.read())
  with open(PAGE, 'w', encoding='utf-8') as f:
    f.write(new)
