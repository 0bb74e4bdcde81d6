"""The vocabulary: frozen values that flow between the steps, with no behaviour beyond self-checks."""
