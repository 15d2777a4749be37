//! Schemas, fields and batches of fixed-layout records.
