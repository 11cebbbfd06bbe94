"""The marketplace: the HTTP API through which renters find, rent and use machines."""
