"""Start the page: `python app.py`."""

from regrain.ui.page.launch import main

if __name__ == "__main__":
    main()
