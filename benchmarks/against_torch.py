r"""Times our networks against diffusers' with the same weights, in turns.

python benchmarks/against_torch.py --models=unet,dit,mmdit --torch_python=PYTHON

Each side is a process of its own: ours; PyTorch eager; PyTorch compiled. The outputs of
one input are compared first, then a forward pass, a training step (AdamW, clipping, an
average) and 20 steps of sampling with guidance are timed in turns. Prints for each the
median seconds, and the median and quartiles of ours over the peer's in the same round:
below 1 is faster than the peer; on a CPU also the ratio of processor time. PYTHON needs
torch, diffusers and transformers. Where other jobs run, threads that wait for each
other cost the peer more than us: `taskset -c 0 python benchmarks/...` gives both sides
one core, which is fair.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from absl import flags
import numpy as np

from benchmarks import kept
from benchmarks.peers import measure
from console import command
from console.errors import UserError

PEERS = pathlib.Path(__file__).parent / 'peers'
TEXT = dict(text=[77, 768], pooled=False)
LATENTS = dict(channels=4, side=32)
CALLS = ('forward', 'step', 'sampling')
MODELS = {  # name: (ours, its fields, diffusers', its arguments, what both are told)
    'unet': ('unet', dict(  # a small Stable Diffusion: 55.6M
        width=128, channel_mult=[1, 2, 2, 2], attention=[1, 1, 1, 0], heads=8, eps=1e-5,
        attention_type='spatial', time_unit='index', pad=[1, 1], scale_shift=False),
             'UNet2DConditionModel', dict(
        sample_size=32, block_out_channels=[128, 256, 256, 256], attention_head_dim=8,
        cross_attention_dim=768), TEXT),
    'dit': ('dit', dict(  # PixArt's blocks at the width and depth of DiT-S/2
        depth=12, width=384, heads=6, patch=2, out_channels=8, adaln_single=True,
        cross_attention=True, time_unit='index'),
            'PixArtTransformer2DModel', dict(
        sample_size=32, num_layers=12, num_attention_heads=6, attention_head_dim=64,
        cross_attention_dim=384, caption_channels=768, use_additional_conditions=False,
        interpolation_scale=1), TEXT),
    'mmdit': ('mmdit', dict(
        depth=8, width=384, heads=6, patch=2, pos_embed_max_size=16, pos_scale=1.0),
              'SD3Transformer2DModel', dict(
        sample_size=32, num_layers=8, num_attention_heads=6, attention_head_dim=64,
        in_channels=4, out_channels=4, joint_attention_dim=768, pos_embed_max_size=16,
        caption_projection_dim=384, pooled_projection_dim=768),
              TEXT | {'pooled': True}),
}


def define_flags():
  flags.DEFINE_list('models', list(MODELS), f'Which of {sorted(MODELS)}.')
  flags.DEFINE_string('torch_python', sys.executable,
                      'Python that has torch, diffusers and transformers.')
  flags.DEFINE_enum('device', 'cpu', ['cpu', 'gpu'], 'Where both sides run: float32 on '
                    'a CPU, bfloat16 products on a GPU.')
  flags.DEFINE_list('calls', list(CALLS), f'Which of {CALLS} are timed.')
  flags.DEFINE_bool('compile', True, 'Also against torch.compile.')
  flags.DEFINE_integer('batch', 4, 'Number of pictures.', lower_bound=1)
  flags.DEFINE_integer('rounds', 5, 'Number of rounds.', lower_bound=1)
  flags.DEFINE_float('tolerance', 1e-4, 'Greatest difference of outputs, as a share of '
                     'the greatest output.', lower_bound=0)


def start(folder, flag):
  """{side: its process}, after the peer wrote weights and ours agreed with it."""
  torch_side = [flag.torch_python, str(PEERS / 'torch_side.py'), folder]
  if subprocess.run([*torch_side, 'write'], stdout=subprocess.DEVNULL).returncode:
    raise UserError(f'--torch_python={flag.torch_python} could not make the module; '
                    'why stands above. pip install torch diffusers transformers')
  environment = ['env', f'JAX_PLATFORMS={"cuda" if flag.device == "gpu" else "cpu"}']
  ours = measure.Process(environment + [sys.executable, str(PEERS / 'our_side.py'),
                                        folder])
  error, count = ours.calls, ours.answer()
  ours.calls = ours.answer()
  if error > flag.tolerance:
    ours.close()
    raise UserError(f'the outputs differ by {error:.1e} of the greatest, more than '
                    f'--tolerance={flag.tolerance}: there is nothing to compare.')
  print(f'{count:,} parameters, outputs equal to {error:.1e}')
  ways = ['eager'] + ['compile'] * flag.compile
  return {'ours': ours} | {f'torch {way}': measure.Process([*torch_side, way])
                           for way in ways}


def compare(name: str, flag):
  """Rows of kept.COLUMNS of one model."""
  ours, fields, peer, peer_fields, told = MODELS[name]
  with tempfile.TemporaryDirectory() as folder:
    (pathlib.Path(folder) / 'spec.json').write_text(json.dumps(dict(
        name=ours, fields=fields, peer=peer, peer_fields=peer_fields, batch=flag.batch,
        steps=20, device=flag.device, threads=kept.cores(), **told, **LATENTS)))
    sides = start(folder, flag)
    rows = []
    for call in flag.calls:
      for process in sides.values():
        process.run(call)  # compiles
      times = np.array([[process.run(call) for process in sides.values()]
                        for _ in range(flag.rounds)])  # [rounds sides wall|cpu]
      for i, side in enumerate(sides):
        if i:
          rows.append(kept.row(f'{name} {call}', side, times[:, 0], times[:, i],
                               cpu=flag.device == 'cpu'))
          print(kept.line(rows[-1]), flush=True)
    for process in sides.values():
      process.close()
  return rows


def main(flag):
  if odd := sorted(set(flag.models) - set(MODELS)):
    raise UserError(f'--models has {odd}, not of {sorted(MODELS)}.')
  if odd := sorted(set(flag.calls) - set(CALLS)):
    raise UserError(f'--calls has {odd}, not of {list(CALLS)}.')
  print(kept.HEAD, flush=True)
  for name in flag.models:
    compare(name, flag)


if __name__ == '__main__':
  command.run(main, define_flags)
