//! Sources, operators, sinks and the scheduler between them.
