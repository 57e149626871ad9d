"""The training job's command line: `pipeline.py check|train|promote|…`; `--help` lists the commands."""

from training.cli import main

if __name__ == "__main__":
    main()
