"""A public pipeline's text encoders as `condition` of a config."""
import os

from interop.part import Part

# Fields of transformers' files that change nothing of what an encoder computes.
WITHOUT_EFFECT = '''architectures attention_dropout bos_token_id classifier_dropout
    decoder_start_token_id dropout dropout_rate dtype initializer_factor
    initializer_range is_decoder is_encoder_decoder model_type n_positions
    num_decoder_layers output_past pad_token_id projection_dim scale_decoder_outputs
    task_specific_params tie_word_embeddings torch_dtype transformers_version
    use_cache'''.split()


def clip(folder: str, name: str, **only) -> Part:
  """The file of a CLIP; raises ValueError for one that is not as ours."""
  part = Part(folder, name, 'config.json')
  part.only(max_position_embeddings=77, layer_norm_eps=1e-5, **only,
            intermediate_size=4 * part.number('hidden_size'))
  for key in ('vocab_size', 'num_hidden_layers', 'num_attention_heads'):
    part.number(key)
  part.get('hidden_act', 'quick_gelu'), part.get('eos_token_id', 49407)
  part.done(*WITHOUT_EFFECT)
  return part


def special(folder: str, name: str, key: str) -> int:
  """The id of a special token of a CLIP tokenizer: 'pad_token' or 'eos_token'."""
  found = Part(folder, name, 'tokenizer_config.json')
  old = os.path.join(folder, name, 'special_tokens_map.json')
  if os.path.exists(old) and 'added_tokens_decoder' not in found.fields:
    found = Part(old)
  token = found.fields.get(key) or '<|endoftext|>'
  token = token.get('content') if isinstance(token, dict) else token
  vocab = os.path.join(folder, name, 'vocab.json')
  if os.path.exists(vocab):
    return Part(vocab).get(token)
  whole = Part(folder, name, 'tokenizer.json')
  ids = whole.get('model').get('vocab', {})
  if not isinstance(ids, dict) or token not in ids:
    whole.refuse(key, token, 'it is one of its vocabulary')
  return ids[token]


def two_clips(folder: str) -> dict:
  """Fields that the conditions of Stable Diffusion XL and 3 share."""
  first = clip(folder, 'text_encoder', hidden_act='quick_gelu')
  second = clip(folder, 'text_encoder_2', vocab_size=first.get('vocab_size'))
  second.must('hidden_act', 'gelu', 'quick_gelu')
  vocab, end = first.get('vocab_size'), special(folder, 'tokenizer', 'eos_token')
  for part in (first, second):
    if part.get('eos_token_id', 2) == 2 and end != vocab - 1:
      part.refuse('eos_token_id', 2, 'with added tokens it is the id of the token that '
                  'ends a caption: the summary would be taken at an added one')
  both = dict(widths='hidden_size', depths='num_hidden_layers',
              heads='num_attention_heads')
  return dict(vocab=vocab, end=end, separate=True, pads=(
      special(folder, 'tokenizer', 'pad_token'),
      special(folder, 'tokenizer_2', 'pad_token'))) | {
          name: (first.get(key), second.get(key)) for name, key in both.items()}


def large_clip(folder: str) -> dict:
  """Fields of Stable Diffusion XL's second CLIP, where it is the only one."""
  part = clip(folder, 'text_encoder_2')
  part.must('hidden_act', 'gelu', 'quick_gelu')
  vocab, end = part.get('vocab_size'), special(folder, 'tokenizer_2', 'eos_token')
  if part.get('eos_token_id', 2) == 2 and end != vocab - 1:
    part.refuse('eos_token_id', 2, 'with added tokens it is the id of the token that '
                'ends a caption: the summary would be taken at an added one')
  return dict(act='gelu', skip=1, pooled='projection', end=end,
              pad=special(folder, 'tokenizer_2', 'pad_token')) | part.read(
      vocab='vocab_size', width='hidden_size', depth='num_hidden_layers',
      heads='num_attention_heads')


def t5(folder: str, name: str) -> dict:
  """Fields of T5."""
  part = Part(folder, name, 'config.json')
  part.only(feed_forward_proj='gated-gelu', relative_attention_num_buckets=32,
            relative_attention_max_distance=128, layer_norm_epsilon=1e-6,
            is_gated_act=True, dense_act_fn='gelu_new', eos_token_id=1)
  found = {key: part.number(name) for key, name in dict(
      vocab='vocab_size', width='d_model', depth='num_layers', heads='num_heads',
      head_width='d_kv', hidden='d_ff').items()}
  part.done(*WITHOUT_EFFECT)
  return found
