"""Makes a token store on an Apache Beam runner; the same bytes as `main.py --mode=prepare`.

    python -m lengthwise.app.beam --config=configs/quickstart.py --workdir=/shared/run --runner=...

All other flags are the runner's, for example `--runner=DirectRunner --direct_num_workers=8
--direct_running_mode=multi_processing`. Source and workdir lie on a file system that the workers
share with this machine. See docs/data.md.
"""

import sys
from pathlib import Path

from absl import flags

from lengthwise.app.command import cli, shell
from lengthwise.common.errors import UserError
from lengthwise.common.paths import user_path


def prepare_on_beam(argv: list[str]) -> int:
    """Makes the token store; returns the exit status.

    Raises:
      UserError: as data.prepare.prepare does, and where Beam is not installed.
    """
    config, _, (_, *runner_flags) = cli.parse(argv, known_only=True)
    workdir = flags.FLAGS.workdir
    if config is None or not workdir:
        raise UserError("--config and --workdir are needed; see docs/data.md")
    try:
        from lengthwise.data.prepare.beam_pool import BeamPool
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error}; install Beam beside the rest: pip install -r requirements-beam.txt"
        ) from error
    from lengthwise.app.store import open_store
    from lengthwise.configs.resolve import load
    from lengthwise.configs.saved_config import read_config
    from lengthwise.data.config import DataConfig
    from lengthwise.data.prepare.store_builder import StoreBuilder
    from lengthwise.train.machine.workdir import locked

    def build(settings: DataConfig, directory: Path) -> None:
        pool = BeamPool(tuple(runner_flags), directory)
        StoreBuilder(settings, directory).build(pool.map, pool.edges)

    directory = user_path(workdir, "--workdir")
    with locked(directory):
        open_store(load(config, read_config(directory)), directory, build)
    return 0


if __name__ == "__main__":
    shell.run_command(lambda: prepare_on_beam(sys.argv))
