"""The page of an exported pipeline: what it is, how to draw, what it was trained on."""
import glob
import json
import os
import shutil

from configs import base
from console import files
from data import images
from inference import generation
from inference.loading import Model
from training import train_state

SHOWN = {  # lines of the page, and keys of the config
    'Schedule, target': ('diffusion.schedule', 'diffusion.target'),
    'Objective, weight': ('train.objective', 'diffusion.loss_weight'),
    'Times': ('diffusion.time_sampling',),
    'Captions dropped': ('diffusion.caption_dropout',),
    'Batch': ('train.batch',),
    'Optimizer, rate': ('optim.name', 'optim.lr'),
    'Average': ('optim.ema',),
    'Adapters': ('lora.layers', 'lora.rank', 'lora.alpha'),
    'Seed': ('seed',)}
DATA = 'source', 'path', 'split', 'mixture', 'crop', 'flip'


def value(c, key: str):
  for name in key.split('.'):
    c = c[name]
  return c


def shown(c) -> list[str]:
  """Rows of a table of what a run was told."""
  data = ', '.join(f'{key} {os.path.basename(str(c.data[key])) or c.data[key]}'
                   for key in DATA if c.data[key] not in ('', (), False))
  rows = {'Data': data, 'Size': '{} x {} pixels'.format(
      *base.height_width(c.data.size))}
  rows |= {name: ', '.join(str(value(c, key)) for key in keys)
           for name, keys in SHOWN.items() if value(c, keys[0]) not in ((), '')}
  bar = r'\|'  # one that ends no column
  return [f'| {name} | {said.replace("|", bar)} |' for name, said in rows.items()]


def figures(workdir: str | None) -> list[str]:
  """Rows of a table of what evaluate.py has measured of a run."""
  rows = []
  for path in sorted(glob.glob(os.path.join(workdir or '', 'evaluations', '*.json'))):
    for name, score in files.read_json(path).get('scores', {}).items():
      about = ', '.join(f'{key} {score[key]}' for key in ('n', 'low', 'high')
                        if score.get(key) is not None)
      rows.append(f'| {name} | {score["value"]:.6g} | {about} |')
  return rows


def samples(model: Model, workdir: str | None, path: str):
  """The newest grid of a run, or one drawn now."""
  there = glob.glob(os.path.join(workdir or '', 'samples', '*.png'))
  if workdir and there:
    return shutil.copy(max(there, key=os.path.getmtime), path)
  c = model.config.sample
  drawn = generation.generate(model, list(c.prompts), num=c.num, seed=model.config.seed)
  images.write_png(path, images.captioned(drawn, list(c.prompts), c.num))


def write(model: Model, folder: str, name: str, workdir: str | None, kind: str):
  """Writes README.md, samples.png and training.json into a pipeline's folder.

  name: of the folder, as it will be. workdir: of the run, where it is one. kind: the
  class of the pipeline.
  """
  c = model.config
  samples(model, workdir, os.path.join(folder, 'samples.png'))
  files.write_text(os.path.join(folder, 'training.json'), c.to_json(indent=2) + '\n')
  name = os.path.basename(os.path.abspath(name))
  prompts = ', '.join(f'"{prompt}"' for prompt in c.sample.prompts)
  counts = ', '.join(f'{part} {train_state.count(params):,}'
                     for part, params in model.params.items())
  measured = figures(workdir) or ['| nothing yet | | |']
  files.write_text(os.path.join(folder, 'README.md'), f'''---
library_name: diffusers
pipeline_tag: text-to-image
tags: [text-to-image, diffusers]
---

# {name}

A `{kind}` of {counts} parameters ({model.source}).

![{prompts}](samples.png)

*{prompts}: {c.sample.num} pictures each.*

```python
import diffusers

pipe = diffusers.DiffusionPipeline.from_pretrained({json.dumps(name)})
image = pipe({json.dumps(c.sample.prompts[0])}, num_inference_steps={c.sample.steps},
             guidance_scale={c.sample.guidance}).images[0]
```

## Training

| | |
|-|-|
{chr(10).join(shown(c))}

All of the config is in `training.json`.

## Figures

| | | |
|-|-|-|
{chr(10).join(measured)}
''')
