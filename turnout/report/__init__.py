"""Reports that stand alone: plots as SVG and pages as HTML, made of strings, without a dependency."""
