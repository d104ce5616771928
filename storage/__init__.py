"""The one metadata database: engine, migrations, revision log, leases; and what every part shares: errors and clock."""
