"""`python -m data.prepare --beam`: the same jobs as an Apache Beam pipeline.

DirectRunner here; Dataflow, Flink or Spark by Beam's own flags. The workers need this
project (--setup_file or a container) and must see the source and --out; an address
of a store (gs://, s3://) will do for both.
"""
try:
  import apache_beam
  from apache_beam.options.pipeline_options import PipelineOptions
except ImportError as e:
  raise ValueError('--beam needs Apache Beam: pip install -r requirements-beam.txt'
                   ) from e

from data import shards


def run(jobs: list[dict], flags: list[str]):
  """Runs the jobs of shards.begin and waits until all are done.

  flags: Beam's own, such as --runner=FlinkRunner.
  """
  with apache_beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
    pipeline = pipeline | apache_beam.Create(jobs)
    pipeline = pipeline | apache_beam.Reshuffle()  # jobs spread over the workers
    pipeline | 'write' >> apache_beam.Map(shards.write_shard)
