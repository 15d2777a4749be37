//! Where batches end: tables, JSON, flame graphs, files.
