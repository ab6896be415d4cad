"""The product from outside: real servers, commands, clients, browsers, kills and faults."""
