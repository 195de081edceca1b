"""Lengthwise: train on natural lengths, score beyond them.

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart

`--mode=train` prepares the data when missing, goes on where WORKDIR left off, and writes the
report; `eval` scores a trained work directory again; `generate` writes on from prompts;
`prepare` only makes the token store; `plan` chooses how each bucket is computed on the TPUs that
mesh.topology names, with no data and no TPU.
"""

from absl import flags

from lengthwise.app import cli

if __name__ == "__main__":
    flags.adopt_module_key_flags(cli)
    cli.entry()
