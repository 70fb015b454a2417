"""Our names lead to those of foreign modules, all of them, and to no others."""
import json

import jax
import numpy as np
import pytest

from helpers import papers, pipelines, references
from interop import names, parts, their_names
import models
from training import rules

FOREIGN = json.loads((references.FIXTURES / 'foreign.json').read_text())
FOREIGN |= {f'{pipeline}/{module}': row for pipeline, modules in pipelines.PARTS.items()
            for module, row in modules.items()}
PLAIN = 'ddpm'  # a U-Net without text, which no pipeline here has


def shapes_of(family, sizes):
  """{our name: its shape} of a foreign module; of stacks, the first axis is right."""
  places = names.ours(family, sizes)
  depth = {}
  for name, i in places.values():
    depth[name] = max(depth.get(name, 0), 1 + (i or 0))
  return {name: jax.ShapeDtypeStruct((n,), np.float32) for name, n in depth.items()}


@pytest.mark.parametrize('case', sorted(FOREIGN.keys() - {PLAIN}))
def test_names_of_a_module_are_found_from_ours(case):
  family, sizes = FOREIGN[case]
  got = their_names.theirs(family, shapes_of(family, sizes))
  if family == 'clip':  # of which some versions leave out the start
    sizes = {name if name.startswith('text_') else f'text_model.{name}': size
             for name, size in sizes.items()}
  assert set(got.values()) == set(sizes)


def test_what_a_family_does_not_have_is_named():
  family, sizes = FOREIGN[PLAIN]
  with pytest.raises(ValueError, match="/self/q/kernel' has no name in checkpoints"):
    their_names.theirs(family, shapes_of(family, sizes))
  for paper, name, folder in (('dit', 'b', 'transformer'), ('adm', '64', 'unet')):
    c = papers.config(paper, name, 'reduced')
    module = models.build(c)
    params = models.param_shapes(module, (16, 16), c.tokenizer.length)
    (made,) = parts.modules_of({'backbone': (c.model.name, module.backbone)})
    assert made.folder == folder
    with pytest.raises(ValueError, match='has no name in checkpoints of the family'):
      parts.names_of(made, params)
    assert not list(parts.layers_of([made], params))


@pytest.mark.parametrize('case', ['sd15/unet', 'sd3/transformer', 'pixart/transformer'])
def test_a_new_parameter_has_no_name(case):
  family, sizes = FOREIGN[case]
  shapes = shapes_of(family, sizes)
  for name in ('positions', 'time/up/extra', 'blocks/new/kernel', 'guidance/up/kernel'):
    with pytest.raises(ValueError, match=f"{name}' has no name"):
      their_names.theirs(family, shapes | {name: jax.ShapeDtypeStruct((1,), 'float32')})


def test_the_original_layout_numbers_blocks_as_the_papers_code():
  """Of Stable Diffusion 1's sizes, some of the names in its first checkpoint."""
  c = papers.config('sd15', '')
  module = models.build(c)
  (unet,) = parts.modules_of({'backbone': ('unet', module.backbone)})
  shapes = models.param_shapes(module, (512, 512), 77)
  found = parts.ldm_names(parts.names_of(unet, shapes).values())
  assert len(set(found.values())) == len(found) == 686
  expected = {
      'conv_in.weight': 'input_blocks.0.0.weight',
      'down_blocks.0.downsamplers.0.conv.weight': 'input_blocks.3.0.op.weight',
      'down_blocks.2.attentions.1.transformer_blocks.0.attn1.to_q.weight':
          'input_blocks.8.1.transformer_blocks.0.attn1.to_q.weight',
      'down_blocks.3.resnets.1.conv2.bias': 'input_blocks.11.0.out_layers.3.bias',
      'mid_block.attentions.0.proj_out.weight': 'middle_block.1.proj_out.weight',
      'up_blocks.0.upsamplers.0.conv.weight': 'output_blocks.2.1.conv.weight',
      'up_blocks.1.upsamplers.0.conv.weight': 'output_blocks.5.2.conv.weight',
      'up_blocks.3.attentions.2.norm.weight': 'output_blocks.11.1.norm.weight',
      'up_blocks.3.resnets.0.time_emb_proj.weight': 'output_blocks.9.0.emb_layers.1.'
                                                    'weight',
      'conv_norm_out.bias': 'out.0.bias', 'conv_out.weight': 'out.2.weight'}
  assert {name: found[name] for name in expected} == expected
  assert rules.by_name(shapes)['backbone/in/kernel'].shape == (3, 3, 4, 320)
