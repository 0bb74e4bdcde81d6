"""Moving limits on a plain host, and putting the owner's back."""
