"""Pictures to batches: shuffled, repeated, sharded by process, resumable."""
import grain

from data import tokenizers


def batches(pictures, tokenizer, *, length: int, batch: int, seed: int,
            process: int = 0, processes: int = 1, threads: int = 2):
  """An endless iterator of this process's share of each global batch.

  Every epoch is a fresh permutation. Global batch k holds the same pictures in the same
  order whatever the number of processes; process p has the p-th of its equal parts.

  Args:
    pictures: [i] -> {'image': uint8 [h w 3], 'caption': str}, with `len`.
    length: tokens of a caption.
    batch: pictures over all processes, a multiple of their number.

  Returns:
    A grain iterator (`get_state`, `set_state`) of {'image': uint8 [b h w 3],
    'tokens': int32 [b length]} with b = batch / processes.
  """
  def prepared(item):
    tokens, _ = tokenizers.encode(tokenizer, item['caption'], length)
    return {'image': item['image'], 'tokens': tokens}
  dataset = grain.MapDataset.source(pictures).shuffle(seed=seed).repeat(None)
  part = batch // processes
  dataset = dataset.map(prepared).batch(part, drop_remainder=True)
  dataset = dataset[process::processes]  # of the parts of batches, those of this one
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
  return iter(dataset.to_iter_dataset(options))
