"""What belongs to where a job runs: Dataflow, a pool of workers, the signals that end a process."""
