"""Small public pipelines, of fixtures/make_pipelines.py, with their weights."""
import json
import pathlib
import shutil
import sys

from safetensors import numpy as storage

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE / 'models'))

from interop import names
import seeded

MADE = HERE / 'fixtures' / 'pipelines'
PARTS = json.loads((MADE / 'parts.json').read_text())


def with_weights(name, root):
  """Writes the pipeline of that name below `root`, as diffusers would. Its folder."""
  shutil.copytree(MADE / name, root / name)
  for module, (family, shapes) in PARTS[name].items():
    storage.save_file(seeded.foreign(names.ours(family, shapes), shapes),
                      root / name / module / 'model.safetensors')
  return root / name
