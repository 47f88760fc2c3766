"""Critical points of any index, found, certified and counted."""
