//! Decisions by table, and the stage over real tables.
