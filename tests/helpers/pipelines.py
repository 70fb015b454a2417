"""Small public pipelines, of fixtures/make_pipelines.py, with their weights."""
import json
import pathlib
import shutil

from safetensors import numpy as storage

from helpers import seeded
from interop import names

HERE = pathlib.Path(__file__).parent.parent
MADE = HERE / 'fixtures' / 'pipelines'
PARTS = json.loads((MADE / 'parts.json').read_text())


def with_weights(name, root):
  """Writes the pipeline of that name below `root`, as diffusers would. Its folder."""
  shutil.copytree(MADE / name, root / name)
  for module, (family, shapes) in PARTS[name].items():
    storage.save_file(seeded.foreign(names.ours(family, shapes), shapes),
                      root / name / module / 'model.safetensors')
  return root / name
