"""TFDS datasets, one document an example, through `tfds.data_source`: no TensorFlow needed."""

import dataclasses
import functools
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from lengthwise.common.errors import UserError
from lengthwise.common.library_errors import reading
from lengthwise.common.paths import user_path
from lengthwise.data.sources import files
from lengthwise.data.sources.records import RecordFields, read_documents
from lengthwise.data.sources.source import (
    SOURCES,
    Document,
    FilePart,
    NamedSource,
    Skipped,
    SourceConfig,
    Unit,
)
from lengthwise.data.sources.text_files import StdlibSource

_READ_BYTES = 4 << 20  # examples in memory at a time, about


@dataclass(frozen=True)
class _Example:
    """Location of an example in a split; as a string, for messages."""

    name: str  # unique within the source
    dataset: str
    split: str
    number: int

    def __str__(self) -> str:
        return f"{self.dataset}, split {self.split}: example {self.number}"


@SOURCES.register("tfds")
@dataclass(frozen=True)
class TfdsSource(NamedSource):
    """A split of a prepared dataset in ArrayRecord format, read in ranges of examples."""

    needs_path: ClassVar[bool] = False
    has_ids: ClassVar[bool] = True

    name: str  # such as "c4/en:3.1.0"
    split: str  # such as "train" or "train[:10%]"
    data_dir: str  # "": the default of TFDS
    fields: RecordFields
    skip_empty: bool
    domains: tuple[str, ...] = ("all",)
    skip_bad: bool = False

    @classmethod
    def of(cls, config: SourceConfig, ids: bool) -> "TfdsSource":
        if not config.tfds_name:
            raise UserError("data.source='tfds' needs data.tfds_name, such as 'c4/en:3.1.0'")
        name, split, data_dir = config.tfds_name, config.tfds_split, config.path
        fields = RecordFields.of(config, ids)
        return cls(
            name, split, data_dir, fields, config.skip_empty, (config.domain,), config.skip_bad
        )

    def describe(self) -> str:
        return f"feature {self.fields.field!r} of {self.name}, split {self.split}"

    def units(self) -> list[Unit]:
        builder, examples = _open(self.name, self.split, self.data_dir)
        self.fields.check(builder.info.features.keys(), f"dataset {self.name}")
        split = builder.info.splits[self.split]
        shards = [_as_part(Path(path)) for path in split.filepaths]
        num_bytes = int(len(examples) * _bytes_an_example(builder.info))
        # Preparing the dataset again writes its information again.
        info = _as_part(Path(builder.data_dir) / "dataset_info.json")
        unit_bytes = min(max(num_bytes // files.UNITS, files.MIN_UNIT_BYTES), files.MAX_UNIT_BYTES)
        count = min(num_bytes // unit_bytes + 1, len(examples))
        edges = [len(examples) * i // count for i in range(count + 1)]
        parts = [
            (
                dataclasses.replace(info, name=split.name, start=edges[i], stop=edges[i + 1]),
                num_bytes * (i + 1) // count - num_bytes * i // count,
            )
            for i in range(count)
        ]
        options = f"tfds {self.skip_empty} {self.skip_bad} {self.fields}"
        options += f" {builder.info.full_name} {shards}"
        return files.group_parts(parts, 1, options)  # a unit each

    def documents(self, unit: Unit, skipped: Skipped) -> Iterator[Document]:
        return read_documents(
            unit, self._read, self.fields, self.skip_empty, self.skip_bad, skipped
        )

    def _read(self, part: FilePart) -> Iterator[tuple[_Example, Callable[[], dict[str, Any]]]]:
        assert part.stop is not None
        builder, examples = _open(self.name, self.split, self.data_dir)
        step = int(_READ_BYTES // _bytes_an_example(builder.info)) + 1
        for start in range(part.start, part.stop, step):
            numbers = range(start, min(start + step, part.stop))
            what = f"cannot read {self.name}, split {self.split}, near example {start}"
            with reading(what, "tfds"):
                records = examples.__getitems__(numbers)
            for number, record in zip(numbers, records, strict=True):
                place = _Example(f"{part.name}:{number}", self.name, self.split, number)
                yield place, functools.partial(dict, record)


def _bytes_an_example(info: tfds.core.DatasetInfo) -> float:
    return max(int(info.dataset_size), 1) / info.splits.total_num_examples


def _as_part(path: Path) -> FilePart:
    with reading(f"cannot read {path}", "tfds"):
        status = path.stat()
    return FilePart(path.name, str(path), status.st_size, status.st_mtime_ns)


@functools.cache  # per process: opening a dataset of many shards takes a while
def _open(name: str, split: str, data_dir: str) -> tuple[Any, Any]:
    """The builder and the data source of a split.

    Raises UserError: no such dataset or split there, or another format than ArrayRecord.
    """
    where = str(user_path(data_dir, "data.path")) if data_dir else None
    # The command needs TensorFlow, reading what it wrote does not.
    build = f"tfds build {name} --file_format=array_record" + f" --data_dir={where}" * bool(where)
    build += " (where TensorFlow is installed)"
    with reading(f"data.tfds_name={name!r} can't be read", "tfds"):
        try:
            builder = tfds.builder(name, data_dir=where)
            prepared = builder.is_prepared()
        except (ValueError, AssertionError) as error:
            raise UserError(
                f"data.tfds_name={name!r}: {_first_line(error)} Prepare: {build}"
            ) from error
        if not prepared:
            raise UserError(
                f"data.tfds_name={name!r} is not prepared at {builder.data_dir}: {build}"
            )
        try:
            if not builder.info.splits[split].num_examples:
                raise UserError(f"data.tfds_split={split!r} of {name} has no examples")
            return builder, builder.as_data_source(split=split)
        except NotImplementedError as error:
            raise UserError(
                f"data.tfds_name={name!r} at {builder.data_dir} is in the format "
                f"{builder.info.file_format.value}, which needs TensorFlow; prepare it anew "
                f"elsewhere: {build}"
            ) from error
        except (ValueError, KeyError) as error:
            splits = ", ".join(builder.info.splits)
            raise UserError(
                f"data.tfds_split={split!r} of {name}: {_first_line(error)} (splits: {splits})"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class EmbeddedStdlib(tfds.core.GeneratorBasedBuilder):
    """The documents of `StdlibSource` in their order, as {name, text, group}."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            description=_source().describe(),
            features=tfds.features.FeaturesDict({"name": text, "text": text, "group": text}),
            disable_shuffling=True,  # the order of documents is part of a corpus
        )

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, object]]]:
        source = _source()
        documents = (d for unit in source.units() for d in source.documents(unit, Skipped()))
        for number, document in enumerate(documents):
            yield (
                number,
                {"name": document.name, "text": document.content, "group": document.group},
            )


def _source() -> StdlibSource:
    return StdlibSource(Path(sysconfig.get_path("stdlib")))


def build(data_dir: str) -> EmbeddedStdlib:
    """Writes the dataset below `data_dir`, unless it is there."""
    builder = EmbeddedStdlib(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare()
    return builder


if __name__ == "__main__":
    print(build(sys.argv[1]).data_dir)
