"""The side of PyTorch: a module of diffusers, eager or compiled, as it is written.

PYTHON benchmarks/peers/torch_side.py FOLDER write|eager|compile

FOLDER has spec.json, from against_torch.py. `write` makes the module, stores its
weights, an input and its output there; the others load and serve them.
"""
import json
import pathlib
import sys

import diffusers
import torch

from measure import serve

FOLDER, WAY = pathlib.Path(sys.argv[1]), sys.argv[2]
SPEC = json.loads((FOLDER / 'spec.json').read_text())
CUDA = SPEC['device'] == 'gpu'
DEVICE = 'cuda' if CUDA else 'cpu'
DTYPE = torch.bfloat16 if CUDA else torch.float32


def build():
  kind = getattr(diffusers, SPEC['peer'])
  if WAY != 'write':
    return kind.from_pretrained(FOLDER / 'weights')
  torch.manual_seed(0)
  model = kind(**SPEC['peer_fields'])
  with torch.no_grad():
    for p in model.parameters():  # zeros at the end of a fresh network hide it all
      p.add_(0.02 * torch.randn_like(p))
  return model


def named(x, t, text, pooled):
  """Arguments as the module calls them; t is what it is told."""
  given = dict(hidden_states=x, timestep=t, encoder_hidden_states=text)
  if SPEC['peer'] == 'UNet2DConditionModel':
    given['sample'] = given.pop('hidden_states')
  if SPEC['peer'] == 'PixArtTransformer2DModel':
    given['added_cond_kwargs'] = {'resolution': None, 'aspect_ratio': None}
  if SPEC['peer'] == 'SD3Transformer2DModel':
    given['pooled_projections'] = pooled
  return given


def inputs(b: int):
  make = torch.Generator().manual_seed(1)
  def normal(*shape):
    return torch.randn(*shape, generator=make).to(DEVICE)
  return (normal(b, SPEC['channels'], SPEC['side'], SPEC['side']),
          torch.full((b,), 500.0, device=DEVICE), normal(b, *SPEC['text']),
          normal(b, SPEC['text'][1]))


def main():
  model = build().to(DEVICE)
  if CUDA:
    torch.set_float32_matmul_precision('high')
  else:
    torch.set_num_threads(SPEC['threads'])
  if SPEC['peer'] == 'UNet2DConditionModel':
    model = model.to(memory_format=torch.channels_last)
  if WAY == 'write':
    given = inputs(2)
    with torch.no_grad():
      out = model.eval()(**named(*given)).sample
    model.save_pretrained(FOLDER / 'weights')
    import safetensors.torch
    names = ('x', 't', 'text', 'pooled', 'out')
    safetensors.torch.save_file({name: y.contiguous().cpu() for name, y in zip(
        names, (*given, out))}, FOLDER / 'case.safetensors')
    return
  average = {name: p.detach().clone() for name, p in model.named_parameters()}
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=CUDA or None)
  network = torch.compile(model) if WAY == 'compile' else model
  x, t, text, pooled = inputs(SPEC['batch'])

  def predict(*given):
    with torch.autocast(DEVICE, DTYPE, enabled=CUDA):
      return network(**named(*given)).sample[:, :SPEC['channels']]

  def forward():
    with torch.no_grad():
      return predict(x, t, text, pooled)

  def step():
    loss = torch.nn.functional.mse_loss(predict(x, t, text, pooled).float(), x)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
      torch._foreach_lerp_(list(average.values()), list(model.parameters()), 1e-3)
    return loss

  def sampling():
    scheduler = diffusers.DDIMScheduler()
    scheduler.set_timesteps(SPEC['steps'])
    z, both = x, torch.cat([text, torch.zeros_like(text)])
    with torch.no_grad():
      for i in scheduler.timesteps:
        told = torch.full((2 * len(z),), float(i), device=DEVICE)
        cond, uncond = predict(torch.cat([z, z]), told, both,
                               torch.cat([pooled, pooled])).float().chunk(2)
        z = scheduler.step(uncond + 4.0 * (cond - uncond), i, z).prev_sample
    return z

  serve(dict(forward=forward, step=step, sampling=sampling),
        lambda out: torch.cuda.synchronize() if CUDA else None)


main()
