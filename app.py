"""Start the page: `python app.py`."""

from argparse import ArgumentParser

from regrain.ui.page.launch import main

if __name__ == "__main__":
    about = "Serve the page on 127.0.0.1:7860; settings are environment variables, see docs/models.md."
    ArgumentParser(description=about).parse_args()
    main()
