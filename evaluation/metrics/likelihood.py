"""Bits a dimension: by the probability-flow ODE, and by the variational bound."""
import jax
import numpy as np

from configs import base
import diffusion
from diffusion import editing, likelihood, process as processes, vlb as bounds
from evaluation import prompts, scores
from inference import edits, requests, sampler
from models.autoencoders import AUTOENCODERS


def bits_per_dim(c) -> scores.Metric:
  """'bits_per_dim' of pictures with their captions, by the ODE: arXiv:2011.13456.

  Of pictures with noise of one grey level added, in config.sample.steps steps.
  """
  return measured(c, 'bits_per_dim', ode_bits, f'{c.sample.steps} steps of the ODE')


def vlb(c) -> scores.Metric:
  """'vlb', the variational bound of all the steps of training: arXiv:2006.11239 eq. 5.

  The variance of a step is that of config.sample.solver, and so is what is clipped.
  """
  process = diffusion.build(c.diffusion)
  how = diffusion.build_sampling(c.sample, process)
  if not process.num_steps or how.solver.frac is None:
    raise ValueError('the variational bound is of ddpm and the discrete steps of '
                     f"training, such as 'linear(steps=1000)'; config.sample.solver is "
                     f'{c.sample.solver!r}, config.diffusion.schedule '
                     f'{c.diffusion.schedule!r}.')
  return measured(c, 'vlb', bound_bits, f'bound by {c.sample.solver}')


def ode_bits(c, module):
  """(params, request with an image in [-1, 1], key) -> bits a dimension f32[b]."""
  c = edits.unguided(c)
  process = diffusion.build(c.diffusion)
  how = sampler.build_plan(module, c, process)
  timesteps = editing.inversion_timesteps(how.timesteps)
  def bits(params, request, key):
    level, probe = jax.random.split(key)
    pixels = request.image * 127.5 + 127.5
    x0 = (pixels + jax.random.uniform(level, pixels.shape)) / 128 - 1
    denoise = sampler.guided_denoiser(module, c, process, how, None, {'main': params},
                                      request, 1.0)()
    log_p = likelihood.log_likelihood(
        lambda x, t: denoise.denoise(x, t, denoise.init(x))[0], process.schedule, x0,
        timesteps, probe)
    return likelihood.bits_per_dim(log_p, pixels.shape[1:])
  return jax.jit(bits)


def bound_bits(c, module):
  """As ode_bits, by the bound."""
  c = c.copy_and_resolve_references()
  c.sample.guidance = 1.0
  process = diffusion.build(c.diffusion)
  how = sampler.build_plan(module, c, process)
  sampler.check_sampler(module, c, how, base.height_width(c.data.size))
  def bits(params, request, key):
    guided = sampler.guided_denoiser(module, c, process, how, None, {'main': params},
                                     request, 1.0)()
    def denoise(x, t):
      out, _ = guided.denoise(x, t, guided.init(x))
      x0, frac = processes.split_variance(out, x)
      return x0, frac if frac.size else how.solver.frac
    return bounds.total(denoise, process.schedule, process.num_steps, request.image,
                        key)
  return jax.jit(bits)


def measured(c, name: str, build_bits, source: str) -> scores.Metric:
  """A Metric of config.eval.num pictures of the source's split config.eval.split."""
  if not getattr(AUTOENCODERS.get(c.autoencoder.name), 'pixels', False):
    raise ValueError(f'config.autoencoder.name is {c.autoencoder.name!r}; bits a '
                     'dimension are known of models of pixels alone.')

  def measure(run):
    model, pictures = run.model, prompts.true_pictures(c)
    chosen = np.random.default_rng(run.seed).permutation(len(pictures))[:c.eval.num]
    bits, found = build_bits(model.config, model.module), []
    key = jax.random.key(run.seed)
    report = run.progress and run.progress(len(chosen), 'pictures')
    for i in range(0, len(chosen), c.sample.batch):
      some = [pictures[int(j)] for j in chosen[i:i + c.sample.batch]]
      request = requests.build_request(
          model.tokenizer, [item['caption'] for item in some], c.tokenizer.length,
          model.size)
      image = np.stack([item['image'] for item in some]).astype(np.float32) / 127.5 - 1
      found.append(bits(model.params, request.replace(image=image),
                        jax.random.fold_in(key, i)))
      if report:
        report(i + len(some))
    return {name: scores.mean(np.concatenate(found), source)}
  return scores.Metric({name: 'bits'}, measure)
