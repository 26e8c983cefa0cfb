"""What an operator sees of the gateway: logs, metrics, traces, alarms."""
