"""Run the notebooks of these pages, and store their outputs in them.

Run it from anywhere: ``python docs/execute_notebooks.py``. With a folder as its argument, the
executed copies are written there and the notebooks stay as they are. Each notebook starts in an
empty folder, with the Python that runs this file. It needs nbclient and ipykernel.
"""

import os
import sys
import tempfile
from pathlib import Path

NOTEBOOKS = Path(__file__).parent / "notebooks"


def main() -> None:
    """Run all notebooks."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOKS
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        execute(path, target / path.name)


def execute(path: Path, target: Path) -> None:
    """Run a notebook, and write it with its outputs to ``target``."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings = Path(folder, "settings")
        use_own_settings(settings)
        night = Path(folder, "notebook")
        night.mkdir()
        NotebookClient(
            notebook,
            timeout=120,
            startup_timeout=120,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(night)}},
        ).execute()
    # The version of the Python that ran it changes nothing.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    target.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def use_own_settings(folder: Path) -> None:
    """Use this Python as the kernel, and no settings or profiles of the user."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(folder / "kernels" / "python3")
    for name in (
        "JUPYTER_PATH",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "IPYTHONDIR",
        "XDG_CONFIG_HOME",
    ):
        os.environ[name] = str(folder)
    # The kernel otherwise draws for a file or a window, and not for the notebook.
    os.environ.pop("MPLBACKEND", None)


if __name__ == "__main__":
    main()
