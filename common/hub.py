"""Files of the Hugging Face hub, downloaded once into its cache."""

from pathlib import Path

from lengthwise.common.errors import UserError, one_line

HUB = "hf:"  # what a name of the hub begins with


def hub_file(name: str, file: str, field: str) -> Path:
    """The local path of a file of a model repository; the cache serves it without a network.

    Args:
      name: "hf:OWNER/NAME", "hf:NAME", either with "@REVISION".
      field: the name of the field, for errors.

    Raises:
      UserError: no such repository, revision or file; or no network, and it isn't in the cache.
    """
    # Its library takes a third of a second, for who has such a name alone.
    import huggingface_hub
    from huggingface_hub import errors

    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision or None))
    except errors.LocalEntryNotFoundError as error:
        raise UserError(
            f"{field}={name!r}: {file} is not in the cache, and the hub can't be reached; where "
            f"there is a network: hf download {repository} {file}"
        ) from error
    except (errors.RepositoryNotFoundError, errors.GatedRepoError) as error:
        raise UserError(
            f"{field}={name!r}: the hub has no repository {repository!r} that you may read; "
            "correct the name, or log in (hf auth login)"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(
            f"{field}={name!r}: the repository has no {file}; name one that has, or a local file"
        ) from error
    except (errors.HFValidationError, errors.HfHubHTTPError, OSError) as error:
        raise UserError(f"{field}={name!r}: {one_line(error)}; see hf:OWNER/NAME") from error
