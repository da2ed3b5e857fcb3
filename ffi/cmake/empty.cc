// A shared library wants a source file; everything else is in the archive.
