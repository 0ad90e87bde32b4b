//! The report: histograms, the table, the JSON line, the progress line.
