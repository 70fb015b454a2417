"""Benchmarks that others' networks judge, by name. A new one is a file here and a row.

Their folders of pictures are written as their own code reads them, and what that code
has found is read back. Nothing of theirs is run here.
"""
from evaluation.benchmarks.dpg_bench import DPG_BENCH
from evaluation.benchmarks.geneval import GENEVAL
from evaluation.benchmarks.geneval2 import GENEVAL2
from evaluation.benchmarks.oneig import ONEIG
from evaluation.benchmarks.parti_prompts import PARTI_PROMPTS
from evaluation.benchmarks.t2i_compbench import T2I_COMPBENCH

BENCHMARKS = {
    'dpg_bench': DPG_BENCH, 'geneval': GENEVAL, 'geneval2': GENEVAL2, 'oneig': ONEIG,
    'parti_prompts': PARTI_PROMPTS, 't2i_compbench': T2I_COMPBENCH}
