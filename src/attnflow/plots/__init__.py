"""The parts figures are made of: style.py how things look, panels.py what is drawn."""
