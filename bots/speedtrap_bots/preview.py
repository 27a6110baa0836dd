"""A letter in a folder, for whoever writes templates or reads before anything is planned."""

from pathlib import Path

from speedtrap_bots.letter import Templates
from speedtrap_bots.model import Breach, Stage
from speedtrap_bots.serve import open_channels


def write_preview(
    breach: Breach, stage: Stage, channel: str, folder: Path, templates: Path | None
) -> list[Path]:
    """Writes what *channel* would say into *folder*; the files, in order."""
    if templates is not None:
        Templates.folder = templates
    [opened] = open_channels([channel])
    content = opened.write(breach, stage)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"notice.txt": f"{content.subject}\n\n{content.text}".lstrip().encode()}
    if content.html is not None:
        # The mail refers to its picture by content id, a page by file name.
        page = content.html.replace('@speedtrap"', '"').replace('src="cid:', 'src="')
        parts["notice.html"] = page.encode()
    parts |= {Path(file.name).name: file.content for file in content.files}
    for name, data in parts.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in parts]
