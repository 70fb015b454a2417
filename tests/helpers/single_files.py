"""Single files in the original layout, of fixtures/make_single_files.py."""
import json
import pathlib

import numpy as np
from safetensors import numpy as storage

FIXTURES = pathlib.Path(__file__).parent.parent / 'fixtures'
DONE = {  # what is done to diffusers' arrays
    'same': lambda x: x, 'turned': lambda x: x.T,
    'joined': lambda *x: np.concatenate(x),
    'halves': lambda x: np.concatenate(np.split(x, 2)[::-1]),
    'convolution': lambda x: x[:, :, None, None]}


def arrays(folder, made) -> dict:
  """{name: array} of a file. folder: of the pipeline with its weights. made: of
  contents.json."""
  files = {path.parent.name: storage.load_file(path)
           for path in folder.glob('*/*.safetensors')}
  found = {name: np.zeros(shape, np.float32) for name, shape in made['beside'].items()}
  for name, (module, names, how) in made['arrays'].items():
    found[name] = np.ascontiguousarray(DONE[how](*(files[module][x] for x in names)))
  return found


def write(name, folder, path):
  """Writes the file of the pipeline of that name, whose folder has weights."""
  made = json.loads((FIXTURES / 'single_files' / 'contents.json').read_text())[name]
  storage.save_file(arrays(folder, made), path)
  return path
