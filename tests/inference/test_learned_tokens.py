"""Textual inversion: one row of a table learns, and its file is diffusers'."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as storage

from data import tokenizers
from helpers.pipelines import with_weights
from helpers.references import FIXTURES
from helpers.small_models import built
from helpers.tiny import DIT
import inference
from inference import learned_tokens, loading
from ml_collections import ConfigDict
import models
import training
from training import rules, sharding, train_state

FILE = FIXTURES / 'lora' / 'embedding.safetensors'
KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def sd15(tmp_path_factory):
  return inference.load(str(with_weights('sd15', tmp_path_factory.mktemp('public'))))


def test_a_token_of_diffusers_means_here_what_it_means_there(sd15):
  """Two vectors, of which a prompt names the first."""
  model = learned_tokens.add_tokens(sd15, str(FILE))
  ids = jnp.stack([tokenizers.encode(model.tokenizer, text, 77)[0]
                   for text in ('a red <toy> circle', '<toy>')])
  got = model.module.apply({'params': model.params}, ids, method='encode').text
  want = np.load(FIXTURES / 'lora' / 'drawn.npz')['embedding']
  np.testing.assert_allclose(got, want, atol=2e-5)
  with pytest.raises(ValueError, match="'<toy>', which this model has learned already"):
    learned_tokens.add_tokens(model, str(FILE))
  assert sd15.config.tokenizer.added == ()  # the first is as it was


def test_what_was_read_is_written_again(sd15, tmp_path):
  other = tmp_path / '<dot>.safetensors'
  storage.save_file({'emb_params': np.ones((1, 16), np.float32)}, other)
  model = learned_tokens.add_tokens(sd15, str(FILE), str(other))
  path = tmp_path / 'again.safetensors'
  learned_tokens.save_tokens(model, str(path))
  got = storage.load_file(path)
  assert got.keys() == {'<toy>', '<dot>'}
  np.testing.assert_array_equal(got['<toy>'], storage.load_file(FILE)['<toy>'])
  np.testing.assert_array_equal(got['<dot>'], np.ones((1, 16)))
  with pytest.raises(ValueError, match='has learned no tokens'):
    learned_tokens.save_tokens(sd15, str(path))


@pytest.mark.parametrize('arrays, said', [
    ({'<a>': (3, 17)}, r'has \[3, 17\] for <a>; rows of the tables here are \[16\]'),
    ({'clip_l': (1, 16), 'clip_g': (1, 24)}, 'for another text encoder: the tables'),
    ({'red</w>': (1, 16)}, "'red</w>', which the tokenizer knows already"),
])
def test_a_file_for_another_model_is_named(sd15, arrays, said, tmp_path):
  path = tmp_path / 'bad.safetensors'
  storage.save_file({name: np.ones(shape, np.float32)
                     for name, shape in arrays.items()}, path)
  with pytest.raises(ValueError, match=said):
    learned_tokens.add_tokens(sd15, str(path))


def test_two_encoders_learn_a_row_each(tmp_path_factory):
  root = tmp_path_factory.mktemp('public')
  model = inference.load(str(with_weights('sdxl', root)))
  path = root / 'toy.safetensors'
  rows = {name: np.ones((2, width), np.float32)
          for name, width in (('clip_l', 16), ('clip_g', 24))}
  storage.save_file(rows, path)
  model = learned_tokens.add_tokens(model, str(path))
  assert model.config.tokenizer.added == (('toy', '', 2),)
  assert model.params['text_encoder']['clip_g']['embed']['new'].shape == (2, 24)
  learned_tokens.save_tokens(model, str(root / 'again.safetensors'))
  got = storage.load_file(root / 'again.safetensors')
  jax.tree.map(np.testing.assert_array_equal, got, rows)


def config_of(config):
  c = config.copy_and_resolve_references()
  c.model = dict(DIT)
  c.tokenizer.added = (('<toy>', 'red ring', 3), ('<dot>', '', 1))
  c.optim.lr_scale = (('.*/embed/new', 1.0), ('.*', 0.0))
  c.optim.warmup = 0
  return c


def test_new_rows_alone_are_learned_from_the_words_they_start_as(config, pictures):
  c = config_of(config)
  made = tokenizers.add(tokenizers.train(pictures.captions(), 300), c.tokenizer.added)
  again = tokenizers.from_str(made.to_str())  # as a workdir keeps it
  words = made.encode('red ring', add_special_tokens=False).ids
  total = made.get_vocab_size()
  ids = tokenizers.encode(again, 'a <toy> <dot>', 16)[0]
  assert list(ids[ids >= total - 4]) == [total - 4, total - 3, total - 2, total - 1]
  assert tokenizers.size(again, 'a <toy> <dot>') == tokenizers.size(again, 'a') + 4
  built = training.build(c, sharding.make_mesh(1), vocab=total)
  state = train_state.with_new_tokens(
      built.create(), tokenizers.starts(made, c.tokenizer.added), {})
  table = state.frozen['text_encoder']['embed']['embedding']
  new = state.params['text_encoder']['embed']['new']
  np.testing.assert_array_equal(new[:3], table[jnp.array((words * 3)[:3])])
  assert set(rules.by_name(state.params)) == {'text_encoder/embed/new'}
  assert not (new[3] == table).all(-1).any()
  kept = train_state.with_new_tokens(state, np.array([5, 5, 5, 5]), {
      'text_encoder': {'embed': {'new': new}}})
  np.testing.assert_array_equal(kept.params['text_encoder']['embed']['new'], new)


def test_a_gradient_reaches_the_rows_that_a_caption_names():
  c = dict(name='text', width=8, depth=1, heads=2)
  module = models.build(ConfigDict(dict(
      model=dict(DIT), condition=c, autoencoder=dict(name='none'),
      data=dict(size=8, channels=3), diffusion=dict(learned_weight=False),
      tokenizer=dict(vocab=12, length=6,
                     added=(('<a>', '', 1), ('<b>', '', 1))))))
  params = jax.jit(lambda key: models.init_params(module, key, (8, 8), 6))(KEY)
  def total(new):
    tree = learned_tokens.with_tables(params, {
        '': params['text_encoder']['embed'] | {'new': new}})
    text = module.apply({'params': tree}, jnp.array([[1, 13, 3, 0, 0, 0]]),
                        method='encode').text
    return (text[0, :3] * jnp.arange(8.0)).sum()
  grad = jax.jit(jax.grad(total))(params['text_encoder']['embed']['new'])
  assert (grad[0] == 0).all() and (grad[1] != 0).any()


def test_what_makes_no_sense_is_named(config):
  from configs import validation
  c = config_of(config)
  for row in (('<a>', 'b', 0), ('', 'b', 1), ('<a>', 'b'), ('<a>', 1, 1)):
    c.tokenizer.added = (row,)
    with pytest.raises(ValueError, match='config.tokenizer.added has'):
      validation.check(c)
  c = config_of(config)
  c.condition = dict(name='class', classes=3)
  with pytest.raises(ValueError, match="'class' has no place for them"):
    models.build(c, 20)
  with pytest.raises(ValueError, match=r"has \['added'\]; 'text' takes only"):
    built(dict(DIT), dict(name='text', added=2))


def test_other_weights_may_lack_what_is_learned(sd15, tmp_path_factory):
  """A public text encoder fits a model with tokens of its own."""
  model = learned_tokens.add_tokens(sd15, str(FILE))
  place = dict(model.config.init_from)['text_encoder']
  got = loading.read_part('text_encoder', place, model.params, (),
                          model.module.optional_params)
  assert 'new' not in got['embed'] or got['embed']['new'] is None
  np.testing.assert_array_equal(got['positions'],
                                model.params['text_encoder']['positions'])
