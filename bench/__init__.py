"""What smsevents is measured by, beside its peers, on one machine in one run. `make bench` runs it all."""
