"""Reads batches as a trainer does, and saves its place now and then, until killed.

python -m helpers.stream FOLDER PLACE.json WORKERS
"""
import json
import multiprocessing
import os
import pathlib
import sys

from helpers import made

from data import loader, sources, tokenizers


def main(folder, place, workers):
  c = made.config(place.parent, source='folder', path=str(folder))
  batches = loader.batches(
      sources.Pictures(c), tokenizers.train(['picture 1'], 300), length=4, batch=8,
      seed=3, workers=workers)
  batches.set_state(json.loads(place.read_text()))
  while True:
    batch = next(batches)
    state = batches.get_state()
    if state['batches'] % 3 == 0:
      place.with_suffix('.new').write_text(json.dumps(state))
      os.replace(place.with_suffix('.new'), place)
    print(json.dumps({
        'numbers': [made.number(x + 4) for x in batch['image']],
        'children': [p.pid for p in multiprocessing.active_children()]}), flush=True)


if __name__ == '__main__':
  main(*map(pathlib.Path, sys.argv[1:3]), int(sys.argv[3]))
